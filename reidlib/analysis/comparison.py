"""Trained rows side by side: scores over seeds, and paired differences with intervals over people."""

from typing import Any

import numpy as np
import pandas as pd

from reidlib.ablations import row
from reidlib.experiment import Experiment
from reidlib.metrics import paired_difference

GROUPS = {
    "parts": "Parts",
    "coupling": "Coupling of SSAM",
    "sampling": "Forms of STFS",
    "steps": "Time steps",
    "length": "Longer training",
    "start": "Starting weights",
    "reference": "Without spikes",
    "inputs": "What is seen",
    "fusion": "Exchange between frames and events",
    "spiking": "Spiking layers",
    "mappings": "Event deformable mappings",
    "pyramid": "Temporal pyramid",
    "training": "Degraded training video",
    "loss": "Triplet loss",
    "baseline": "Baseline",
    "interaction": "Interaction and aggregation",
    "order": "Order of the blocks",
    "reading": "Readings of the source",
    "learners": "Complementary learners",
    "boosting": "Place of TSB",
    "together": "Systems together",
    "completion": "Completed video",
    "regions": "Region completion",
    "branches": "Branches and what they exchange",
    "kernels": "Place of TKS",
    "scales": "Big and small frames",
}


def score_table(experiment: Experiment, names: tuple[str, ...]) -> pd.DataFrame:
    """One row per (ablation row, seed, protocol) with mAP, mINP, Rank-k and their intervals, in percent. "counts" is the raw baseline."""
    found = []
    for name in names:
        for seed in seeds_of(experiment, name):
            for protocol in experiment.protocols:
                scores = experiment.evaluation(name, protocol, seed).summary()
                found.append({"row": name, "title": title(name), "seed": seed, "protocol": protocol} | scores)
    return pd.DataFrame(found)


def seeds_of(experiment: Experiment, name: str) -> list[int]:
    """The seeds that give a row different numbers: the first alone for raw counts where all seeds share their data."""
    return experiment.seeds if name != "counts" or experiment.redrawn else [experiment.seed]


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


def paired(experiment: Experiment, name: str, reference: str, protocols: tuple[str, ...] | None = None, seed: int = 0) -> dict:
    """One line: mean difference name - reference in mAP points, query by query (each averaged over seeds), with its 95 % interval from a
    bootstrap over people.

    protocols: those whose queries are pooled; None for both directions, where the set has them. seed_spread: standard deviation of
    the difference over seeds (NaN with one); same_sign: seeds whose difference has the sign of the mean. The interval covers the choice of
    people, seed_spread the luck of training.
    """
    scores = {key: experiment.average_precisions(key, protocols) for key in (name, reference)}
    return difference(name, reference, scores, experiment.query_people(protocols), seed)


def difference(name: str, reference: str, scores: dict[str, np.ndarray], people: np.ndarray, seed: int = 0) -> dict:
    """The line of `paired` from scores per seed and query, `[seeds, queries]` each, of rows `name` and `reference`."""
    a, b = scores[name], scores[reference]
    interval = paired_difference(a, b, groups=people, seed=seed)
    per_seed = np.nanmean(a - b, axis=1)
    spread = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else np.nan
    return {
        "row": name,
        "title": title(name),
        "reference": title(reference),
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "seed_spread": spread,
        "same_sign": int((np.sign(per_seed) == np.sign(interval.mean)).sum()),
        "seeds": len(per_seed),
        "queries": interval.count,
    }


def difference_table(experiment: Experiment, names: tuple[str, ...], seed: int = 0) -> pd.DataFrame:
    """`paired` of each row to its reference (see `reference_of`; a row whose reference is not in `names` is left out), with its group."""
    pairs = {name: reference for name in names if (reference := reference_of(name)) in names}
    scores = {name: experiment.average_precisions(name) for name in dict.fromkeys((*pairs, *pairs.values()))}
    people = experiment.query_people()
    found = [{"group": row(name).group} | difference(name, pairs[name], scores, people, seed) for name in pairs]
    if not found:
        raise ValueError(f"none of the rows {', '.join(names)} stands beside the row it is compared with: nothing to compare")
    return pd.DataFrame(found)


def readable(differences: pd.DataFrame) -> pd.DataFrame:
    """A table of `paired` lines for reading: "+1.2 [−0.3, +2.7]" and plain counts; the seeds' columns only where there are several."""
    seeds = {"spread over seeds": differences["seed_spread"].round(1), "seeds of that sign": _of(differences)}
    columns = {
        "difference (mAP points)": [f"{_signed(line.difference)} {_bracket(line)}" for line in differences.itertuples()],
        "queries per seed": differences["queries"],
    } | (seeds if (differences["seeds"] > 1).any() else {})
    first = [name for name in ("protocol", "group") if name in differences]
    return pd.DataFrame({name: differences[name] for name in (*first, "title", "reference")} | columns).set_index(
        [*first, "title", "reference"]
    )


def _of(differences: pd.DataFrame) -> list[str]:
    return [f"{line.same_sign} of {line.seeds}" for line in differences.itertuples()]


def forest_table(differences: pd.DataFrame) -> pd.DataFrame:
    """`difference_table` as `plots.ablation.forest_plot` takes it."""
    renamed = differences.rename(columns={"title": "name", "difference": "mean"})
    return renamed.assign(group=renamed["group"].map(lambda group: GROUPS.get(group, group)))


def verdicts(differences: pd.DataFrame) -> list[str]:
    """What the differences say, one sentence each: those told from zero first, then the rest in one, then how many could be chance."""
    clear = differences[(differences["low"] > 0) | (differences["high"] < 0)]
    rest = differences.drop(clear.index)
    sentences = []
    for line in clear.sort_values("difference", ascending=False, kind="stable").itertuples():
        word = "better" if line.difference > 0 else "worse"
        seeds = f", in {line.same_sign} of {line.seeds} seeds" if line.seeds > 1 else ""
        sentences.append(f"{line.title} is {word} than {line.reference} by {abs(line.difference):.1f} points {_bracket(line)}{seeds}.")
    if len(rest):
        listed = "; ".join(
            f"{line.title} against {line.reference} {_signed(line.difference)} {_bracket(line)}" for line in rest.itertuples()
        )
        sentences.append(f"Not told from zero: {listed}.")
    count = len(differences)
    sentences.append(
        f"{len(clear)} of {count} intervals leave out zero; of {count} intervals at 95 %, {0.05 * count:.1f} would do so by chance alone "
        "if nothing mattered."
    )
    return sentences


def _bracket(line: Any) -> str:  # a row of `itertuples`
    return f"[{_signed(line.low)}, {_signed(line.high)}]"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def reference_of(name: str) -> str | None:
    """The row that another row changes one thing of; None for the baseline itself."""
    return row(name).reference or None


def title(name: str) -> str:
    """How a row is called in tables."""
    return "raw event counts" if name == "counts" else row(name).title
