"""Peak memory of a training on 1 x and 8 x tracklets, read from the disk as where a set does not fit into a quarter of the memory.

python benchmarks/training_memory.py [--iterations 60]
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from pairs import Line, main, peak_memory

from reidlib.datasets import ClipSettings, Sample, TrackletStore, build_store
from reidlib.events import Events
from reidlib.training import RunSettings, TrainSettings, train

PEOPLE, EVENTS = 8, 200_000
TRACKLETS = 4  # per person, at 1 x: 83 MB of events in all
CLIPS = ClipSettings(steps=4, size=(32, 16), seconds=0.3)
OPTIONS = {"width": 8, "head_channels": 8, "sampling": {"spatial": 2}}


def make(row: dict, events: int) -> Sample:
    """A tracklet of noise, a second long."""
    rng = np.random.default_rng(row["place"])
    x, y, p = (rng.integers(0, stop, events).astype(kind) for stop, kind in ((64, np.uint16), (128, np.uint16), (2, np.uint8)))
    return Sample(Events(x, y, np.sort(rng.integers(0, 10**6, events)), p, 64, 128), duration=1.0)


def write_store(path: Path, times: int, events: int = EVENTS) -> None:
    rows = []
    for place in range(PEOPLE * TRACKLETS * times):
        person, number = place % PEOPLE, place // PEOPLE
        row = {
            "key": f"p{person}/t{number}",
            "dataset": "noise",
            "split": 0,
            "subset": "train",
            "person": person,
            "camera": number % 2,
            "source": "",
        }
        rows.append(row | {"place": place % (PEOPLE * TRACKLETS)})
    build_store(path, rows, partial(make, events=events), {"code": 1}, description="noise")


def train_once(path: Path, iterations: int) -> int:
    """Peak memory in bytes of a process that trains on the store."""
    store = TrackletStore(path)
    run = RunSettings("s3ce_net", OPTIONS, CLIPS, TrainSettings(iterations=iterations, people=4, clips=2))
    train(run, store, store.index, path.with_suffix(".run"))
    return peak_memory()


def measure(options) -> list[Line]:
    if options.store:  # a process of its own, for its memory
        print(json.dumps(train_once(Path(options.store), options.iterations)))
        return []
    with tempfile.TemporaryDirectory() as folder:
        peak = partial(_peak, Path(folder), options.iterations)
        few, many = peak(1), peak(8)
    events = 13 * EVENTS * 8 * PEOPLE * TRACKLETS
    note = f"{many / 1e6:.0f} and {few / 1e6:.0f} MB, {options.iterations} steps; events: {events / 1e6:.0f} MB at 8 x"
    about = f"peak memory of a training, {8 * PEOPLE * TRACKLETS} tracklets"
    return [Line("training", about, f"{PEOPLE * TRACKLETS}", many / few, "<= 1.1", note)]


def _peak(folder: Path, iterations: int, times: int) -> int:
    path = folder / f"{times}.h5"
    write_store(path, times)
    command = [sys.executable, __file__, "--store", str(path), "--iterations", str(iterations)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    main(measure, __doc__, iterations=60, store="")
