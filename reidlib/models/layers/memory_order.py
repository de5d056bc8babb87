"""In which order convolutions keep their maps in memory."""

from typing import TypeVar

import torch
from torch import nn

ModelT = TypeVar("ModelT", bound=nn.Module)

NARROW = 8  # with fewer channels a position does not fill a vector register, and channels first is faster
_SAFE = 16


def channels_last(model: ModelT) -> ModelT:
    """Let the convolutions of `model` work on maps whose channels lie side by side in memory; returns the model.

    The same results but for rounding, in less time on a CPU: `benchmarks/networks.py` has the ratios. What stands between convolutions
    takes the order over. Convolutions to fewer than 8 channels keep theirs. A model stays as it is where a 1x1 convolution with a stride
    takes a number of channels that 16 does not divide (only networks of tests are that narrow): in this order oneDNN then writes past its
    memory in the backward pass (uxlfoundation/oneDNN, issue 6035).
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if any(_unsafe(conv) for conv in convolutions):
        return model
    for conv in convolutions:
        if conv.out_channels >= NARROW:
            conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks this documented form
    return model


def _unsafe(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and max(conv.stride) > 1 and bool(conv.in_channels % _SAFE)
