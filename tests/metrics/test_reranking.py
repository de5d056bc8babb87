"""Re-ranking against a plain, dense implementation written from the paper's equations."""

import numpy as np
import pytest

import reidlib.metrics.reranking as module
from reidlib.metrics import cosine_distances, rank, rerank


def plain_rerank(queries, gallery, k1, k2, weight):
    features = np.concatenate([queries, gallery])
    total = len(features)
    distances = cosine_distances(features, features)
    np.fill_diagonal(distances, 0)
    scaled = distances / distances.max(axis=1, keepdims=True)
    # Nearest first; equal distances by position, but a row before everything that equals it.
    order = [sorted(range(total), key=lambda j: (distances[i, j], j != i, j)) for i in range(total)]

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    encoding = np.zeros((total, total))
    for i in range(total):
        members = reciprocal(i, k1)
        expanded = set(members)
        for j in members:
            candidates = reciprocal(j, int(np.around(k1 / 2)))
            if len(candidates & members) > 2 / 3 * len(candidates):
                expanded |= candidates
        for j in expanded:
            encoding[i, j] = np.exp(-scaled[i, j])
        encoding[i] /= encoding[i].sum()
    encoding = np.array([encoding[order[i][:k2]].mean(axis=0) for i in range(total)])
    result = np.empty((len(queries), len(gallery)))
    for i in range(len(queries)):
        for j in range(len(gallery)):
            a, b = encoding[i], encoding[len(queries) + j]
            result[i, j] = 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()
    return (1 - weight) * result + weight * scaled[: len(queries), len(queries) :]


def people(seed, persons=8, spread=1.0, dimensions=16):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(persons, dimensions))
    ids = np.repeat(np.arange(persons), 6)
    features = centres[ids] + spread * rng.normal(size=(len(ids), dimensions))
    return features[::3], features[np.arange(len(ids)) % 3 > 0], ids[::3], ids[np.arange(len(ids)) % 3 > 0]


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (5, 1, 0.0), (7, 3, 0.5), (1, 2, 0.3), (100, 60, 0.3)])
@pytest.mark.parametrize("block", [1024, 7])
def test_equals_the_plain_implementation(k1, k2, weight, block):
    queries, gallery, *_ = people(k1)
    result = rerank(queries, gallery, k1=k1, k2=k2, weight=weight, block=block)
    np.testing.assert_allclose(result, plain_rerank(queries, gallery, k1, k2, weight), atol=1e-10)


def test_duplicates_and_zero_vectors():
    queries, gallery, *_ = people(3)
    gallery[3], gallery[5], gallery[9], queries[2] = gallery[0], gallery[0], 0, 0
    np.testing.assert_allclose(rerank(queries, gallery, k1=5, k2=3), plain_rerank(queries, gallery, 5, 3, 0.3), atol=1e-10)
    same = rerank(np.ones((2, 3)), np.ones((4, 3)), k1=2, k2=2)
    assert np.isfinite(same).all()


def test_improves_noisy_clusters_and_weight_one_keeps_the_order():
    queries, gallery, query_ids, gallery_ids = people(0, persons=20, spread=1.0)
    before = rank(cosine_distances(queries, gallery), query_ids, gallery_ids).mAP
    assert rank(rerank(queries, gallery, k1=6, k2=2), query_ids, gallery_ids).mAP > before + 0.02
    kept = rank(rerank(queries, gallery, weight=1.0), query_ids, gallery_ids).mAP
    assert kept == pytest.approx(before, abs=1e-12)


def test_single_precision_stays_single_and_memory_is_bounded_by_the_block(monkeypatch):
    queries, gallery, *_ = people(1)
    seen = []
    original = module.cosine_distances
    monkeypatch.setattr(module, "cosine_distances", lambda a, b: seen.append(len(a)) or original(a, b))
    result = rerank(queries.astype(np.float32), gallery.astype(np.float32), block=5)
    assert result.dtype == np.float32 and max(seen) == 5
    np.testing.assert_allclose(result, rerank(queries, gallery), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"k1": 0}, "k1=0"), ({"k2": 0}, "k2=0"), ({"weight": 1.5}, "weight=1.5"), ({"gallery": np.zeros((0, 3))}, "none of them")],
)
def test_bad_input_is_named(options, message):
    arguments = {"queries": np.ones((2, 3)), "gallery": np.ones((4, 3))} | options
    with pytest.raises(ValueError, match=message):
        rerank(**arguments)
