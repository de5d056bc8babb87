"""A training step of S3CE-Net at the demo's size in one process, in one with two threads, and in two processes that share its batch.

python benchmarks/processes.py [--steps 30]
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from pairs import Line, main, milliseconds
from training_memory import write_store

from reidlib import processes
from reidlib.config import preset
from reidlib.datasets import TrackletStore
from reidlib.training import RunSettings, TrainSettings, train

EVENTS = 72_000  # of a tracklet, as half of the walkers have at most
BEFORE = 10  # steps until everything has found its pace
WAYS = {"one process": (1, 1), "one process, two threads": (1, 2), "two processes": (2, 1)}  # processes, threads of each


def train_for(store: Path, steps: int, threads: int) -> float:
    """Seconds that a training of so many steps takes."""
    torch.set_num_threads(threads)
    model = preset("demo", "walkers").run("s3ce_net", 0)
    opened = TrackletStore(store, memory=True)
    run = RunSettings(model.model, model.options, model.clips, TrainSettings(iterations=steps, people=6, clips=4, checkpoint_every=0))
    start = time.perf_counter()
    train(run, opened, opened.index, store.with_suffix(f".run{steps}"))
    return time.perf_counter() - start


def of_way(store: Path, count: int, threads: int, steps: int) -> float:
    """Seconds per step."""
    seconds = []
    for length in (BEFORE, BEFORE + steps):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
        command = [sys.executable, *launcher, __file__, "--store", str(store), "--steps", str(length), "--threads", str(threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds.append(json.loads(done.stdout.splitlines()[-1]))
    return (seconds[1] - seconds[0]) / steps


def measure(options) -> list[Line]:
    if options.store:
        taken = train_for(Path(options.store), options.steps, options.threads)
        if processes.rank() == 0:
            print(json.dumps(taken))
        return []
    best = {}
    for _ in range(options.rounds):  # the ways take turns
        for name, (count, threads) in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                write_store(store := Path(folder, "noise.h5"), 1, EVENTS)
                taken = of_way(store, count, threads, options.steps)
            best[name] = min(best.get(name, taken), taken)
    one = best.pop("one process")
    what = "training step of 24 clips, S3CE-Net at the demo's size"
    return [Line("processes", f"{what}: {name}", "one process", one / taken, "", milliseconds(taken, one)) for name, taken in best.items()]


if __name__ == "__main__":
    main(measure, __doc__, steps=30, rounds=2, store="", threads=1)
