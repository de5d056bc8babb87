"""Losses against slow loops and numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.losses import ReidLoss, batch_hard_triplet, pairwise_distances
from reidlib.models import ReidOutput


def distance_reference(a: torch.Tensor, b: torch.Tensor, kind: str) -> float:
    if kind == "euclidean":
        return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def triplet_reference(features, labels, margin: float, kind: str) -> float:
    total, n = 0.0, len(labels)
    own = 1e-6 if kind == "euclidean" else 0.0  # the root is kept off 0, where it has no gradient
    for i in range(n):
        positives = [distance_reference(features[i], features[j], kind) for j in range(n) if labels[j] == labels[i] and j != i]
        negatives = [distance_reference(features[i], features[j], kind) for j in range(n) if labels[j] != labels[i]]
        total += max(0.0, margin + max([own, *positives]) - min(negatives))
    return total / n


def cross_entropy_reference(logits, labels, smoothing: float) -> float:
    total, classes = 0.0, logits.shape[1]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        norm = math.log(sum(math.exp(value) for value in row))
        for k, value in enumerate(row):
            total -= ((1 - smoothing) * (k == label) + smoothing / classes) * (value - norm)
    return total / len(labels)


def draw(B: int, D: int, seed: int) -> torch.Tensor:
    return torch.randn(B, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


BATCH = st.lists(st.integers(0, 3), min_size=2, max_size=8).filter(lambda labels: len(set(labels)) > 1)


@settings(max_examples=50, deadline=None)
@given(BATCH, st.integers(1, 5), st.integers(0, 1000), st.sampled_from(["cosine", "euclidean"]), st.sampled_from([0.0, 0.3, 2.0]))
def test_triplet_against_loops(labels, D, seed, kind, margin):
    features = draw(len(labels), D, seed)
    found = batch_hard_triplet(features, torch.tensor(labels), margin, kind)
    assert float(found) == pytest.approx(triplet_reference(features, labels, margin, kind), abs=1e-9)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_distances_against_loops(kind):
    features = draw(5, 3, 0)
    found = pairwise_distances(features, kind)
    for i in range(5):
        for j in range(5):
            assert float(found[i, j]) == pytest.approx(distance_reference(features[i], features[j], kind), abs=1e-5)
    assert pairwise_distances(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]), "cosine")[0, 1] == 2


def test_batch_hard_by_hand():
    """On a line, Euclidean, margin 1. Person 0 at 0 and 2, person 1 at 3 and 9.

    Anchor 0: furthest positive 2, nearest negative 3: 1 + 2 - 3 = 0. Anchor 2: 2 and 1: 2. Anchor 3: 6 and 1: 6. Anchor 9: 6 and 7: 0."""
    features = torch.tensor([[0.0], [2.0], [3.0], [9.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert float(batch_hard_triplet(features, labels, 1.0, "euclidean")) == pytest.approx((0 + 2 + 6 + 0) / 4)


def test_only_the_hardest_pairs_get_gradient():
    features = torch.tensor([[0.0], [2.0], [3.0], [9.0]], requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), 1.0, "euclidean").backward()
    # anchors at 2 (positive 0, negative 3) and 3 (positive 9, negative 2) are active, each with weight 1/4
    assert features.grad.flatten().tolist() == pytest.approx([-0.25, 0.75, -0.75, 0.25])


def test_an_identity_with_one_clip_is_its_own_positive():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(batch_hard_triplet(features, torch.tensor([4, 7]), 1.5)) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_gradient_is_finite_at_identical_and_at_zero_features(kind):
    for features in (torch.ones(4, 3), torch.zeros(4, 3)):
        features.requires_grad_()
        loss = batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), 0.3, kind)
        loss.backward()
        assert features.grad.isfinite().all()
        if features.detach().any():
            assert loss.item() == pytest.approx(0.3, abs=1e-5)  # all distances alike: the margin is left


@pytest.mark.parametrize("size", [1, 4])
def test_a_batch_of_one_identity_is_refused(size):
    with pytest.raises(ValueError, match=r"one identity only.*at least 2 people"):
        batch_hard_triplet(torch.rand(size, 3), torch.zeros(size, dtype=torch.long))


def test_unknown_distances_are_named():
    with pytest.raises(ValueError, match="unknown distance 'manhattan'; choose one of cosine, euclidean"):
        pairwise_distances(torch.rand(2, 3), "manhattan")
    with pytest.raises(ValueError, match="manhattan"):
        ReidLoss(distance="manhattan")


def output(weights, losses=None) -> ReidOutput:
    heads = len(weights)
    return ReidOutput([draw(6, 5, i) for i in range(heads)], [2 * draw(6, 3, 10 + i) for i in range(heads)], losses or {}, list(weights))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_total_is_the_weighted_sum_over_heads(smoothing, kind):
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    weights = [1.0, 0.25, 0.25]
    extra = {"sparsity": torch.tensor(0.7, dtype=torch.float64)}
    made = output(weights, extra)
    terms = ReidLoss(smoothing, 0.5, 0.4, kind)(made, labels)
    identity = sum(w * cross_entropy_reference(l, labels, smoothing) for w, l in zip(weights, made.logits, strict=True))
    triplet = 0.5 * sum(w * triplet_reference(f, labels.tolist(), 0.4, kind) for w, f in zip(weights, made.features, strict=True))
    assert list(terms) == ["total", "identity", "triplet", "sparsity"]
    assert float(terms["identity"]) == pytest.approx(identity, rel=1e-6)
    assert float(terms["triplet"]) == pytest.approx(triplet, rel=1e-5)
    assert float(terms["total"]) == pytest.approx(identity + triplet + 0.7, rel=1e-5)
    assert made.losses == extra  # the model's dict is left alone


def test_without_triplet_there_is_no_such_term_and_one_identity_is_legal():
    terms = ReidLoss(triplet_weight=0.0)(output([1.0]), torch.zeros(6, dtype=torch.long))
    assert list(terms) == ["total", "identity"] and float(terms["total"]) == float(terms["identity"])


def test_triplet_of_half_precision_features_is_taken_in_single():
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    made = output([1.0])
    half = ReidOutput([made.features[0].bfloat16()], [made.logits[0].float()])
    single = ReidOutput([half.features[0].float()], [made.logits[0].float()])
    assert float(ReidLoss()(half, labels)["triplet"]) == float(ReidLoss()(single, labels)["triplet"])
