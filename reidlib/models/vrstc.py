"""VRSTC's re-identification networks: the one that localises occlusion and guides completion, and the one that reads repaired frames.

R. Hou's thesis, chapter 4, after "VRSTC: Occlusion-Free Video Person Re-Identification" (Hou et al., CVPR 2019). Nothing was released:
*our reading*. How the parts are trained after one another: `reidlib.repairing`.
"""

from torch import Tensor

from reidlib.models.layers.clip_input import at_test_time
from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.image_resnet import check_clips
from reidlib.models.layers.non_local import NonLocal
from reidlib.models.layers.occlusion import region_vectors
from reidlib.models.layers.video_resnet import VideoResNet


class VRSTC(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`).

    ResNet with Non-local blocks, mean over positions and frames, BN-neck. D = 32 * width for ResNet-50, 8 * width for ResNet-18.
    backbone, width, pretrained: see `ImageResNet`. stages: behind which a Non-local block stands. The text does not say; the thesis's
    own comparison elsewhere has one behind stage 2, at 24.0 M parameters. () makes the network of the first step: frames apart.
    block_scale: see `NonLocal`. metric, embedding: features behind the BN-neck ("neck") or before ("feature"), for loss and test.
    """

    modalities = ("frames",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        width: int = 64,
        stages: tuple[int, ...] = (2,),
        block_scale: float = 0.0,
        metric: str = "neck",
        embedding: str = "neck",
        pretrained: bool = False,
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        blocks = {stage: [lambda channels: NonLocal(channels, block_scale)] for stage in stages}
        self.trunk = VideoResNet(backbone, width, pretrained, blocks)
        self.neck = BNNeck(self.trunk.channels, num_classes)
        self.metric, self.embedding = metric, embedding

    def forward(self, frames: Tensor) -> Tensor | ReidOutput:
        feature = self._feature(frames)
        if not self.training:
            return self.neck.norm(feature) if self.embedding == "neck" else feature
        normalised, logits = self.neck(feature)
        return ReidOutput([normalised if self.metric == "neck" else feature], [logits])

    def identity_logits(self, frames: Tensor) -> Tensor:
        """What the identity guider says of frames: `[B, T, 3, H, W]` -> `[B, K]`."""
        return self.neck(self._feature(frames))[1]

    def regions(self, frames: Tensor) -> Tensor:
        """Vectors of the upper, middle and lower third of every frame: `[B, T, 3, H, W]` -> `[B, T, 3, D]`; see `region_vectors`."""
        check_clips(frames, "frames", 3)
        return region_vectors(self.trunk(frames))

    def attention(self, frames: Tensor) -> dict[str, Tensor]:
        """How much a clip looks at each position of its frames, by Non-local block, `[B, T, h, w]`; as at test time."""
        seen: dict[str, Tensor] = {}
        with at_test_time(self):
            check_clips(frames, "frames", 3)
            self.trunk(frames, seen)
        return seen

    def _feature(self, frames: Tensor) -> Tensor:
        """`[B, T, 3, H, W]` -> `[B, D]`."""
        check_clips(frames, "frames", 3)
        return self.trunk(frames).mean((1, 3, 4))
