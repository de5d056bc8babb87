"""Trained rows side by side: scores over seeds, and paired differences with intervals over people."""

import numpy as np
import pandas as pd

from reidlib.ablations import PARTS, ROWS
from reidlib.experiment import Experiment
from reidlib.metrics import paired_difference


def score_table(experiment: Experiment, names: tuple[str, ...]) -> pd.DataFrame:
    """One row per (ablation row, seed, protocol) with mAP, mINP, Rank-k and their intervals, in percent. "counts" is the raw baseline."""
    found = []
    for name in names:
        for seed in [experiment.seed] if name == "counts" else experiment.seeds:
            for protocol in experiment.protocols:
                scores = experiment.evaluation(name, protocol, seed).summary()
                found.append({"row": name, "title": title(name), "seed": seed, "protocol": protocol} | scores)
    return pd.DataFrame(found)


def mean_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """`score_table` averaged over seeds: mean and spread (sample standard deviation, NaN with one seed) of mAP and Rank-1 per protocol."""
    groups = scores.groupby(["row", "title", "protocol"], sort=False)
    return groups.agg(
        seeds=("seed", "size"),
        mAP=("mAP", "mean"),
        mAP_spread=("mAP", "std"),
        rank1=("Rank-1", "mean"),
        rank1_spread=("Rank-1", "std"),
        queries=("queries", "first"),
    ).reset_index()


def difference_table(experiment: Experiment, names: tuple[str, ...], seed: int = 0) -> pd.DataFrame:
    """Paired mAP differences (points) of each row to its reference, with 95 % intervals from a bootstrap over people.

    Each query is averaged over seeds and compared with itself, in both directions where the set has them. Parts are compared with the
    spiking baseline, every other variant with S3CE-Net as it stands.
    """
    people = experiment.query_people()
    scores = {}
    found = []
    for name in names:
        reference = reference_of(name)
        if reference not in names:
            continue
        for needed in (name, reference):
            if needed not in scores:
                scores[needed] = experiment.average_precisions(needed)
        interval = paired_difference(scores[name], scores[reference], groups=people, seed=seed)
        found.append(
            {"row": name, "title": title(name), "group": ROWS[name].group, "reference": title(reference)}
            | {"difference": interval.mean, "low": interval.low, "high": interval.high, "queries": interval.count}
            | {"seeds": len(scores[name])}
        )
    return pd.DataFrame(found)


def reference_of(name: str) -> str | None:
    """The row that another row changes one thing of; None for the baseline itself."""
    if name == PARTS[0]:
        return None
    return PARTS[0] if name in PARTS else "s3ce_net"


def title(name: str) -> str:
    """How a row is called in tables."""
    return "raw event counts" if name == "counts" else ROWS[name].title


def chance_level(people: np.ndarray, gallery_people: np.ndarray) -> float:
    """Expected mAP in percent of a random ranking, averaged over the queries' people (exact for the mean over random orders)."""
    gallery = len(gallery_people)
    values = [_expected_average_precision(int(np.sum(gallery_people == person)), gallery) for person in np.unique(people)]
    return 100 * float(np.mean(values))


def _expected_average_precision(matches: int, gallery: int) -> float:
    """E[AP] with `matches` relevant entries at random places: (sum over ranks k of (1 + (k - 1)(m - 1)/(G - 1)) / k) / G."""
    ranks = np.arange(1, gallery + 1)
    return float(((1 + (ranks - 1) * (matches - 1) / max(1, gallery - 1)) / ranks).mean())
