"""The latest full study as it is kept under reports/study/: shown where a report of fewer rows and seeds cannot tell."""

from pathlib import Path

import pandas as pd

from reidlib.ablations import SYSTEMS, row

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


def kept_board(folder: str | Path = FOLDER) -> pd.DataFrame | None:
    """Every system of which a study is kept, beside what its own row is compared with: system, against, mAP, spread (percent, of the
    set's own protocol, over seeds), seeds, difference, low, high (points, both directions, paired; 95 % over people), same_sign. None where
    nothing is kept."""
    lines = []
    for system in SYSTEMS.values():
        means = kept_table(Path(folder) / system.name / "means.csv", ("row", "protocol", "mAP", "mAP_spread", "seeds"))
        differences = kept_differences(system.name, folder)
        if means is None or differences is None:
            continue
        own = means[(means["row"] == system.name) & (means["protocol"] == "query to gallery")]
        against = differences[(differences["row"] == system.name) & (differences["reference"] == row(row(system.name).reference).title)]
        for score, difference in zip(own.itertuples(), against.itertuples(), strict=False):
            line = {
                "system": score.title,
                "against": difference.reference,
                "mAP": score.mAP,
                "spread": score.mAP_spread,
                "seeds": score.seeds,
            }
            lines.append(line | {name: getattr(difference, name) for name in ("difference", "low", "high", "same_sign")})
    return pd.DataFrame(lines) if lines else None


def readable_board(board: pd.DataFrame) -> pd.DataFrame:
    """`kept_board` for reading, the best difference first; the last column says whether the interval leaves out zero."""
    told = [("better" if line.low > 0 else "worse" if line.high < 0 else "not told") for line in board.itertuples()]
    points = [f"{line.difference:+.1f} [{line.low:+.1f}, {line.high:+.1f}]".replace("-", "−") for line in board.itertuples()]
    table = pd.DataFrame(
        {
            "system": board["system"],
            "mAP (%)": [f"{line.mAP:.1f}" + ("" if pd.isna(line.spread) else f" ± {line.spread:.1f}") for line in board.itertuples()],
            "against": board["against"],
            "difference (mAP points)": points,
            "seeds of that sign": [f"{line.same_sign} of {line.seeds}" for line in board.itertuples()],
            "told": told,
        }
    )
    order = board["difference"].sort_values(ascending=False, kind="stable").index
    return table.loc[order].set_index("system")
