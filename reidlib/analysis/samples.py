"""Which tracklets are looked at: rules in place of a hand that picks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reidlib.datasets import ClipDataset, ClipSettings, TrackletStore
from reidlib.evaluation import Evaluation, Protocol


def typical_queries(evaluation: Evaluation, protocol: Protocol) -> pd.DataFrame:
    """Three queries chosen by rule, one row each: rule, key, person, row (position in the protocol's index), average precision, Rank-1 (%).

    "median": the query in the middle of the order by average precision; "right": the middle one of those whose first match is right
    (the best query where none is); "worst": the lowest average precision. No query is taken twice; where there are fewer than three
    queries, there are fewer rows.
    """
    precision, first = evaluation.ranking.average_precision, evaluation.ranking.hits[:, 0]
    left = [int(q) for q in np.argsort(precision, kind="stable") if np.isfinite(precision[q])]
    chosen: dict[str, int] = {}
    for rule in ("median", "right", "worst")[: len(left)]:
        right = [query for query in left if first[query] == 1] or left[-1:]
        among = {"median": left, "right": right, "worst": left[:1]}[rule]
        chosen[rule] = among[len(among) // 2]
        left.remove(chosen[rule])
    rows = protocol.queries[list(chosen.values())]
    table = protocol.index.iloc[rows]
    found = {"rule": list(chosen), "key": table["key"].tolist(), "person": table["person"].tolist(), "row": rows}
    scores = {"average precision (%)": 100 * precision[list(chosen.values())], "Rank-1 (%)": 100 * first[list(chosen.values())]}
    return pd.DataFrame(found | scores)


def spread_rows(index: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` rows of an index, evenly spaced from the first to the last."""
    if count < 1:
        raise ValueError(f"count = {count}: at least one row is needed")
    return index.iloc[np.unique(np.linspace(0, len(index) - 1, min(count, len(index))).round().astype(int))]


def tracklet_clips(store: TrackletStore, index: pd.DataFrame, settings: ClipSettings, modality: str = "events") -> list[Tensor]:
    """All clips of every tracklet of `index`, `[n, T, 2, H, W]` each, as the evaluation cuts them; modality "frames": `[n, T, 3, H, W]`."""
    dataset = ClipDataset(store, index, settings, train=False, modalities=(modality,))
    return [dataset[row][modality] for row in range(len(dataset))]


def events_per_step(store: TrackletStore, index: pd.DataFrame, settings: ClipSettings) -> np.ndarray:
    """Mean number of events in each step of a clip, over all clips of `index`: `[T]`."""
    dataset = ClipDataset(store, index, replace(settings, scale="raw"), train=False)
    sums = [dataset[row]["events"].sum((2, 3, 4)) for row in range(len(dataset))]  # [n, T] each
    return torch.cat(sums).mean(0).numpy()


def first_clips(store: TrackletStore, index: pd.DataFrame, settings: ClipSettings, count: int, modality: str = "events") -> Tensor:
    """The first clips of `count` tracklets, spread over the index and repeated from its start where it has fewer: `[count, T, 2, H, W]`,
    for modality "frames" `[count, T, 3, H, W]`."""
    clips = [clip[0] for clip in tracklet_clips(store, spread_rows(index, count), settings, modality)]
    return torch.stack([clips[i % len(clips)] for i in range(count)])


def first_inputs(
    store: TrackletStore, index: pd.DataFrame, settings: ClipSettings, count: int, modalities: tuple[str, ...]
) -> dict[str, Tensor]:
    """`first_clips` of every modality, by its name, as a model takes them."""
    return {name: first_clips(store, index, settings, count, name) for name in modalities}
