"""Keep the tables and a few figures of a run where git does: CSV, PNG, and a page that says how they were made."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from reidlib.files import write_atomically, write_text
from reidlib.reports.records import read_records

MARKS = ("<!-- results: written by `python -m reidlib.reports publish`, not by hand -->", "<!-- end of results -->")
#: Figures worth keeping, by name; those a run does not have are left out.
FIGURES = (
    *("02_learning_curves", "02_firing_rates", "02_ranked_lists", "03_differences_s3ce_net", "03_differences_sdcl", "03_spread"),
    *("05_attention_right", "05_sdcl_depth", "06_sdcl", "06_claims", "07_energy_accuracy"),
)


def publish(output_dir: str | Path, folder: str | Path, readme: str | Path | None = None) -> list[Path]:
    """Copy every table and the chosen figures of a run's results into `folder` and write its `README.md`; returns what was written.

    readme: a Markdown file with the two `MARKS`; the lines between them are replaced by the headline and the result table.
    Raises FileNotFoundError where the run has no results, ValueError where the marks are missing.
    """
    output_dir, folder = Path(output_dir), Path(folder)
    records = read_records(output_dir)
    if not records:
        raise FileNotFoundError(f"no results under {output_dir / 'results'}: run the notebooks first (make study)")
    figures = [output_dir / "figures" / f"{name}.png" for name in FIGURES]
    sources = [*sorted((output_dir / "tables").glob("*.csv")), *(path for path in figures if path.is_file())]
    written = []
    for source in sources:
        write_atomically(folder / source.name, partial(shutil.copyfile, source))
        written.append(folder / source.name)
    write_text(folder / "README.md", _page(records, [path.name for path in written]))
    if readme is not None:
        insert_between(readme, MARKS, _summary(records, folder))
    return [*written, folder / "README.md"]


def _page(records: dict[str, dict], files: Sequence[str]) -> str:
    made = _made(records)
    rows = [f"| {key} | {value} |" for key, value in made.items()]
    listed = [f"* [{name}]({name})" for name in files]
    source = "Written by `python -m reidlib.reports publish` from the files of the run; nothing here is typed by hand."
    lines = ["# A published run", "", source, ""]
    lines += ["| | |", "|---|---|", *rows, "", "## Headlines", "", *_headlines(records), "", "## Files", "", *listed, ""]
    return "\n".join(lines)


def _made(records: dict[str, dict]) -> dict[str, str]:
    last = list(records.values())[-1]
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    hardware = last["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, GPU: {hardware['gpu'] or 'none'}"
    found = {"data set, preset": f"{last['dataset']}, {last['preset']}", "first seed": str(last["seed"]), "data key": last["data_key"]}
    return found | {"versions": versions, "hardware": machine, "commit": last["commit"], "finished": last["finished"]}


def _headlines(records: dict[str, dict]) -> list[str]:
    lines = []
    for name, result in records.items():
        for item in result["headline"]:
            interval = "" if item["low"] is None else f" [{item['low']:.1f}, {item['high']:.1f}]"
            value = f"{item['value']:.1f}" if isinstance(item["value"], float) else str(item["value"])
            lines.append(f"* {name}: {item['label']}: {value}{interval} {item['unit']}".rstrip())
    return lines


def _summary(records: dict[str, dict], folder: Path) -> str:
    """The result table and the headlines of the training notebook, as Markdown."""
    result = records["02_training"]
    table = pd.DataFrame(result["tables"]["results"])
    if "protocol" in table:  # the set's own protocol stands first; the others are in the folder
        table = table[table["protocol"] == table["protocol"].iloc[0]]
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    rows = ["| " + " | ".join("" if pd.isna(cell) else str(cell) for cell in row) + " |" for row in table.itertuples(index=False)]
    made = _made(records)
    note = f"{made['data set, preset']}; data {made['data key'][:12]}; {made['hardware']}; commit {made['commit']}."
    lines = [head, "|" + "---|" * len(table.columns), *rows, "", *_headlines({"02_training": result}), ""]
    return "\n".join([*lines, f"{note} All tables: `{folder}/`."])


def insert_between(page: str | Path, marks: tuple[str, str], text: str) -> None:
    """Replace what stands between two lines of a Markdown file. ValueError where one of the marks is missing."""
    page = Path(page)
    before, begin, rest = page.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{page} lacks the marks {marks[0]!r} and {marks[1]!r} that the table goes between")
    write_text(page, f"{before}{begin}\n{text}\n{end}{after}")
