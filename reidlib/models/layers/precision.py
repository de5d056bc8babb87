"""Where a layer needs more precision than the training asks for."""

from contextlib import AbstractContextManager, nullcontext

import torch


def single_precision(device: torch.device) -> AbstractContextManager:
    """Inside, products of single precision stay so: autocast is off. Their operands are the caller's to convert."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
