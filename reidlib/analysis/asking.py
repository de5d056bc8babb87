"""What the notebook on asking shows: error rates on known and on new people, curves with intervals, reliability, pairs and searches."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from reidlib.analysis.ranked import tracklet_picture
from reidlib.asking import Calibrated, ReIdentifier
from reidlib.datasets import StoreLike, in_subset
from reidlib.metrics.verification import (
    Pairs,
    equal_error_threshold,
    error_intervals,
    error_rates,
    resampled_error_rates,
)

CURVE_POINTS = 60  # thresholds of a curve with a band
DRAWS = 500  # bootstrap samples of people behind a band


def threshold_in_use(asked: ReIdentifier, test: Pairs) -> tuple[float, str]:
    """The threshold and where it comes from, in words: of the validation part, or, where no people were held out, of the test itself."""
    if asked.calibrated is None:
        text = "No people were held out: the threshold is the one of equal errors on the test part itself, a description and no promise."
        return equal_error_threshold(test), text
    text = "The threshold and the probability come from the held-out training people; the test part shows new people."
    if asked.calibrated.calibration.slope == 0:
        text += " Those people's pairs do not tell who is the same, so every probability is 50 %: the model has not learned enough."
    return asked.calibrated.threshold, text


def rates_table(parts: Mapping[str, Pairs], threshold: float) -> pd.DataFrame:
    """One line per part ("validation", "test", ...): pairs, people, both error rates at the threshold with 95 % intervals over people and
    the part's own equal error rate, in percent."""
    lines = {}
    for name, pairs in parts.items():
        people = len(np.unique([pairs.first, pairs.second]))
        line: dict[str, float] = {"people": people, "same": len(pairs.right), "different": len(pairs.wrong)}
        for kind, found in zip(("false match", "false non-match"), error_intervals(pairs, threshold), strict=True):
            line |= {kind: 100 * found.mean, f"{kind} low": 100 * found.low, f"{kind} high": 100 * found.high}
        both = error_rates(pairs, equal_error_threshold(pairs))
        lines[name] = line | {"equal error": 100 * float(np.mean(both))}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("part")


def readable_rates(table: pd.DataFrame) -> pd.DataFrame:
    """`rates_table` for reading."""
    shown = table[["people", "same", "different"]].rename(columns={"same": "pairs of one person", "different": "pairs of different people"})
    for kind in ("false match", "false non-match"):
        cells = zip(table[kind], table[f"{kind} low"], table[f"{kind} high"], strict=True)
        shown[f"{kind} rate (%)"] = [f"{mean:.1f} [{low:.1f}, {high:.1f}]" for mean, low, high in cells]
    return shown.assign(**{"equal error rate (%)": table["equal error"].map("{:.1f}".format)})


def detection_curve(pairs: Pairs, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Detection error tradeoff: false match rate, false non-match rate and its 95 % band over people, fractions, one row per threshold.

    The band is that of the false non-match rate at a given false match rate: in every sample of people the threshold is the one that
    gives this rate there."""
    levels = np.geomspace(1 / len(pairs.wrong), 1, CURVE_POINTS)
    thresholds = np.unique(np.quantile(pairs.wrong, 1 - levels, method="higher"))
    matches, misses = error_rates(pairs, thresholds)
    drawn = np.stack(resampled_error_rates(pairs, thresholds, draws, seed), axis=1)  # [draws, 2, K]
    drawn = drawn[np.isfinite(drawn).all(axis=(1, 2)), :, ::-1]  # ascending in the false match rate, as interp wants it
    low, high = np.quantile([np.interp(matches, *sample) for sample in drawn], [0.025, 0.975], axis=0)
    return pd.DataFrame({"threshold": thresholds, "false match": matches, "false non-match": misses, "low": low, "high": high})


def reliability(pairs: Pairs, calibrated: Calibrated, bins: int = 8) -> pd.DataFrame:
    """Does "70 %" come true in 70 % of cases? Pairs in `bins` groups of rising probability: predicted and observed share of one person,
    95 % interval of the observed, fractions, pairs.

    Both kinds of pairs weigh the same, as the probability is for a prior of 0.5; groups hold equal weights. The interval is one over
    first people of a pair."""
    probability = calibrated.calibration.probability(pairs.scores)
    weight = np.where(pairs.same, 0.5 / len(pairs.right), 0.5 / len(pairs.wrong))
    order = np.argsort(probability, kind="stable")
    group = np.empty(len(order), np.int64)
    group[order] = np.minimum((np.cumsum(weight[order]) - weight[order] / 2) * bins, bins - 1).astype(np.int64)
    lines = []
    for value in np.unique(group):
        here = group == value
        w, same, people = weight[here], pairs.same[here], pairs.first[here]
        low, high = _weighted_interval(same, w, people)
        lines.append(
            {
                "predicted": np.average(probability[here], weights=w),
                "observed": np.average(same, weights=w),
                "low": low,
                "high": high,
                "pairs": int(here.sum()),
            }
        )
    return pd.DataFrame(lines)


def _weighted_interval(same: np.ndarray, weight: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval, over people, of the weighted share of `same`; [0, 1] where there is one person only."""
    names, codes = np.unique(people, return_inverse=True)
    if len(names) < 2:
        return 0.0, 1.0
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), 1000)  # [draws, people]
    shares = (drawn @ np.bincount(codes, weight * same)) / (drawn @ np.bincount(codes, weight))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def three_pairs(asked: ReIdentifier, index: pd.DataFrame) -> pd.DataFrame:
    """Three pairs of tracklets under different cameras, chosen by rule: rule, a, b (keys), person a, person b, similarity.

    "one person" and "two people": the pair in the middle of its kind by similarity. "hardest": the most alike of two people. Pairs of
    equal similarity in the order of the index."""
    pairs = asked.pairs(index)
    order = np.argsort(pairs.scores, kind="stable")
    right, wrong = order[pairs.same[order]], order[~pairs.same[order]]
    chosen = {"one person": right[len(right) // 2], "two people": wrong[(len(wrong) - 1) // 2], "hardest": wrong[-1]}
    keys, places = index["key"].to_numpy(), list(chosen.values())
    return pd.DataFrame(
        {
            "rule": list(chosen),
            "a": keys[pairs.rows[places, 0]],
            "b": keys[pairs.rows[places, 1]],
            "person a": pairs.first[places],
            "person b": pairs.second[places],
            "similarity": pairs.scores[places],
        }
    )


def pictured_verdicts(asked: ReIdentifier, chosen: pd.DataFrame) -> list[dict]:
    """Entries for `plots.asking.verdicts`: what `asked.same` says of each of `three_pairs`, or its similarity alone without calibration."""
    store, rows = _store(asked), []
    for line in chosen.to_dict("records"):
        row = {"a": tracklet_picture(store, line["a"]), "b": tracklet_picture(store, line["b"]), "rule": line["rule"]}
        row |= {"people": (line["person a"], line["person b"]), "score": line["similarity"], "probability": np.nan, "same": None}
        if asked.calibrated is not None:
            verdict = asked.same(line["a"], line["b"])
            row |= {"score": verdict.score, "probability": verdict.probability, "same": verdict.same}
        rows.append(row)
    return rows


def pictured_searches(asked: ReIdentifier, index: pd.DataFrame, queries: list[str], length: int = 7) -> list[dict]:
    """Rows for `plots.ranking.ranked_lists`: each query (a key) and the entries that `asked.search` finds for it in the gallery part of
    `index`, without those of the query's own camera; all rows have the length of the shortest."""
    store, people = _store(asked), dict(zip(index["key"], index["person"], strict=True))
    cameras = dict(zip(index["key"], index["camera"], strict=True))
    gallery = index[in_subset(index, "gallery")]
    lists = [asked.search(key, gallery[(gallery["camera"] != cameras[key]) | (cameras[key] == -1)], top=length) for key in queries]
    length = min(map(len, lists))
    rows = []
    for key, found in zip(queries, lists, strict=True):
        found = found.head(length)
        rows.append(
            {
                "query": tracklet_picture(store, key),
                "query_id": f"person {people[key]}\n{key}",
                "gallery": [tracklet_picture(store, entry) for entry in found["key"]],
                "correct": (found["person"] == people[key]).tolist(),
                "ids": [f"person {person}" + _percent(p) for person, p in zip(found["person"], found["probability"], strict=True)],
                "distances": (1 - found["similarity"]).to_numpy(),
            }
        )
    return rows


def _store(asked: ReIdentifier) -> StoreLike:
    if asked.store is None:
        raise ValueError(f"{asked.name} was built without a store: there are no pictures of its tracklets to show, give store=...")
    return asked.store


def _percent(probability: float) -> str:
    return "" if np.isnan(probability) else f", {100 * probability:.0f} %"
