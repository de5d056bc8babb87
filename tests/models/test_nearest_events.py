"""The search for the nearest events against a brute-force one, and the order in which ties are broken."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reidlib.models.layers import nearest_events
from reidlib.models.layers.nearest_events import GRID, TAPS, find_nearest, search_order


def brute_force(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """For every position with events, frame by frame in reading order: the nearest nine (y, x), sorted by all rules of the search."""
    found = []
    for frame in mask:
        events = [(y, x) for y in range(frame.shape[0]) for x in range(frame.shape[1]) if frame[y, x]]
        for y0, x0 in events:
            keys = sorted((abs(y - y0) + abs(x - x0), (y - y0) ** 2 + (x - x0) ** 2, y, x) for y, x in events)
            found.append([(y, x) for _, _, y, x in keys[:TAPS]])
    return found


def masks(seed: int, frames: int, height: int, width: int, rate: float) -> torch.Tensor:
    return torch.rand(frames, height, width, generator=torch.Generator().manual_seed(seed)) < rate


CASES = st.tuples(
    st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 9), st.integers(1, 7), st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])
)


@settings(max_examples=60, deadline=None)
@given(CASES)
@example((0, 2, 9, 1, 1.0))
@example((0, 1, 1, 1, 1.0))
def test_the_search_equals_brute_force(sizes):
    mask = masks(*sizes)
    H, W = mask.shape[1:]
    found, expected = find_nearest(mask), brute_force(mask.numpy())
    assert found.nearest.shape == (mask.sum(), TAPS) and found.nearest.dtype == torch.int32
    assert torch.equal(found.places, mask.flatten().nonzero().squeeze(1))
    assert found.first.tolist() == [0, *mask.sum((1, 2)).cumsum(0).tolist()]
    for i, (row, places) in enumerate(zip(found.nearest.tolist(), expected, strict=True)):
        assert row[0] == i  # itself first
        frame = int(found.places[i]) // (H * W)
        own = [divmod(int(found.places[j]) - frame * H * W, W) for j in row if j >= 0]
        assert own == places and row[len(own) :] == [-1] * (TAPS - len(own))


@settings(max_examples=20, deadline=None)
@given(CASES)
def test_displacements_lead_to_the_nearest(sizes):
    mask = masks(*sizes)
    steps, expected = find_nearest(mask).displacements(), iter(brute_force(mask.numpy()))
    assert steps.shape == (len(mask), TAPS, 2, *mask.shape[1:])
    assert torch.equal(steps.isnan().all(2).all(1), ~mask)
    for f, y, x in mask.nonzero().tolist():
        own = [(y + int(dy), x + int(dx)) for dy, dx in steps[f, :, :, y, x].tolist() if dy == dy]
        assert own == next(expected)


def test_a_crowded_neighbourhood_gives_the_regular_grid():
    """Diagonals before the second ring, so nothing is drawn to one side."""
    steps = find_nearest(torch.ones(1, 5, 5, dtype=torch.bool)).displacements()[0, :, :, 2, 2]
    assert sorted(steps.int().tolist()) == GRID.tolist()
    assert steps.tolist() == [[0, 0], [-1, 0], [0, -1], [0, 1], [1, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]]


def test_the_order_covers_the_picture_once_and_never_comes_nearer():
    order = search_order(4, 6)
    assert len(order) == len({tuple(step) for step in order.tolist()}) == 7 * 11
    assert (np.diff(np.abs(order).sum(1)) >= 0).all()
    assert np.abs(order).max(0).tolist() == [3, 5]


def test_frames_without_events_and_no_frames():
    mask = torch.zeros(3, 4, 4, dtype=torch.bool)
    mask[1, 2, 3] = True
    found = find_nearest(mask)
    assert found.places.tolist() == [16 + 11] and found.nearest.tolist() == [[0] + [-1] * 8] and found.first.tolist() == [0, 0, 1, 1]
    for silent in (torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(0, 4, 4, dtype=torch.bool)):
        found = find_nearest(silent)
        assert found.nearest.shape == (0, TAPS) and len(found.places) == 0
        assert found.displacements().shape == (len(silent), TAPS, 2, 4, 4) and found.displacements().isnan().all()


@pytest.mark.parametrize("rows", [1, 30, 10_000])
def test_parts_and_threads_change_nothing(monkeypatch, rows):
    mask = masks(3, 7, 6, 5, 0.4)
    mask[2] = False
    whole = find_nearest(mask)
    monkeypatch.setattr(nearest_events, "_ROWS", rows)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = find_nearest(mask)
    assert torch.equal(found.nearest, whole.nearest)
    edges = found.parts()
    assert edges[0][0] == 0 and edges[-1][1] == len(found.places) and all(a[1] == b[0] for a, b in pairwise(edges))
    assert {a for a, _ in edges} <= set(found.first.tolist())  # whole frames
    if rows > 1:
        assert len(edges) == (1 if rows > 100 else 3)
    for a, b in edges:
        rows_of_part = found.nearest[a:b]
        assert ((rows_of_part >= a) & (rows_of_part < b) | (rows_of_part == -1)).all()


def test_the_mask_is_left_alone():
    mask = masks(0, 2, 5, 5, 0.5)
    before = mask.clone()
    assert torch.equal(find_nearest(mask.transpose(1, 2)).mask, mask.transpose(1, 2)) and torch.equal(mask, before)
