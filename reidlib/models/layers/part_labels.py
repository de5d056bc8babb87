"""What labels of body parts teach RFCnet: where a person is cut into regions, and where the person is at all.

The source takes both from key points and human parsing; labels of parts per pixel hold the same, so this is our reading.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.models.layers.part_maps import UNKNOWN

NO_CLASS = -100  # torch's "ignore"

#: Labels that make a band of the body: one tuple per band, from head to feet.
Bands = Sequence[Sequence[int]]


def check_parts(parts: Tensor, clips: Tensor) -> None:
    """ValueError unless `parts` are whole numbers `[B, T, H, W]`, one per pixel of the clips `[B, T, C, H, W]`."""
    B, T, _, H, W = clips.shape
    if parts.shape != (B, T, H, W):
        raise ValueError(f"parts of shape {tuple(parts.shape)}: expected a label for every pixel of the clips, {(B, T, H, W)}")
    if parts.is_floating_point():
        raise ValueError(f"parts of type {parts.dtype}: expected whole numbers (0 background, {UNKNOWN} unknown)")


def cut_fractions(parts: Tensor, bands: Bands, halved: Sequence[bool]) -> Tensor:
    """Where the body is cut, as shares of height and width: `[M, H, W]` -> `[M, len(bands) - 1]`, and one more if any band is halved.

    A row cut is where the fewest pixels lie on the wrong side of it, the bands down to one against those below it (the middle of
    such rows if there are several). The column, last, is the mean of the pixels of the halved bands. NaN where one of the two bands
    that meet, or every halved band, is out of sight.
    """
    H, W = parts.shape[1:]
    masks = torch.stack([torch.isin(parts, torch.tensor(labels, device=parts.device)) for labels in bands], 1)  # [M, K, H, W]
    cuts = _row_cuts(masks.sum(3).float()) / H  # [M, K - 1]
    if not any(halved):
        return cuts
    per_column = masks[:, [i for i, half in enumerate(halved) if half]].sum((1, 2)).float()  # [M, W]
    places = torch.arange(W, device=parts.device) + 0.5
    column = (per_column * places).sum(1, keepdim=True) / per_column.sum(1, keepdim=True) / W  # [M, 1], NaN for 0 / 0
    return torch.cat((cuts, column), 1)


def _row_cuts(counts: Tensor) -> Tensor:
    """Pixels of every band in every row `[M, K, H]` -> rows above each cut `[M, K - 1]`, NaN where a band of the two has no pixel."""
    above = counts.cumsum(1)[:, :-1]  # [M, K - 1, H]
    below = counts.sum(1, keepdim=True) - above
    # After r rows, r = 0 ... H: what belongs below but lies in them, and what belongs above but does not.
    wrong = F.pad(below.cumsum(2), (1, 0)) + above.sum(2, keepdim=True) - F.pad(above.cumsum(2), (1, 0))  # [M, K - 1, H + 1]
    least = (wrong == wrong.amin(2, keepdim=True)).float()
    rows = (least * torch.arange(wrong.shape[2], device=counts.device)).sum(2) / least.sum(2)
    seen = counts.sum(2) > 0  # [M, K]
    return rows.masked_fill(~(seen[:, :-1] & seen[:, 1:]), torch.nan)


def cut_classes(fractions: Tensor, sizes: Sequence[int], classes: Sequence[int]) -> Tensor:
    """Class of each cut, the last row (or column) before it: `[M, cuts]` -> long `[M, cuts]`, NaN -> `NO_CLASS`.

    sizes: extent of the map that each cut divides; classes: how many places each cut can have."""
    places = (fractions * fractions.new_tensor(sizes)).round() - 1
    legal = places.clamp_min(0).minimum(fractions.new_tensor(classes) - 1)
    return legal.nan_to_num(NO_CLASS).long()


def foreground_target(parts: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Share of the person at each place of a map, and how much of the place is labelled: `[M, H, W]` -> twice `[M, *size]`.

    Bilinear, as the source resizes its parsing; unknown pixels count for neither."""
    known = parts != UNKNOWN
    person = known & (parts > 0)
    person, known = F.interpolate(torch.stack((person, known), 1).float(), size, mode="bilinear", align_corners=False).unbind(1)
    return person / known.clamp_min(1e-6), known
