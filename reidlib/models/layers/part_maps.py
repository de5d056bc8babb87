"""Maps of body parts that are learned from the labels of a human parser: what supervises them, and how they are looked at.

Blocks show them in `seen` (see `VideoResNet`) as "parts": logits `[B, T, N, h, w]`. Labels are whole numbers `[B, T, H, W]`: 0 background,
1 to N the parts (`PARTS`), 255 where nothing is known.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.datasets.frames import UNKNOWN

PARTS = ("head", "upper body", "lower body", "shoes")


def part_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """L_m, (2.10) of the thesis: binary cross-entropy between the part maps of one block and the labels, a scalar.

    The labels' masks are resized to the maps (bilinear, corners aligned, as in IANet's release). Unknown pixels count nowhere: a position
    weighs as much as of it is known, and where nothing is known the loss is 0.
    """
    N, h, w = logits.shape[2:]
    labels = parts.flatten(0, 1)[:, None]  # [BT, 1, H, W]
    numbers = torch.arange(1, N + 1, device=labels.device)[:, None, None]  # [N, 1, 1]
    masks = torch.cat((labels == numbers, labels != UNKNOWN), 1).float()  # [BT, N + 1, H, W]
    masks = F.interpolate(masks, (h, w), mode="bilinear", align_corners=True)  # [BT, N + 1, h, w]
    is_part, known = masks[:, :N], masks[:, N:]
    x = logits.flatten(0, 1).float()  # [BT, N, h, w]
    total = -(is_part * F.logsigmoid(x) + (known - is_part) * F.logsigmoid(-x)).sum()
    return total / (N * known.sum()).clamp_min(1e-6)


def part_losses(seen: dict[str, Tensor], parts: Tensor | None, clips: Tensor, weight: float) -> dict[str, Tensor]:
    """The weighted term `parts`, mean over the blocks; nothing without labels. ValueError for labels that fit neither clips nor blocks."""
    if parts is None:
        return {}
    maps = [logits for name, logits in seen.items() if name.startswith("parts")]
    if not maps:
        raise ValueError("parts are given, but no block of this model has part maps to supervise")
    if parts.is_floating_point() or parts.shape != clips[:, :, 0].shape:
        raise ValueError(f"parts of shape {tuple(parts.shape)}, {parts.dtype}: expected whole numbers {tuple(clips[:, :, 0].shape)}")
    N = maps[0].shape[2]
    known = parts[parts != UNKNOWN]
    if len(known) and not 0 <= known.min() <= known.max() <= N:
        raise ValueError(f"parts hold {known.min()} to {known.max()}: legal are 0 (background), 1 to {N} and {UNKNOWN} (unknown)")
    return {"parts": weight * reduce(torch.add, [part_loss(logits, parts) for logits in maps]) / len(maps)}


def part_views(seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """What blocks have shown, part logits as maps in [0, 1]."""
    return {name: value.sigmoid() if name.startswith("parts") else value for name, value in seen.items()}
