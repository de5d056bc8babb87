"""What every benchmark shares: alternating rounds, the ratio of the fastest ones, targets, and lines of one table.

A benchmark is a script with options; it prints its lines, and writes them where `--json` says (`python benchmarks` collects them).
Importing this first gives the process one thread, so that its processor time is the time of the work, whatever else the machine does.
"""

import argparse
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

PEERS = Path(__file__).resolve().parents[1] / ".bench"  # what `make bench` installs, for the benchmarks alone


@dataclass(frozen=True)
class Line:
    """One measurement. what, against: the two things compared; ratio: how they compare, as `target` asks for it (NaN: not measured).

    target: ">= 10" (the other takes at least ten times as long), "<= 1.25" (ours at most 1.25 times as much), or "" where nothing was
    promised. note: in what unit or on what, the figures behind the ratio, and what a profile shows where a target is missed.
    """

    subject: str
    what: str
    against: str
    ratio: float
    target: str = ""
    note: str = ""

    @property
    def met(self) -> str:
        """ "yes", or by how much the target is missed; "" without a target or a measurement."""
        if not self.target or math.isnan(self.ratio):
            return ""
        sign, limit = self.target.split()
        above = self.ratio - float(limit)
        missed = -above if sign == ">=" else above
        return "yes" if missed <= 0 else f"missed by {100 * missed / max(float(limit), 1e-9):.0f} %"

    def row(self) -> dict:
        return asdict(self) | {"met": self.met}


def fastest(ways: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """Seconds of each way's fastest round; the ways take turns in every round, after one that is not timed.

    The fastest is the least disturbed. clock: processor time of this process, or `time.perf_counter` where several processes work."""
    best = dict.fromkeys(ways, math.inf)
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = clock()
            way()
            if turn:
                best[name] = min(best[name], clock() - start)
    return best


def peer(module: str):
    """A module of a peer, or None where it is not installed. What the environment itself has comes first."""
    if str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def absent(subject: str, what: str, against: str, target: str = "") -> Line:
    """The line of a peer that is not there."""
    return Line(subject, what, against, math.nan, target, "not installed, so not measured: `make bench` installs it into .bench")


def milliseconds(*seconds: float) -> str:
    """ "12.3 and 45.6 ms", for notes."""
    return " and ".join(f"{1e3 * one:.3g}" for one in seconds) + " ms"


def peak_memory() -> int:
    """Of this process so far, in bytes (Linux). (`ru_maxrss` would begin with that of whoever started it.)"""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def show(lines: list[Line]) -> None:
    """Print one line of text per line."""
    for line in lines:
        ratio = "" if math.isnan(line.ratio) else f"{line.ratio:8.2f}"
        against = f" against {line.against}" if line.against else ""
        print(f"{ratio:>8} {line.target:8} {line.met:16} {line.subject}: {line.what}{against}. {line.note}", flush=True)


def main(measure: Callable[[argparse.Namespace], list[Line]], doc: str, **options) -> None:
    """Run a benchmark as a script. options: name -> default, of the type that the option takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the lines to this file")
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    chosen = parser.parse_args()
    lines = measure(chosen)
    show(lines)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(line) for line in lines]))
