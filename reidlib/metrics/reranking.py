"""k-reciprocal re-ranking (Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017)."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from reidlib.metrics.ranking import cosine_distances


def rerank(queries: ArrayLike, gallery: ArrayLike, k1: int = 20, k2: int = 6, weight: float = 0.3, block: int = 1024) -> np.ndarray:
    """Distances [Q, G] between features `queries` [Q, D] and `gallery` [G, D], re-ranked by shared neighbourhoods.

    Two rows are near when their k1-reciprocal neighbourhoods (expanded, eqs. 3 to 7, and averaged over the k2 nearest, eq. 11)
    overlap: Jaccard distance, eq. 10. Result = (1 - weight) * Jaccard + weight * original (eq. 12), where the original is the
    cosine distance divided by the largest one in its row, as in the authors' code (for unit features their squared Euclidean distance
    is twice the cosine distance, so both normalise to the same). weight=1 keeps the original order.

    The whole set of queries and gallery entries takes part, without identities or cameras. Distances are made for `block` rows at
    a time and only neighbours are kept, so memory is O(block * (Q + G) + (Q + G) * k1 * k2) beside the result.
    Raises ValueError for settings or features out of range.
    """
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    if k1 < 1 or k2 < 1 or block < 1 or not 0 <= weight <= 1:
        raise ValueError(f"k1={k1}, k2={k2}, block={block} must be at least 1 and weight={weight} between 0 and 1")
    if 0 in queries.shape or 0 in gallery.shape or queries.ndim != 2 or gallery.ndim != 2:
        raise ValueError(f"features must be [Q, D] and [G, D], none of them empty, not {queries.shape} and {gallery.shape}")
    features = np.concatenate([queries, gallery])
    neighbours, scale, original = _neighbours(features, len(queries), max(k1 + 1, k2), block)
    half = int(np.around(k1 / 2))
    members = _expanded(_reciprocal(neighbours[:, : k1 + 1]), _reciprocal(neighbours[:, : half + 1]))
    encoding = _encode(members, features, scale, block)
    if k2 > 1:
        near = neighbours[:, :k2]
        encoding = (_selection(near) / near.shape[1]) @ encoding
    return (1 - weight) * _jaccard(encoding, len(queries)).astype(original.dtype) + weight * original


def _neighbours(features: np.ndarray, queries: int, count: int, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of each row's nearest rows [N, count] (itself first, ties by index), its largest distance [N], scaled distances [Q, G]."""
    total = len(features)
    count = min(count, total)
    nearest, largest, original = np.empty((total, count), np.int64), np.empty(total), []
    for start in range(0, total, block):
        distances = cosine_distances(features[start : start + block], features)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = 0  # exactly; rounding must not put another row before it
        largest[start : start + block] = distances.max(axis=1)
        nearest[start : start + block] = _smallest(distances, count, start + rows)
        if start < queries:
            scaled = distances[: queries - start, queries:]
            original.append(scaled / _not_zero(largest[start : start + len(scaled), None]).astype(scaled.dtype))
    return nearest, largest, np.concatenate(original)


def _smallest(distances: np.ndarray, count: int, own: np.ndarray) -> np.ndarray:
    """Columns of the `count` smallest values per row in the order (value, column), the row's `own` column before its equals."""
    limit = np.partition(distances, count - 1, axis=1)[:, count - 1 : count]
    rows, columns = np.nonzero(distances <= limit)
    order = np.lexsort((columns, columns != own[rows], distances[rows, columns], rows))
    starts = np.searchsorted(rows, np.arange(len(distances)))
    return columns[order][starts[:, None] + np.arange(count)]


def _not_zero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale == 0, 1, scale)  # all rows equal: every distance is 0 whatever the scale


def _selection(columns: np.ndarray) -> sparse.csr_array:
    """Sparse [N, N] with ones at (row, columns[row, k])."""
    total, count = columns.shape
    return sparse.csr_array((np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, count)), shape=(total, total))


def _reciprocal(nearest: np.ndarray) -> sparse.csr_array:
    """R(p, k) of eq. 2 as 0/1 rows: the neighbours of p that count p among theirs."""
    forward = _selection(nearest)
    return forward.multiply(forward.T).tocsr()


def _expanded(reciprocal: sparse.csr_array, half: sparse.csr_array) -> sparse.csr_array:
    """R*(p, k) of eq. 3: R(p, k) joined by R(q, k / 2) of every member q of which more than two thirds already lie in R(p, k)."""
    size = half.sum(axis=1)
    shared = (reciprocal @ half.T).multiply(reciprocal).tocsr()
    shared.data = (shared.data > 2 / 3 * size[shared.indices]).astype(float)
    shared.eliminate_zeros()
    members = (reciprocal + shared @ half).tocsr()
    members.data[:] = 1
    return members


def _encode(members: sparse.csr_array, features: np.ndarray, scale: np.ndarray, block: int) -> sparse.csr_array:
    """Eq. 7: weight exp(-scaled distance) on the members of each row, rows summing to one."""
    rows = np.repeat(np.arange(members.shape[0]), np.diff(members.indptr))
    units = _units(features)
    distances = np.empty(members.nnz)
    for start in range(0, members.nnz, 16 * block):
        part = slice(start, start + 16 * block)
        distances[part] = 1 - np.einsum("nd,nd->n", units[rows[part]], units[members.indices[part]])
    distances[rows == members.indices] = 0
    weights = np.exp(-np.clip(distances, 0, 2) / _not_zero(scale)[rows])
    weights /= np.bincount(rows, weights, minlength=members.shape[0])[rows]
    return sparse.csr_array((weights, members.indices, members.indptr), shape=members.shape)


def _units(features: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return features / _not_zero(norm)


def _jaccard(encoding: sparse.csr_array, queries: int) -> np.ndarray:
    """Eq. 10 between the first `queries` rows and the rest; an inverted index touches only rows that share a member."""
    inverted = encoding[queries:].tocsc()
    result = np.empty((queries, encoding.shape[0] - queries))
    for query in range(queries):
        part = slice(encoding.indptr[query], encoding.indptr[query + 1])
        shared = inverted[:, encoding.indices[part]]
        own = np.repeat(encoding.data[part], np.diff(shared.indptr))
        overlap = np.bincount(shared.indices, np.minimum(own, shared.data), minlength=result.shape[1])
        result[query] = 1 - overlap / (2 - overlap)
    return result
