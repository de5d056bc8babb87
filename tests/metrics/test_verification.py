"""Pairs, error rates, thresholds and probabilities against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.metrics import bootstrap_interval
from reidlib.metrics.verification import (
    Pairs,
    candidate_thresholds,
    equal_error_threshold,
    error_intervals,
    error_rates,
    fit_calibration,
    pairs_across_cameras,
    resampled_error_rates,
    threshold_at,
)


def made(scores, first, second) -> Pairs:
    rows = np.arange(2 * len(scores)).reshape(-1, 2)
    return Pairs(np.asarray(scores, float), np.asarray(first), np.asarray(second), rows)


def drawn(seed: int = 0, people: int = 8, tracklets: int = 4, noise: float = 1.0) -> Pairs:
    rng = np.random.default_rng(seed)
    person, camera = np.repeat(np.arange(people), tracklets), np.tile(np.arange(tracklets) % 2, people)
    return pairs_across_cameras(rng.normal(size=(people, 6))[person] + noise * rng.normal(size=(len(person), 6)), person, camera)


@st.composite
def any_pairs(draw) -> Pairs:
    """Few distinct scores, so that ties are common."""
    n = draw(st.integers(2, 25))
    scores = draw(st.lists(st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.3, 0.9]), min_size=n, max_size=n))
    first = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    second = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    first[:2], second[:2] = [0, 0], [0, 1]  # both kinds
    return made(scores, first, second)


def slow_rates(pairs: Pairs, threshold: float) -> tuple[float, float]:
    wrong = right = matches = misses = 0
    for score, a, b in zip(pairs.scores, pairs.first, pairs.second, strict=True):
        if a == b:
            right, misses = right + 1, misses + (score < threshold)
        else:
            wrong, matches = wrong + 1, matches + (score >= threshold)
    return matches / wrong, misses / right


def test_pairs_across_cameras_against_a_loop():
    rng = np.random.default_rng(3)
    vectors, people, cameras = rng.normal(size=(9, 4)), rng.integers(0, 3, 9), rng.integers(0, 3, 9)
    found = pairs_across_cameras(vectors, people, cameras)
    expected = []
    for i in range(9):
        for j in range(i + 1, 9):
            if cameras[i] != cameras[j]:
                cosine = vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
                expected.append((i, j, people[i], people[j], cosine))
    assert [tuple(row) for row in found.rows] == [line[:2] for line in expected]
    assert list(zip(found.first, found.second, strict=True)) == [line[2:4] for line in expected]
    np.testing.assert_allclose(found.scores, [line[4] for line in expected], atol=1e-12)
    assert len(pairs_across_cameras(vectors, people).scores) == 9 * 8 // 2


@settings(max_examples=25, deadline=None)
@given(any_pairs(), st.sampled_from([-1.0, 0.0, 0.15, 0.2, 0.9, 1.0]))
def test_error_rates_against_a_loop(pairs, threshold):
    matches, misses = error_rates(pairs, threshold)
    assert (matches[0], misses[0]) == pytest.approx(slow_rates(pairs, threshold), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(any_pairs())
def test_no_threshold_has_errors_nearer_to_one_another(pairs):
    def gap(threshold):
        matches, misses = slow_rates(pairs, threshold)
        return abs(matches - misses), max(matches, misses)

    found = gap(equal_error_threshold(pairs))
    tried = [gap(threshold) for threshold in [*np.unique(pairs.scores), *candidate_thresholds(pairs), 2.0]]
    least = min(distance for distance, _ in tried)
    assert found[0] == pytest.approx(least, abs=1e-12)
    assert found[1] == pytest.approx(min(error for distance, error in tried if distance <= least + 1e-9), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(any_pairs(), st.floats(0.05, 0.95))
def test_threshold_at_a_rate_keeps_it_and_misses_the_fewest(pairs, rate):
    if rate < 1 / len(pairs.wrong):
        with pytest.raises(ValueError, match="hold out more people"):
            threshold_at(pairs, rate)
        return
    matches, misses = slow_rates(pairs, threshold_at(pairs, rate))
    assert matches <= rate
    allowed = [slow_rates(pairs, t) for t in [*np.unique(pairs.scores), 2.0]]
    assert misses == min(n for m, n in allowed if m <= rate)


def test_rates_of_resampled_people_against_a_loop():
    pairs, thresholds, draws = drawn(), np.array([0.1, 0.4]), 6
    found = resampled_error_rates(pairs, thresholds, draws, seed=5)
    names = np.unique(np.concatenate([pairs.first, pairs.second]))
    times = np.random.default_rng(5).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    for d in range(draws):
        count = dict(zip(names, times[d], strict=True))
        for k, threshold in enumerate(thresholds):
            sums = np.zeros((2, 2))  # kind, (weight, errors)
            for score, a, b in zip(pairs.scores, pairs.first, pairs.second, strict=True):
                weight = count[a] if a == b else count[a] * count[b]
                sums[int(a == b)] += weight, weight * ((score < threshold) if a == b else (score >= threshold))
            assert found[0][d, k] == pytest.approx(sums[0, 1] / sums[0, 0])
            assert found[1][d, k] == pytest.approx(sums[1, 1] / sums[1, 0])


def test_interval_of_misses_is_the_cluster_bootstrap_over_people():
    pairs = drawn(people=20, noise=1.5)
    threshold = equal_error_threshold(pairs)
    matches, misses = error_intervals(pairs, threshold, draws=4000)
    plain = bootstrap_interval((pairs.right < threshold).astype(float), groups=pairs.first[pairs.same])
    assert (misses.low, misses.mean, misses.high) == pytest.approx((plain.low, plain.mean, plain.high), abs=0.03)
    assert (matches.mean, misses.mean) == pytest.approx(slow_rates(pairs, threshold))
    assert matches.low < matches.mean < matches.high and matches.count == len(pairs.wrong)


def test_two_people_say_nothing_of_others():
    found = error_intervals(drawn(people=2), 0.3)
    assert [(interval.low, interval.high) for interval in found] == [(0, 1), (0, 1)]


@settings(max_examples=10, deadline=None)
@given(any_pairs(), st.floats(0.01, 0.99))
def test_probability_never_falls_as_the_score_rises(pairs, prior):
    probability = fit_calibration(pairs).probability(np.linspace(-1, 1, 50), prior)
    assert (np.diff(probability) >= 0).all() and ((probability >= 0) & (probability <= 1)).all()


def test_calibration_minimises_the_weighted_loss():
    pairs = drawn(people=12)
    found = fit_calibration(pairs)
    assert found.slope > 0
    n, m = len(pairs.right), len(pairs.wrong)

    def loss(slope, offset):
        total = 0.0
        for score, same in zip(pairs.scores, pairs.same, strict=True):
            target = (n + 1) / (n + 2) if same else 1 / (m + 2)
            p = 1 / (1 + np.exp(-slope * score - offset))
            total -= (target * np.log(p) + (1 - target) * np.log(1 - p)) / (n if same else m)
        return total

    best = loss(found.slope, found.offset)
    assert all(loss(found.slope + a, found.offset + b) > best for a, b in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02)))


def test_pairs_that_do_not_overlap_have_a_finite_slope():
    found = fit_calibration(made([0.9, 0.8, 0.1, 0.2], [0, 1, 0, 0], [0, 1, 1, 2]))
    assert 0 < found.slope < 100 and found.probability(0.85) > 0.6 > 0.4 > found.probability(0.15)


def test_scores_that_point_the_wrong_way_say_nothing():
    found = fit_calibration(made([0.1, 0.2, 0.9, 0.8], [0, 1, 0, 0], [0, 1, 1, 2]))
    assert found.slope == 0 and found.probability([-1, 0, 1]).tolist() == [0.5] * 3
    assert found.probability(0.3, prior=0.2) == pytest.approx(0.2)


def test_the_prior_shifts_the_odds():
    found = fit_calibration(drawn())
    even, rare = found.probability(0.7), found.probability(0.7, prior=0.01)
    assert rare / (1 - rare) == pytest.approx(even / (1 - even) / 99)


@pytest.mark.parametrize("prior", [0, 1, -0.5])
def test_a_prior_is_a_probability(prior):
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_calibration(drawn()).probability(0.5, prior)


def test_bad_pairs_are_refused():
    with pytest.raises(ValueError, match="one camera only"):
        made([0.1, 0.2], [0, 1], [1, 0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        made([0.1, np.nan], [0, 1], [0, 0])
    with pytest.raises(ValueError, match="equal length"):
        made([0.1, 0.2], [0, 1], [0, 0, 1])
