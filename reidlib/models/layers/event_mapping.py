"""Event deformable mapping of SDCL: a 3x3 convolution that sees the nine nearest events in place of its regular grid.

C. Cao et al., "Event-guided Person Re-Identification via Sparse-Dense Complementary Learning", CVPR 2023:
Y = sum_n w_n X(m + m_n + offset_n), offset_n = nearest_n - centre - grid_n, at positions with events only. Offsets are computed, not
learned, so every sampled place is a pixel and the convolution is a sum over rows, without interpolation.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.ops import deform_conv2d

from reidlib import processes
from reidlib.models.layers.nearest_events import GRID, TAPS, NearestEvents
from reidlib.models.layers.sampling import sample, sampling_places
from reidlib.models.layers.spiking_resnet import initialise

OFFSETS = ("nearest", "learned")
OUTSIDE = ("zero", "regular")


@njit(cache=True, nogil=True)
def _sum_taps(z: np.ndarray, nearest: np.ndarray, first: int, out: np.ndarray) -> None:  # pragma: no cover - compiled
    for i in range(out.shape[0]):
        for n in range(nearest.shape[1]):
            row = nearest[i, n] - first
            if row >= 0:
                for c in range(out.shape[1]):
                    out[i, c] += z[row, n, c]


@njit(cache=True, nogil=True)
def _spread_taps(grad: np.ndarray, nearest: np.ndarray, first: int, grad_z: np.ndarray) -> None:  # pragma: no cover - compiled
    for i in range(grad.shape[0]):
        for n in range(nearest.shape[1]):
            row = nearest[i, n] - first
            if row >= 0:
                for c in range(grad.shape[1]):
                    grad_z[row, n, c] += grad[i, c]


class _SumTaps(torch.autograd.Function):
    """`sum_taps` in one pass, float32 on the CPU: there indexing with autograd costs about three times as much (measured)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, nearest: Tensor, first: int) -> Tensor:
        ctx.nearest, ctx.first, ctx.shape = nearest, first, z.shape
        out = z.new_zeros(z.shape[0], z.shape[2])
        _sum_taps(z.detach().contiguous().numpy(), nearest.numpy(), first, out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grad_z = grad.new_zeros(ctx.shape)
        _spread_taps(grad.contiguous().numpy(), ctx.nearest.numpy(), ctx.first, grad_z.numpy())
        return grad_z, None, None


def sum_taps(z: Tensor, nearest: Tensor, first: int = 0) -> Tensor:
    """y_i = sum_n z[nearest_in - first, n]: `[N, 9, C]` and int32 `[N, 9]` -> `[N, C]`; a missing position (-1) adds nothing."""
    if z.device.type == "cpu" and z.dtype == torch.float32:
        return _SumTaps.apply(z, nearest, first)
    N, K, C = z.shape
    taps = torch.arange(K, device=z.device)
    index = torch.where(nearest >= 0, (nearest - first) * K + taps, N * K)  # [N, 9]
    padded = F.pad(z.reshape(-1, C), (0, 0, 0, 1))  # [9N + 1, C], the last row is zero
    return padded[index.flatten()].view(N, K, C).sum(1)


def convolve_nearest(rows: Tensor, weight: Tensor, events: NearestEvents) -> Tensor:
    """The mapping itself: features at the positions with events `[N, C]`, weight `[D, C, 3, 3]` -> `[N, D]`.

    Tap n of the kernel, in reading order, sees the n-th nearest position. A frame with fewer than nine positions
    leaves the last taps zero, as a border does.
    """
    D, C = weight.shape[:2]
    taps = weight.flatten(2).permute(1, 2, 0).reshape(C, TAPS * D)
    found = [sum_taps((rows[a:b] @ taps).view(-1, TAPS, D), events.nearest[a:b], a) for a, b in events.parts()]
    return torch.cat(found) if found else rows.new_zeros(0, D)  # [N, D]


def convolve_shifted(maps: Tensor, shifts: Tensor, weight: Tensor) -> Tensor:
    """3x3 deformable convolution: maps `[F, C, H, W]`, shifts `[F, 18, H, W]` ((dy, dx) per tap), weight `[D, C, 3, 3]` -> `[F, D, H, W]`.

    torchvision's operator; on the CPU the same by `grid_sample`, which is about five times faster there (measured).
    """
    if maps.is_cuda:
        return deform_conv2d(maps, shifts, weight, padding=1)
    places = sampling_places(shifts.unflatten(1, (TAPS, 2)) + GRID[:, :, None, None])  # [F, 9, 2, H, W]
    return F.conv2d(sample(maps, places).flatten(1, 2), weight.flatten(1)[:, :, None, None])


def to_rows(maps: Tensor, places: Tensor | None = None) -> Tensor:
    """Maps `[F, C, H, W]` -> the features at `places` `[N, C]`, or of every position `[F * H * W, C]`."""
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)  # [FHW, C]
    return rows if places is None else rows[places]


def to_maps(rows: Tensor, shape: tuple[int, ...], places: Tensor | None = None) -> Tensor:
    """The way back, `shape` = (F, H, W): zero where a position is not among `places`. -> `[F, C, H, W]`."""
    if places is not None:
        rows = rows.new_zeros(shape[0] * shape[1] * shape[2], rows.shape[1]).index_copy(0, places, rows)  # [FHW, C]
    return rows.unflatten(0, shape).permute(0, 3, 1, 2)


class EventMapping(nn.Module):
    """One mapping, then BN and ReLU over the positions it writes: rows `[R, C]` -> the same.

    offsets: "nearest" (the paper's) or "learned" (a 3x3 convolution, zero at the start, gives them and features are interpolated, the
    release's form). outside: positions without events stay "zero", and rows are the positions with events; or they take part with the
    plain 3x3 grid ("regular"), and rows are all positions.
    """

    def __init__(self, channels: int, offsets: str = "nearest", outside: str = "zero"):
        super().__init__()
        if offsets not in OFFSETS:
            raise ValueError(f"unknown offsets {offsets!r}; choose one of {', '.join(OFFSETS)}")
        if outside not in OUTSIDE:
            raise ValueError(f"unknown outside {outside!r}; choose one of {', '.join(OUTSIDE)}")
        self.outside = outside
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        initialise(self)
        self.shift = nn.Conv2d(channels, 2 * TAPS, 3, padding=1) if offsets == "learned" else None
        if self.shift is not None:
            for parameter in self.shift.parameters():
                nn.init.zeros_(parameter)

    def places(self, events: NearestEvents) -> Tensor | None:
        """Which positions the rows are; None for all."""
        return events.places if self.outside == "zero" else None

    def forward(self, rows: Tensor, events: NearestEvents) -> Tensor:
        if self.shift is not None:
            y = self._interpolated(self.shift, rows, events)
        elif self.outside == "zero":
            y = convolve_nearest(rows, self.conv.weight, events)
        else:
            regular = to_rows(self.conv(to_maps(rows, tuple(events.mask.shape))))  # [FHW, C]
            y = regular.index_copy(0, events.places, convolve_nearest(rows[events.places], self.conv.weight, events))
        return F.relu(normalise_rows(self.norm, y))

    def offsets(self, rows: Tensor, events: NearestEvents) -> Tensor:
        """offset_n of every position, (dy, dx), `[F, 9, 2, H, W]`; NaN where the output is zero or a tap sees nothing."""
        frames, H, W = events.mask.shape
        if self.shift is None:
            found = events.displacements() - GRID.to(rows.device)[:, :, None, None]
            off = torch.zeros_like(found)
        else:
            found = self._shifts(self.shift, to_maps(rows, (frames, H, W), self.places(events)), events).unflatten(1, (TAPS, 2))
            off = found
        off = off if self.outside == "regular" else torch.full_like(off, torch.nan)
        return torch.where(events.mask[:, None, None], found, off)

    def _shifts(self, shift: nn.Conv2d, maps: Tensor, events: NearestEvents) -> Tensor:
        shifts = shift(maps)  # [F, 18, H, W]
        return shifts * events.mask[:, None] if self.outside == "regular" else shifts

    def _interpolated(self, shift: nn.Conv2d, rows: Tensor, events: NearestEvents) -> Tensor:
        places = self.places(events)
        maps = to_maps(rows, tuple(events.mask.shape), places).contiguous()  # [F, C, H, W]
        return to_rows(convolve_shifted(maps, self._shifts(shift, maps, events), self.conv.weight), places)


def normalise_rows(norm: nn.BatchNorm1d, rows: Tensor) -> Tensor:
    """BatchNorm of `[R, C]`; a batch with fewer than two rows has no statistics of its own and takes the running ones."""
    if norm.training and _in_batch(rows) < 2:
        return F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
    if rows.shape[1] < 8:  # too narrow for torch's fast path over rows: five times slower than this (measured)
        return norm(rows.T.contiguous()[None])[0].T
    return norm(rows)


def _in_batch(rows: Tensor) -> int:
    """Rows of the batch, in all processes."""
    return len(rows) if processes.count() == 1 else int(processes.summed(torch.tensor(len(rows), device=rows.device)))
