"""Random spikes and random BatchNorm states, for tests that compare a network with its equations."""

import torch
from torch import nn

from reidlib.models.s3ce_net import SSAM


def spikes(*shape: int, seed: int = 0, rate: float = 0.4) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def redraw(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random BatchNorm statistics and weights: at their initial values too many mistakes cannot be seen."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.weight.data = 0.8 + 0.8 * torch.rand(part.weight.shape, generator=generator)
            part.bias.data = 0.6 * torch.randn(part.bias.shape, generator=generator) + 0.3
            part.running_mean = 0.3 * torch.randn(part.running_mean.shape, generator=generator)
            part.running_var = 0.3 + torch.rand(part.running_var.shape, generator=generator)
    for norm in module.part_norms.values() if isinstance(module, SSAM) else ():
        norm.running_var *= 0.3  # the products of spikes are small
    return module


def wake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights for the BatchNorms that start at 0: a branch that is silent at first lets no gradient into what stands before it."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and not part.weight.any():
            part.weight.data = 0.5 + 0.5 * torch.rand(part.weight.shape, generator=generator)
    return module
