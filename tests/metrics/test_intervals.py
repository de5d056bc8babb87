"""Bootstrap intervals: coverage on simulated data, pairing, clusters, seeds, errors."""

import numpy as np
import pytest

from reidlib.metrics import bootstrap_interval, paired_difference


def covered(make_interval, truth, runs):
    return np.mean([interval.low <= truth <= interval.high for interval in map(make_interval, range(runs))])


def test_coverage_of_the_mean_of_normal_values():
    def interval(seed):
        return bootstrap_interval(np.random.default_rng((1, seed)).normal(3, 2, 100), draws=500, seed=seed)

    # 400 runs at a true coverage near 0.94: three standard errors are 0.036.
    assert 0.90 < covered(interval, 3, 400) < 0.98


def clustered(seed):
    rng = np.random.default_rng((2, seed))
    groups = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    return rng.normal(0, 1, 40)[groups] + 0.3 * rng.normal(size=len(groups)), groups


def test_clusters_need_the_cluster_bootstrap():
    assert 0.88 < covered(lambda seed: bootstrap_interval(*clustered(seed), draws=500), 0, 300) < 0.98
    assert covered(lambda seed: bootstrap_interval(clustered(seed)[0], draws=500), 0, 300) < 0.75


def test_agrees_with_a_plain_bootstrap_and_with_the_standard_error():
    rng = np.random.default_rng(0)
    values, groups = rng.random(200), rng.integers(0, 60, 200)
    labels = np.unique(groups)
    means = []
    for _ in range(4000):
        drawn = np.concatenate([values[groups == label] for label in rng.choice(labels, len(labels))])
        means.append(drawn.mean())
    interval = bootstrap_interval(values, groups)
    np.testing.assert_allclose([interval.low, interval.high], np.quantile(means, [0.025, 0.975]), atol=0.004)
    assert interval.mean == pytest.approx(values.mean(), abs=1e-12)
    single = bootstrap_interval(values)
    assert single.high - single.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.05)
    assert bootstrap_interval(values, level=0.5).high < single.high


def test_constant_values_give_no_width_and_nan_is_counted():
    interval = bootstrap_interval([0.1] * 7 + [np.nan] * 2)
    assert (interval.low, interval.high) == (interval.mean, interval.mean) == (0.1, 0.1)
    assert (interval.count, interval.excluded) == (7, 2)
    uneven = bootstrap_interval([0.1] * 7, groups=list("aabcccc"))
    assert uneven.low == uneven.high == 0.1


def test_same_seed_same_interval():
    values = np.random.default_rng(0).random(300)
    groups = np.arange(300) // 4
    assert bootstrap_interval(values, groups, seed=3) == bootstrap_interval(values, groups, seed=3)
    assert bootstrap_interval(values, groups, seed=3) != bootstrap_interval(values, groups, seed=4)
    renamed = np.array([f"person {g:03}" for g in groups])
    assert bootstrap_interval(values, groups) == bootstrap_interval(values, renamed)


def test_pairing_narrows_and_tells_a_small_difference():
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    a, b = hard + 0.02 + 0.05 * rng.normal(size=400), hard + 0.05 * rng.normal(size=400)
    paired, left, right = paired_difference(a, b), bootstrap_interval(a), bootstrap_interval(b)
    assert paired.excludes_zero and paired.mean == pytest.approx((a - b).mean(), abs=1e-12)
    assert paired.high - paired.low < 0.3 * np.hypot(left.high - left.low, right.high - right.low)
    swapped = paired_difference(b, a)
    np.testing.assert_allclose([swapped.low, swapped.high], [-paired.high, -paired.low], atol=1e-12)


def test_seeds_are_averaged_per_query_and_may_be_resampled():
    rng = np.random.default_rng(0)
    a = 0.5 + 0.1 * rng.normal(size=300) + np.array([[-0.05], [0.0], [0.08]])
    b = 0.5 + 0.1 * rng.normal(size=(2, 300))
    a[0, 4] = b[1, 9] = np.nan
    averaged = paired_difference(a, b)
    assert averaged == paired_difference(a.mean(axis=0), b.mean(axis=0))
    assert (averaged.count, averaged.excluded) == (298, 2)
    wide = paired_difference(a, b, resample_seeds=True)
    assert wide.mean == pytest.approx(averaged.mean, abs=1e-12)
    assert wide.high - wide.low > 1.5 * (averaged.high - averaged.low)
    one = paired_difference(a[1], b[0], resample_seeds=True)
    assert (one.low, one.high) == pytest.approx((paired_difference(a[1], b[0]).low, paired_difference(a[1], b[0]).high), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0.5],), {}, "1 value.* at least 2"),
        (([np.nan, np.nan],), {}, "0 value"),
        (([],), {}, "0 value"),
        (([0.5, 0.6],), {"groups": [1, 1]}, "1 group"),
        (([0.5, 0.6],), {"groups": [1]}, "groups are"),
        (([0.5, np.inf],), {}, "infinity"),
        (([[0.5, 0.6]],), {}, r"one row \[n\]"),
        (([0.5, 0.6],), {"level": 95}, "level=95"),
        (([0.5, 0.6],), {"draws": 0}, "draws=0"),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(*arguments, **options)


def test_difference_of_other_queries_is_refused():
    with pytest.raises(ValueError, match="same n queries"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])
