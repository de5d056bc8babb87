"""BiCnet-TKS: few frames at full size for detail, many at half size for context, and temporal kernels that each clip selects.

R. Hou's thesis, chapter 6, and R. Hou et al., "BiCnet-TKS: Learning Efficient Spatial-Temporal Representation for Video Person
Re-Identification", CVPR 2021. Our reading (specification, section 5); where text and released code differ, an option says which.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.models.layers.clip_input import CHANNELS, at_test_time, checked_input, given_clips
from reidlib.models.layers.containers import DictOf
from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.image_resnet import check_clips, checked_size
from reidlib.models.layers.spiking_resnet import STAGES, pool_positions
from reidlib.models.layers.temporal_kernels import TemporalKernels
from reidlib.models.layers.two_scales import CrossScale, DiverseAttention
from reidlib.models.layers.video_resnet import VideoResNet

SMALL = ("pooled", "resized")


class BiCnetTKS(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`), D = 32 * width for ResNet-50.

    Every (1 + alpha)-th frame is big, the alpha behind it are small; both kinds pass one ResNet with shared weights, and the embedding is
    the mean of the two kinds' means (6.1). Training takes T divisible by 1 + alpha; at test time a clip is first filled up with its own
    frames from the beginning, as the release does with tracklets.
    backbone, width, pretrained: see `ImageResNet`. size: (height, width) of the clips, each divisible by 32.
    small: all frames pass the stem, and the maps of the small ones are "pooled" afterwards (the release; the published costs fit it
    better), or small frames are "resized" to half their size before (the text).
    csp, tks: stages with these blocks behind them; dao: the one with a DAO, or None. Where several stand behind a stage they come in the
    order CSP, DAO, TKS (our reading). areas: see `DiverseAttention`. kernels, fusion, grid: see `TemporalKernels`.
    divergence: weight of L_div in `losses` (6.10), 0 for none ("AO" in table 6.2). inputs: ("events",) for clips `[B, T, 2, H, W]`.
    pooling over positions: "max" (the release; the text leaves it open) or "mean"; metric, embedding: "neck" or "feature", see `BNNeck`.
    """

    def __init__(
        self,
        num_classes: int,
        alpha: int = 3,
        kernels: int | Sequence[int] = 2,
        fusion: str = "selective",
        grid: tuple[int, int] | None = None,
        csp: Sequence[int] = (1, 2, 3),
        dao: int | None = 3,
        tks: Sequence[int] = (2,),
        areas: str = "positions",
        small: str = "pooled",
        divergence: float = 0.01,
        backbone: str = "resnet50",
        width: int = 64,
        size: tuple[int, int] = (256, 128),
        inputs: Sequence[str] = ("frames",),
        pooling: str = "max",
        metric: str = "neck",
        embedding: str = "neck",
        pretrained: bool = False,
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        if alpha < 1:
            raise ValueError(f"alpha {alpha}: at least 1 small frame follows each big one (without any it is the plain baseline)")
        if small not in SMALL:
            raise ValueError(f"unknown small {small!r}; choose one of {', '.join(SMALL)}")
        if not {*csp, *tks} | ({dao} - {None}) <= set(STAGES):
            raise ValueError(f"blocks behind stages csp {tuple(csp)}, dao {dao}, tks {tuple(tks)}: stages are {STAGES}")
        if any(extent < 32 or extent % 32 for extent in size):
            raise ValueError(f"size {tuple(size)}: both must be divisible by 32, so that a small map has half the positions of a big one")
        self.modalities, self.size, self.alpha, self.small = checked_input(inputs), checked_size(size), alpha, small
        self.backbone = VideoResNet(backbone, width, pretrained, in_channels=CHANNELS[self.modalities[0]])
        channels = self.backbone.stage_channels
        self.csp: DictOf[CrossScale] = DictOf({str(stage): CrossScale(channels[stage], alpha) for stage in sorted(csp)})
        self.tks: DictOf[TemporalKernels] = DictOf(
            {str(stage): TemporalKernels(channels[stage], kernels, fusion, grid) for stage in sorted(tks)}
        )
        self.dao: DictOf[DiverseAttention] = DictOf()
        if dao is not None:
            stride = (8, 16, 32, 32)[dao - 1]  # of the small map
            self.dao[str(dao)] = DiverseAttention(channels[dao], alpha, (size[0] // stride, size[1] // stride), areas)
        self.neck = BNNeck(self.backbone.channels, num_classes)
        self.divergence, self.pooling, self.metric, self.embedding = divergence, pooling, metric, embedding

    def forward(self, frames: Tensor | None = None, events: Tensor | None = None) -> Tensor | ReidOutput:
        clips = self._clips(frames, events)
        seen: dict[str, Tensor] = {}
        branches = self._branches(clips, seen if self.training else None)  # [B, M, D, h, w], [B, M alpha, D, h/2, w/2]
        big, small = (pool_positions(x, self.pooling).mean(1) for x in branches)  # [B, D] each
        feature = (big + small) / 2
        if not self.training:
            return self.neck.norm(feature) if self.embedding == "neck" else feature
        normalised, logits = self.neck(feature)
        losses = {name: self.divergence * value for name, value in seen.items() if name.startswith("divergence") and self.divergence}
        return ReidOutput([normalised if self.metric == "neck" else feature], [logits], losses)

    def inner_views(self, frames: Tensor | None = None, events: Tensor | None = None) -> dict[str, Tensor]:
        """What the blocks see, computed as at test time, whatever the mode; names end with the stage.

        `attention_big3` `[B, M, P, Q]` and `attention_small3` `[B, M * alpha, P', Q']`: DAO over its areas, 1 in all (Q = 1 for stripes);
        `kernels2` `[B, K, C]`: the share of each temporal kernel. M counts the big frames of the clip as it was filled up."""
        seen: dict[str, Tensor] = {}
        with at_test_time(self):
            self._branches(self._clips(frames, events), seen)
        return {name: value for name, value in seen.items() if not name.startswith("divergence")}

    def _clips(self, frames: Tensor | None, events: Tensor | None) -> Tensor:
        clips = given_clips(self.modalities, frames=frames, events=events)
        check_clips(clips, self.modalities[0], CHANNELS[self.modalities[0]], self.size)
        T, group = clips.shape[1], 1 + self.alpha
        if T % group == 0:
            return clips
        if self.training:
            raise ValueError(f"clips of {T} steps: with alpha={self.alpha} training needs a number divisible by {group}")
        return clips[:, torch.arange(-(-T // group) * group, device=clips.device) % T]

    def _branches(self, clips: Tensor, seen: dict[str, Tensor] | None) -> tuple[Tensor, Tensor]:
        big, small = self._stem(clips)
        for stage in STAGES:
            big, small = self.backbone.stage(stage, big), self.backbone.stage(stage, small)
            inside: dict[str, Tensor] = {}
            if str(stage) in self.csp:
                small = small + self.csp[str(stage)](big)
            for blocks in (self.dao, self.tks):
                if str(stage) in blocks:
                    big, small = blocks[str(stage)](big, small, None if seen is None else inside)
            if seen is not None:
                seen.update({f"{name}{stage}": value for name, value in inside.items()})
        return big, small

    def _stem(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Maps after the stem: big `[B, M, width, H / 4, W / 4]`, small `[B, M * alpha, width, H / 8, W / 8]`."""
        if self.small == "pooled":
            big, small = self._split(self.backbone.stem(clips))
            return big, F.max_pool2d(small.flatten(0, 1), 2).unflatten(0, small.shape[:2])
        big, small = self._split(clips)
        halved = F.interpolate(
            small.flatten(0, 1), scale_factor=0.5, mode="bilinear", align_corners=False
        )  # [BM alpha, channels, H/2, W/2]
        return self.backbone.stem(big), self.backbone.stem(halved.unflatten(0, small.shape[:2]))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Big and small frames of `[B, T, ...]`, each in their order: `[B, M, ...]` and `[B, M * alpha, ...]`."""
        groups = x.unflatten(1, (-1, 1 + self.alpha))
        return groups[:, :, 0], groups[:, :, 1:].flatten(1, 2)
