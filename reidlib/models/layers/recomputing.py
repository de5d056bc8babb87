"""Layers whose activations are made again in the backward pass instead of being kept: memory for time, for long sequences."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from reidlib.models.layers.spiking import reset_state


def recomputed(part: Callable[[Tensor], Tensor], x: Tensor, *layers: nn.Module) -> Tensor:
    """part(x), of which only x is kept for the backward pass: that runs `part` a second time and gives the same gradients.

    layers: what `part` consists of, as far as it has neurons or BatchNorm in it. The second run starts the neurons from rest as the first
    does, and moves no running statistics: a batch counts once. `part` must not draw random numbers. Without gradients it is a plain call.
    Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016."""
    if not torch.is_grad_enabled():
        return part(x)

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            reset_state(layer)
        return part(x)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:  # of the first run and of the second
        return nullcontext(), _statistics_left_alone(layers)

    return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts, early_stop=False)


@contextmanager
def _statistics_left_alone(layers: Iterable[nn.Module]) -> Iterator[None]:
    """In training, BatchNorm normalises with the statistics of the batch and adds nothing to the running ones.

    They stay where they are, as the checkpoint wants to see the same tensors kept in both runs."""
    found = [module for layer in layers for module in layer.modules() if isinstance(module, _BatchNorm)]
    norms = [(norm, norm.momentum, norm.num_batches_tracked) for norm in found]
    for norm in found:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, batches in norms:
            norm.momentum, norm.num_batches_tracked = momentum, batches
