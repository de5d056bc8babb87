"""What converting a MARS-like video set into events takes: the plan from a measured sample, and the peak memory of 1 x and 8 x tracklets.

    python benchmarks/conversion.py [--tracklets 20000] [--frames 60] [--workers 2]

The frames are those of walkers (grey, 128 x 64, 30 frames a second), stored as JPEG as MARS stores its own.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from pairs import Line, main, peak_memory
from PIL import Image

from reidlib.datasets import build_store
from reidlib.datasets.video_events import ConversionSettings, estimate, make
from reidlib.datasets.walkers import WalkersSettings, make_tracklet
from reidlib.files import write_json

SENSORS = {"linear between frames": {}, "adaptive upsampling": {"upsample": "adaptive"}}


def write_sample(root: Path, frames_each: int, count: int = 8) -> list[dict]:
    """Rows of `count` tracklets of walkers, written as JPEG."""
    settings, rows = WalkersSettings(seconds=(frames_each - 1) / 30 + 0.01), []
    for person in range(count):
        frames = make_tracklet(settings, person, person % 2, 0)[0].frames[:frames_each]
        (root / f"{person}").mkdir(parents=True)
        names = [f"{person}/{i:04d}.jpg" for i in range(len(frames))]
        for name, frame in zip(names, frames, strict=True):
            Image.fromarray(frame).convert("RGB").save(root / name, quality=90)
        row = {"key": f"t{person}", "dataset": "sample", "split": 0, "subset": "train", "person": person}
        rows.append({**row, "camera": person % 2, "source": str(person), "files": names})
    return rows


def noted(root: Path, row: dict):
    """`make`, leaving behind the peak memory of the process so far."""
    sample = make(root, ConversionSettings(), row)
    (root / f"peak-{os.getpid()}").write_text(str(peak_memory()))
    return sample


def convert(root: Path, times: int, workers: int) -> dict:
    """Converts `times` copies of the sample's tracklets; seconds, and the peak memory in bytes of the parent and of a worker."""
    rows = json.loads((root / "rows.json").read_text())
    many = [{**row, "key": f"{row['key']}/{i}"} for i in range(times) for row in rows]
    start = time.perf_counter()
    build_store(root / f"{times}.h5", many, partial(noted, root), {"code": 1}, workers)
    largest = max(int(file.read_text()) for file in root.glob("peak-*"))
    return {"seconds": time.perf_counter() - start, "parent": peak_memory(), "worker": largest}


def measure(options) -> list[Line]:
    if options.folder:  # a process of its own, for its memory
        print(json.dumps(convert(Path(options.folder), options.times, options.workers)))
        return []
    lines, found = [], {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = write_sample(root, options.frames)
        write_json(root / "rows.json", rows)
        for name, sensor in SENSORS.items():
            plan = estimate(rows, root, ConversionSettings(sensor=sensor), root / "s.h5", workers=1)
            whole = replace(plan, tracklets=options.tracklets, frames=options.tracklets * options.frames, workers=options.workers)
            lines.append(Line("conversion", f"plan of {options.tracklets:,} tracklets, {name}", "", math.nan, "", str(whole)))
        for times in (1, 8):
            command = [sys.executable, __file__, "--folder", folder, "--times", str(times), "--workers", str(options.workers)]
            found[times] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
            for file in root.glob("peak-*"):
                file.unlink()
    for who in ("parent", "worker"):
        few, many = found[1][who], found[8][who]
        note = f"{many / 1e6:.0f} and {few / 1e6:.0f} MB; {found[8]['seconds']:.0f} and {found[1]['seconds']:.0f} s"
        lines.append(Line("conversion", f"peak memory of the {who}, {8 * len(rows)} tracklets", f"{len(rows)}", many / few, "<= 1.1", note))
    return lines


if __name__ == "__main__":
    main(measure, __doc__, tracklets=20_000, frames=60, workers=2, folder="", times=0)
