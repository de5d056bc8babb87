"""Small video systems with random weights, and a few clips with labels of body parts."""

import numpy as np
import torch

from reidlib.datasets.frames import normalised
from reidlib.models import build_model

T, SIZE = 4, (64, 32)


def network(name: str, **options):
    """Random BatchNorm weights: many blocks end in one that starts at 0, and would do nothing."""
    torch.manual_seed(3)
    sized = {"size": SIZE} if name in ("rfcnet", "bicnet_tks") else {}
    model = build_model(name, 3, backbone="resnet18", width=4, **sized, **options)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.3)
            part.running_var.uniform_(0.2, 1)
    return model.eval()


def standing(head: int = 8, upper: int = 32, lower: int = 56, left: int = 10) -> np.ndarray:
    """Labels of a person 12 pixels wide: rows at which the head, the upper and the lower body end, shoes down to row 60."""
    labels = np.zeros(SIZE, np.int64)
    for label, (top, bottom) in enumerate([(4, head), (head, upper), (upper, lower), (lower, 60)], start=1):
        labels[top:bottom, left : left + 12] = label
    return labels


def labelled_clips() -> list[dict]:
    """Three tracklets of two clips: random pictures, people who stand a little lower from step to step; a corner is unknown."""
    rng, items = np.random.default_rng(0), []
    for row in range(3):
        parts = np.stack([[standing(8 + row + t, 30 + 2 * t, 54, 6 + 3 * row) for t in range(T)] for _ in range(2)])
        parts[:, :, :20, :8] = 255
        pictures = rng.integers(0, 255, (2 * T, *SIZE, 3)).astype(np.uint8)
        frames = torch.from_numpy(normalised(pictures)).unflatten(0, (2, T))
        items.append({"frames": frames, "parts": torch.from_numpy(parts)})
    return items


class Shows:
    """A model that shows what it is told, at whatever clips."""

    def __init__(self, **views):
        self.views, self.weight = views, torch.nn.Parameter(torch.zeros(1))

    def parameters(self):
        return iter([self.weight])

    def inner_views(self, frames):
        return self.views
