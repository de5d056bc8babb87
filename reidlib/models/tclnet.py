"""TCLNet: the frames of a clip are shown to learners in turn, each of which must do without what the ones before it have used.

R. Hou et al., "Temporal Complementary Learning for Video Person Re-Identification", ECCV 2020, in the form of chapter 3 of R. Hou's
thesis. *Our reading* (specification, section 2): the text; where the release differs, its way is an option.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.boosting import SaliencyBoosting
from reidlib.models.layers.clip_input import CHANNELS, at_test_time, checked_input, given_clips
from reidlib.models.layers.containers import ListOf
from reidlib.models.layers.erasing import SaliencyErasing
from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.interaction import InteractionAggregation
from reidlib.models.layers.part_maps import part_losses, part_views
from reidlib.models.layers.spiking_resnet import pool_positions
from reidlib.models.layers.video_resnet import MakeBlock, VideoResNet

BEFORE_LEARNERS = (1, 2, 3)


class TCLNet(ReidModel):
    """Frames `[B, T, 3, H, W]`, normalised RGB -> `[B, learners * D]` embeddings (`eval`) or `ReidOutput` (`train`), a head per learner.

    D = 32 * width for ResNet-50, 8 * width for ResNet-18. backbone, width, pretrained: see `ImageResNet`. inputs: ("events",) for event
    frames `[B, T, 2, H, W]` in their place.
    Frame t is learner (t mod learners)'s; learners share all but the last block of stage 4. T must be a multiple of `learners`; at test
    time a clip that is not is completed by its own frames from the first on, as the release completes a tracklet's last clip.
    seo: whether later learners meet erased maps at all. erased, strides: see `SaliencyErasing`; seo_reading, tsb_reading: the
    `reading` of `SaliencyErasing` and `SaliencyBoosting`; "released" is the release's. tsb: stages (1 to 3) behind which TSB stands.
    ia: stages (1 to 3) with an IA block of IANet, in front of TSB where both stand. part_weight: of their part maps, see `IANet`.
    pooling of a learner's map into its descriptor: "mean" (the text) or "max" (the release); over segments always the mean. metric: whether
    the metric loss sees features after the BN-neck ("neck", the release's way) or before ("feature"). embedding: the same choice for
    test time; each learner's part is brought to length 1 and they are joined.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        width: int = 64,
        learners: int = 2,
        seo: bool = True,
        erased: tuple[int, int] | None = None,
        strides: tuple[int, int] = (1, 1),
        seo_reading: str = "rescaled",
        tsb: tuple[int, ...] = (2,),
        tsb_reading: str = "text",
        ia: tuple[int, ...] = (),
        inputs: tuple[str, ...] = ("frames",),
        pooling: str = "mean",
        metric: str = "neck",
        embedding: str = "neck",
        part_weight: float = 0.5,
        pretrained: bool = False,
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        if learners < 1:
            raise ValueError(f"{learners} learners: TCLNet needs at least 1")
        self.modalities, self.supervised = checked_input(inputs), bool(part_weight) and bool(ia)
        after = blocks_by_stage(ia, tsb, tsb_reading)
        self.backbone = VideoResNet(backbone, width, pretrained, after, CHANNELS[self.modalities[0]])
        channels = self.backbone.channels
        *_, last = self.backbone.trunk.layer4
        self.later = nn.ModuleList(deepcopy(last) for _ in range(learners - 1))
        erase = seo and learners > 1
        self.seo = SaliencyErasing(self.backbone.stage_channels[3], channels, erased, strides, seo_reading) if erase else None
        self.necks: ListOf[BNNeck] = ListOf(BNNeck(channels, num_classes) for _ in range(learners))
        self.pooling, self.metric, self.embedding, self.part_weight = pooling, metric, embedding, part_weight

    def forward(self, frames: Tensor | None = None, parts: Tensor | None = None, events: Tensor | None = None) -> Tensor | ReidOutput:
        """parts: see `IANet`; they need IA blocks."""
        clips = given_clips(self.modalities, frames=frames, events=events)
        seen: dict[str, Tensor] = {}
        features = self._features(clips, seen)
        pairs = list(zip(self.necks, features, strict=True))
        if not self.training:
            ends = [neck.norm(feature) for neck, feature in pairs] if self.embedding == "neck" else features
            return torch.cat([F.normalize(end, dim=1) for end in ends], 1)  # [B, learners * D]
        normalised, logits = zip(*(neck(feature) for neck, feature in pairs), strict=True)
        shown = list(normalised) if self.metric == "neck" else features
        return ReidOutput(shown, list(logits), part_losses(seen, parts, clips, self.part_weight))

    def inner_views(self, frames: Tensor | None = None, events: Tensor | None = None) -> dict[str, Tensor]:
        """What happens inside, computed as at test time whatever the mode.

        `erased` and `correlation`, `[B, T, h, w]`: the blocks taken out of each frame (1) and what chose them; a first learner's frames
        have no correlation, 1 stands there. `memory2` (and so on, by stage): TSB's weights `[B, T, T, h, w]`. `parts2`: as in `IANet`.
        Frames that complete a clip are left out, and so is what TSB's weights gave to them.
        """
        seen: dict[str, Tensor] = {}
        with at_test_time(self):
            self._features(given_clips(self.modalities, frames=frames, events=events), seen)
        return part_views(seen)

    def _features(self, clips: Tensor, seen: dict[str, Tensor]) -> list[Tensor]:
        """One feature per learner, `[B, D]` each."""
        T = clips.shape[1]
        clips = self._completed(clips)
        x = self.backbone.stem(clips)
        for stage in BEFORE_LEARNERS:
            x = self.backbone.stage(stage, x, seen)
        features = self._learn(x, seen)
        if clips.shape[1] != T:  # what was shown of the repeated frames goes
            for name, value in seen.items():
                seen[name] = value[:, :T, :T] if name.startswith("memory") else value[:, :T]
        return features

    def _completed(self, clips: Tensor) -> Tensor:
        T, N = clips.shape[1], len(self.necks)
        if T % N == 0:
            return clips
        if self.training:
            raise ValueError(f"clips of {T} steps for {N} learners, who see the frames in turn: steps must be a multiple of the learners")
        return clips[:, torch.arange(-(-T // N) * N) % T]

    def _learn(self, x: Tensor, seen: dict[str, Tensor]) -> list[Tensor]:
        """TSE, (3.1) to (3.4): `[B, T, C, H, W]` after stage 3 -> `[B, D]` per learner, means over the segments."""
        B, N = len(x), len(self.necks)
        segments = x.unflatten(1, (-1, N))  # [B, K, N, C, H, W]
        used: list[Tensor] = []  # [BK, D] each
        found: list[Tensor] = []  # [B, D] each
        shown: list[dict[str, Tensor]] = []
        for n in range(N):
            maps = segments[:, :, n].flatten(0, 1)  # [BK, C, H, W]
            inside: dict[str, Tensor] = {}
            if self.seo is not None:
                maps = self.seo(maps, used, inside)
            maps = self._learner(n, maps)  # [BK, D, H, W]
            used.append(maps.mean((2, 3)))
            found.append(pool_positions(maps, self.pooling).unflatten(0, (B, -1)).mean(1))
            shown.append(inside)
        for name in shown[0]:
            by_frame = torch.stack([inside[name] for inside in shown], 1)  # [BK, N, H, W]
            seen[name] = by_frame.unflatten(0, (B, -1)).flatten(1, 2)  # [B, T, H, W]
        return found

    def _learner(self, n: int, maps: Tensor) -> Tensor:
        *shared, last = self.backbone.trunk.layer4
        for block in shared:
            maps = block(maps)
        return (last if n == 0 else self.later[n - 1])(maps)


def blocks_by_stage(ia: tuple[int, ...], tsb: tuple[int, ...], tsb_reading: str) -> dict[int, list[MakeBlock]]:
    """Makers of the blocks behind each stage; ValueError for stage 4, which belongs to the learners."""
    for name, stages in (("ia", ia), ("tsb", tsb)):
        if not set(stages) <= set(BEFORE_LEARNERS):
            raise ValueError(f"{name} after stages {tuple(stages)}: legal are {BEFORE_LEARNERS}, stage 4 belongs to the learners")

    def boost(channels: int) -> SaliencyBoosting:
        return SaliencyBoosting(channels, reading=tsb_reading)

    return {stage: [InteractionAggregation] * (stage in ia) + [boost] * (stage in tsb) for stage in BEFORE_LEARNERS}
