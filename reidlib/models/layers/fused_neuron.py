"""One-pass CPU kernel for multi-step integrate-and-fire neurons with the arctangent surrogate.

SpikingJelly's CPU path runs about six tensor operations per time step; here the whole recurrence is one
loop over memory, forward and backward. The dynamics are SpikingJelly's (`LIFNode`, `IFNode`); the tests
compare spikes and gradients with theirs. On a GPU, in other precisions, or with another surrogate the
nodes of `spiking.py` fall back to SpikingJelly's own path.
"""

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 4096  # neurons whose state stays in the nearest cache over all steps
# NumPy's error model: a division that might raise cannot be vectorised, and backward would take five times as long.
_compiled = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")


@_compiled
def _forward(
    x: np.ndarray,
    keep: np.float32,
    gain: np.float32,
    threshold: np.float32,
    reset: np.float32,
    soft: bool,
    potential: np.ndarray,
    spikes: np.ndarray,
    v: np.ndarray,
) -> None:  # pragma: no cover - compiled
    T, N = x.shape
    one, zero = np.float32(1.0), np.float32(0.0)
    rest = (one - keep) * reset
    v[:] = reset
    for start in range(0, N, _BLOCK):
        stop = min(start + _BLOCK, N)
        state = v[start:stop]
        for t in range(T):  # slices, so that the inner loop runs from 0 and is vectorised
            row = t % len(potential)
            current, h, s = x[t, start:stop], potential[row, start:stop], spikes[t, start:stop]
            for n in range(stop - start):
                value = keep * state[n] + gain * current[n] + rest
                fired = value >= threshold
                h[n] = value
                s[n] = one if fired else zero
                if soft:
                    state[n] = value - threshold if fired else value
                else:
                    state[n] = reset if fired else value


@_compiled
def _backward(
    grad_spikes: np.ndarray,
    potential: np.ndarray,
    keep: np.float32,
    gain: np.float32,
    threshold: np.float32,
    reset: np.float32,
    soft: bool,
    detach: bool,
    alpha: np.float32,
    grad_x: np.ndarray,
) -> None:  # pragma: no cover - compiled
    T, N = potential.shape
    one, half, zero = np.float32(1.0), np.float32(0.5), np.float32(0.0)
    slope = np.float32(math.pi / 2.0) * alpha
    carry = np.zeros(N, np.float32)  # gradient with respect to the potential after the reset
    for t in range(T - 1, -1, -1):
        for n in range(N):
            u = potential[t, n] - threshold
            surrogate = half * alpha / (one + (slope * u) * (slope * u))
            silent = zero if u >= zero else one
            through = one if soft else silent
            if not detach:
                through -= (threshold if soft else potential[t, n] - reset) * surrogate
            g = grad_spikes[t, n] * surrogate + carry[n] * through
            grad_x[t, n] = g * gain
            carry[n] = g * keep


class FusedNeuron(torch.autograd.Function):
    """Input current `[T, ...]` -> spikes `[T, ...]` (0 or 1) and the last potential `[...]`, which carries no gradient.

    `keep` is the share of the potential that survives a step (1 for IF, 1 - 1/tau for LIF), `gain` the factor on
    the input (1/tau for a LIF whose input decays too, else 1). float32, CPU. Maps `[T, B, C, H, W]` whose channels lie last in memory
    are taken and given as they are.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, keep: float, gain: float, threshold: float, reset: float, soft: bool, detach: bool, alpha: float
    ) -> tuple[Tensor, Tensor]:
        ctx.channels_last = x.ndim == 5 and not x.is_contiguous() and x.movedim(2, -1).is_contiguous()
        x = _ordered(x.detach(), ctx.channels_last)
        learns = ctx.needs_input_grad[0]
        potential = torch.empty_like(x if learns else x[:1])  # kept for the backward pass, else one row that every step overwrites
        spikes, last = torch.empty_like(x), torch.empty_like(x[0])
        constants = np.float32(keep), np.float32(gain), np.float32(threshold), np.float32(reset)
        _forward(_rows(x), *constants, soft, _rows(potential), _rows(spikes), last.view(-1).numpy())
        if learns:
            ctx.save_for_backward(potential)
        ctx.settings = *constants, soft, detach, np.float32(alpha)
        if ctx.channels_last:
            spikes, last = spikes.movedim(-1, 2), last.movedim(-1, 1)
        ctx.mark_non_differentiable(last)
        return spikes, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None, None, None, None]:
        (potential,) = ctx.saved_tensors
        grad_x = torch.empty_like(potential)
        grad = _ordered(grad_spikes, ctx.channels_last)
        keep, gain, threshold, reset, soft, detach, alpha = ctx.settings
        _backward(_rows(grad), _rows(potential), keep, gain, threshold, reset, soft, detach, alpha, _rows(grad_x))
        return grad_x.movedim(-1, 2) if ctx.channels_last else grad_x, None, None, None, None, None, None, None


def _ordered(x: Tensor, channels_last: bool) -> Tensor:
    return (x.movedim(2, -1) if channels_last else x).contiguous()


def _rows(x: Tensor) -> np.ndarray:
    """`[T, ...]` -> `[T, N]`."""
    return x.view(len(x), -1).numpy()


def supports(x: Tensor) -> bool:
    """Whether the fused kernel can take this tensor (float32 on the CPU, not being traced or vmapped)."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling() and not torch.onnx.is_in_onnx_export()
