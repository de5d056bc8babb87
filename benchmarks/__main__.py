"""Run benchmarks, each in a process of its own, print their lines and write them to one table.

    python benchmarks [--out reports/bench.csv] [name ...]

Without names: all of them; with names, the other lines of the table stay. A benchmark that fails is a line that says so, and the others
still run.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from pairs import Line, show

from reidlib.files import write_text
from reidlib.reports.provenance import provenance

FOLDER = Path(__file__).resolve().parent
NAMES = (
    *("events", "loading", "simulation", "ranking", "reranking", "s3ce_net", "long_sequences", "networks", "event_mapping"),
    *("conversion", "training_memory", "processes"),
)
COLUMNS = ["subject", "what", "against", "ratio", "target", "met", "note", "benchmark", "hardware", "versions", "commit"]


def measured(name: str, folder: Path) -> list[Line]:
    """The lines of one benchmark."""
    out = folder / f"{name}.json"
    start = time.perf_counter()
    print(f"== {name}", flush=True)
    result = subprocess.run([sys.executable, FOLDER / f"{name}.py", "--json", out], stderr=subprocess.PIPE, text=True, check=False)
    print(f"   {time.perf_counter() - start:.0f} s", flush=True)
    if result.returncode or not out.is_file():
        said = (result.stderr.strip().splitlines() or ["nothing"])[-1]
        line = Line(name, "failed", "", math.nan, "", f"exit status {result.returncode}; its last words: {said}")
        show([line])
        return [line]
    return [Line(**found) for found in json.loads(out.read_text())]


def table(lines: dict[str, list[Line]]) -> pd.DataFrame:
    """One row per line, with what it was made with."""
    made = provenance()
    machine = made["hardware"]
    about = {
        "hardware": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, one thread",
        "versions": ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        "commit": made["commit"],
    }
    rows = [line.row() | {"benchmark": name} | about for name, found in lines.items() for line in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def merged(found: pd.DataFrame, out: Path) -> pd.DataFrame:
    """`found`, and from a table that is there the lines of every other benchmark, in the order of `NAMES`."""
    before = pd.read_csv(out) if out.is_file() else pd.DataFrame(columns=COLUMNS)
    both = pd.concat([part for part in (found, before[~before["benchmark"].isin(found["benchmark"])]) if len(part)])
    return both.sort_values("benchmark", key=lambda names: names.map({name: i for i, name in enumerate(NAMES)}), kind="stable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER.parent / "reports" / "bench.csv")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"unknown benchmark {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as folder:
        found = table({name: measured(name, Path(folder)) for name in options.names or NAMES})
    kept = merged(found, options.out) if options.names else found
    write_text(options.out, kept.to_csv(index=False, float_format="%.4g"))
    met, missed = (found["met"] == "yes").sum(), found["met"].str.startswith("missed").sum()
    print(f"{met} targets met, {missed} missed, {found['ratio'].isna().sum()} lines not measured: {options.out}")


if __name__ == "__main__":
    main()
