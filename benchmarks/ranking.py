"""Time `reidlib.metrics.rank` against the per-query NumPy loop of the usual toolkits, in alternating pairs.

    python benchmarks/ranking.py [--queries 1980] [--gallery 11310] [--pairs 3]

The default size is MARS' test set. Both must give the same mAP and Rank-1 on distances without ties.
"""

import argparse
import itertools
import time

import numpy as np

from reidlib.metrics import rank


def usual_loop(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, vectorised):
    """mAP and Rank-1 as the toolkits write it: argsort everything, then walk over the queries.

    vectorised=False divides the hits by their ranks in a list, as torchreid and its many descendants do.
    """
    order = np.argsort(distances, axis=1)
    matches = (gallery_ids[order] == query_ids[:, None]).astype(np.int32)
    precisions, firsts = [], []
    for query in range(len(distances)):
        keep = ~((gallery_ids[order[query]] == query_ids[query]) & (gallery_cameras[order[query]] == query_cameras[query]))
        found = matches[query][keep]
        if not found.any():
            continue
        hits = found.cumsum()
        hits = hits / np.arange(1, len(hits) + 1) if vectorised else np.asarray([hit / (place + 1.0) for place, hit in enumerate(hits)])
        firsts.append(found[0])
        precisions.append((hits * found).sum() / found.sum())
    return np.mean(precisions), np.mean(firsts)


def timed(function, *arguments, **options):
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=1980)
    parser.add_argument("--gallery", type=int, default=11310)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    people, cameras = 626, 6
    data = (
        rng.random((options.queries, options.gallery), dtype=np.float32).astype(np.float64),
        rng.integers(0, people, options.queries),
        rng.integers(0, people, options.gallery),
        rng.integers(0, cameras, options.queries),
        rng.integers(0, cameras, options.gallery),
    )
    print(f"{options.queries} queries x {options.gallery} gallery entries, {data[0].dtype}, NumPy {np.__version__}")
    for vectorised, ties in itertools.product((False, True), ("average", "stable")):
        ratios, fastest = [], []
        for _ in range(options.pairs):
            slow, (mean, first) = timed(usual_loop, *data, vectorised)
            fast, ours = timed(rank, *data, ties=ties)
            np.testing.assert_allclose([ours.mAP, ours.cmc[0]], [mean, first], rtol=0, atol=2e-4)
            ratios.append(slow / fast)
            fastest.append(fast)
        name = "loop with arrays" if vectorised else "loop with lists"
        print(f"rank({ties}) {min(fastest):.3f} s; {name} takes {np.median(ratios):.1f} times as long (lowest pair {min(ratios):.1f})")


if __name__ == "__main__":
    main()
