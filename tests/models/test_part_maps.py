"""The loss of the part maps against its equation (2.10), with and without labels that are unknown."""

import math

import pytest
import torch

from reidlib.models.layers.part_maps import UNKNOWN, part_loss, part_losses, part_views

B, T, N, H, W = 2, 2, 4, 3, 2


def logits(seed=0):
    return 2 * torch.randn(B, T, N, H, W, generator=torch.Generator().manual_seed(seed))


def labels(seed=0, shape=(B, T, H, W)):
    return torch.randint(0, N + 1, shape, generator=torch.Generator().manual_seed(seed))


def reference(x, parts, ignored=()) -> float:
    """Mean binary cross-entropy over parts and positions, labels of the maps' own size."""
    found = []
    for b, t, n, y, z in torch.cartesian_prod(*(torch.arange(size) for size in (B, T, N, H, W))).tolist():
        if (b, t, y, z) not in ignored:
            A = 1 / (1 + math.exp(-x[b, t, n, y, z]))
            found.append(-math.log(A) if parts[b, t, y, z] == n + 1 else -math.log(1 - A))
    return sum(found) / len(found)


def test_it_is_the_mean_binary_cross_entropy():
    x, parts = logits(), labels()
    assert part_loss(x, parts).item() == pytest.approx(reference(x, parts), rel=1e-5)


def test_unknown_pixels_count_nowhere():
    x, parts = logits(), labels()
    parts[0, 1, 2, 0] = parts[1, 0, 0, 1] = UNKNOWN
    assert part_loss(x, parts).item() == pytest.approx(reference(x, parts, {(0, 1, 2, 0), (1, 0, 0, 1)}), rel=1e-5)
    moved = x.clone()
    moved[0, 1, :, 2, 0] += 5
    torch.testing.assert_close(part_loss(moved, parts), part_loss(x, parts))


def test_nothing_known_costs_nothing():
    x = logits().requires_grad_()
    loss = part_loss(x, torch.full((B, T, H, W), UNKNOWN, dtype=torch.uint8))
    loss.backward()
    assert loss == 0 and not x.grad.any()


def test_labels_are_resized_with_corners_aligned():
    """Five rows become three: rows 0, 2 and 4 stay; four rows become three: the middle one is half of each neighbour."""
    x = logits()
    parts = labels(shape=(B, T, 2 * H - 1, 2 * W - 1))
    torch.testing.assert_close(part_loss(x, parts), part_loss(x, parts[:, :, ::2, ::2]))
    parts = torch.tensor([0, 1, 2, 2])[:, None].expand(B, T, 4, W)
    expected = -torch.stack(
        [
            (weight * x[:, :, n, row].sigmoid().log() + (1 - weight) * (-x[:, :, n, row]).sigmoid().log())
            for row, shares in enumerate([(0, 0), (0.5, 0.5), (0, 1)])
            for n, weight in enumerate((*shares, 0, 0))
        ]
    ).mean()
    torch.testing.assert_close(part_loss(x, parts), expected)


def test_the_term_is_the_weighted_mean_of_the_blocks():
    clips, parts = torch.zeros(B, T, 3, H, W), labels()
    seen = {"parts2": logits(), "memory2": logits(3), "parts3": logits(1)}
    expected = 0.5 * (reference(seen["parts2"], parts) + reference(seen["parts3"], parts)) / 2
    found = part_losses(seen, parts, clips, 0.5)
    assert list(found) == ["parts"] and found["parts"].item() == pytest.approx(expected, rel=1e-5)
    assert part_losses(seen, None, clips, 0.5) == {} == part_losses({}, None, clips, 0.5)
    shown = part_views(seen)
    assert torch.equal(shown["memory2"], seen["memory2"]) and torch.equal(shown["parts3"], seen["parts3"].sigmoid())


@pytest.mark.parametrize(
    "parts, message",
    [
        (labels()[:, :1], r"parts of shape \(2, 1, 3, 2\), torch.int64: expected whole numbers \(2, 2, 3, 2\)"),
        (labels().float(), r"torch.float32: expected whole numbers"),
        (labels() + 1, r"parts hold 1 to 5: legal are 0 \(background\), 1 to 4 and 255"),
        (labels() - 1, r"parts hold -1 to 3"),
    ],
)
def test_labels_that_do_not_fit(parts, message):
    with pytest.raises(ValueError, match=message):
        part_losses({"parts2": logits()}, parts, torch.zeros(B, T, 3, H, W), 0.5)


def test_labels_without_maps():
    with pytest.raises(ValueError, match="no block of this model has part maps"):
        part_losses({"memory2": logits()}, labels(), torch.zeros(B, T, 3, H, W), 0.5)
