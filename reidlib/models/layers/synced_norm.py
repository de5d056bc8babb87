"""BatchNorm over the whole batch where several processes hold a part of it each."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reidlib import processes


class SyncedNorm(_BatchNorm):
    """In training, mean and variance over the rows of all processes; they need not hold equally many.

    torch's own SyncBatchNorm works on GPUs alone and takes the place of layers that also step through time."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or processes.count() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        mean, variance, rows = whole_statistics(x)
        self._remember(mean.detach(), variance.detach(), rows)
        return _normalised(x, mean, variance, self)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, rows: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum or 0.0
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else share
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * rows / (rows - 1).clamp_min(1)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synced(model: nn.Module) -> nn.Module:
    """Let every BatchNorm of `model` see the rows of all processes; in place, names and weights stay. Nothing for a single process."""
    if processes.count() > 1:
        for module in model.modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, SyncedNorm):
                kind: type = type(module)
                module.__class__ = _synced_class(kind)
    return model


@lru_cache
def _synced_class(kind: type) -> type:
    # SyncedNorm comes behind `kind` and its parents, before torch's _BatchNorm: layers that step through time keep doing so.
    return type(f"Synced{kind.__name__}", (kind, SyncedNorm), {"__doc__": kind.__doc__})


def whole_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance `[C]` of `[N, C, ...]` over the rows of all processes, and how many values each is made of."""
    values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    over = [0, *range(2, x.dim())]
    size = values.new_full((1,), x.numel() // x.shape[1])
    total = processes.summed(torch.cat([values.sum(over), size]))  # [C + 1]
    rows = total[-1].detach()
    mean = total[:-1] / rows
    spread = (values - _per_channel(mean, x)).square().sum(over)
    return mean, processes.summed(spread) / rows, rows


def batch_normalised(x: Tensor, norm: _BatchNorm) -> Tensor:
    """`norm` of `[N, C]` with the statistics of this batch, of all processes, and without a trace in the running ones."""
    if processes.count() == 1:
        return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    return _normalised(x, *whole_statistics(x)[:2], norm)


def _normalised(x: Tensor, mean: Tensor, variance: Tensor, norm: _BatchNorm) -> Tensor:
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    found = (x - _per_channel(mean, x)) * _per_channel(scale, x)
    return (found if norm.bias is None else found + _per_channel(norm.bias, x)).to(x.dtype)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 2))  # [C, 1, ...]
