"""The latest full study as it is kept under reports/study/: shown where a report of fewer rows and seeds cannot tell."""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "study"
DIFFERENCES = ("group", "row", "title", "reference", "difference", "low", "high", "seed_spread", "same_sign", "seeds", "queries")


def kept_differences(system: str, folder: str | Path = FOLDER) -> pd.DataFrame | None:
    """The paired differences of a system's latest study, as `comparison.difference_table` makes them; None where none is kept.

    Raises ValueError for a table without the columns.
    """
    return kept_table(Path(folder) / system / "differences.csv", DIFFERENCES)


def kept_table(path: str | Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A table of that folder, None where it is absent; ValueError for one without rows or one of the `columns`."""
    path = Path(path)
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    missing = [column for column in columns if column not in table.columns]
    if missing or not len(table):
        raise ValueError(f"{path} must have rows and the columns {', '.join(columns)}; missing: {', '.join(missing) or 'rows'}")
    return table
