"""Scores of several systems under every protocol, with intervals over people; chance, re-ranking, and distances of pairs."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from reidlib.analysis.comparison import seeds_of, title
from reidlib.datasets import cameras_or_none
from reidlib.evaluation import Protocol, embed, rank_protocol
from reidlib.experiment import Experiment
from reidlib.metrics import Interval, Ranking, bootstrap_interval, cosine_distances, rank, rerank

METRICS = ("mAP", "Rank-1", "Rank-5", "Rank-10", "mINP")
FEW_QUERIES = 30
_RERANKED = "+re-ranked"

Rankings = dict[str, dict[str, list[Ranking]]]


def rankings(experiment: Experiment, names: Iterable[str], reranked: Iterable[str] = ()) -> Rankings:
    """System -> protocol -> one Ranking per seed. Besides the rows `names`: "chance" (all distances equal: the expected value over random
    orders), "counts" (raw event counts) and "<name>+re-ranked" for the rows in `reranked` (k-reciprocal, published settings).

    Re-ranking takes all queries at once as unlabelled data; it is left out of "all cameras", where every tracklet would stand in
    the neighbourhoods twice, as query and as gallery."""
    found: Rankings = {"chance": {key: [chance_ranking(protocol)] for key, protocol in experiment.protocols.items()}}
    for name in ("counts", *names):
        runs = [(experiment.embeddings(name, seed), experiment.at(seed).protocols) for seed in seeds_of(experiment, name)]
        found[name] = {key: [rank_protocol(vectors, asked[key]) for vectors, asked in runs] for key in experiment.protocols}
        if name in reranked:
            found[name + _RERANKED] = {key: [_reranked(vectors, asked[key]) for vectors, asked in runs] for key in experiment.directions}
    return found


def chance_ranking(protocol: Protocol) -> Ranking:
    """The expected scores of a random order of the gallery, exact under the protocol's same-camera rule."""
    return _rank(np.zeros((len(protocol.queries), len(protocol.gallery))), protocol)


def _reranked(vectors: np.ndarray, protocol: Protocol) -> Ranking:
    return _rank(rerank(vectors[protocol.queries], vectors[protocol.gallery]), protocol)


def _rank(distances: np.ndarray, protocol: Protocol) -> Ranking:
    people, cameras = protocol.index["person"].to_numpy(), cameras_or_none(protocol.index)
    q, g = protocol.queries, protocol.gallery
    return rank(distances, people[q], people[g], *((None, None) if cameras is None else (cameras[q], cameras[g])))


def scores_per_query(ranking: Ranking) -> dict[str, np.ndarray]:
    """Metric -> `[Q]` percent (NaN for a query without a match). Where the gallery is shorter than k, Rank-k looks at all of it."""
    last = ranking.hits.shape[1] - 1
    hits = {f"Rank-{k}": 100 * ranking.hits[:, min(k - 1, last)] for k in (1, 5, 10)}
    return {"mAP": 100 * ranking.average_precision, **hits, "mINP": 100 * ranking.inverse_negative_penalty}


def result_table(experiment: Experiment, found: Rankings) -> pd.DataFrame:
    """One line per protocol, system and metric: mean, low, high (percent; 95 % interval over people of the query scores averaged over
    seeds; none for chance), queries, people, seeds."""
    lines = []
    for key, protocol in experiment.protocols.items():
        people = protocol.index["person"].to_numpy()[protocol.queries]
        for name, by_protocol in found.items():
            if key not in by_protocol:
                continue
            seeds = [scores_per_query(ranking) for ranking in by_protocol[key]]
            head = {"protocol": key, "row": name, "title": system_title(name)}
            tail = {"queries": len(people), "people": len(np.unique(people)), "seeds": len(seeds)}
            for metric in METRICS:
                interval = _interval(np.mean([scores[metric] for scores in seeds], axis=0), people, certain=name == "chance")
                lines.append(head | {"metric": metric, "mean": interval.mean, "low": interval.low, "high": interval.high} | tail)
    return pd.DataFrame(lines)


def _interval(values: np.ndarray, people: np.ndarray, certain: bool) -> Interval:
    if certain:
        return Interval(float(np.nanmean(values)), np.nan, np.nan)
    return bootstrap_interval(values, groups=people)


def system_title(name: str) -> str:
    """How a system of `rankings` is called in tables."""
    if name.endswith(_RERANKED):
        return f"{title(name.removesuffix(_RERANKED))}, re-ranked"
    return "chance level" if name == "chance" else title(name)


def wide(results: pd.DataFrame) -> pd.DataFrame:
    """`result_table` for reading: protocols and systems down, metrics across, cells "mean [low, high]" in percent."""
    cells = results.assign(cell=[interval_text(*values) for values in results[["mean", "low", "high"]].to_numpy()])
    order = {column: list(dict.fromkeys(results[column])) for column in ("protocol", "title", "metric")}
    table = cells.pivot(index=["protocol", "title"], columns="metric", values="cell")[order["metric"]]
    places = [pair for pair in ((p, t) for p in order["protocol"] for t in order["title"]) if pair in table.index]
    table = table.loc[places].rename_axis(columns=None)
    return table.rename_axis(index=["protocol", "system"])


def chance_scores(experiment: Experiment) -> dict[str, float]:
    """Protocol -> expected mAP of a random order, percent."""
    return {key: 100 * chance_ranking(protocol).mAP for key, protocol in experiment.protocols.items()}


def score_view(means: pd.DataFrame, chance: Mapping[str, float]) -> pd.DataFrame:
    """`comparison.mean_over_seeds` for reading: rows down, protocols across, cells "mAP ± spread" (one seed: no spread), chance first."""
    cells = [f"{line.mAP:.1f}" + ("" if np.isnan(line.mAP_spread) else f" ± {line.mAP_spread:.1f}") for line in means.itertuples()]
    table = means.assign(cell=cells).pivot(index="title", columns="protocol", values="cell")
    table = table.loc[list(dict.fromkeys(means["title"])), list(chance)]
    first = pd.DataFrame([{key: f"{value:.1f}" for key, value in chance.items()}], index=["chance level"])
    return pd.concat([first, table]).rename_axis(index="row").rename(columns=lambda name: f"{name}, mAP (%)")


def curve_name(name: str) -> str:
    """The name under which `plots` knows a system's colour and label."""
    return {"counts": "mean_count", "chance": "chance level"}.get(name, name)


def interval_text(mean: float, low: float = np.nan, high: float = np.nan, sign: bool = False) -> str:
    """ "51.2 [48.0, 54.4]", or the mean alone where there is no interval; `sign` writes + and − before each."""
    form = "{:+.1f}" if sign else "{:.1f}"
    text = form.format(mean) + ("" if np.isnan(low) else f" [{form.format(low)}, {form.format(high)}]")
    return text.replace("-", "−")


def value_of(results: pd.DataFrame, name: str, protocol: str = "query to gallery", metric: str = "mAP") -> dict:
    """value, low and high of one cell of `result_table`, as `reports.record` takes them in its headline."""
    line = results[(results["row"] == name) & (results["protocol"] == protocol) & (results["metric"] == metric)]
    if len(line) != 1:
        raise ValueError(f"{len(line)} results for {name!r}, {protocol!r}, {metric!r}: expected one")
    return {"value": line["mean"].item(), "low": line["low"].item(), "high": line["high"].item()}


def size_note(experiment: Experiment, protocol: str = "query to gallery") -> str:
    """What the number of queries allows to say; names a test that is too small to claim an accuracy."""
    queries, people = len(experiment.protocols[protocol].queries), len(set(experiment.query_people((protocol,))))
    if queries < FEW_QUERIES:
        return (
            f"{queries} queries of {people} people prove that the path from recordings to a ranking works; they are far too few to be "
            "an accuracy: read the width of the intervals before any mean."
        )
    several = experiment.redrawn and len(experiment.seeds) > 1
    each = (
        f", and as many {'others' if experiment.generated else 'of another split'} in each of the {len(experiment.seeds)} seeds"
        if several
        else ""
    )
    return f"{queries} queries of {people} people{each}; the intervals come from drawing people, not queries, anew."


def validation_note(experiment: Experiment) -> str:
    """Which step is reported, and what was held out."""
    if experiment.validation is None:
        people = experiment.train_index["person"].nunique()
        return f"This set has no validation part (all {people} training people are trained on): the last step is reported."
    people = experiment.validation.index["person"].nunique()
    return (
        f"Validation: {people} training people are held out and never trained on. The curve is for looking: the last step is "
        "reported, no step is picked, and the test people take no part in anything but the final tables."
    )


def cmc_with_interval(ranking: Ranking, people: np.ndarray, ranks: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the CMC `[K]` as fractions, 95 % over people, rank by rank."""
    intervals = [bootstrap_interval(hits, groups=people, draws=2000) for hits in ranking.hits[:, :ranks].T]
    return np.array([one.low for one in intervals]), np.array([one.high for one in intervals])


def pair_distances(vectors: np.ndarray, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Cosine distances of all (same person, different people) pairs of a query and a gallery entry; pairs that the protocol ignores
    (one person under one camera) and a tracklet with itself are left out."""
    people, cameras = protocol.index["person"].to_numpy(), cameras_or_none(protocol.index)
    q, g = protocol.queries, protocol.gallery
    distances = cosine_distances(vectors[q], vectors[g])
    same = people[q][:, None] == people[g][None]
    ignored = q[:, None] == g[None]
    if cameras is not None:
        ignored |= same & (cameras[q][:, None] == cameras[g][None])
    return distances[same & ~ignored], distances[~same]


def validated_threshold(experiment: Experiment, name: str, false_accepts: float = 0.01) -> float | None:
    """The distance below which the share `false_accepts` of the validation part's different-people pairs lies; None without such a
    part. It answers "are these two one person" for new people, and the test pairs show how well it carries over."""
    if experiment.validation is None:
        return None
    vectors = embed(experiment.model(name), experiment.store, experiment.validation.index, experiment.run_settings(name).clips)
    return float(np.quantile(pair_distances(vectors, experiment.validation)[1], false_accepts))


def headline(results: pd.DataFrame, systems: Mapping[str, str]) -> list[dict]:
    """Headline entries (mAP of the set's own protocol) for system -> label."""
    return [{"label": label, **value_of(results, name), "unit": "% mAP"} for name, label in systems.items()]
