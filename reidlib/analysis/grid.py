"""A grid of trainings, data sets x rows x seeds: what it consists of, and its leaderboard. `grid.smk` calls both.

`python -m reidlib.analysis.grid plan ...` prints "ROW START" for one data set and seed, a start before who needs it;
`... board ...` writes `leaderboard.csv`, one line per trained cell, and `README.md` with means over seeds and what is missing.
"""

import argparse
from pathlib import Path

import pandas as pd

from reidlib.ablations import row
from reidlib.ablations.plan import PRESETS, check_trained, plan
from reidlib.files import write_atomically, write_text


def planned(dataset: str, preset: str, rows: list[str]) -> dict[str, str]:
    """{row: the row whose weights it begins with, or ""}, a start before who needs it. ValueError for rows the preset does not train."""
    legal = plan(preset, dataset).all_rows
    found: dict[str, str] = {}
    for name in rows:
        start = row(check_trained(name, "rows", legal, preset, dataset)).start
        if start:
            found.setdefault(start, row(start).start or "")
        found.setdefault(name, start or "")
    return found


def board(
    datasets: list[str], rows: list[str], seeds: list[int], preset: str, data: dict[str, str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """One line per (data set, row, seed) that is trained, by the set's own protocol, in percent; and the names of the cells that are not.

    Nothing is trained. data: {data set: folder of its files}, of those that are not generated."""
    from reidlib.experiment import Experiment  # the plan needs no torch

    lines, missing = [], []
    for dataset in datasets:
        experiment = Experiment(dataset, preset, seeds[0], Path("runs", f"{dataset}-{preset}"), (data or {}).get(dataset, ""))
        for name in rows:
            for seed in seeds:
                cell = {"dataset": dataset, "row": name, "title": row(name).title, "seed": seed}
                if (experiment.folder(name, seed) / "model.pt").exists() and experiment.is_trained(name, seed):
                    lines.append(cell | experiment.evaluation(name, seed=seed).summary())
                else:
                    missing.append(f"{dataset}, {name}, seed {seed}")
    return pd.DataFrame(lines), missing


def page(table: pd.DataFrame, missing: list[str], preset: str) -> str:
    """The board as Markdown: means over seeds, best first per data set, and what is missing."""
    from reidlib.analysis.study import markdown
    from reidlib.reports import provenance

    made = provenance()
    lines = [f"# Leaderboard of a grid, preset {preset}", ""]
    if len(table):
        means = table.groupby(["dataset", "title"], as_index=False).agg(
            seeds=("seed", "size"), mAP=("mAP", "mean"), spread=("mAP", "std"), rank1=("Rank-1", "mean")
        )
        means = means.sort_values(["dataset", "mAP"], ascending=[True, False]).round(1)
        lines += markdown(means.rename(columns={"mAP": "mAP (%)", "spread": "std over seeds", "rank1": "Rank-1 (%)"}))
    lines += ["", f"{made['hardware']['cpu']}, {made['hardware']['cores']} cores; commit {made['commit']}.", ""]
    lines += ["## Missing", "", *(f"* {cell}" for cell in missing), ""] if missing else ["Every cell is trained.", ""]
    return "\n".join(lines)


def _place(text: str) -> tuple[str, str]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} does not say which data set lies where: write it as mars=/folder/of/mars")
    return name, folder


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.analysis.grid", description="A grid of trainings and its leaderboard.")
    parser.add_argument("command", choices=("plan", "board"))
    parser.add_argument("--datasets", "--dataset", nargs="+", default=["walkers"])
    parser.add_argument("--rows", nargs="+", required=True, help="`python -m reidlib.ablations` lists them")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--preset", default="tiny", help=", ".join(PRESETS))
    parser.add_argument("--data", nargs="*", default=[], type=_place, metavar="DATASET=FOLDER", help="where a real data set lies")
    parser.add_argument("--folder", default="reports/grid", help="gets the board")
    options = parser.parse_args(arguments)
    if options.command == "plan":
        try:
            for name, start in planned(options.datasets[0], options.preset, options.rows).items():
                print(name, start or "-")
        except ValueError as error:
            parser.exit(1, f"{error}\n")
        return
    table, missing = board(options.datasets, options.rows, options.seeds, options.preset, dict(options.data))
    write_atomically(Path(options.folder, "leaderboard.csv"), lambda path: table.to_csv(path, index=False))
    write_text(Path(options.folder, "README.md"), page(table, missing, options.preset))
    print(f"{len(table)} trained, {len(missing)} missing: {options.folder}/README.md")


if __name__ == "__main__":
    main()
