"""Memory and time of a training step of S3CE-Net on long sequences, with activations kept and made again.

    python benchmarks/long_sequences.py [--steps 64] [--batch 8] [--rounds 2]

Memory: what the process holds at its peak beyond what it held before the step, each way in a process of its own, in which what is freed
goes back to the system at once. glibc as it comes keeps freed pieces for later and holds more: that stands in the note.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from networks_of_the_demo import clips, network, training_step
from pairs import Line, fastest, main, milliseconds, peak_memory

AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_MMAP_MAX_": "1000000"}


def step(options, recompute: bool):
    model = network("s3ce_net", recompute=recompute)
    return training_step(model, clips(model, options.batch, options.steps))


def used_memory(options) -> int:
    """Bytes, of a step after a first one on a single short clip."""
    model = network("s3ce_net", recompute=options.measured == "recompute")
    training_step(model, clips(model, 2, 4))()
    run = training_step(model, clips(model, options.batch, options.steps))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    run()
    return peak_memory() - before


def measured_apart(options, kind: str, environment: dict[str, str]) -> int:
    """`used_memory` in a process of its own."""
    command = [sys.executable, __file__, "--steps", str(options.steps), "--batch", str(options.batch), "--measured", kind]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return json.loads(result.stdout)


def measure(options) -> list[Line]:
    torch.set_num_threads(1)
    if options.measured:
        print(json.dumps(used_memory(options)))
        return []
    memory = {kind: measured_apart(options, kind, AT_ONCE) for kind in ("keep", "recompute")}
    held = [measured_apart(options, kind, {}) for kind in ("recompute", "keep")]
    best = fastest({kind: step(options, kind == "recompute") for kind in ("recompute", "keep")}, options.rounds)
    about = f"T = {options.steps}, {options.batch} clips"
    note = f"{memory['recompute'] / 1e6:.0f} and {memory['keep'] / 1e6:.0f} MB"
    note += f"; with glibc as it comes {held[0] / 1e6:.0f} and {held[1] / 1e6:.0f} MB"
    ratio, time = memory["keep"] / memory["recompute"], milliseconds(*best.values())
    return [
        Line("S3CE-Net", f"memory of a training step, recomputed, {about}", "activations kept", ratio, ">= 3", note),
        Line("S3CE-Net", f"time of it, {about}", "activations kept", best["recompute"] / best["keep"], "<= 1.4", time),
    ]


if __name__ == "__main__":
    main(measure, __doc__, steps=64, batch=8, rounds=2, measured="")
