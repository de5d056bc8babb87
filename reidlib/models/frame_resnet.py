"""The plain video baseline: a ResNet on every frame, mean over the clip."""

from typing import Any

from torch import Tensor

from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.image_resnet import ImageResNet, check_clips
from reidlib.models.layers.spiking_resnet import pool_positions


class FrameResNet(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`).

    D = 32 * width for ResNet-50, 8 * width for ResNet-18. backbone, width, pretrained: see `ImageResNet`. pooling over positions:
    "mean" or "max"; over frames always the mean. metric, embedding: features behind the BN-neck ("neck") or before ("feature"), for the
    metric loss and the test.
    """

    modalities = ("frames",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        width: int = 64,
        pooling: str = "mean",
        metric: str = "neck",
        embedding: str = "neck",
        pretrained: bool = False,
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        self.backbone = ImageResNet(backbone, width, pretrained)
        self.neck = BNNeck(self.backbone.channels, num_classes)
        self.pooling, self.metric, self.embedding = pooling, metric, embedding

    def forward(self, frames: Tensor) -> Tensor | ReidOutput:
        check_clips(frames, "frames", 3)
        maps = self.backbone(frames.flatten(0, 1))  # [BT, D, H/16, W/16]
        feature = pool_positions(maps, self.pooling).unflatten(0, frames.shape[:2]).mean(1)  # [B, D]
        if not self.training:
            return self.neck.norm(feature) if self.embedding == "neck" else feature
        normalised, logits = self.neck(feature)
        return ReidOutput([normalised if self.metric == "neck" else feature], [logits])


def resnet50(num_classes: int, **options: Any) -> FrameResNet:
    """The frames baseline of the papers' comparisons."""
    return FrameResNet(num_classes, backbone="resnet50", **options)
