"""The results of a notebook as data: one JSON file per notebook, a CSV copy of every table, and its figures."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from reidlib.files import write_atomically, write_json, write_text
from reidlib.reports.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
HEADLINE_FIELDS = ("label", "value", "low", "high", "unit")


def save_figure(fig: "Figure", output_dir: str | Path, name: str, caption: str, alt: str, dpi: int = 110) -> dict:
    """Save a matplotlib figure as `OUTPUT_DIR/figures/<name>.png` and return its entry for `record(figures=[...])`.

    `caption` is shown under the figure; `alt` says in words what it shows, for readers who cannot see it.
    Raises ValueError when either is empty or the name is no plain file name.
    """
    _check_name(name, "figure name")
    for what, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"figure {name!r} has an empty {what}: every figure of the report carries a caption and a text alternative")
    write_figure(Path(output_dir) / "figures" / f"{name}.png", fig, dpi)
    return {"file": f"figures/{name}.png", "caption": caption, "alt": alt}


def write_figure(path: str | Path, fig: "Figure", dpi: int = 110) -> None:
    """Write a matplotlib figure as PNG, atomically; no software version in the file: the same figure is the same bytes."""

    def save(temporary: Path) -> None:
        fig.savefig(temporary, format="png", dpi=dpi, bbox_inches="tight", facecolor="white", metadata={"Software": None})

    write_atomically(Path(path), save)


def record(
    output_dir: str | Path,
    notebook: str,
    *,
    title: str,
    headline: Iterable[Mapping] = (),
    tables: Mapping | None = None,
    figures: Iterable[Mapping] = (),
    notes: Iterable[str] = (),
    dataset: str = "",
    preset: str = "",
    seed: int | None = None,
    data_key: str = "",
) -> Path:
    """Write `OUTPUT_DIR/results/<notebook>.json` and `OUTPUT_DIR/tables/<notebook>-<table>.csv`; returns the JSON's path.

    headline: mappings with `label` and `value`, optionally `low` and `high` (the ends of the interval) and `unit`.
    tables: name to a list of row mappings or a pandas DataFrame (its index is kept only when it is named).
    figures: what `save_figure` returned. data_key: the cache key of the tracklet store the numbers come from.
    Numbers that are not finite are stored as null. Raises ValueError for a headline without label or value, an
    unknown headline field, or a figure whose file does not exist.
    """
    _check_name(notebook, "notebook name")
    output_dir = Path(output_dir)
    rows = {str(name): _rows(table) for name, table in (tables or {}).items()}
    result = {
        "notebook": notebook,
        "title": title,
        "headline": [_headline(item) for item in headline],
        "tables": rows,
        "figures": [_figure(item, output_dir) for item in figures],
        "notes": [str(note) for note in notes],
        "dataset": dataset,
        "preset": preset,
        "seed": None if seed is None else int(seed),
        "data_key": data_key,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
    }
    for name, table in rows.items():
        write_text(output_dir / "tables" / table_file(notebook, name), _csv(table))
    path = output_dir / "results" / f"{notebook}.json"
    write_json(path, result)
    return path


def read_records(output_dir: str | Path) -> dict[str, dict]:
    """Every `results/*.json` under `output_dir`, by notebook name, in order. Raises ValueError for a damaged file."""
    found = {}
    for path in sorted(Path(output_dir, "results").glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not a results file ({error}); delete it and run its notebook again") from error
    return found


def table_file(notebook: str, table: str) -> str:
    """File name of a table's CSV copy."""
    return f"{notebook}-{re.sub(r'[^A-Za-z0-9]+', '-', table).strip('-').lower() or 'table'}.csv"


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r} becomes a file name: letters, digits, '.', '_' and '-' only, starting with a letter or digit")


def _headline(item: Mapping) -> dict:
    unknown = sorted(set(item) - set(HEADLINE_FIELDS))
    if unknown or "label" not in item or "value" not in item:
        raise ValueError(f"headline {dict(item)!r}: needs 'label' and 'value', may have 'low', 'high', 'unit'; unknown: {unknown}")
    return {field: _plain(item.get(field, "" if field == "unit" else None)) for field in HEADLINE_FIELDS}


def _figure(item: Mapping, output_dir: Path) -> dict:
    if not (output_dir / item["file"]).is_file():
        raise ValueError(f"figure file {item['file']!r} does not exist under {output_dir}: save it with save_figure first")
    return {"file": str(item["file"]), "caption": str(item["caption"]), "alt": str(item["alt"])}


@runtime_checkable
class _Frame(Protocol):
    """What is asked of a pandas DataFrame; the reports themselves do without pandas."""

    index: Any

    def reset_index(self) -> "_Frame": ...

    def to_dict(self, *, orient: str) -> list[dict]: ...


def _rows(table: _Frame | Iterable[Mapping]) -> list[dict]:
    if isinstance(table, _Frame):
        named = any(name is not None for name in table.index.names)
        rows: Iterable[Mapping] = (table.reset_index() if named else table).to_dict(orient="records")
    else:
        rows = table
    return [{str(column): _plain(value) for column, value in row.items()} for row in rows]


def _plain(value: object) -> bool | int | float | str | None:
    """A JSON value: numpy scalars become Python's, paths text, what is not finite None."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _csv(rows: list[dict]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
