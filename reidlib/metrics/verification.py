"""Verification: are two tracklets of the same person? Scores of pairs, error rates at a threshold, thresholds, a calibrated probability.

The rule everywhere: "the same" if and only if score >= threshold. A false match is a pair of different people called the same, a false
non-match a pair of one person called different (ISO/IEC 19795-1); their rates are shares of the pairs of that kind.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from reidlib.metrics.intervals import Interval

CHUNK = 1 << 20  # resampled multiplicities held at once; bounds the memory


@dataclass(frozen=True)
class Pairs:
    """Scored pairs of tracklets. scores [n], higher is more alike. first, second [n]: the two people. rows [n, 2]: which tracklets.

    Raises ValueError for lengths that disagree, scores that are not finite, or pairs of one kind alone."""

    scores: np.ndarray
    first: np.ndarray
    second: np.ndarray
    rows: np.ndarray

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("scores", "first", "second", "rows")}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"pairs need columns of equal length, got {lengths}")
        if not np.isfinite(self.scores).all():
            raise ValueError(f"{int((~np.isfinite(self.scores)).sum())} scores are NaN or infinite; did the training diverge?")
        if not 0 < int(self.same.sum()) < len(self.same):
            raise ValueError(
                f"{int(self.same.sum())} pairs of one person and {int((~self.same).sum())} of different people: error rates need both; "
                "is every person seen by one camera only?"
            )

    @property
    def same(self) -> np.ndarray:
        """Which pairs are of one person, bool [n]."""
        return self.first == self.second

    @property
    def right(self) -> np.ndarray:
        """Scores of the pairs of one person."""
        return self.scores[self.same]

    @property
    def wrong(self) -> np.ndarray:
        """Scores of the pairs of different people."""
        return self.scores[~self.same]


def pairs_across_cameras(vectors: ArrayLike, people: ArrayLike, cameras: ArrayLike | None = None) -> Pairs:
    """Cosine similarity of every unordered pair of rows of `vectors` [N, D] whose cameras differ; without cameras, of every pair.

    people [N], cameras [N]. Rows need not be of unit length; a zero row has similarity 0 with all."""
    vectors, people = np.asarray(vectors, np.float64), np.asarray(people)
    first, second = np.triu_indices(len(people), 1)
    if cameras is not None:
        across = np.asarray(cameras)[first] != np.asarray(cameras)[second]
        first, second = first[across], second[across]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    scores = np.clip((unit @ unit.T)[first, second], -1, 1)
    return Pairs(scores, people[first], people[second], np.stack([first, second], axis=1))


def error_rates(pairs: Pairs, thresholds: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """False match rate and false non-match rate at each threshold, fractions [K] each."""
    thresholds = np.atleast_1d(thresholds)
    wrong, right = np.sort(pairs.wrong), np.sort(pairs.right)
    matches = len(wrong) - np.searchsorted(wrong, thresholds, side="left")
    return matches / len(wrong), np.searchsorted(right, thresholds, side="left") / len(right)


def candidate_thresholds(pairs: Pairs) -> np.ndarray:
    """Every threshold that decides differently, ascending: below all scores, midway between neighbouring ones, above all."""
    scores = np.unique(pairs.scores)
    return np.concatenate([scores[:1], (scores[:-1] + scores[1:]) / 2, np.nextafter(scores[-1:], np.inf)])


def equal_error_threshold(pairs: Pairs) -> float:
    """The threshold at which both error rates are nearest to one another; of several, one with the smaller errors, the lower first."""
    thresholds = candidate_thresholds(pairs)
    matches, misses = error_rates(pairs, thresholds)
    gap = np.abs(matches - misses).round(12)  # equal gaps of other fractions differ in the last digit
    return float(thresholds[np.lexsort((thresholds, np.maximum(matches, misses), gap))[0]])


def threshold_at(pairs: Pairs, false_match_rate: float) -> float:
    """The lowest threshold whose false match rate is at most the one wanted: of all such, it misses the fewest pairs of one person.

    Raises ValueError for a rate that so few pairs cannot show."""
    least = 1 / len(pairs.wrong)
    if not least <= false_match_rate < 1:
        raise ValueError(
            f"false match rate {false_match_rate:g} is asked for; {len(pairs.wrong)} pairs of different people can show rates from "
            f"{least:.2g} to below 1: hold out more people, or ask for a rate in this range"
        )
    thresholds = candidate_thresholds(pairs)
    return float(thresholds[error_rates(pairs, thresholds)[0] <= false_match_rate][0])


def resampled_error_rates(pairs: Pairs, thresholds: ArrayLike, draws: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Both error rates at each threshold in `draws` bootstrap samples of people, [draws, K] each.

    Whole people are drawn with replacement, and a pair counts as often as the product of how often its two people were drawn (Snijders
    and Borgatti, Connections 22, 1999): a pair of different people depends on both. NaN where a sample holds no pair of a kind."""
    thresholds = np.atleast_1d(thresholds)
    names, codes = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    P, first, second = len(names), codes[: len(pairs.first)], codes[len(pairs.first) :]
    same, rng = pairs.same, np.random.default_rng(seed)
    cell = first * P + second
    rates = np.full((2, draws, len(thresholds)), np.nan)
    step = max(1, CHUNK // P)
    for start in range(0, draws, step):
        drawn = rng.multinomial(P, np.full(P, 1 / P), min(step, draws - start)).astype(np.float64)  # [draws, P]

        def weighed(chosen: np.ndarray, drawn: np.ndarray = drawn) -> np.ndarray:
            counts = np.bincount(cell[chosen], minlength=P * P).reshape(P, P)
            # a person's own pairs count as often as the person
            return np.einsum("di,di->d", drawn @ (counts - np.diag(np.diag(counts))), drawn) + drawn @ np.diag(counts)

        block = slice(start, start + len(drawn))
        wrong, right = weighed(~same), weighed(same)
        for k, threshold in enumerate(thresholds):
            accepted = pairs.scores >= threshold
            with np.errstate(invalid="ignore"):
                rates[0, block, k] = weighed(~same & accepted) / wrong
                rates[1, block, k] = weighed(same & ~accepted) / right
    return rates[0], rates[1]


def error_intervals(pairs: Pairs, threshold: float, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[Interval, Interval]:
    """Both error rates at a threshold with percentile bootstrap intervals over people, see `resampled_error_rates`.

    Two people say nothing of others: with fewer than three the intervals are [0, 1]."""
    few = len(np.unique(np.concatenate([pairs.first, pairs.second]))) < 3
    rates, resampled = error_rates(pairs, threshold), resampled_error_rates(pairs, threshold, draws, seed)
    found = []
    for rate, values, count in zip(rates, resampled, (len(pairs.wrong), len(pairs.right)), strict=True):
        low, high = (0.0, 1.0) if few else np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
        found.append(Interval(float(rate[0]), float(low), float(high), level, count))
    return found[0], found[1]


@dataclass(frozen=True)
class Calibration:
    """Score -> log-odds of the same person, `slope * score + offset`, where same and different are equally likely beforehand.

    slope 0: the pairs it was fitted to do not tell who is the same; every probability is what it was beforehand."""

    slope: float
    offset: float

    def probability(self, scores: ArrayLike, prior: float = 0.5) -> np.ndarray:
        """Probability that a pair is of one person; prior: how likely that was beforehand. Never falls as the score rises."""
        if not 0 < prior < 1:
            raise ValueError(f"prior {prior} must lie between 0 and 1: how likely the same person is before looking (0.5: nothing known)")
        odds = self.slope * np.asarray(scores, np.float64) + self.offset + np.log(prior / (1 - prior))
        return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))


def fit_calibration(pairs: Pairs) -> Calibration:
    """Platt scaling (Platt, "Probabilistic outputs for support vector machines", 1999): logistic regression on the score.

    Both kinds of pairs weigh the same, whatever their numbers. Platt's softened targets keep the slope finite where the kinds do not
    overlap: N+ right pairs are aimed at (N+ + 1) / (N+ + 2). A slope below 0 would make alike mean different; it becomes 0."""
    from sklearn.linear_model import LogisticRegression

    same = pairs.same
    right, wrong = int(same.sum()), int((~same).sum())
    target = np.where(same, (right + 1) / (right + 2), 1 / (wrong + 2))
    weight = np.where(same, 0.5 / right, 0.5 / wrong) * len(same)
    scores = np.concatenate([pairs.scores, pairs.scores])[:, None]
    labels = np.repeat([1, 0], len(same))
    weights = np.concatenate([weight * target, weight * (1 - target)])
    centre, spread = pairs.scores.mean(), max(float(pairs.scores.std()), 1e-12)  # the solver's scale
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit((scores - centre) / spread, labels, sample_weight=weights)
    slope = float(fitted.coef_[0, 0]) / spread
    return Calibration(slope, float(fitted.intercept_[0] - slope * centre)) if slope > 0 else Calibration(0.0, 0.0)
