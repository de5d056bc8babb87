"""Occlusion sensitivity: what a model needs of a tracklet, found by hiding parts of it. Works for every model that takes event frames.

Hide a part, embed again, and see how far the embedding turns: the drop in cosine similarity to the whole tracklet's (Zeiler and
Fergus, ECCV 2014, with a similarity in place of a class score). Events are taken out after the scaling of the clip, so that hiding one
place changes nothing elsewhere.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from reidlib.models import ReidModel


def occlusion_map(model: "ReidModel", clips: Tensor, grid: tuple[int, int] = (8, 4), box: int = 2, batch: int = 64) -> np.ndarray:
    """Drop in similarity when a sliding box takes out the events at a place, at all steps: `[rows, columns]` of `grid`.

    clips `[n, T, 2, H, W]`: all clips of one tracklet. The picture is divided into `grid` cells, the box covers `box` x `box` of them and
    moves by one cell, beyond the border too; a cell's value is the mean over the boxes that cover it.
    """
    masks, covers = box_masks((clips.shape[-2], clips.shape[-1]), grid, box)
    drops = similarity_drops(model, clips, masks, batch)
    return np.tensordot(drops, covers, 1) / covers.sum(0)


def band_sensitivity(model: "ReidModel", clips: Tensor, bands: int = 4, batch: int = 64) -> np.ndarray:
    """Drop in similarity when one of `bands` horizontal bands is taken out, top to bottom: `[bands]`."""
    return similarity_drops(model, clips, band_masks(clips.shape[-2], bands), batch)


def step_sensitivity(model: "ReidModel", clips: Tensor, batch: int = 64) -> np.ndarray:
    """Drop in similarity when one time step of every clip is taken out: `[T]`."""
    return similarity_drops(model, clips, step_masks(clips.shape[1]), batch)


def similarity_drops(model: "ReidModel", clips: Tensor, masks: Tensor, batch: int = 64) -> np.ndarray:
    """1 - cosine similarity between a tracklet's embedding and that of the tracklet under each mask: `[masks]`, between 0 and 2.

    clips `[n, T, 2, H, W]`; masks `[m, T or 1, H or 1, W or 1]` bool, True where events stay. A tracklet's embedding is what
    `evaluation.embed` makes of it: the normalised mean over its clips. batch: clips per forward, at least. A masked tracklet whose
    embedding is zero has no direction: similarity 0. ValueError where that of the whole tracklet is zero.
    """
    if clips.ndim != 5 or masks.ndim != 4:
        raise ValueError(f"clips {tuple(clips.shape)} and masks {tuple(masks.shape)}: expected [n, T, 2, H, W] and [m, T, H, W]")
    whole = _embed_variants(model, clips[None])  # [1, D]
    if not whole.any():
        raise ValueError("the embedding of the whole tracklet is zero, so there is nothing to be similar to: is the network silent?")
    together = max(1, batch // len(clips))
    vectors = [_embed_variants(model, clips * part[:, None, :, None]) for part in masks.split(together)]
    return (1 - torch.cat(vectors) @ whole[0]).clamp(0, 2).double().cpu().numpy()


def effective_parts(drops: np.ndarray) -> np.ndarray:
    """How many parts a tracklet's embedding rests on: exp of the entropy of its drops `[N, parts]`, each as a share of their sum -> `[N]`.

    1: one part carries everything, `parts`: all count the same. NaN where nothing that was hidden made a difference.
    """
    drops = np.maximum(np.asarray(drops, np.float64), 0)
    total = drops.sum(1, keepdims=True)
    share = np.divide(drops, total, out=np.full_like(drops, np.nan), where=total > 0)
    return np.exp(-(share * np.log(np.where(share > 0, share, 1))).sum(1))


def as_shares(heat: np.ndarray) -> np.ndarray:
    """A map of drops in percent of their sum, so that maps of models that turn easily and ones that hardly turn can be compared; a map
    of zeros stays."""
    total = heat.sum()
    return 100 * heat / total if total > 0 else np.zeros_like(heat)


def box_masks(size: tuple[int, int], grid: tuple[int, int], box: int) -> tuple[Tensor, np.ndarray]:
    """Masks `[m, 1, H, W]` (False inside the box) and which cells of the grid each box covers, `[m, rows, columns]` 0 or 1."""
    for length, cells, axis in zip(size, grid, ("rows", "columns"), strict=True):
        if not 1 <= cells <= length or not 1 <= box <= cells:
            raise ValueError(f"a grid of {cells} {axis} with boxes of {box} does not fit event frames of {size[0]} x {size[1]} pixels")
    covers = [_slides(cells, box) for cells in grid]
    boxes = np.einsum("ar,bc->abrc", *covers).reshape(-1, *grid)  # [m, rows, columns]
    pixels = [np.arange(length) * cells // length for length, cells in zip(size, grid, strict=True)]
    hidden = boxes[:, pixels[0]][:, :, pixels[1]]  # [m, H, W]
    return torch.from_numpy(hidden == 0)[:, None], boxes


def band_masks(height: int, bands: int) -> Tensor:
    """Masks `[bands, 1, H, 1]`, each without one horizontal band."""
    if not 1 <= bands <= height:
        raise ValueError(f"{bands} bands do not fit {height} rows of pixels")
    place = torch.arange(height) * bands // height
    return (place != torch.arange(bands)[:, None])[:, None, :, None]


def step_masks(steps: int) -> Tensor:
    """Masks `[T, T, 1, 1]`, each without one time step."""
    return ~torch.eye(steps, dtype=torch.bool)[:, :, None, None]


def _slides(cells: int, box: int) -> np.ndarray:
    """Every place of a box that touches the row of cells: `[cells + box - 1, cells]`, so that each cell is covered equally often."""
    first = np.arange(1 - box, cells)[:, None]
    return ((np.arange(cells) >= first) & (np.arange(cells) < first + box)).astype(np.float64)


def _embed_variants(model: "ReidModel", variants: Tensor) -> Tensor:
    """`[v, n, T, 2, H, W]` -> unit vectors `[v, D]`."""
    v, n = variants.shape[:2]
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        vectors = model(events=variants.flatten(0, 1).to(device)).float()
    return nn.functional.normalize(vectors.view(v, n, -1).mean(1), dim=1)
