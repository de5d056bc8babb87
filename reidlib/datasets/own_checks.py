"""What is wrong with someone's own data, in words with row numbers, and the reading of tables that keeps those numbers."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ("severity", "where", "what", "suggestion")
_NAMED = 5  # rows, or problems, that are named; the rest is counted
_DELIMITERS = ",;\t"


class Problems:
    """Everything found so far, errors and warnings, in the order of discovery."""

    def __init__(self) -> None:
        self.found: list[dict] = []

    def error(self, file: object, what: str, suggestion: str, rows: Iterable[int] = ()) -> None:
        """Something that keeps the data from being used. file: where; rows: row numbers in it, if it is a table."""
        self._add("error", file, rows, what, suggestion)

    def warning(self, file: object, what: str, suggestion: str, rows: Iterable[int] = ()) -> None:
        """Something to know about: what is left out, cut or assumed."""
        self._add("warning", file, rows, what, suggestion)

    def _add(self, severity: str, file: object, rows: Iterable[int], what: str, suggestion: str) -> None:
        where = ", ".join(filter(None, (str(file), row_text(rows))))
        problem = dict(zip(COLUMNS, (severity, where, what, suggestion), strict=True))
        if problem not in self.found:  # one file may be read for several cameras
            self.found.append(problem)

    @property
    def errors(self) -> list[dict]:
        """What keeps the data from being used."""
        return [one for one in self.found if one["severity"] == "error"]

    def table(self) -> pd.DataFrame:
        """One line per problem, errors first."""
        table = pd.DataFrame(self.found, columns=list(COLUMNS), dtype=object)
        return table.sort_values("severity", kind="stable", ignore_index=True)

    def refuse(self, data: object) -> None:
        """Raise ValueError with the first errors, if there are any."""
        errors = [f"{one['where']}: {one['what']} ({one['suggestion']})" for one in self.errors]
        if errors:
            count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
            more = f"... all of them: python -m reidlib.datasets.own_data check {data}"
            raise ValueError("\n  ".join([f"{data} has {count}:", *errors[:_NAMED], *[more] * (len(errors) > _NAMED)]))


def row_text(rows: Iterable[int]) -> str:
    """ "row 3", "rows 3, 7", "rows 3, 7, 9, 12, 15, ... (40 in all)"; "" for none."""
    rows = list(dict.fromkeys(int(row) for row in rows))
    if not rows:
        return ""
    more = f", ... ({len(rows)} in all)" if len(rows) > _NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:_NAMED]))}{more}"


def read_table(path: Path, problems: Problems, header: tuple[str, ...] = ()) -> pd.DataFrame:
    """A CSV or parquet file as text: its columns, in lower case, and "row".

    The row is a line of the CSV file (a header is line 1) or, in parquet, counted from 1. Empty lines are passed over; cells lose the space
    around them, and a missing value is "". header: the columns' names where the file begins with a number instead of names; a row may
    then have more cells or, down to six, fewer. Rows that cannot be read are told to `problems`, and left out; so is a last row without
    a line end, which is kept. A CSV file cut behind a row is a shorter table."""
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, problems)
    numbered = _lines(path, problems)
    if not numbered:
        return pd.DataFrame({"row": []})
    columns = [cell.lower() for cell in numbered[0][1]]
    if header and _is_number(columns[0]):
        least, columns = 6, list(header)
        most = max(len(columns), *(len(cells) for _, cells in numbered))
        columns += [f"column {i + 1}" for i in range(len(columns), most)]
    else:
        least, most, numbered = len(columns), len(columns), numbered[1:]
    if len(set(columns)) < len(columns):
        problems.error(path.name, f"names a column twice: {', '.join(columns)}", "give every column its own name", [1])
        return pd.DataFrame({"row": []})
    ragged = [line for line, cells in numbered if not least <= len(cells) <= most]
    if ragged:
        expected = f"{least} or more" if least < most else str(most)
        problems.error(path.name, f"rows without the {expected} cells of the table", "is a comma missing, or one too many?", ragged)
    kept = [(line, [*cells, *[""] * (most - len(cells))]) for line, cells in numbered if least <= len(cells) <= most]
    table = pd.DataFrame([cells for _, cells in kept], columns=columns, dtype=object)
    return table.assign(row=np.array([line for line, _ in kept], np.int64))


def _lines(path: Path, problems: Problems) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that holds anything; nothing where the text cannot be read."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.error(path.name, f"is not UTF-8 text: byte 0x{raw[error.start]:02x}", "save it as CSV UTF-8", [line])
        return []
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, skipinitialspace=True, strict=True)
    found = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        problems.error(path.name, f"is no CSV: {error}", "is a quotation mark left open?", [reader.line_num])
        return []
    if not found:
        problems.error(path.name, "holds no rows", "was it exported whole?")
    elif text[-1] not in "\r\n":
        problems.warning(path.name, "its last row has no line end", "was the file cut off? Look at the row, and end it", [found[-1][0]])
    return found


def _read_parquet(path: Path, problems: Problems) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
        texts = {str(name).lower(): [_text(value) for value in column] for name, column in table.items()}
        return pd.DataFrame(texts, dtype=object).assign(row=np.arange(1, len(table) + 1))
    except Exception as error:  # pyarrow has many kinds of them
        problems.error(path.name, f"cannot be read as parquet: {error}", "is the file whole?")
        return pd.DataFrame({"row": []})


def _text(value: object) -> str:
    """A cell as a CSV file would hold it; whole numbers without a fraction (a gap turns a column of them into floats)."""
    if value is None or value is pd.NA or value != value:
        return ""
    return f"{int(value)}" if isinstance(value, float | np.floating) and value == np.floor(value) else str(value).strip()


def _is_number(text: str) -> bool:
    return bool(np.isfinite(pd.to_numeric(text, errors="coerce")))


def numbers(
    table: pd.DataFrame,
    column: str,
    file: object,
    problems: Problems,
    least: float = -np.inf,
    *,
    whole: bool = False,
    positive: bool = False,
) -> np.ndarray:
    """A column as float64 `[N]`, NaN where it holds no number (none from `least` on, no whole one, none above 0); those rows are errors."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    bad = ~(np.isfinite(values) & (values >= least) & ((values > 0) | (not positive)))
    if whole:
        bad |= values != np.round(values)
    if bad.any():
        kind = "a whole number" if whole else "a number"
        kind += " above 0" if positive else f" from {least:g} on" if np.isfinite(least) else ""
        shown = table[column].to_numpy()[bad][0]
        problems.error(file, f"{column} is not {kind}: {shown!r}", "correct the cell, or remove the row", table["row"][bad])
    return np.where(bad, np.nan, values)
