"""Peak memory and time of k-reciprocal re-ranking, in a process of its own.

    python benchmarks/reranking.py [--queries 1980] [--gallery 11310] [--dimensions 512]

The default size is MARS' test set. Features: a direction per person and noise.
"""

import time

import numpy as np
from pairs import Line, main, peak_memory  # first: it sets the number of threads

from reidlib.metrics import cosine_distances, rank, rerank


def measure(options) -> list[Line]:
    rng = np.random.default_rng(0)
    people = rng.standard_normal((626, options.dimensions), dtype=np.float32)
    ids = rng.integers(0, len(people), options.queries), rng.integers(0, len(people), options.gallery)
    queries, gallery = (people[who] + 3 * rng.standard_normal((len(who), options.dimensions), dtype=np.float32) for who in ids)
    before, start = peak_memory(), time.process_time()
    distances = rerank(queries, gallery)
    seconds, peak = time.process_time() - start, peak_memory()
    plain = rank(cosine_distances(queries, gallery), *ids).mAP
    note = f"GB of the whole process, {before / 1e9:.2f} of them before; {seconds:.0f} s; "
    note += f"mAP {100 * plain:.1f} to {100 * rank(distances, *ids).mAP:.1f} %"
    size = f"{options.queries} x {options.gallery}"
    return [Line("re-ranking", f"peak memory at {size}", "", peak / 1e9, "<= 4", note)]


if __name__ == "__main__":
    main(measure, __doc__, queries=1980, gallery=11310, dimensions=512)
