"""One-pass CPU kernel for multi-step integrate-and-fire neurons with the arctangent surrogate.

SpikingJelly's CPU path runs about six tensor operations per time step; here the whole recurrence is one
loop over memory, forward and backward. The dynamics are SpikingJelly's (`LIFNode`, `IFNode`); the tests
compare spikes and gradients with theirs. On a GPU, in other precisions, or with another surrogate the
nodes of `spiking.py` fall back to SpikingJelly's own path.
"""

import math

import numpy as np
import torch
from numba import njit
from torch.autograd.function import once_differentiable

_OPTIONS = {"cache": True, "nogil": True, "fastmath": {"contract"}}


@njit(**_OPTIONS)
def _forward(x, keep, gain, threshold, reset, soft, potential, spikes):  # pragma: no cover - compiled
    T, N = x.shape
    v = np.full(N, reset, np.float32)
    for t in range(T):
        for n in range(N):
            h = keep * v[n] + gain * x[t, n] + (np.float32(1.0) - keep) * reset
            s = h >= threshold
            potential[t, n] = h
            spikes[t, n] = np.float32(1.0) if s else np.float32(0.0)
            if soft:
                v[n] = h - threshold if s else h
            else:
                v[n] = reset if s else h
    return v


@njit(**_OPTIONS)
def _backward(grad_spikes, potential, keep, gain, threshold, reset, soft, detach, alpha, grad_x):  # pragma: no cover - compiled
    T, N = potential.shape
    one, half = np.float32(1.0), np.float32(0.5)
    slope = np.float32(math.pi / 2.0) * alpha
    carry = np.zeros(N, np.float32)  # gradient with respect to the potential after the reset
    for t in range(T - 1, -1, -1):
        for n in range(N):
            u = potential[t, n] - threshold
            surrogate = half * alpha / (one + (slope * u) * (slope * u))
            fired = one if u >= np.float32(0.0) else np.float32(0.0)
            through = one if soft else one - fired
            if not detach:
                through -= (threshold if soft else potential[t, n] - reset) * surrogate
            g = grad_spikes[t, n] * surrogate + carry[n] * through
            grad_x[t, n] = g * gain
            carry[n] = g * keep


class FusedNeuron(torch.autograd.Function):
    """Input current `[T, ...]` -> spikes `[T, ...]` (0 or 1) and the last potential `[...]`, which carries no gradient.

    `keep` is the share of the potential that survives a step (1 for IF, 1 - 1/tau for LIF), `gain` the factor on
    the input (1/tau for a LIF whose input decays too, else 1). float32, CPU.
    """

    @staticmethod
    def forward(ctx, x, keep, gain, threshold, reset, soft, detach, alpha):
        flat = x.detach().contiguous().view(x.shape[0], -1)  # [T, N]
        potential, spikes = torch.empty_like(flat), torch.empty_like(flat)
        constants = [np.float32(value) for value in (keep, gain, threshold, reset)]
        last = _forward(flat.numpy(), *constants, soft, potential.numpy(), spikes.numpy())
        ctx.save_for_backward(potential)
        ctx.constants, ctx.flags, ctx.alpha = constants, (soft, detach), np.float32(alpha)
        last = torch.from_numpy(last).view(x.shape[1:])
        ctx.mark_non_differentiable(last)
        return spikes.view(x.shape), last

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_spikes, _):
        (potential,) = ctx.saved_tensors
        grad = grad_spikes.contiguous().view(potential.shape)  # [T, N]
        grad_x = torch.empty_like(potential)
        _backward(grad.numpy(), potential.numpy(), *ctx.constants, *ctx.flags, ctx.alpha, grad_x.numpy())
        return grad_x.view(grad_spikes.shape), None, None, None, None, None, None, None


def supports(x: torch.Tensor) -> bool:
    """Whether the fused kernel can take this tensor (float32 on the CPU, not being traced or vmapped)."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling() and not torch.onnx.is_in_onnx_export()
