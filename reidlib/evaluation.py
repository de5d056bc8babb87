"""From a trained model to embeddings, ranked galleries and numbers with intervals."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from reidlib.datasets import ClipDataset, ClipSettings, Degradation, StoreLike, cameras_or_none, eval_batches, in_subset
from reidlib.metrics import Interval, Ranking, bootstrap_interval, cosine_distances, rank
from reidlib.processes import joined, own_range

if TYPE_CHECKING:  # with spikingjelly, which ranking does not need
    from reidlib.models import ReidModel


@dataclass(frozen=True)
class Protocol:
    """Which rows of an index are asked and which are searched: `queries` and `gallery` are positions in `index`."""

    name: str
    index: pd.DataFrame
    queries: np.ndarray
    gallery: np.ndarray


def protocols(index: pd.DataFrame) -> dict[str, Protocol]:
    """The ways a test part is asked.

    "query to gallery" is the set's own protocol; queries that join the gallery (MARS, LS-VID) are among both. Where query and gallery
    are apart, cameras are known and both show the same people, there are two more: "gallery to query" is the other direction, "all
    cameras" takes every test tracklet as query against all test tracklets under the same-identity-same-camera rule. `index` may hold
    training rows: they are dropped. Raises ValueError for several splits, whose galleries must not be mixed.
    """
    splits = index["split"].nunique()
    if splits > 1:
        raise ValueError(f"the index holds {splits} splits, each a test of its own: choose one, as in index[index['split'] == 0]")
    test = index[index["subset"] != "train"].reset_index(drop=True)
    queries, gallery = (np.flatnonzero(in_subset(test, subset)) for subset in ("query", "gallery"))
    found = {"query to gallery": Protocol("query to gallery", test, queries, gallery)}
    apart = len(np.intersect1d(queries, gallery)) == 0
    same_people = set(test["person"][queries]) == set(test["person"][gallery])
    if apart and same_people and cameras_or_none(test) is not None:
        found["gallery to query"] = Protocol("gallery to query", test, gallery, queries)
        everything = np.arange(len(test))
        found["all cameras"] = Protocol("all cameras", test, everything, everything)
    return found


def embed(
    model: "ReidModel",
    store: StoreLike,
    index: pd.DataFrame,
    clips: ClipSettings,
    batch: int = 64,
    progress: bool = False,
    degradation: Degradation | None = None,
    shuffled: int | None = None,
) -> np.ndarray:
    """One embedding per tracklet, float32 `[N, D]`, rows of unit length.

    Every tracklet is cut into consecutive clips, each is embedded, their mean is normalised. `batch`: clips per forward. The model gets
    the modalities that it names; `degradation` and `shuffled` change what it sees (see `ClipDataset`). Of several processes (see
    `processes`), all of which must call this, each embeds its share and gets everything.
    """
    dataset = ClipDataset(store, index, clips, train=False, seed=0, modalities=model.modalities, degradation=degradation, shuffled=shuffled)
    device = next(model.parameters()).device
    model.eval()
    own = own_range(len(index))
    own_sums: np.ndarray | None = None
    with torch.inference_mode():
        for clip_batch in tqdm(eval_batches(dataset, batch, own), desc="embed", leave=False, disable=not progress):
            moved = {name: clip_batch[name].to(device) for name in model.modalities}
            vectors = model(**moved).float().cpu().numpy()
            if own_sums is None:
                own_sums = np.zeros((len(own), vectors.shape[1]), np.float64)
            np.add.at(own_sums, clip_batch["owner"].numpy() - own.start, vectors)
    sums = joined(own_sums)  # [N, D]
    return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def rank_protocol(embeddings: np.ndarray, protocol: Protocol, ties: str = "average") -> Ranking:
    """Rank the gallery of a protocol for each of its queries by cosine distance; `embeddings` `[len(protocol.index), D]`."""
    q, g = protocol.queries, protocol.gallery
    people = protocol.index["person"].to_numpy()
    cameras = cameras_or_none(protocol.index)
    distances = cosine_distances(embeddings[q], embeddings[g])
    if cameras is None:
        return rank(distances, people[q], people[g], ties=ties)
    return rank(distances, people[q], people[g], cameras[q], cameras[g], ties=ties)


@dataclass(frozen=True)
class Evaluation:
    """One protocol's outcome: the ranking, the query persons (clusters of the bootstrap) and intervals over people, all in percent."""

    ranking: Ranking
    people: np.ndarray
    mAP: Interval
    rank1: Interval
    mINP: float

    def summary(self) -> dict:
        """Flat numbers in percent, for tables and JSON."""
        cmc = 100 * self.ranking.cmc
        found = {"mAP": self.mAP.mean, "mAP low": self.mAP.low, "mAP high": self.mAP.high, "mINP": self.mINP}
        found |= {f"Rank-{k}": float(cmc[min(k, len(cmc)) - 1]) for k in (1, 5, 10)}
        return found | {"Rank-1 low": self.rank1.low, "Rank-1 high": self.rank1.high, "queries": len(self.people)}


def evaluate(embeddings: np.ndarray, protocol: Protocol, seed: int = 0) -> Evaluation:
    """mAP, CMC and mINP of a protocol with 95 % bootstrap intervals over people (queries of one person are not independent)."""
    ranking = rank_protocol(embeddings, protocol)
    people = protocol.index["person"].to_numpy()[protocol.queries]
    mean_ap = bootstrap_interval(100 * ranking.average_precision, groups=people, seed=seed)
    rank1 = bootstrap_interval(100 * ranking.hits[:, 0], groups=people, seed=seed)
    return Evaluation(ranking, people, mean_ap, rank1, 100 * ranking.mINP)


def count_embeddings(store: StoreLike, index: pd.DataFrame, clips: ClipSettings) -> np.ndarray:
    """The raw baseline: a tracklet's mean ON and OFF counts per pixel, log1p, unit length; nothing is learned. `[N, 2 * H * W]`."""
    dataset = ClipDataset(store, index, replace(clips, scale="raw"), train=False, seed=0)
    rows = [np.log1p(dataset[row]["events"].numpy().mean((0, 1))).ravel() for row in range(len(index))]
    vectors = np.stack(rows)  # [N, 2 * H * W]
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
