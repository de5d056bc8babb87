"""Small data sets for the tests, made by functions that worker processes can import."""

import os
import time

import numpy as np

from reidlib.datasets import Sample
from reidlib.events import Events

SETTINGS = {"code": 1, "name": "small"}


def rows(people=4, cameras=2, tracklets=2, train=2, count=50) -> list[dict]:
    """Rows with `count` events per tracklet; the first `train` people train, camera 0 of the others is the query."""
    out = []
    for person in range(people):
        for camera in range(cameras):
            for tracklet in range(tracklets):
                subset = "train" if person < train else "query" if camera == 0 else "gallery"
                key = f"p{person:04d}/c{camera}/t{tracklet}"
                row = {"key": key, "dataset": "small", "split": 0, "subset": subset, "person": person, "camera": camera, "source": "test"}
                out.append({**row, "count": count, "number": len(out)})
    return out


def random_events(count: int, seed: int, width: int = 24, height: int = 48, microseconds: int = 1_000_000) -> Events:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, width, count).astype(np.uint16), rng.integers(0, height, count).astype(np.uint16)
    t = np.sort(rng.integers(0, microseconds, count)).astype(np.int64)
    return Events(x, y, t, rng.integers(0, 2, count).astype(np.uint8), width=width, height=height)


def make(row: dict) -> Sample:
    """Events and three frames, a function of the row's number."""
    frames = np.random.default_rng(row["number"]).integers(0, 255, (3, 8, 4)).astype(np.uint8)
    return Sample(random_events(row["count"], row["number"]), frames=frames, attributes={"number": np.int64(row["number"])})


def make_slowly(row: dict) -> Sample:
    time.sleep(0.05)
    return make(row)


def make_stuck(row: dict) -> Sample:
    """The last four take for ever."""
    time.sleep(300 if row["number"] >= 12 else 0)
    return make(row)


def make_counted(folder: str, row: dict) -> Sample:
    """Leaves a file behind per call."""
    with open(os.path.join(folder, f"{row['number']}-{time.time_ns()}"), "w"):
        return make(row)


def make_broken(row: dict) -> Sample:
    if row["number"] == 3:
        raise ValueError("a broken recording")
    return make(row)
