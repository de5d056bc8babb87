"""`python -m reidlib.analysis.study`: tables of the rows of a study that are finished so far, while the rest is still to be trained.

`make study` writes the whole report; this reads the trained models of an unfinished one and trains nothing.
"""

import argparse
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib import rc_context

from reidlib import plots
from reidlib.ablations import System
from reidlib.analysis import robustness
from reidlib.analysis.comparison import difference_table, forest_table, mean_over_seeds, paired, readable, score_table, verdicts
from reidlib.experiment import Experiment
from reidlib.files import write_atomically, write_text
from reidlib.reports import provenance
from reidlib.reports.publish import insert_between
from reidlib.reports.records import write_figure

TWIN = "resnet18_events"
SEVERITIES = (1, 3, 5)  # of each degradation: as many as a page can show and an hour can embed


def marks(system: System) -> tuple[str, str]:
    """Between which lines of a Markdown file a system's study stands."""
    return (
        f"<!-- study of {system.name}: written by `python -m reidlib.analysis.study`, not by hand -->",
        f"<!-- end of study of {system.name} -->",
    )


def finished_rows(experiment: Experiment) -> list[str]:
    """Rows of the systems shown whose every seed is trained with the settings of today."""
    return [name for name in experiment.rows if all(experiment.is_trained(name, seed) for seed in experiment.seeds)]


def publish_finished(experiment: Experiment, folder: str | Path, readme: str | Path | None = None) -> list[str]:
    """Write what is finished of the first system shown into `folder`; returns the names of its rows.

    Files: scores.csv, means.csv, differences.csv, two figures and README.md; for SDCL also robustness.csv, claims.csv and their figure.
    readme: a Markdown file with the system's two `marks`; means and verdicts replace what stands between them.
    Raises ValueError where the baseline is not finished: there would be nothing to compare with.
    """
    folder, names, system = Path(folder), finished_rows(experiment), experiment.systems[0]
    if system.parts[0] not in names:
        found = ", ".join(names) or "nothing"
        raise ValueError(f"{system.parts[0]} must be trained first; finished in {experiment.output_dir}: {found}")
    scores = score_table(experiment, ("counts", *names))
    differences = difference_table(experiment, tuple(names))
    if {"s3ce_net", TWIN} <= set(names):
        against_twin = pd.DataFrame([{"group": "reference"} | paired(experiment, "s3ce_net", TWIN)])
        differences = pd.concat([differences, against_twin], ignore_index=True)
    means = mean_over_seeds(scores)
    tables = {"scores": scores, "means": means, "differences": differences}
    conditions = _robustness(experiment, names, folder) if system.name == "sdcl" and set(system.main) <= set(names) else {}
    for name, table in (tables | conditions).items():
        write_atomically(folder / f"{name}.csv", partial(table.round(4).to_csv, index=False))
    _figures(scores, differences, folder)
    claims = [*verdicts(differences), *(robustness.sentences(conditions["claims"]) if conditions else [])]
    write_text(folder / "README.md", _page(experiment, names, means, differences, claims, bool(conditions)))
    if readme is not None:
        insert_between(readme, marks(system), _summary(experiment, means, claims))
    return names


def _robustness(experiment: Experiment, names: list[str], folder: Path) -> dict[str, pd.DataFrame]:
    """Scores and claims under degraded video, and their figure; the rows trained on degraded video stand beside where they are finished."""
    found, asked = robustness.Robustness(experiment), robustness.conditions(SEVERITIES)
    rows = [name for name in dict.fromkeys((*robustness.Trio(), *robustness.DEGRADED)) if name in names]
    scores = pd.concat([found.scores(rows, asked), found.scores(["sdcl"], [robustness.Condition(shuffled=True)])], ignore_index=True)
    claimed = [robustness.claims(found, trio, 3) for trio in (robustness.Trio(), robustness.DEGRADED) if set(trio) <= set(names)]
    with rc_context():
        plots.use_style()
        write_figure(folder / "robustness.png", plots.robustness.curves(scores))
    return {"robustness": scores, "claims": pd.concat(claimed, ignore_index=True)}


def _figures(scores: pd.DataFrame, differences: pd.DataFrame, folder: Path) -> None:
    own = scores[scores["protocol"] == "query to gallery"].assign(name=scores["title"])
    with rc_context():  # the style is for these figures alone
        plots.use_style()
        write_figure(folder / "spread.png", plots.ablation.spread_plot(own, title="mAP of every run, query to gallery"))
        write_figure(folder / "differences.png", plots.ablation.forest_plot(forest_table(differences)))


def _summary(experiment: Experiment, means: pd.DataFrame, found: list[str]) -> str:
    """Means of the set's own protocol and the verdicts, as Markdown."""
    own = means[means["protocol"] == "query to gallery"]
    table = pd.DataFrame(
        {
            "row": own["title"],
            "mAP (%)": [_spread(line.mAP, line.mAP_spread) for line in own.itertuples()],
            "Rank-1 (%)": [_spread(line.rank1, line.rank1_spread) for line in own.itertuples()],
        }
    )
    made = provenance()
    note = f"{experiment.dataset}, {experiment.preset}, seeds {', '.join(map(str, experiment.seeds))}: mean ± standard deviation over seeds"
    machine = f"{made['hardware']['cpu']}, {made['hardware']['cores']} cores; commit {made['commit']}"
    return "\n".join([*markdown(table), "", *(f"* {sentence}" for sentence in found), "", f"{note}; {machine}."])


def _spread(mean: float, spread: float) -> str:
    return f"{mean:.1f}" if pd.isna(spread) else f"{mean:.1f} ± {spread:.1f}"


def _page(
    experiment: Experiment, names: list[str], means: pd.DataFrame, differences: pd.DataFrame, found: list[str], conditions: bool
) -> str:
    missing = [name for name in experiment.rows if name not in names]
    made = provenance()
    shown = means.assign(mAP=means["mAP"].round(1), mAP_spread=means["mAP_spread"].round(1), rank1=means["rank1"].round(1))
    lines = [
        f"# The latest study of {experiment.systems[0].title}",
        "",
        "Written by `python -m reidlib.analysis.study` from the files of the runs; nothing here is typed by hand.",
        "",
        f"* {experiment.dataset}, preset {experiment.preset}, seeds {', '.join(map(str, experiment.seeds))}",
        f"* data {', '.join(dict.fromkeys(experiment.at(seed).store.cache_key[:12] for seed in experiment.seeds))}",
        f"* {made['hardware']['cpu']}, {made['hardware']['cores']} cores; commit {made['commit']}",
        f"* {', '.join(f'{name} {version}' for name, version in made['versions'].items())}",
        f"* rows not finished yet: {', '.join(missing) or 'none'}",
        "",
        "## mAP over seeds (%)",
        "",
        *markdown(shown[["title", "protocol", "seeds", "mAP", "mAP_spread", "rank1", "queries"]]),
        "",
        "## Paired differences, both directions, 95 % intervals over people",
        "",
        *markdown(readable(differences).reset_index()),
        "",
        *(f"* {sentence}" for sentence in found),
        "",
        "![Paired differences with 95 % intervals](differences.png)",
        "",
        "![mAP of every run](spread.png)",
        "",
        *(["![mAP under degraded video](robustness.png)", ""] if conditions else []),
    ]
    return "\n".join(lines)


def markdown(table: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table; empty cells where a value is missing."""
    head = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    return head + ["| " + " | ".join("" if pd.isna(cell) else str(cell) for cell in row) + " |" for row in table.itertuples(index=False)]


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.analysis.study", description=__doc__)
    parser.add_argument("--dataset", default="walkers")
    parser.add_argument("--preset", default="study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", default="runs/walkers-study")
    parser.add_argument("--method", default="", help="a row of the system whose study is written; all systems without it")
    parser.add_argument("--folder", default="reports/study", help="gets a folder per system")
    parser.add_argument("--readme", default=None, help="a Markdown file whose study sections are rewritten")
    options = parser.parse_args(arguments)
    asked = Experiment(options.dataset, options.preset, options.seed, options.output_dir, method=options.method)
    for system in asked.systems:
        experiment = Experiment(options.dataset, options.preset, options.seed, options.output_dir, method=system.name)
        names = publish_finished(experiment, Path(options.folder) / system.name, options.readme)
        print(f"{system.title}, finished:", ", ".join(names))


if __name__ == "__main__":
    main()
