"""Discriminators of completed frames, and the two sides of their game."""

import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 5  # most likely, says the specification
FORMS = ("minimax", "non_saturating")


class Discriminator(nn.Module):
    """Pictures `[N, 3, H, W]` of `size` -> logits `[N]` of "this is a real one".

    Convolutions of stride 2 and a linear layer; the sigmoid is in the losses. The global one sees frames, the local one frames
    that are zero outside the region. Depth and channels were not recovered: `depth` convolutions of width, 2 width, then 4 width channels.
    No normalisation, so that a verdict does not depend on batch mates.
    """

    def __init__(self, size: tuple[int, int], width: int = 32, depth: int = 4):
        super().__init__()
        layers, source = [], 3
        height, length = size
        for level in range(depth):
            channels = width * min(2**level, 4)
            layers += [nn.Conv2d(source, channels, KERNEL, stride=2, padding=KERNEL // 2), nn.LeakyReLU(0.2, inplace=True)]
            source, height, length = channels, -(-height // 2), -(-length // 2)
        self.convolve = nn.Sequential(*layers)
        self.verdict = nn.Linear(source * height * length, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.convolve(x).flatten(1)).squeeze(1)


def telling_loss(real: Tensor, made: Tensor) -> Tensor:
    """What a discriminator minimises: -E[log D(real) + log(1 - D(made))], (4.5) with the sign turned; logits `[N]` of both -> scalar."""
    return (F.softplus(-real) + F.softplus(made)).mean()


def fooling_loss(made: Tensor, form: str = "minimax") -> Tensor:
    """What the generator minimises: E[log(1 - D(made))] ("minimax", as (4.5) is printed) or -E[log D(made)] ("non_saturating", which
    keeps its gradient where the discriminator is sure); logits `[N]` -> scalar."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r} of the adversarial loss; choose one of {', '.join(FORMS)}")
    return -F.softplus(made).mean() if form == "minimax" else F.softplus(-made).mean()
