"""mAP, CMC and mINP of a distance matrix, exact under ties and for galleries of any length; cosine distances.

Only the ranks of its matches decide a query's scores. So the distances of a block of queries are sorted as plain values (several
times faster than an argsort), and a binary search finds for each match how many valid entries lie below it and how many tie with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

TIES = ("average", "stable")
BLOCK = 1 << 20  # distances sorted at once; bounds the memory beside the caller's matrix


@dataclass(frozen=True)
class Ranking:
    """Scores of one retrieval run, as fractions of one. Arrays per query hold NaN where the query has no valid match.

    cmc: [K] share of queries with a match among the first 1..K entries; K = min(max_rank, size of the gallery).
    average_precision: [Q]. inverse_negative_penalty: [Q] matches / rank of the last match (Ye et al., TPAMI 2021).
    hits: [Q, K] 1 where a match lies among the first k entries, its probability where ties decide. hits[:, 0] is Rank-1 per query.
    excluded: positions of the queries without a valid match; they count in no mean.
    """

    cmc: np.ndarray
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    hits: np.ndarray
    excluded: np.ndarray

    @property
    def mAP(self) -> float:  # the field's spelling
        return float(np.nanmean(self.average_precision))

    @property
    def mINP(self) -> float:  # the field's spelling
        return float(np.nanmean(self.inverse_negative_penalty))


def rank(
    distances: ArrayLike, query_ids: ArrayLike, gallery_ids: ArrayLike, query_cameras: ArrayLike | None = None,
    gallery_cameras: ArrayLike | None = None, ties: str = "average", max_rank: int = 50,
) -> Ranking:  # fmt: skip
    """Rank the gallery for every query, nearest first, and score the ranks.

    distances: [Q, G], smaller is nearer. query_ids [Q], gallery_ids [G]: numbers or strings. Gallery entries with the query's
    person *and* camera are ignored, neither right nor wrong (the protocol of Market-1501 and MARS). Without cameras nothing
    is ignored; a negative camera number means "unknown" and never leads to an entry being ignored.

    ties: "average" gives the exact expected value of every score over all orders of tied entries, so the order of the gallery
    does not matter; "stable" ranks tied entries in gallery order, as the usual toolkits do.

    Raises ValueError for shapes that disagree, an empty gallery, distances that are not finite, and when no query has a valid match.
    """
    distances = _as_matrix(distances)
    if ties not in TIES:
        raise ValueError(f"ties={ties!r} is unknown; legal values: {', '.join(TIES)}")
    if max_rank < 1:
        raise ValueError(f"max_rank={max_rank} must be at least 1")
    people = _codes("ids", query_ids, gallery_ids, distances.shape)
    if (query_cameras is None) != (gallery_cameras is None):
        raise ValueError("cameras are given for only one of query and gallery; give both or neither")
    cameras = _cameras(query_cameras, gallery_cameras, distances.shape)

    queries, gallery = distances.shape
    precision, penalty, hits = np.full(queries, np.nan), np.full(queries, np.nan), np.full((queries, min(int(max_rank), gallery)), np.nan)
    order = np.argsort(people[1], kind="stable")  # entries of one person side by side, in gallery order
    step = max(1, BLOCK // gallery)
    for start in range(0, queries, step):
        block = slice(start, start + step)
        values = _finite(distances[block], start)
        rows, entries, ignored = _same_person(order, people[0][block], people[1], cameras[0][block], cameras[1])
        values[rows[ignored], entries[ignored]] = np.inf
        matches = _Matches.locate(values, rows[~ignored], entries[~ignored])
        score = _expected_scores if ties == "average" else _stable_scores
        score(matches, values, precision[block], penalty[block], hits[block])
    excluded = np.flatnonzero(np.isnan(precision))
    if len(excluded) == queries:
        raise ValueError(
            f"none of the {queries} queries has a valid match among {gallery} gallery entries: no person in common, or each person's "
            "entries all carry the query's camera number"
        )
    return Ranking(np.nanmean(hits, axis=0), precision, penalty, hits, excluded)


def cosine_distances(queries: ArrayLike, gallery: ArrayLike) -> np.ndarray:
    """1 - cosine similarity of every pair of rows: [Q, D] and [G, D] -> [Q, G], between 0 and 2.

    A zero vector has no direction: its distance to everything is 1, another zero vector included. float32 when both are
    float32, float64 otherwise. Raises ValueError for shapes that disagree or values that are not finite.
    """
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"features must be [Q, D] and [G, D] with the same D, not {queries.shape} and {gallery.shape}")
    dtype = np.float32 if queries.dtype == gallery.dtype == np.float32 else np.float64
    similarity = _unit_rows(queries, dtype) @ _unit_rows(gallery, dtype).T
    np.subtract(1, similarity, out=similarity)
    return np.clip(similarity, 0, 2, out=similarity)


def _unit_rows(features: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    features = features.astype(dtype)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise ValueError(f"feature row {row} holds NaN or infinity; the model may have diverged")
    # Dividing by the largest value first keeps the square of huge or tiny numbers in range.
    largest = np.abs(features).max(axis=1, keepdims=True, initial=0)
    features /= np.where(largest == 0, 1, largest)
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(norm == 0, 1, norm)
    return features


def _as_matrix(distances: ArrayLike) -> np.ndarray:
    distances = np.asarray(distances)
    if distances.ndim != 2:
        raise ValueError(f"distances must be [queries, gallery], not {distances.shape}")
    if 0 in distances.shape:
        raise ValueError(f"distances are {distances.shape}: there is no {'query' if distances.shape[0] == 0 else 'gallery entry'} to rank")
    return distances


def _finite(distances: np.ndarray, start: int) -> np.ndarray:
    """Floating-point copy of a block of rows, checked."""
    values = distances.astype(distances.dtype if distances.dtype in (np.float32, np.float64) else np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        value = values[row, column]
        raise ValueError(f"distance of query {start + row} to gallery entry {column} is {value}; a feature may be NaN or infinite")
    return values


def _codes(what: str, query: ArrayLike, gallery: ArrayLike, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Labels of any kind as int64 codes that are equal where the labels are."""
    query, gallery = np.asarray(query), np.asarray(gallery)
    if query.shape != shape[:1] or gallery.shape != shape[1:]:
        raise ValueError(f"{what} are {query.shape} for queries and {gallery.shape} for the gallery, but distances are {shape}")
    codes = np.unique(np.concatenate([query, gallery]), return_inverse=True)[1].astype(np.int64)
    return codes[: shape[0]], codes[shape[0] :]


def _cameras(query: ArrayLike | None, gallery: ArrayLike | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Camera codes; -1 = unknown, which never leads to an entry being ignored."""
    if query is None or gallery is None:
        return np.full(shape[0], -1), np.full(shape[1], -1)
    query_codes, gallery_codes = _codes("cameras", query, gallery, shape)
    for labels, codes in ((np.asarray(query), query_codes), (np.asarray(gallery), gallery_codes)):
        if np.issubdtype(labels.dtype, np.number):
            codes[labels < 0] = -1
    return query_codes, gallery_codes


def _same_person(
    order: np.ndarray, people: np.ndarray, gallery_people: np.ndarray, cameras: np.ndarray, gallery_cameras: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs (query row, gallery entry) of one person, entries ascending in a row, and whether each is to be ignored."""
    ordered = gallery_people[order]
    first, last = np.searchsorted(ordered, people, "left"), np.searchsorted(ordered, people, "right")
    rows = np.repeat(np.arange(len(people)), last - first)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    entries = order[first[rows] + within]
    return rows, entries, (cameras[rows] >= 0) & (gallery_cameras[entries] == cameras[rows])


@dataclass(frozen=True)
class _Matches:
    """The matches of a block of queries, ordered by (row, distance, gallery position), one array element each.

    `before` valid entries are strictly nearer, `tied` valid entries (itself included) are as near. `first` are the positions in these
    arrays at which a new block of tied matches starts; `count` [Q] is the number of matches per row.
    """

    row: np.ndarray
    entry: np.ndarray
    before: np.ndarray
    tied: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def locate(cls, values: np.ndarray, row: np.ndarray, entry: np.ndarray) -> "_Matches":
        distance = values[row, entry]
        order = np.lexsort((distance, row))
        row, entry, distance = row[order], entry[order], distance[order]
        ordered = np.sort(values, axis=1)
        before = _search(ordered, row, distance, np.less)
        tied = _search(ordered, row, distance, np.less_equal) - before
        new = (np.diff(row, prepend=-1) != 0) | (np.diff(distance, prepend=np.inf) != 0)
        return cls(row, entry, before, tied, np.flatnonzero(new), np.bincount(row, minlength=len(values)))

    @property
    def earlier(self) -> np.ndarray:
        """Number of matches of the same row that stand before each match."""
        return np.arange(len(self.row)) - (np.cumsum(self.count) - self.count)[self.row]


def _search(ordered: np.ndarray, rows: np.ndarray, values: np.ndarray, goes_right: np.ufunc) -> np.ndarray:
    """Binary search of values[i] in ordered[rows[i]]: how many elements satisfy goes_right(element, value)."""
    low, high = np.zeros(len(rows), np.int64), np.full(len(rows), ordered.shape[1])
    while (low < high).any():
        middle = (low + high) // 2
        right = goes_right(ordered[rows, np.minimum(middle, ordered.shape[1] - 1)], values) & (low < high)
        low, high = np.where(right, middle + 1, low), np.where(right, high, middle)
    return low


def _stable_scores(matches: _Matches, values: np.ndarray, precision: np.ndarray, penalty: np.ndarray, hits: np.ndarray) -> None:
    """Scores when tied entries keep the gallery's order."""
    place = matches.before + 1
    last = np.append(matches.first, len(place))[1:]
    for start, stop in zip(matches.first, last, strict=True):
        if matches.tied[start] > 1:
            row, entry = matches.row[start], matches.entry[start:stop]
            place[start:stop] += np.searchsorted(np.flatnonzero(values[row] == values[row, entry[0]]), entry)
    found = matches.count > 0
    total = np.bincount(matches.row, (matches.earlier + 1) / place, minlength=len(found))
    precision[found] = total[found] / matches.count[found]
    ends = np.cumsum(matches.count)[found]
    penalty[found] = matches.count[found] / place[ends - 1]
    hits[found] = place[ends - matches.count[found], None] <= np.arange(1, hits.shape[1] + 1)


def _expected_scores(matches: _Matches, values: np.ndarray, precision: np.ndarray, penalty: np.ndarray, hits: np.ndarray) -> None:
    """Expected scores over uniformly random orders of tied entries.

    Place i of a block of n tied entries with m matches, after r entries with h matches, holds a match with probability m / n, and
    then (i - 1)(m - 1) / (n - 1) of the i - 1 places before it are expected to hold one too. Summed over i, with H the harmonic
    numbers and s = (m - 1) / (n - 1): m / n * ((h + 1)(H[r + n] - H[r]) + s (n - (r + 1)(H[r + n] - H[r]))).
    """
    start = matches.first
    row, r, n, h = matches.row[start], matches.before[start], matches.tied[start], matches.earlier[start]
    m = np.diff(start, append=len(matches.row))
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, values.shape[1] + 1))])
    inverse = np.where(n == 1, 1 / (r + 1), harmonic[r + n] - harmonic[r])
    slope = (m - 1) / np.maximum(n - 1, 1)
    total = np.bincount(row, m / n * ((h + 1) * inverse + slope * (n - (r + 1) * inverse)), minlength=len(precision))
    found = matches.count > 0
    precision[found] = total[found] / matches.count[found]
    change = np.flatnonzero(np.diff(row, prepend=-1, append=-1))  # where the blocks of another row start
    last, first = change[1:] - 1, change[:-1]
    penalty[found] = matches.count[found] * np.array([_inverse_last(*block) for block in zip(r[last], n[last], m[last], strict=True)])
    hits[found] = _hit_probability(r[first], n[first], m[first], hits.shape[1])


def _inverse_last(r: int, n: int, m: int) -> float:
    """E[1 / rank of the last match]: it is at place i of its block with probability C(i - 1, m - 1) / C(n, m), from i = n down to m."""
    if n == m:
        return 1 / (r + n)
    place = np.arange(n, m - 1, -1)
    probability = m / n * np.cumprod(np.append(1, (place[:-1] - m) / np.maximum(place[:-1] - 1, 1)))
    return float(probability @ (1 / (r + place)))


def _hit_probability(r: np.ndarray, n: np.ndarray, m: np.ndarray, ranks: int) -> np.ndarray:
    """[blocks, ranks] probability of a match among the first k entries, when the first match is in this block (hypergeometric)."""
    used = np.arange(ranks) - r[:, None]  # places of the block already seen before rank k + 1
    n, m = n[:, None], m[:, None]
    inside = (used >= 0) & (used < n)
    return 1 - np.cumprod(np.where(inside, np.maximum(n - m - used, 0) / np.maximum(n - used, 1), 1.0), axis=1)
