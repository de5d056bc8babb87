"""Ranking against a plain loop, and expected values under ties against every order of the tied entries."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reidlib.metrics.ranking as ranking
from reidlib.metrics import cosine_distances, rank


def plain_query(distances, person, gallery_ids, camera, gallery_cameras, max_rank):
    """(average precision, inverse negative penalty, hits) of one query with tied entries in gallery order, from the definition."""
    valid = [j for j in range(len(distances)) if not (gallery_ids[j] == person and gallery_cameras[j] == camera >= 0)]
    valid.sort(key=lambda j: distances[j])
    found = [gallery_ids[j] == person for j in valid]
    if not any(found):
        return np.nan, np.nan, np.full(max_rank, np.nan)
    precisions = [sum(found[: k + 1]) / (k + 1) for k in range(len(found)) if found[k]]
    last = max(k for k in range(len(found)) if found[k]) + 1
    return np.mean(precisions), sum(found) / last, np.array([float(any(found[: k + 1])) for k in range(max_rank)])


def plain(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, max_rank):
    rows = [
        plain_query(distances[q], query_ids[q], gallery_ids, query_cameras[q], gallery_cameras, max_rank) for q in range(len(distances))
    ]
    return [np.array(part) for part in zip(*rows, strict=True)]


@st.composite
def cases(draw, gallery=12, queries=4, distinct=6):
    q, g = draw(st.integers(1, queries)), draw(st.integers(1, gallery))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distances = rng.integers(0, draw(st.integers(1, distinct)), (q, g)) / 4
    people, cameras = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return (
        distances.astype(draw(st.sampled_from([np.float32, np.float64]))),
        rng.integers(0, people, q),
        rng.integers(0, people, g),
        rng.integers(-1, cameras, q),
        rng.integers(-1, cameras, g),
    )


def scores_or_none(*arguments, **options):
    try:
        return rank(*arguments, **options)
    except ValueError as error:
        assert "valid match" in str(error)


def assert_same(result, expected):
    precision, penalty, hits = expected
    if result is None:
        assert np.isnan(precision).all()
        return
    np.testing.assert_allclose(result.average_precision, precision, rtol=1e-12)
    np.testing.assert_allclose(result.inverse_negative_penalty, penalty, rtol=1e-12)
    np.testing.assert_allclose(result.hits, hits[:, : result.hits.shape[1]], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(result.excluded, np.flatnonzero(np.isnan(precision)))
    np.testing.assert_allclose([result.mAP, result.mINP], [np.nanmean(precision), np.nanmean(penalty)], rtol=1e-12)
    np.testing.assert_allclose(result.cmc, np.nanmean(hits, axis=0)[: len(result.cmc)], rtol=1e-12, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_stable_order_equals_the_plain_loop(case):
    result = scores_or_none(*case, ties="stable")
    assert_same(result, plain(*case, max_rank=case[0].shape[1]))


@settings(max_examples=60, deadline=None)
@given(cases(gallery=5, queries=2, distinct=3))
def test_average_is_the_mean_over_every_order_of_tied_entries(case):
    distances, query_ids, gallery_ids, query_cameras, gallery_cameras = case
    orders = []
    for order in map(list, permutations(range(distances.shape[1]))):
        orders.append(
            plain(distances[:, order], query_ids, gallery_ids[order], query_cameras, gallery_cameras[order], max_rank=distances.shape[1])
        )
    assert_same(scores_or_none(*case), [np.mean(part, axis=0) for part in zip(*orders, strict=True)])


@settings(max_examples=40, deadline=None)
@given(cases(gallery=30), st.integers(0, 2**32 - 1))
def test_average_does_not_depend_on_gallery_order_or_block_size(case, seed):
    distances, query_ids, gallery_ids, query_cameras, gallery_cameras = case
    order = np.random.default_rng(seed).permutation(distances.shape[1])
    whole, block = scores_or_none(*case), ranking.BLOCK
    try:
        ranking.BLOCK = 1  # one query at a time
        shuffled = scores_or_none(distances[:, order], query_ids, gallery_ids[order], query_cameras, gallery_cameras[order])
    finally:
        ranking.BLOCK = block
    assert (whole is None) == (shuffled is None)
    if whole is not None:
        np.testing.assert_allclose(whole.average_precision, shuffled.average_precision, rtol=1e-12)
        np.testing.assert_allclose(whole.inverse_negative_penalty, shuffled.inverse_negative_penalty, rtol=1e-12)
        np.testing.assert_allclose(whole.hits, shuffled.hits, rtol=1e-12, atol=1e-12)


def test_distinct_distances_score_alike_in_both_modes_and_large_blocks_of_ties_stay_exact():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, 50), rng.integers(0, 20, 3000)
    distances = rng.random((50, 3000))
    np.testing.assert_allclose(rank(distances, *ids).average_precision, rank(distances, *ids, ties="stable").average_precision, rtol=1e-9)
    tied = rank(np.zeros((1, 3000)), [0], np.arange(3000) < 1)  # ids True/False: one entry of person 0 is False
    matches = 2999
    # All tied: the first entry matches with probability m / n; the last match is at rank n unless the single other entry is there.
    np.testing.assert_allclose(tied.cmc[0], matches / 3000)
    np.testing.assert_allclose(tied.mINP, matches * (matches / 3000 / 3000 + 1 / 3000 / 2999), rtol=1e-12)


def test_hand_computed_example_with_ignored_and_excluded():
    distances = np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])
    result = rank(distances, ["ann", "bob"], ["ann", "eve", "ann", "ann"], [0, 0], [0, 1, 1, 2])
    # Ann: the first entry is her own camera and is ignored; left are eve, ann, ann.
    np.testing.assert_allclose(result.average_precision, [(1 / 2 + 2 / 3) / 2, np.nan])
    np.testing.assert_allclose(result.inverse_negative_penalty, [2 / 3, np.nan])
    np.testing.assert_allclose(result.cmc, [0, 1, 1, 1])  # padded: only three entries are valid
    assert result.excluded.tolist() == [1] and result.hits.shape == (2, 4)
    assert rank(distances[:1], ["ann"], ["ann", "eve", "ann", "ann"]).cmc[0] == 1  # without cameras nothing is ignored
    assert rank(distances[:1], [1], [1, 2, 1, 1], [-1], [-1] * 4).cmc[0] == 1  # unknown cameras neither
    assert len(rank(distances[:1], [1], [1, 2, 1, 1], max_rank=2).cmc) == 2


def test_caller_arrays_stay_untouched_and_integers_are_taken():
    distances = np.array([[3, 1, 2]])
    before = distances.copy()
    assert rank(distances, [1], [1, 1, 0], [0], [0, 1, 1]).mAP == 1
    np.testing.assert_array_equal(distances, before)
    floats = np.array([[3.0, 1.0, 2.0]])
    rank(floats, [1], [1, 1, 0], [0], [0, 1, 1])
    assert np.isfinite(floats).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distances": np.array([[0.1, np.nan]])}, "query 0 to gallery entry 1 is nan"),
        ({"distances": np.array([[np.inf, 0.1]])}, "entry 0 is inf"),
        ({"distances": np.zeros((1, 0)), "gallery_ids": []}, "no gallery entry"),
        ({"distances": np.zeros((0, 2)), "query_ids": []}, "no query"),
        ({"distances": np.zeros(2)}, r"\[queries, gallery\]"),
        ({"gallery_ids": [1, 2, 3]}, "ids are"),
        ({"query_cameras": [0]}, "only one of query and gallery"),
        ({"query_cameras": [0], "gallery_cameras": [0]}, "cameras are"),
        ({"query_ids": [7]}, "none of the 1 queries has a valid match"),
        ({"ties": "random"}, "legal values: average, stable"),
        ({"max_rank": 0}, "max_rank=0"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"distances": np.array([[0.1, 0.2]]), "query_ids": [1], "gallery_ids": [1, 2]} | change
    with pytest.raises(ValueError, match=message):
        rank(**arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosine_distances(dtype):
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(4, 8)).astype(dtype), rng.normal(size=(5, 8)).astype(dtype)
    queries[1], gallery[2], gallery[3] = 0, 0, queries[0] * 3
    result = cosine_distances(queries, gallery)
    expected = np.ones((4, 5))
    for i, a in enumerate(queries):
        for j, b in enumerate(gallery):
            if a.any() and b.any():
                expected[i, j] = 1 - np.dot(a, b) / (np.sqrt(np.dot(a, a)) * np.sqrt(np.dot(b, b)))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=1e-6 if dtype == np.float32 else 1e-14)
    assert (result >= 0).all() and (result <= 2).all()
    huge = np.finfo(dtype).max
    np.testing.assert_allclose(cosine_distances(np.array([[huge, huge]], dtype), np.array([[1e-30, 0]], dtype)), 1 - 0.5**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("queries", "gallery", "message"), [([[1.0]], [[1.0, 2.0]], "same D"), ([1.0], [[1.0]], "same D"), ([[1.0]], [[np.nan]], "row 0 holds")]
)
def test_cosine_distances_names_bad_input(queries, gallery, message):
    with pytest.raises(ValueError, match=message):
        cosine_distances(queries, gallery)
