"""Temporal kernel selection (TKS): each clip chooses, channel by channel, over how many frames its regions are convolved.

R. Hou's thesis, chapter 6 (equations 6.6 to 6.9; "BiCnet-TKS", CVPR 2021). Our reading; the two layers that select are the release's,
whose parameter count is the published one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.spiking_resnet import initialise

FUSIONS = ("selective", "fixed")


def kernel_sizes(kernels: int | Sequence[int]) -> tuple[int, ...]:
    """Temporal extents 2 i + 1 in frames: a number K stands for 3, 5, ..., 2 K + 1. ValueError for other than odd sizes from 3 on."""
    sizes = tuple(2 * i + 3 for i in range(kernels)) if isinstance(kernels, int) else tuple(kernels)
    if not sizes or any(size < 3 or size % 2 == 0 for size in sizes):
        raise ValueError(f"kernels {kernels!r}: give a number of at least 1, or the frames that each spans, odd and at least 3")
    return sizes


class TemporalKernels(nn.Module):
    """Maps of frames in their order, `[B, N, C, h, w]` each given by (big, small) -> the same two.

    Big `[B, M, C, h, w]` and small `[B, M * alpha, C, h / 2, w / 2]` are pooled to a common grid of regions and put back in the order of
    time; every kernel is a convolution of three taps over frames, dilated to its size. Their sum, averaged over the clip, selects how much
    of each every channel takes (6.6 to 6.8; fusion "fixed": all alike, Z = mean of the kernels' outputs, no selecting layers). Z is
    spread over the positions of its region and added (6.9); at first nothing, by a BatchNorm of weight 0 before.
    grid: regions (down, across); None: one per 4 x 4 positions of the small map, as in the release (4 x 2 behind stage 2 at 256 x 128).
    `seen["kernels"]`: g of (6.7), share of each kernel `[B, K, C]`.
    """

    def __init__(
        self,
        channels: int,
        kernels: int | Sequence[int] = 2,
        fusion: str = "selective",
        grid: tuple[int, int] | None = None,
        reduction: int = 16,
    ):
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion {fusion!r}; choose one of {', '.join(FUSIONS)}")
        self.sizes, self.grid = kernel_sizes(kernels), grid
        reach = [size // 2 for size in self.sizes]
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, (3, 1), padding=(i, 0), dilation=(i, 1), bias=False) for i in reach)
        self.select = None
        if fusion == "selective" and len(self.sizes) > 1:
            inner = max(1, channels // reduction)
            squeeze = nn.Sequential(nn.Linear(channels, inner, bias=False), nn.BatchNorm1d(inner), nn.ReLU(inplace=True))
            self.select = nn.Sequential(*squeeze, nn.Linear(inner, len(self.sizes) * channels, bias=False))
        # Of three dimensions: with four of which one is 1, as hw may be, torch 2.11 mixes up orders of memory and its gradients are wrong.
        self.norm = nn.BatchNorm1d(channels)
        initialise(self)
        nn.init.zeros_(self.norm.weight)

    def forward(self, big: Tensor, small: Tensor, seen: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        B, M, C, _, _ = big.shape
        h, w = self.grid or tuple(max(1, extent // 4) for extent in small.shape[3:])
        pooled = [F.adaptive_avg_pool2d(x.flatten(0, 1), (h, w)).reshape(B, M, -1, C, h * w) for x in (big, small)]
        X = torch.cat(pooled, 2).flatten(1, 2).transpose(1, 2)  # [B, C, N, hw]
        Y = torch.stack([convolve(X) for convolve in self.convolutions], 1)  # [B, K, C, N, hw]
        g = self.shares(Y)
        if seen is not None:
            seen["kernels"] = g
        Z = self.norm((g[:, :, :, None, None] * Y).sum(1).flatten(2))  # [B, C, N * hw]
        frames = Z.unflatten(2, (-1, h * w)).transpose(1, 2).reshape(B, M, -1, C, h, w)
        return big + _spread(frames[:, :, :1], big), small + _spread(frames[:, :, 1:], small)

    def shares(self, Y: Tensor) -> Tensor:
        """g of (6.7), which sums to 1 over the kernels: `[B, K, C, N, P]` -> `[B, K, C]`."""
        B, K, C = Y.shape[:3]
        if self.select is None:
            return Y.new_full((B, K, C), 1 / K)
        u = Y.sum(1).mean((2, 3))  # [B, C], (6.6)
        return self.select(u).reshape(B, K, C).softmax(1)


def _spread(regions: Tensor, like: Tensor) -> Tensor:
    """U of (6.9), nearest: regions of frames `[B, M, n, C, h, w]` -> the shape of `like` `[B, M * n, C, H, W]`."""
    return F.interpolate(regions.flatten(0, 2), like.shape[3:], mode="nearest").reshape_as(like)
