"""The first page of a report: numbers, figures, links to the notebooks and everything needed to get them again."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from reidlib.files import write_atomically, write_text
from reidlib.reports.html import TEMPLATES, navigation, pretty, stylesheet
from reidlib.reports.records import read_records, table_file

if TYPE_CHECKING:
    from jinja2 import Environment

MANY_ROWS = 40


def write_index(
    folder: str | Path,
    output_dir: str | Path,
    notebooks: Iterable[str] = (),
    *,
    name: str = "",
    command: str = "",
    parameters: Mapping | None = None,
) -> Path:
    """Write `<folder>/index.html` from the results under `output_dir`; figures and tables are copied into `folder`.

    notebooks: names of every notebook that belongs to the report; one without results or page is listed as missing.
    name: what was run (such as "walkers, demo"). command: the shell line that makes this report again.
    """
    folder, output_dir = Path(folder), Path(output_dir)
    records = read_records(output_dir)
    names = sorted({*notebooks, *records})
    for record in records.values():
        _copy_files(record, output_dir, folder)
    chapters = [_chapter(name, records.get(name), folder) for name in names]
    pages = [chapter["name"] for chapter in chapters if chapter["page"]]
    text = (
        _environment()
        .get_template("index.html.j2")
        .render(
            name=name or folder.name,
            chapters=chapters,
            missing=[chapter for chapter in chapters if chapter["problem"]],
            navigation=navigation(pages, "index"),
            stylesheet=stylesheet(),
            command=command,
            facts=_facts(records, parameters or {}),
            many_rows=MANY_ROWS,
        )
    )
    write_text(folder / "index.html", text)
    return folder / "index.html"


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": format_number, "seconds": format_seconds, "address": lambda path: quote(str(path))}
    return environment


def format_number(value: object) -> str:
    """A value of a table cell as text: three or four telling digits, thousands apart, a dash for what is missing."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e7):
        return f"{value:.2e}"
    if size >= 1000:
        return f"{value:,.0f}" if size >= 10_000 else f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 or size == 0 else f"{value:.3f}"


def format_seconds(seconds: float | None) -> str:
    """`95` as `1 min 35 s`."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def _chapter(name: str, record: dict | None, folder: Path) -> dict:
    """Everything that the page says about one notebook."""
    executed, failed = folder / "notebooks" / f"{name}.ipynb", folder / "notebooks" / f"{name}.failed.ipynb"
    page = f"{name}.html" if executed.is_file() and (folder / f"{name}.html").is_file() else ""  # not that of an older run
    problem = ""
    if failed.is_file():
        problem = _failure(failed)
    elif not executed.is_file():
        problem = "has not been run"
    elif record is None:
        problem = "ran but recorded no results"
    elif not page:
        problem = "ran but has no page"
    tables = (record or {}).get("tables", {})
    return {
        "name": name,
        "label": pretty(name),
        "title": (record or {}).get("title", ""),
        "page": page,
        "problem": problem,
        "state": "failed" if failed.is_file() else "missing" if problem else "done",
        "headline": (record or {}).get("headline", []),
        "figures": (record or {}).get("figures", []),
        "notes": (record or {}).get("notes", []),
        "tables": [_table(name, table, rows) for table, rows in tables.items()],
        "seconds": _duration(executed),
        "anchor": f"chapter-{name}",
    }


def _table(notebook: str, table: str, rows: list[dict]) -> dict:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = {c for c in columns if all(isinstance(row.get(c), int | float | None) for row in rows)}
    return {"name": table, "file": f"tables/{table_file(notebook, table)}", "columns": columns, "numeric": numeric, "rows": rows}


def _copy_files(record: dict, output_dir: Path, folder: Path) -> None:
    tables = [f"tables/{table_file(record['notebook'], table)}" for table in record["tables"]]
    for file in [figure["file"] for figure in record["figures"]] + tables:
        source = output_dir / file
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"the results of {record['notebook']} name a file outside the report, {file!r}: run that notebook again")
        if not source.is_file():
            raise FileNotFoundError(f"{source} is named in the results of {record['notebook']} but is not there; run that notebook again")
        if source.resolve() != (folder / file).resolve():
            write_atomically(folder / file, partial(shutil.copyfile, source))


def _duration(executed: Path) -> float | None:
    """Seconds that the notebook took, as papermill noted them."""
    if not executed.is_file():
        return None
    import nbformat

    return nbformat.read(executed, as_version=4).metadata.get("papermill", {}).get("duration")


def _failure(failed: Path) -> str:
    """First line of the error that stopped a notebook."""
    import nbformat

    for cell in nbformat.read(failed, as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{output.ename}: {output.evalue}".splitlines()[0]
    return "see its notebook"


def _facts(records: dict[str, dict], parameters: Mapping) -> list[tuple[str, str]]:
    """Label and text of everything that is needed to repeat the run; where notebooks differ, all values are shown."""
    facts = [(label, str(value)) for label, value in parameters.items() if value not in ("", None)]
    if not records:
        return facts
    picks: dict[str, Callable[[dict], object]] = {"Data (cache key)": lambda r: r["data_key"]}
    for package in next(iter(records.values()))["versions"]:
        picks[package] = partial(_version_of, package)
    picks["Commit"] = lambda r: r["commit"] or "no git checkout"
    picks["Processor"] = lambda r: "{cpu}, {cores} cores ({system})".format(**r["hardware"])
    picks["Memory"] = lambda r: f"{r['hardware']['memory_gib']} GiB"
    picks["GPU"] = lambda r: r["hardware"]["gpu"] or "none"
    facts += [(label, _agreed(records, pick)) for label, pick in picks.items()]
    last = max(datetime.fromisoformat(record["finished"]) for record in records.values())
    return [(label, text) for label, text in facts if text] + [("Finished", f"{last:%Y-%m-%d %H:%M} UTC")]


def _version_of(package: str, record: dict) -> str:
    return record["versions"].get(package, "")


def _agreed(records: dict[str, dict], pick: Callable[[dict], object]) -> str:
    """The one value on which the notebooks agree, or each with the notebooks that have it."""
    groups: dict[str, list[str]] = {}
    for name, record in records.items():
        groups.setdefault(str(pick(record)), []).append(name)
    groups = {value: names for value, names in groups.items() if value} or groups
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in groups.items())
