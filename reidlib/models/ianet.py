"""IANet: a ResNet on every frame whose body parts and channels interact behind chosen stages.

R. Hou et al., IANet (CVPR 2019) and IAUnet (TNNLS 2020), in the form of chapter 2 of R. Hou's thesis. *Our reading* (specification,
section 1): the text, with the layers that the release adds to it; where the two differ, the release's way is an option.
"""

from functools import partial

from torch import Tensor

from reidlib.models.layers.clip_input import CHANNELS, at_test_time, checked_input, given_clips
from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.interaction import CIA, STIA, InteractionAggregation
from reidlib.models.layers.interaction_image import ImageInteraction
from reidlib.models.layers.part_maps import part_losses, part_views
from reidlib.models.layers.spiking_resnet import pool_positions
from reidlib.models.layers.video_resnet import MakeBlock, VideoResNet

BLOCKS = ("ia", "stia", "cia", "image")


class IANet(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`), any T.

    D = 32 * width for ResNet-50, 8 * width for ResNet-18. backbone, width, pretrained: see `ImageResNet`. inputs: ("events",) for event
    frames `[B, T, 2, H, W]` in their place.
    stages: behind which a block stands; the thesis has (2,) for clips and (2, 3) for pictures. block: "ia" (STIA and CIA), one of them,
    "stia" or "cia", or "image", the older block of pictures. order: see `InteractionAggregation`. parts, relations, shared_relations,
    part_pooling: see `STIA`; with shared_relations=True and part_pooling="sum" the block is the release's.
    pooling over positions: "mean" or "max"; over frames always the mean. metric: whether the metric loss sees the feature after the
    BN-neck ("neck", the release's way) or before ("feature"). embedding: the same choice for test time.
    part_weight: lambda of (2.15), the weight of the loss of the part maps.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        width: int = 64,
        stages: tuple[int, ...] = (2,),
        block: str = "ia",
        order: str = "cia-stia",
        parts: int = 4,
        relations: str = "both",
        shared_relations: bool = False,
        part_pooling: str = "mean",
        inputs: tuple[str, ...] = ("frames",),
        pooling: str = "mean",
        metric: str = "neck",
        embedding: str = "neck",
        part_weight: float = 0.5,
        pretrained: bool = False,
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        self.modalities = checked_input(inputs)
        self.supervised = bool(part_weight) and block in ("ia", "stia") and bool(stages)
        stia = {"parts": parts, "relations": relations, "shared_relations": shared_relations, "part_pooling": part_pooling}
        make = block_maker(block, order, stia)
        self.backbone = VideoResNet(backbone, width, pretrained, {stage: [make] for stage in stages}, CHANNELS[self.modalities[0]])
        self.neck = BNNeck(self.backbone.channels, num_classes)
        self.pooling, self.metric, self.embedding, self.part_weight = pooling, metric, embedding, part_weight

    def forward(self, frames: Tensor | None = None, parts: Tensor | None = None, events: Tensor | None = None) -> Tensor | ReidOutput:
        """parts: whole numbers `[B, T, H, W]`, 0 background, 1 to N (head, upper body, lower body, shoes), 255 unknown; they supervise the
        part maps in training, `losses["parts"]`, and are not looked at in `eval` mode."""
        clips = given_clips(self.modalities, frames=frames, events=events)
        seen: dict[str, Tensor] = {}
        feature = pool_positions(self.backbone(clips, seen), self.pooling).mean(1)  # [B, D]
        if not self.training:
            return self.neck.norm(feature) if self.embedding == "neck" else feature
        normalised, logits = self.neck(feature)
        shown = normalised if self.metric == "neck" else feature
        return ReidOutput([shown], [logits], part_losses(seen, parts, clips, self.part_weight))

    def inner_views(self, frames: Tensor | None = None, events: Tensor | None = None) -> dict[str, Tensor]:
        """`parts2` (and so on, by stage): the part maps of STIA, `[B, T, N, h, w]` in [0, 1], as at test time whatever the mode."""
        seen: dict[str, Tensor] = {}
        with at_test_time(self):
            self.backbone(given_clips(self.modalities, frames=frames, events=events), seen)
        return part_views(seen)


def block_maker(block: str, order: str, stia: dict) -> MakeBlock:
    """The maker of one of `BLOCKS`; ValueError for an unknown one. stia: options of `STIA`, where the block has it."""
    if block not in BLOCKS:
        raise ValueError(f"unknown block {block!r}; choose one of {', '.join(BLOCKS)}")
    both = partial(InteractionAggregation, order=order, **stia)
    makers: dict[str, MakeBlock] = {"ia": both, "stia": partial(STIA, **stia), "cia": CIA, "image": ImageInteraction}
    return makers[block]
