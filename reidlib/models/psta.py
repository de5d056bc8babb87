"""PSTA: frames through a ResNet, then a temporal pyramid of STAM blocks. SDCL's frame half, and the strongest video peer of its table.

Y. Wang et al., "Pyramid Spatial-Temporal Aggregation for Video-based Person Re-Identification", ICCV 2021. Layers and
parameter count follow the shell that the SDCL release runs (specification, section 3.2).
"""

from typing import Any

from torch import Tensor

from reidlib.models.layers.heads import ReidModel, ReidOutput
from reidlib.models.layers.image_resnet import FrameBranch, check_clips, checked_size, map_size, reduced_channels
from reidlib.models.layers.pyramid import PyramidHead


class PSTA(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`), D = `channels`.

    backbone, width, pretrained: see `ImageResNet`. size: (height, width) of the frames, which the relation layers are built for.
    channels: of the maps after the backbone, a multiple of 8; None: half of ResNet-50's, all of ResNet-18's.
    head: `pyramid`, `levels`, `pooling`, `metric`, `embedding`, `relation` of `PyramidHead`. The published network is the default: three
    levels, T a multiple of 8; with other T the pyramid has the levels that T allows.
    """

    modalities = ("frames",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        width: int = 64,
        size: tuple[int, int] = (256, 128),
        channels: int | None = None,
        pretrained: bool = False,
        **head: Any,
    ):
        super().__init__()
        channels = channels or reduced_channels(backbone, width)
        self.size = checked_size(size)
        height, width_ = map_size(self.size)
        self.frame_branch = FrameBranch(channels, backbone, width, pretrained)
        self.head = PyramidHead(num_classes, channels, height * width_, self.modalities, **head)

    def forward(self, frames: Tensor) -> Tensor | ReidOutput:
        check_clips(frames, "frames", 3, self.size)
        return self.head({"frames": self.frame_branch(frames)})
