"""Pyramid aggregation: streams of maps halved in time level by level, and a head at every level (the shell of PSTA and SDCL)."""

from functools import cache, reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.containers import DictOf, ListOf
from reidlib.models.layers.heads import BNNeck, ReidOutput, check_places
from reidlib.models.layers.spiking_resnet import initialise, pool_positions
from reidlib.models.layers.stam import STAM, unit

PYRAMIDS = ("none", "residual", "ffb")
JOINT = "joint"


class ResidualMerge(nn.Module):
    """Table 4's "residual": mean of two neighbouring steps, then one bottleneck with a skip (our reading).

    `[B, T, C, H, W]` -> `[B, T / 2, C, H, W]`, T even.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 4
        last = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.convolve = nn.Sequential(unit(channels, inner), unit(inner, inner, kernel=3), last)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        B = x.shape[0]
        x = x.unflatten(1, (-1, 2)).mean(2).flatten(0, 1)  # [BT/2, C, H, W]
        return F.relu(x + self.convolve(x)).unflatten(0, (B, -1))


class Pyramid(nn.Module):
    """Maps of every stream `{name: [B, T, C, H, W]}` -> the sum of the streams at each level, `[B, T / 2^l, C, H, W]`, l = 1, 2, ...

    kind: "ffb" (STAM of PSTA; relation: see `TemporalRelation`), "residual" or "none" (no level: the sum of the streams itself is the
    only map).
    Several streams get one more, `joint`: at every level it merges the sum of all of them, itself included from the second level on
    (our reading of "per stream, then a joint FFB and sums"). Each stream and level has weights of its own. A clip whose length
    does not divide by 2^levels gets the levels that it allows, and is told so once.
    """

    def __init__(
        self, channels: int, positions: int, streams: tuple[str, ...], levels: int = 3, kind: str = "ffb", relation: str = "squared"
    ):
        super().__init__()
        if kind not in PYRAMIDS:
            raise ValueError(f"unknown pyramid {kind!r}; choose one of {', '.join(PYRAMIDS)}")
        if levels < 1:
            raise ValueError(f"{levels} pyramid levels: 1 is the least (pyramid='none' has none)")
        self.levels = 0 if kind == "none" else levels
        self.streams = (*streams, JOINT) if len(streams) > 1 else tuple(streams)
        make = (lambda: STAM(channels, positions, relation)) if kind == "ffb" else (lambda: ResidualMerge(channels))
        self.merges: DictOf[nn.ModuleList] = DictOf({name: nn.ModuleList(make() for _ in range(self.levels)) for name in self.streams})

    def forward(self, maps: dict[str, Tensor]) -> list[Tensor]:
        T = next(iter(maps.values())).shape[1]
        depth = min(self.levels, (T & -T).bit_length() - 1)
        if depth < self.levels:
            _say_once(f"clips of {T} steps allow {depth} of {self.levels} pyramid levels (each halves them): the others stay unused")
        found = []
        for level in range(depth):
            if JOINT in self.streams:
                maps = maps | {JOINT: reduce(torch.add, maps.values())}
            maps = {name: self.merges[name][level](maps[name]) for name in self.streams}
            found.append(reduce(torch.add, maps.values()))
        return found or [reduce(torch.add, maps.values())]


@cache
def _say_once(line: str) -> None:
    print(line)


class PyramidHead(nn.Module):
    """Streams of maps -> embeddings `[B, C]` (`eval`) or `ReidOutput` (`train`): the pyramid and a BN-neck with classifier per level.

    With g_l the level's map pooled over places and steps, head l sees (g_1 + ... + g_l) / l; the losses are averaged over the heads and
    the embedding is the last head's. pooling over positions: "mean" or "max". metric: whether the metric loss sees the feature after the
    BN-neck ("neck", the release's way) or before ("feature"). embedding: the same choice for test time. relation: see `TemporalRelation`.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        positions: int,
        streams: tuple[str, ...],
        pyramid: str = "ffb",
        levels: int = 3,
        pooling: str = "mean",
        metric: str = "neck",
        embedding: str = "neck",
        relation: str = "squared",
    ):
        super().__init__()
        check_places(metric=metric, embedding=embedding)
        self.pyramid = Pyramid(channels, positions, streams, levels, pyramid, relation)
        self.necks: ListOf[BNNeck] = ListOf(BNNeck(channels, num_classes, bias=True) for _ in range(max(1, self.pyramid.levels)))
        self.pooling, self.metric, self.embedding = pooling, metric, embedding

    def forward(self, maps: dict[str, Tensor]) -> Tensor | ReidOutput:
        pooled = [pool_positions(x, self.pooling).mean(1) for x in self.pyramid(maps)]  # [B, C] each
        features = [reduce(torch.add, pooled[: level + 1]) / (level + 1) for level in range(len(pooled))]
        if not self.training:
            neck = self.necks[len(features) - 1]
            return neck.norm(features[-1]) if self.embedding == "neck" else features[-1]
        normalised, logits = zip(*(neck(feature) for neck, feature in zip(self.necks, features, strict=False)), strict=True)
        shown = list(normalised) if self.metric == "neck" else features
        return ReidOutput(shown, list(logits), weights=[1 / len(features)] * len(features))
