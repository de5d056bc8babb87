"""Video as networks that make pictures read and write it: pixels in [-1, 1], a frame with the ones before and after it."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from reidlib.datasets.frames import MEAN, STD, resized

NEIGHBOURS = ("adjacent", "visible")


def to_pixels(frames: np.ndarray, size: tuple[int, int]) -> Tensor:
    """uint8 `[N, h, w]` or `[N, h, w, 3]` -> float32 `[N, 3, H, W]` in [-1, 1], grey repeated."""
    colour = frames[:, None] if frames.ndim == 3 else np.moveaxis(frames, -1, 1)  # [N, 1 or 3, h, w]
    return resized(colour.astype(np.float32) / 127.5 - 1, size).expand(-1, 3, -1, -1)


def to_bytes(pixels: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """`[N, 3, H, W]` in [-1, 1] -> uint8 `[N, *shape]`, shape (h, w) for grey video (the mean of the colours) or (h, w, 3)."""
    sized = interpolate(pixels.float().cpu(), size=shape[:2], mode="bilinear", antialias=True)
    levels = ((sized + 1) * 127.5).round().clamp(0, 255)  # [N, 3, h, w]
    levels = levels.mean(1).round() if len(shape) == 2 else levels.permute(0, 2, 3, 1)
    return levels.to(torch.uint8).numpy()


def network_input(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """`[N, 3, H, W]` in [-1, 1] -> `[N, 3, h, w]` of `size` as re-identification networks take frames, differentiable."""
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
    return interpolate(((pixels + 1) / 2 - mean) / std, size=tuple(size), mode="bilinear", antialias=True)


def nearest_others(t: int, usable: np.ndarray) -> tuple[int, int]:
    """Positions of the nearest usable frames before and after frame t; usable: bool `[T]`.

    Where one side has none the other side's stands for both, where neither has any all frames count; a single frame is its own."""
    others = np.flatnonzero(usable)
    others = others[others != t]
    if len(others) == 0:
        others = np.delete(np.arange(len(usable)), t) if len(usable) > 1 else np.array([t])
    before, after = others[others <= t], others[others >= t]
    previous, following = (before[-1] if len(before) else after[0]), (after[0] if len(after) else before[-1])
    return int(previous), int(following)


def with_neighbours(video: np.ndarray, t: int, hidden: np.ndarray, thirds: np.ndarray, size: tuple[int, int], kind: str) -> Tensor:
    """Frame t, the one before and the one after as pixels: float32 `[3, 3, H, W]`.

    kind: "adjacent", or "visible", the nearest in which none of `thirds` (bool `[3]`) is hidden (bool `[T, 3]`)."""
    usable = ~(hidden & thirds).any(1) if kind == "visible" else np.ones(len(video), bool)
    return to_pixels(video[[t, *nearest_others(t, usable)]], size)
