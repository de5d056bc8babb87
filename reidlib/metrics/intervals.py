"""Bootstrap confidence intervals of mean scores and of paired differences between two systems."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CHUNK = 1 << 14  # resampled positions held at once: fits the cache, bounds the memory


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval. count: values behind it; excluded: NaN values left out."""

    mean: float
    low: float
    high: float
    level: float = 0.95
    count: int = 0
    excluded: int = 0

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside: for a difference, whether it is told from none at this level."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def bootstrap_interval(
    values: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of `values` [n]. NaN values (queries without a valid match) are left out and counted.

    groups: [n] labels, one per value. Queries of one person are not independent: with groups whole groups are resampled (cluster
    bootstrap), each mean being weighted by the values drawn. Same seed, same interval.

    Raises ValueError with fewer than two values (groups) left: one value says nothing about its spread.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"values must be one row [n], not {values.shape}")
    return _interval(values[None], lambda means, rng: means[:, 0], groups, level, draws, seed)


def paired_difference(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95, draws: int = 10_000, seed: int = 0,
    resample_seeds: bool = False,
) -> Interval:  # fmt: skip
    """Interval of mean(a - b), paired query by query: a and b are drawn together, so what is common to both cancels.

    a, b: [n] scores of the same n queries in the same order, or [seeds, n] (the numbers of seeds may differ): each query is averaged over
    seeds first. resample_seeds=True also draws the seeds of a and of b anew, independently, each time, so that the interval covers the luck
    of training too; with very few seeds it is still too narrow. A query that is NaN in any row is left out and counted.
    groups, level, draws, seed and errors as in `bootstrap_interval`; also raises ValueError when a and b are not of the same n queries.
    """
    a, b = np.atleast_2d(np.asarray(a, np.float64)), np.atleast_2d(np.asarray(b, np.float64))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or 0 in (len(a), len(b)):
        raise ValueError(f"a and b must be [n] or [seeds, n] with the same n queries, not {a.shape} and {b.shape}")
    if not resample_seeds:
        return _interval((a.mean(axis=0) - b.mean(axis=0))[None], lambda means, rng: means[:, 0], groups, level, draws, seed)

    def difference(means: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # means [draws, seeds of a + seeds of b]
        left, right = means[:, : len(a)], means[:, len(a) :]
        return _resampled(left, rng) - _resampled(right, rng)

    observed = np.concatenate([np.ones(len(a)) / len(a), -np.ones(len(b)) / len(b)])
    return _interval(np.concatenate([a, b]), difference, groups, level, draws, seed, observed)


def _interval(
    rows: np.ndarray, statistic: Callable[[np.ndarray, np.random.Generator], np.ndarray], groups: ArrayLike | None, level: float,
    draws: int, seed: int, observed: ArrayLike = (1.0,),
) -> Interval:  # fmt: skip
    """Interval of `statistic(means of the rows [draws, R], rng)`; the estimate itself is the mean of each row weighted by `observed`."""
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"level={level} must lie between 0 and 1 and draws={draws} be at least 1")
    if np.isinf(rows).any():
        raise ValueError("scores hold infinity; only NaN (no valid match) may be left out")
    codes = _group_codes(groups, rows.shape[1])
    kept = ~np.isnan(rows).any(axis=0)
    rows, codes = rows[:, kept], np.unique(codes[kept], return_inverse=True)[1]
    units = int(codes.max(initial=-1)) + 1
    if units < 2:
        raise ValueError(f"{units} {'value' if groups is None else 'group'}(s) left of {len(kept)} values: an interval needs at least 2")
    # Measured from the first value, so that constant scores give an interval of exactly zero width.
    origin = rows[:, 0]
    sums = np.stack([np.bincount(codes, row - start, units) for row, start in zip(rows, origin, strict=True)])
    sizes = np.bincount(codes, minlength=units)
    rng = np.random.default_rng(seed)
    draw_means = _resampled_means(sums, sizes, draws, rng) + origin
    tail = (1 - level) / 2
    low, high = np.quantile(statistic(draw_means, rng), [tail, 1 - tail])
    mean = (origin + sums.sum(axis=1) / sizes.sum()) @ np.asarray(observed)
    return Interval(float(mean), float(low), float(high), level, int(kept.sum()), int((~kept).sum()))


def _group_codes(groups: ArrayLike | None, count: int) -> np.ndarray:
    if groups is None:
        return np.arange(count)
    groups = np.asarray(groups)
    if groups.shape != (count,):
        raise ValueError(f"groups are {groups.shape}, but there are {count} values")
    return np.unique(groups, return_inverse=True)[1]


def _resampled_means(sums: np.ndarray, sizes: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means [draws, R] over groups drawn with replacement; sums [R, groups], sizes [groups]."""
    units = len(sizes)
    narrow = np.uint16 if units <= 1 << 16 else np.int64
    even = (sizes == sizes[0]).all()
    means = np.empty((draws, len(sums)))
    step = max(1, CHUNK // units)
    for start in range(0, draws, step):
        picks = rng.integers(0, units, (min(step, draws - start), units), dtype=narrow)
        drawn = units * sizes[0] if even else sizes.take(picks).sum(axis=1)
        for row, values in enumerate(sums):
            means[start : start + step, row] = values.take(picks).sum(axis=1) / drawn
    return means


def _resampled(means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean over columns drawn with replacement, anew in each row."""
    picks = rng.integers(0, means.shape[1], means.shape)
    return np.take_along_axis(means, picks, axis=1).mean(axis=1)
