"""The latest `make bench` as it is kept in reports/bench.csv."""

from pathlib import Path

import pandas as pd

from reidlib.analysis.kept_study import kept_table

FILE = Path(__file__).resolve().parents[2] / "reports" / "bench.csv"
COLUMNS = ("subject", "what", "against", "ratio", "target", "met", "note", "hardware", "versions", "commit")


def kept_bench(file: str | Path = FILE) -> pd.DataFrame | None:
    """The table that `make bench` wrote; None where there is none, ValueError for one without rows or a column."""
    return kept_table(Path(file), COLUMNS)


def bench_sentence(bench: pd.DataFrame | None) -> str:
    """How many targets are met, and with what it was measured; what to do where nothing is kept."""
    if bench is None:
        return "No benchmark is kept in this copy: `make bench` makes one."
    missed = bench["met"].fillna("").str.startswith("missed").sum()
    counts = f"{(bench['met'] == 'yes').sum()} targets met, {missed} missed, {bench['ratio'].isna().sum()} lines not measured"
    made = "; ".join(", ".join(bench[name].unique()) for name in ("hardware", "versions"))
    return f"{counts}. {made}; commit {', '.join(bench['commit'].unique())}."  # single benchmarks may have been run again later


def readable_bench(bench: pd.DataFrame | None) -> list[pd.DataFrame]:
    """The lines for reading: those with a target, then the others; none without a benchmark."""
    if bench is None:
        return []
    table = bench[["subject", "what", "against", "ratio", "target", "met", "note"]].astype(object)
    table["ratio"] = ["" if pd.isna(value) else f"{value:.3g}" for value in bench["ratio"]]
    table = table.fillna("")
    aimed = table["target"] != ""
    return [part for part in (table[aimed], table[~aimed].drop(columns=["target", "met"])) if len(part)]
