"""Cuts and foreground from labels of body parts, against a count written from the definition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.models.layers.part_labels import NO_CLASS, UNKNOWN, check_parts, cut_classes, cut_fractions, foreground_target

BANDS = ((1, 7), (2,), (3,), (4,))
HALVED = (False, False, True, True)


def labels(seed: int, H: int, W: int) -> torch.Tensor:
    """Random labels, sparse, so that bands are missing now and then; 5 is of no band."""
    g = torch.Generator().manual_seed(seed)
    values = torch.tensor([0, 1, 2, 3, 4, 5, 7, UNKNOWN], dtype=torch.uint8)
    chosen = values[torch.randint(0, 8, (H, W), generator=g)]
    return torch.where(torch.rand(H, W, generator=g) < 0.5, chosen, torch.tensor(0, dtype=torch.uint8))


def band(label: int) -> int | None:
    return next((k for k, members in enumerate(BANDS) if label in members), None)


def slow_cuts(parts: torch.Tensor) -> list[float]:
    H, W = parts.shape
    pixels = [(y, x, band(int(parts[y, x]))) for y in range(H) for x in range(W) if band(int(parts[y, x])) is not None]
    found = []
    for cut in range(3):
        if not any(k == cut for *_, k in pixels) or not any(k == cut + 1 for *_, k in pixels):
            found.append(math.nan)
            continue
        wrong = [sum((k <= cut) != (y < r) for y, _, k in pixels) for r in range(H + 1)]
        best = [r for r in range(H + 1) if wrong[r] == min(wrong)]
        found.append(sum(best) / len(best) / H)
    columns = [x + 0.5 for _, x, k in pixels if k >= 2]
    return [*found, sum(columns) / len(columns) / W if columns else math.nan]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 5))
def test_cuts_are_where_the_fewest_pixels_are_wrong(seed, H, W):
    parts = labels(seed, H, W)
    found = cut_fractions(parts[None], BANDS, HALVED)[0].tolist()
    assert found == pytest.approx(slow_cuts(parts), nan_ok=True)


def test_a_standing_person_is_cut_between_the_bands():
    parts = torch.zeros(1, 16, 8, dtype=torch.long)
    for first, last, label in ((1, 3, 1), (3, 9, 2), (9, 14, 3), (14, 16, 4)):
        parts[0, first:last, 2:6] = label
    expected = [3 / 16, 9 / 16, 14 / 16, 4 / 8]
    assert cut_fractions(parts, BANDS, HALVED)[0].tolist() == pytest.approx(expected)
    assert cut_fractions(parts, BANDS, (False,) * 4).shape == (1, 3)
    parts[0, 9:14] = UNKNOWN  # legs out of sight: two cuts are not known, and the column is that of the shoes
    parts[0, 14:, 4:] = 0
    assert cut_fractions(parts, BANDS, HALVED)[0].tolist() == pytest.approx([3 / 16, math.nan, math.nan, 3 / 8], nan_ok=True)


def test_the_middle_of_a_gap():
    parts = torch.tensor([[1], [0], [UNKNOWN], [0], [2]])[None]
    assert cut_fractions(parts, BANDS, (False,) * 4)[0, 0].item() == pytest.approx(2.5 / 5)


def test_classes_follow_the_release():
    """round(fraction * size) - 1, clipped to [0, H - 4], [0, H - 3], [0, H - 2], [0, W - 2]."""
    sizes, classes = [16, 16, 16, 8], [13, 14, 15, 7]
    fractions = torch.tensor([[0.2, 0.5, 0.9, 0.5], [0.0, 1.0, 1.0, 1.0], [1.0, math.nan, 0.01, 0.1]])
    assert cut_classes(fractions, sizes, classes).tolist() == [[2, 7, 13, 3], [0, 13, 14, 6], [12, NO_CLASS, 0, 0]]


def test_a_mirrored_frame_has_the_mirrored_column():
    """The release's rule for flips, c -> W - 2 - c, follows from the labels."""
    parts = labels(3, 12, 8)[None]
    fractions = [cut_fractions(x, BANDS, HALVED) for x in (parts, parts.flip(2))]
    plain, mirrored = (cut_classes(f, [12, 12, 12, 8], [9, 10, 11, 7])[0] for f in fractions)
    assert torch.equal(plain[:3], mirrored[:3]) and mirrored[3] == 8 - 2 - plain[3]


def test_foreground_is_the_share_of_known_pixels():
    parts = torch.zeros(1, 4, 4, dtype=torch.long)
    parts[0, :2, :2] = 3  # one place is the person, one half of what is known of it, one unknown
    parts[0, :2, 2:] = torch.tensor([[UNKNOWN, UNKNOWN], [5, 0]])
    parts[0, 2:, :2] = UNKNOWN
    target, known = foreground_target(parts, (2, 2))
    assert known[0].tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert target[0].tolist() == [[1.0, 0.5], [0.0, 0.0]]


@pytest.mark.parametrize(
    "parts", [torch.zeros(2, 3, 8, 4), torch.zeros(2, 3, 8, 5, dtype=torch.long), torch.zeros(3, 8, 4, dtype=torch.long)]
)
def test_bad_parts_are_named(parts):
    with pytest.raises(ValueError, match=r"parts of (shape|type)"):
        check_parts(parts, torch.zeros(2, 3, 3, 8, 4))
