"""The RFC block of RFCnet: a map is cut into body regions, the regions are completed, and each position gets its region's share back.

R. Hou's thesis, chapter 5; our reading, see `completion` for what it rests on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from reidlib.models.layers.completion import SpatialCompletion, TemporalCompletion
from reidlib.models.layers.partition import Partition
from reidlib.models.layers.spiking_resnet import initialise

ORDERS = ("s-t", "t-s", "parallel")
FOREGROUNDS = ("weighted", "modulated", "none")


class Foreground(nn.Module):
    """A, how much of the person each position shows: maps `[M, D, H, W]` -> logits `[M, 1, H, W]` (1x1 convolution and BN)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, 1, 1, bias=False), nn.BatchNorm2d(1))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def modulated(x: Tensor, foreground: Tensor | None) -> Tensor:
    """(1 + A / sum A) F, the release's use of the foreground: a change of the order of 1 / (H W); F itself without one."""
    if foreground is None:
        return x
    return x * (1 + (foreground / foreground.sum((2, 3), keepdim=True)).to(x.dtype))


class RegionCompletion(nn.Module):
    """RFC: `[B, T, C, H, W]` -> the same shape, C even. At first it changes nothing: each of its branches ends in a BatchNorm of weight 0.

    size: (H, W) of the map. regions, adaptive: see `Partition`. srfc, trfc: which completions it has, each with a pair of 1x1 convolutions
    of its own around it (to C / 2 and back); order: which of the two comes first, the second reading the first one's output, or
    "parallel", the sum of both. foreground: a region's vector is the mean over its positions "weighted" by A (the text; its divisor cannot
    be read, the sum of A over the region is our reading), the plain mean of the `modulated` map (the release), or "none". Without
    any completion the block hands on the modulated map (the "Foreground" row of table 5.1, our reading; this one does change the map).
    spatial: options of `SpatialCompletion`.
    `seen`, all for `[B, T]` frames: `regions` masks `[B, T, n, H, W]`; `foreground` logits `[B, T, H, W]`; `cuts` logits of the partition
    `[B, T, L]`; `similarity`, see `SpatialCompletion`; `completed`, the norm of the block's output `[B, T, H, W]` (without gradient).
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        regions: int = 6,
        adaptive: bool = True,
        srfc: bool = True,
        trfc: bool = True,
        order: str = "s-t",
        foreground: str = "weighted",
        **spatial: Any,
    ):
        super().__init__()
        if order not in ORDERS:
            raise ValueError(f"unknown order {order!r}; choose one of {', '.join(ORDERS)}")
        if foreground not in FOREGROUNDS:
            raise ValueError(f"unknown foreground {foreground!r}; choose one of {', '.join(FOREGROUNDS)}")
        if not (srfc or trfc or foreground == "modulated"):
            raise ValueError(f"a block without completion that uses its foreground as {foreground!r} does nothing: choose modulated")
        if channels % 2:
            raise ValueError(f"{channels} channels: regions are completed with half of them, so they must be even")
        self.order, self.use = order, foreground
        self.foreground = Foreground(channels) if foreground != "none" else None
        self.partition = Partition(channels, size, regions, adaptive) if srfc or trfc else None
        names = [name for name, there in (("spatial", srfc), ("temporal", trfc)) if there]
        self.branches = nn.ModuleDict({name: Branch(channels) for name in (names[::-1] if order == "t-s" else names)})
        self.spatial = SpatialCompletion(channels // 2, **spatial) if srfc else None
        self.temporal = TemporalCompletion(channels // 2) if trfc else None

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        B, T, _, H, W = x.shape
        maps = x.flatten(0, 1)  # [BT, C, H, W]
        A = None
        if self.foreground is not None:
            logits = self.foreground(maps)  # [BT, 1, H, W]
            A = logits.float().sigmoid()
            if seen is not None:
                seen["foreground"] = logits.reshape(B, T, H, W)
        out = modulated(maps, A) if self.partition is None else self._completed(self.partition, maps, A, (B, T), seen)
        out = out.unflatten(0, (B, T))
        if seen is not None:
            seen["completed"] = out.detach().float().norm(dim=2)
        return out

    def _completed(
        self, partition: Partition, x: Tensor, A: Tensor | None, clips: tuple[int, int], seen: dict[str, Tensor] | None
    ) -> Tensor:
        masks, boxes, cuts = partition(x)
        if seen is not None:
            seen["regions"] = masks.unflatten(0, clips)
            if cuts is not None:
                seen["cuts"] = cuts.unflatten(0, clips)
        weights = masks * A if self.use == "weighted" and A is not None else masks  # [BT, n, H, W]
        weights = weights / weights.sum((2, 3), keepdim=True).clamp_min(1e-6)
        complete: dict[str, Callable[[Tensor], Tensor]] = {}
        if self.spatial is not None:
            complete["spatial"] = partial(self.spatial, boxes=boxes, seen=seen)
        if self.temporal is not None:
            complete["temporal"] = partial(over_frames, self.temporal, clips)
        start = x
        for name, branch in self.branches.items():
            source = start if self.order == "parallel" else x
            read = modulated(source, A) if self.use == "modulated" else source
            x = x + branch(read, masks, weights, complete[name])
        return x


def over_frames(completion: TemporalCompletion, clips: tuple[int, int], regions: Tensor) -> Tensor:
    """TRFC of the regions of `clips` = (B, T) frames: `[BT, n, c]` -> the same shape."""
    return completion(regions.unflatten(0, clips)).flatten(0, 1)


class Branch(nn.Module):
    """Region vectors of a map, completed, and projected back: `[M, C, H, W]` -> `[M, C, H, W]`, what is to be added.

    Both 1x1 convolutions work on positions, as the published operation counts say, and the last BatchNorm starts at 0."""

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 2
        self.reduce = nn.Conv2d(channels, inner, 1)
        norm = nn.BatchNorm2d(channels)
        self.extend = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), norm)
        initialise(self)
        nn.init.zeros_(norm.weight)

    def forward(self, x: Tensor, masks: Tensor, weights: Tensor, complete: Callable[[Tensor], Tensor]) -> Tensor:
        M, _, H, W = x.shape
        reduced = self.reduce(x).flatten(2)  # [M, C/2, HW]
        vectors = weights.flatten(2).to(x.dtype) @ reduced.mT  # [M, n, C/2], (5.1)
        back = complete(vectors).mT @ masks.flatten(2).to(x.dtype)  # [M, C/2, HW]
        return self.extend(back.reshape(M, -1, H, W))
