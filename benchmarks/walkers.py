"""Walkers without learning: seconds per tracklet, events, and the raw baseline (counts on a 64 x 32 grid, log, cosine) from camera 0 to 1.

    python benchmarks/walkers.py [--seeds 0,1,2]

Minutes long, and no comparison: not among those that `make bench` runs.
"""

import math
import time

import numpy as np
from pairs import Line, main

from reidlib.datasets.parallel import run_all
from reidlib.datasets.walkers import WalkersSettings, render_tracklet, rows
from reidlib.events import event_frames
from reidlib.metrics import cosine_distances, rank


def counted(job: tuple[WalkersSettings, dict]) -> tuple[tuple[int, int, int], np.ndarray, int, float]:
    """Indices, log counts, number of events and processor seconds of a tracklet."""
    settings, row = job
    at, start = (row["person"], row["camera"], row["repeat"]), time.process_time()
    _, events = render_tracklet(settings, *at)
    seconds = time.process_time() - start
    counts = event_frames(events, 1, 0, round(settings.seconds * 1e6) + 1, size=(64, 32))
    return at, np.log1p(counts).ravel(), len(events), seconds


def of_seed(seed: int) -> Line:
    settings = WalkersSettings(seed=seed)
    jobs = [(settings, row) for row in rows(settings) if row["subset"] != "train"]
    at, features, events, seconds = zip(*sorted(run_all(counted, jobs), key=lambda result: result[0]), strict=True)
    (people, cameras, _), features = np.array(at).T, np.array(features)
    query, gallery = cameras == 0, cameras == 1
    ranking = rank(cosine_distances(features[query], features[gallery]), people[query], people[gallery])
    chance = rank(np.zeros((query.sum(), gallery.sum())), people[query], people[gallery])
    note = (
        f"mAP {100 * ranking.mAP:.1f}, Rank-1 {100 * ranking.cmc[0]:.1f} (chance {100 * chance.mAP:.1f} mAP); "
        f"{np.median(seconds):.3f} s of one core per tracklet; events {np.mean(events):,.0f} "
        f"(5 to 95 %: {np.percentile(events, 5):,.0f} to {np.percentile(events, 95):,.0f})"
    )
    return Line("walkers", f"seed {seed}", "", math.nan, "", note)


def measure(options) -> list[Line]:
    return [of_seed(int(seed)) for seed in options.seeds.split(",")]


if __name__ == "__main__":
    main(measure, __doc__, seeds="0,1,2")
