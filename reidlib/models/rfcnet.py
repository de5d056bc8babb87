"""RFCnet: occluded people are recognised by completing the features of their hidden body regions, from other regions and other frames.

R. Hou's thesis, chapter 5, and R. Hou et al., "Feature Completion for Occluded Person Re-Identification", TPAMI 2021. Our reading
(specification, section 4): the released code holds the image network alone, and differs from the text in places, which are options here.
"""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.models.layers.clip_input import CHANNELS, at_test_time, checked_input, given_clips
from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.image_resnet import check_clips, checked_size
from reidlib.models.layers.part_labels import Bands, check_parts, cut_classes, cut_fractions, foreground_target
from reidlib.models.layers.partition import Partition, cut_loss
from reidlib.models.layers.region_block import RegionCompletion
from reidlib.models.layers.spiking_resnet import STAGES, pool_positions
from reidlib.models.layers.video_resnet import MakeBlock, VideoResNet

VIEWS = ("regions", "foreground", "completed")


class RFCnet(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`), D = 32 * width for ResNet-50.

    backbone, width, pretrained: see `ImageResNet`. size: (height, width) of the clips, which the partition is built for. stages: those
    with an RFC block behind them. order, srfc, trfc, regions, adaptive, foreground and the rest of `block`: see `RegionCompletion`,
    and `SpatialCompletion` for `assignment` (SRFC-A, SRFC-P). The image network is trfc=False.
    after: further blocks behind the RFC block of a stage. inputs: ("events",) for clips of events `[B, T, 2, H, W]` in place of frames.
    pooling over positions "mean" or "max", over frames the mean; metric, embedding: "neck" or "feature", see `BNNeck`.
    cut_weight, foreground_weight, similarity_weight: lambda 1 to 3 of (5.13); 0 leaves a term out. Each is averaged over the blocks.
    bands: labels of `parts` that are head, upper body, lower body and shoes; other labels are foreground of no band.

    `parts`, whole numbers `[B, T, H, W]`: body part of every pixel, 0 background, 255 unknown; read in training only. From them come the
    labels of the cuts (`cut_fractions`) and of the foreground (`foreground_target`), our reading of what the source has from key points and
    parsing. Without them `losses` has neither term, and then an adaptive partition learns nothing and stays as it was drawn: choose
    adaptive=False for a training set without parts.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        width: int = 64,
        size: tuple[int, int] = (256, 128),
        stages: Sequence[int] = (2, 3),
        order: str = "s-t",
        srfc: bool = True,
        trfc: bool = True,
        regions: int = 6,
        adaptive: bool = True,
        foreground: str = "weighted",
        cut_weight: float = 0.1,
        foreground_weight: float = 0.5,
        similarity_weight: float = 0.05,
        bands: Bands = ((1,), (2,), (3,), (4,)),
        after: Mapping[int, Sequence[MakeBlock]] | None = None,
        inputs: Sequence[str] = ("frames",),
        pooling: str = "mean",
        metric: str = "neck",
        embedding: str = "neck",
        pretrained: bool = False,
        **block: Any,
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        if not stages or not set(stages) <= set(STAGES):
            raise ValueError(f"RFC blocks after stages {tuple(stages)}: choose some of {STAGES}")
        if len(bands) != 4:
            raise ValueError(f"{len(bands)} bands: give the labels of head, upper body, lower body and shoes")
        self.modalities, self.size, self.stages = checked_input(inputs), checked_size(size), tuple(sorted(stages))
        self.supervised = bool(cut_weight and adaptive) or bool(foreground_weight and foreground != "none")
        options = dict(regions=regions, adaptive=adaptive, srfc=srfc, trfc=trfc, order=order, foreground=foreground, **block)
        made = {stage: [partial(RegionCompletion, size=stage_size(self.size, stage), **options)] for stage in self.stages}
        blocks = {stage: [*made.get(stage, ()), *(after or {}).get(stage, ())] for stage in {*made, *(after or {})}}
        self.backbone = VideoResNet(backbone, width, pretrained, blocks, in_channels=CHANNELS[self.modalities[0]])
        self.neck = BNNeck(self.backbone.channels, num_classes)
        self.weights = {"cuts": cut_weight, "foreground": foreground_weight, "similarity": similarity_weight}
        self.bands = tuple(map(tuple, bands))
        self.pooling, self.metric, self.embedding = pooling, metric, embedding

    def forward(self, frames: Tensor | None = None, parts: Tensor | None = None, events: Tensor | None = None) -> Tensor | ReidOutput:
        clips = self._clips(frames, events)
        seen: dict[str, Tensor] = {}
        maps = self.backbone(clips, seen if self.training else None)  # [B, T, D, H/16, W/16]
        feature = pool_positions(maps, self.pooling).mean(1)  # [B, D]
        if not self.training:
            return self.neck.norm(feature) if self.embedding == "neck" else feature
        normalised, logits = self.neck(feature)
        if parts is not None:
            check_parts(parts, clips)
        return ReidOutput([normalised if self.metric == "neck" else feature], [logits], self._losses(seen, parts))

    def inner_views(self, frames: Tensor | None = None, events: Tensor | None = None) -> dict[str, Tensor]:
        """What the blocks see, computed as at test time, whatever the mode; names end with the stage.

        `regions2`: masks of the body regions, `[B, T, n, h, w]`; `foreground2`: A, 0 to 1, `[B, T, h, w]`; `completed2`: norm of the
        features behind the block, `[B, T, h, w]`."""
        seen: dict[str, Tensor] = {}
        with at_test_time(self):
            self.backbone(self._clips(frames, events), seen)
        names = [f"{name}{stage}" for stage in self.stages for name in VIEWS]
        return {name: seen[name].sigmoid() if name.startswith("foreground") else seen[name] for name in names if name in seen}

    def _clips(self, frames: Tensor | None, events: Tensor | None) -> Tensor:
        clips = given_clips(self.modalities, frames=frames, events=events)
        check_clips(clips, self.modalities[0], CHANNELS[self.modalities[0]], self.size)
        return clips

    def _losses(self, seen: dict[str, Tensor], parts: Tensor | None) -> dict[str, Tensor]:
        """(5.13) without identity and triplet: every term with its weight, averaged over the blocks that have it."""
        terms: dict[str, list[Tensor]] = {"cuts": [], "foreground": [], "similarity": []}
        labels = None if parts is None else parts.flatten(0, 1)  # [BT, H, W]
        for stage in self.stages:
            block = self.backbone.after[str(stage)][0]
            partition = block.partition if isinstance(block, RegionCompletion) else None
            if f"similarity{stage}" in seen:
                terms["similarity"].append(seen[f"similarity{stage}"])
            if labels is not None and partition is not None and f"cuts{stage}" in seen:
                terms["cuts"].append(self._cut_loss(partition, seen[f"cuts{stage}"].flatten(0, 1), labels))
            if labels is not None and f"foreground{stage}" in seen:
                terms["foreground"].append(foreground_loss(seen[f"foreground{stage}"].flatten(0, 1), labels))
        return {
            name: self.weights[name] * reduce(torch.add, found) / len(found)
            for name, found in terms.items()
            if found and self.weights[name]
        }

    def _cut_loss(self, partition: Partition, logits: Tensor, labels: Tensor) -> Tensor:
        bands = self.bands if partition.bands == 4 else (*self.bands[:2], self.bands[2] + self.bands[3])
        fractions = cut_fractions(labels, bands, partition.halved)
        return cut_loss(logits, cut_classes(fractions, partition.extents, partition.classes), partition.classes)


def foreground_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """L_f (5.12): binary cross-entropy between the foreground, logits `[M, h, w]`, and labels `[M, H, W]`; unknown pixels do not count."""
    _, h, w = logits.shape
    target, known = foreground_target(parts, (h, w))
    entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (known * entropy).sum() / known.sum().clamp_min(1e-6)


def stage_size(size: tuple[int, int], stage: int) -> tuple[int, int]:
    """Height and width of a stage's map, the last stage at stride 1; borders are padded, so parts count as a whole."""
    stride = (4, 8, 16, 16)[stage - 1]
    return -(-size[0] // stride), -(-size[1] // stride)
