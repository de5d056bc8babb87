"""The nearest positions with events around every position with events: found once per clip, used by all event mappings.

The search visits displacements in one fixed order, nearest first, until it has nine; where a share p of the positions has events it
looks at about 9 / p of them. Compiled for the CPU; masks of a GPU are brought there (one byte per position) and the result back.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from torch import Tensor

TAPS = 9
#: The regular grid of a 3x3 kernel in reading order, (dy, dx) from the centre.
GRID = torch.tensor([[dy, dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
_ROWS = 8192  # positions that are searched, and convolved, at a time: what fits the processor's cache


@lru_cache(maxsize=8)
def search_order(height: int, width: int) -> np.ndarray:
    """All displacements (dy, dx) inside a picture, in the order in which the search visits them, int32 `[D, 2]`.

    Nearest first in Manhattan distance, so the position itself comes first. Ties: the nearer in Euclidean distance (diagonal before
    straight, so a crowded neighbourhood gives the regular 3x3 grid), then the upper, then the left.
    """
    dy, dx = np.mgrid[1 - height : height, 1 - width : width].reshape(2, -1)
    order = np.lexsort((dx, dy, dy * dy + dx * dx, np.abs(dy) + np.abs(dx)))
    return np.stack((dy[order], dx[order]), 1).astype(np.int32)


@njit(cache=True, nogil=True)
def _search(mask: np.ndarray, first: np.ndarray, jumps: np.ndarray, nearest: np.ndarray) -> None:  # pragma: no cover - compiled
    """nearest[i, k]: row of the k-th nearest position with events of row i; left alone where there is none."""
    frames, height, width = mask.shape
    stride = 3 * width - 2  # a border as wide as the farthest displacement, so that none leaves the array
    rows = np.full((3 * height - 2) * stride, -1, np.int32)
    for f in range(frames):
        row = first[f]
        for y in range(height):
            start = (y + height - 1) * stride + width - 1
            for x in range(width):
                rows[start + x] = row if mask[f, y, x] else -1
                row += mask[f, y, x]
        wanted = min(nearest.shape[1], row - first[f])
        for y in range(height):
            start = (y + height - 1) * stride + width - 1
            for x in range(width):
                i = rows[start + x]
                if i < 0:
                    continue
                found, step = 0, 0
                while found < wanted:
                    candidate = rows[start + x + jumps[step]]
                    nearest[i, found] = candidate  # written again until it is one: cheaper than a branch
                    found += candidate >= 0
                    step += 1


@dataclass(frozen=True)
class NearestEvents:
    """Where events are, and the nine nearest such positions of each.

    mask: bool `[F, H, W]`. places: int64 `[N]`, the positions with events, as indices into `mask.flatten()`; the i-th of them is "row" i.
    nearest: int32 `[N, 9]`, the rows of the nearest positions of the same frame, itself first, -1 where the frame has fewer. first: for
    each frame its first row, and N. A frame without events simply has no rows.
    """

    mask: Tensor
    places: Tensor
    nearest: Tensor
    first: np.ndarray

    def parts(self) -> list[tuple[int, int]]:
        """Consecutive ranges of rows, whole frames each, of about the size that the CPU works on best; one range on a GPU."""
        return [(0, len(self.places))] if self.nearest.is_cuda else [(a, b) for _, _, a, b in _parts(self.first)]

    def displacements(self) -> Tensor:
        """From each position to its nearest ones: (dy, dx), float `[F, 9, 2, H, W]`, NaN where there is none."""
        F, H, W = self.mask.shape
        place = self.places % (H * W)  # [N]
        at = torch.stack((place // W, place % W), 1)  # [N, 2]
        steps = at[self.nearest.long()] - at[:, None] if len(at) else at[:, None].expand(-1, TAPS, 2)  # [N, 9, 2]
        steps = steps.float().masked_fill(self.nearest[:, :, None] < 0, torch.nan)
        found = torch.full((F * H * W, TAPS, 2), torch.nan, device=steps.device)
        found[self.places] = steps
        return found.view(F, H, W, TAPS, 2).permute(0, 3, 4, 1, 2)  # [F, 9, 2, H, W]


def find_nearest(mask: Tensor) -> NearestEvents:
    """Search a mask of positions with events, bool `[F, H, W]`; frames do not see each other."""
    mask = mask.detach()
    inside = np.ascontiguousarray(mask.cpu().numpy())
    _, height, width = inside.shape
    first = np.concatenate(([0], np.count_nonzero(inside, axis=(1, 2)).cumsum()))
    nearest = np.full((first[-1], TAPS), -1, np.int32)
    jumps = search_order(height, width) @ np.array([3 * width - 2, 1], np.int32)

    def search(part: tuple[int, int, int, int]) -> None:
        a, b, _, _ = part
        _search(inside[a:b], first[a:b], jumps, nearest)

    parts, threads = _parts(first), torch.get_num_threads()
    if threads == 1 or len(parts) == 1:
        for part in parts:
            search(part)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(search, parts))
    places = mask.flatten().nonzero().squeeze(1)  # [N]
    return NearestEvents(mask, places, torch.from_numpy(nearest).to(mask.device), first)


def _parts(first: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Group frames until a group has `_ROWS` rows: (first frame, end, first row, end) of each group."""
    last = len(first) - 1
    edges = [0]
    while edges[-1] < last:
        edges.append(min(last, max(edges[-1] + 1, int(np.searchsorted(first, first[edges[-1]] + _ROWS, side="right")) - 1)))
    return [(a, b, int(first[a]), int(first[b])) for a, b in pairwise(edges)]
