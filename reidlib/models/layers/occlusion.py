"""Where a person is hidden: thirds of a frame that look unlike the same third of the tracklet (VRSTC's rule).

Thesis of R. Hou, chapter 4, (4.8)-(4.9), after VRSTC (Hou et al., CVPR 2019); our reading, for no code was released.
"""

from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

THIRDS = ("upper", "middle", "lower")
THRESHOLD = 0.89

ArrayT = TypeVar("ArrayT", Tensor, np.ndarray)


def region_vectors(maps: Tensor) -> Tensor:
    """Mean of each horizontal third: maps `[..., C, H, W]` -> `[..., 3, C]`. Where 3 does not divide H, a row at a border belongs to
    both thirds (it saw pixels of both), so that none is empty in a map of one row or more."""
    pooled = F.adaptive_avg_pool2d(maps.flatten(0, -4), (len(THIRDS), 1))  # [N, C, 3, 1]
    return pooled.squeeze(-1).mT.unflatten(0, maps.shape[:-3])  # [..., 3, C]


def region_scores(vectors: Tensor) -> Tensor:
    """Cosine of every frame's region vector with the tracklet's mean of that region, (4.8)-(4.9): `[T, 3, D]` -> `[T, 3]`.

    A vector of zeros is like nothing: score 0."""
    if vectors.ndim != 3 or len(vectors) == 0:
        raise ValueError(f"region vectors of shape {tuple(vectors.shape)}: expected [T, 3, D] of one tracklet with a frame or more")
    return (F.normalize(vectors, dim=-1) * F.normalize(vectors.mean(0), dim=-1)).sum(-1)


def occluded(scores: ArrayT, threshold: float = THRESHOLD) -> ArrayT:
    """Whether each region is hidden: its score is below the threshold, strictly. Same shape, bool; tensor or array."""
    return scores < threshold


def third_edges(height: int) -> tuple[int, int, int, int]:
    """Rows at which the thirds of a frame begin, and its height: (0, 43, 85, 128) of 128. ValueError below 3 rows."""
    if height < len(THIRDS):
        raise ValueError(f"a frame of {height} rows has no three thirds")
    return 0, round(height / 3), round(height * 2 / 3), height


def third_masks(hidden: Tensor, height: int) -> Tensor:
    """Pixels of the hidden thirds: bool `[N, 3]` -> bool `[N, 1, height, 1]`, one column for all."""
    edges = torch.tensor(third_edges(height))
    return hidden.repeat_interleave(edges.diff().to(hidden.device), dim=1)[:, None, :, None]
