"""Memory and time of a training step of S3CE-Net on long sequences, with activations kept and made again.

    python benchmarks/long_sequences.py [--steps 64] [--batch 8] [--rounds 2]

Memory: what the process holds at its peak beyond what it held before the step, each way in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from networks_of_the_demo import clips, network, training_step
from pairs import Line, fastest, main, milliseconds, peak_memory


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


def measure(options) -> list[Line]:
    torch.set_num_threads(1)
    if options.measured:
        print(json.dumps(used_memory(options)))
        return []
    memory = {}
    for kind in ("keep", "recompute"):
        command = [sys.executable, __file__, "--steps", str(options.steps), "--batch", str(options.batch), "--measured", kind]
        memory[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    best = fastest({kind: step(options, kind == "recompute") for kind in ("recompute", "keep")}, options.rounds)
    about = f"T = {options.steps}, {options.batch} clips"
    note = f"{memory['recompute'] / 1e6:.0f} and {memory['keep'] / 1e6:.0f} MB"
    ratio = memory["keep"] / memory["recompute"]
    return [
        Line("S3CE-Net", f"memory of a training step, recomputed, {about}", "activations kept", ratio, ">= 3", note),
        Line(
            "S3CE-Net", f"time of it, {about}", "activations kept", best["recompute"] / best["keep"], "<= 1.4", milliseconds(*best.values())
        ),
    ]


if __name__ == "__main__":
    main(measure, __doc__, steps=64, batch=8, rounds=2, measured="")
