"""Time `reidlib.metrics.rank` (mAP, CMC, mINP) against the usual ways.

    python benchmarks/ranking.py [--queries 1980] [--gallery 11310] [--rounds 2]

The default size is MARS' test set. The usual loop goes over the queries in NumPy, as eight toolkits share it; some divide the hits by
their ranks in a list, others in an array. The compiled loop is what torchreid's Cython form does: NumPy sorts, machine code scores. All
must give the same scores on distances without ties, and ours must give the expected ones on distances with ties.
"""

from functools import partial

import numpy as np
from numba import njit
from pairs import Line, fastest, main, milliseconds  # first: it sets the number of threads

from reidlib.metrics import rank

RANKS = 50


def usual_loop(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, arrays: bool):
    """mAP, mINP and CMC as the toolkits write it: argsort everything, drop the same person at the same camera, cumulative sums."""
    order = np.argsort(distances, axis=1)
    matches = (gallery_ids[order] == query_ids[:, None]).astype(np.int32)
    precisions, penalties, curves = [], [], []
    for query in range(len(distances)):
        keep = ~((gallery_ids[order[query]] == query_ids[query]) & (gallery_cameras[order[query]] == query_cameras[query]))
        found = matches[query][keep]
        if not found.any():
            continue
        hits = found.cumsum()
        penalties.append(hits[-1] / (np.flatnonzero(found)[-1] + 1.0))
        curves.append(np.minimum(hits, 1)[:RANKS])
        shares = hits / np.arange(1, len(hits) + 1) if arrays else np.asarray([hit / (place + 1.0) for place, hit in enumerate(hits)])
        precisions.append((shares * found).sum() / found.sum())
    return np.mean(precisions), np.mean(penalties), np.mean(curves, axis=0)


@njit(nogil=True)
def _scores(order, query_ids, gallery_ids, query_cameras, gallery_cameras, cmc):
    precision, penalty, valid = 0.0, 0.0, 0
    for query in range(len(order)):
        place, hits, total, last = 0, 0, 0.0, 0
        for entry in order[query]:
            same = gallery_ids[entry] == query_ids[query]
            if same and gallery_cameras[entry] == query_cameras[query]:
                continue
            place += 1
            if same:
                hits += 1
                last = place
                total += hits / place
                if hits == 1 and place <= len(cmc):
                    cmc[place - 1 :] += 1
        if hits:
            valid += 1
            precision += total / hits
            penalty += hits / last
    return precision / valid, penalty / valid, cmc / valid


def compiled_loop(distances, *labels):
    return _scores(np.argsort(distances, axis=1), *labels, np.zeros(RANKS))


def drawn(queries: int, gallery: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Distances and labels of MARS' size: 626 people, 6 cameras."""
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, count, size) for count in (626, 6) for size in (queries, gallery)]
    places = np.tile(np.arange(gallery, dtype=np.float32) / gallery, (queries, 1))
    return rng.permuted(places, axis=1), *labels  # no two of a query are equal


def expected_with_ties(distances, *labels, orders: int = 400) -> float:
    """mAP over random orders of the gallery, each ranked as it lies: what "average" gives exactly."""
    rng, found = np.random.default_rng(0), []
    query_ids, gallery_ids, query_cameras, gallery_cameras = labels
    for _ in range(orders):
        p = rng.permutation(distances.shape[1])
        found.append(rank(distances[:, p], query_ids, gallery_ids[p], query_cameras, gallery_cameras[p], ties="stable").mAP)
    return float(np.mean(found))


def measure(options) -> list[Line]:
    data = drawn(options.queries, options.gallery)
    ways = {f"rank, ties={ties!r}": partial(rank, *data, ties=ties, max_rank=RANKS) for ties in ("average", "stable")}
    others = {
        "the NumPy loop with lists": partial(usual_loop, *data, False),
        "the NumPy loop with arrays": partial(usual_loop, *data, True),
        "the compiled loop": partial(compiled_loop, *data),
    }
    for name, other in others.items():
        for own in ways.values():
            ours, (precision, penalty, cmc) = own(), other()
            np.testing.assert_allclose([ours.mAP, ours.mINP, *ours.cmc], [precision, penalty, *cmc], rtol=0, atol=1e-5, err_msg=name)
    best = fastest(ways | others, options.rounds)
    targets = dict(zip(others, (">= 5", ">= 5", ">= 1"), strict=True))
    size = f"{options.queries} x {options.gallery} distances, float32; "
    lines = []
    for own in ways:
        for other, target in targets.items():
            lines.append(Line("ranking", own, other, best[other] / best[own], target, size + milliseconds(best[own], best[other])))
    tied = drawn(40, 200, seed=1)
    tied = (np.round(tied[0] * 5), *(labels % 20 for labels in tied[1:]))
    exact, mean = rank(*tied).mAP, expected_with_ties(*tied)
    note = f"mAP {100 * exact:.3f} and {100 * mean:.3f} % on distances of six values, 40 x 200"
    return [*lines, Line("ranking", "expected scores under ties", "the mean of 400 orders of the gallery", exact / mean, ">= 0.995", note)]


if __name__ == "__main__":
    main(measure, __doc__, queries=1980, gallery=11310, rounds=2)
