"""What converting a MARS-like video set into events takes: the plan from a measured sample, and the peak memory of 1 x and 8 x tracklets.

    python benchmarks/conversion.py

The frames are those of walkers (grey, 128 x 64, 30 frames a second), stored as JPEG as MARS stores its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from reidlib.datasets import build_store
from reidlib.datasets.video_events import ConversionSettings, estimate, make
from reidlib.datasets.walkers import WalkersSettings, make_tracklet
from reidlib.files import write_json

TRACKLETS, FRAMES, WORKERS = 20_000, 60, 2


def write_sample(root: Path, count: int = 8) -> list[dict]:
    """Rows of `count` tracklets of walkers, written as JPEG."""
    settings, rows = WalkersSettings(seconds=(FRAMES - 1) / 30 + 0.01), []
    for person in range(count):
        frames = make_tracklet(settings, person, person % 2, 0)[0].frames[:FRAMES]
        (root / f"{person}").mkdir(parents=True)
        names = [f"{person}/{i:04d}.jpg" for i in range(len(frames))]
        for name, frame in zip(names, frames, strict=True):
            Image.fromarray(frame).convert("RGB").save(root / name, quality=90)
        row = {"key": f"t{person}", "dataset": "sample", "split": 0, "subset": "train", "person": person}
        rows.append({**row, "camera": person % 2, "source": str(person), "files": names})
    return rows


def peak_memory() -> int:
    """Of this process, in MB. (`ru_maxrss` would begin with that of whoever started it.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def noted(root: Path, row: dict):
    """`make`, leaving behind the peak memory of the process so far."""
    sample = make(root, ConversionSettings(), row)
    (root / f"peak-{os.getpid()}").write_text(str(peak_memory()))
    return sample


def convert(root: Path, times: int) -> None:
    """Converts `times` copies of the sample's tracklets; prints how many, seconds, and the peak memory of the parent and of a worker."""
    rows = json.loads((root / "rows.json").read_text())
    many = [{**row, "key": f"{row['key']}/{i}"} for i in range(times) for row in rows]
    start = time.perf_counter()
    build_store(root / f"{times}.h5", many, partial(noted, root), {"code": 1}, WORKERS)
    largest = max(int(file.read_text()) for file in root.glob("peak-*"))
    seconds = time.perf_counter() - start
    print(f"{len(many)} tracklets, {WORKERS} workers: {seconds:.1f} s; peak memory {peak_memory()} MB, of a worker {largest} MB")


def main(arguments: list[str]) -> None:
    if arguments:  # a process of its own, for its memory
        return convert(Path(arguments[0]), int(arguments[1]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = write_sample(root)
        write_json(root / "rows.json", rows)
        for sensor in ({}, {"upsample": "adaptive"}):
            plan = estimate(rows, root, ConversionSettings(sensor=sensor), root / "s.h5", workers=1)
            print(sensor, replace(plan, tracklets=TRACKLETS, frames=TRACKLETS * FRAMES, workers=WORKERS))
        for times in (1, 8):
            subprocess.run([sys.executable, __file__, folder, str(times)], check=True)
            for file in root.glob("peak-*"):
                file.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
