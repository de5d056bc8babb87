"""`python -m reidlib.analysis.study`: tables of the rows of a study that are finished so far, while the rest is still to be trained.

`make study` writes the whole report; this reads the trained models of an unfinished one and trains nothing.
"""

import argparse
from pathlib import Path

import pandas as pd

from reidlib.ablations import PARTS
from reidlib.analysis.comparison import difference_table, mean_over_seeds, paired, readable, score_table, verdicts
from reidlib.experiment import Experiment
from reidlib.files import write_atomically, write_text
from reidlib.reports import provenance
from reidlib.training import finished

TWIN = "resnet18_events"


def finished_rows(experiment: Experiment) -> list[str]:
    """Rows of the preset whose every seed is trained with the settings of today."""

    def done(name: str, seed: int) -> bool:
        here = experiment.at(seed)
        return finished(here.folder(name), here.run_settings(name).with_data(here.store.cache_key))

    return [name for name in experiment.settings.rows if all(done(name, seed) for seed in experiment.seeds)]


def publish_finished(experiment: Experiment, folder: str | Path) -> list[str]:
    """Write scores.csv, means.csv, differences.csv and README.md of the finished rows into `folder`; returns their names.

    Raises ValueError where the baseline or the twin is not finished: there would be nothing to compare with.
    """
    folder, names = Path(folder), finished_rows(experiment)
    if PARTS[0] not in names or TWIN not in names:
        found = ", ".join(names) or "nothing"
        raise ValueError(f"{PARTS[0]} and {TWIN} must be trained first; finished in {experiment.output_dir}: {found}")
    scores = score_table(experiment, ("counts", *names))
    differences = difference_table(experiment, tuple(names))
    if "s3ce_net" in names:
        against_twin = pd.DataFrame([{"group": "reference"} | paired(experiment, "s3ce_net", TWIN)])
        differences = pd.concat([differences, against_twin], ignore_index=True)
    means = mean_over_seeds(scores)
    for name, table in (("scores", scores), ("means", means), ("differences", differences)):
        write_atomically(folder / f"{name}.csv", lambda path, table=table: table.round(4).to_csv(path, index=False))
    write_text(folder / "README.md", _page(experiment, names, means, differences))
    return names


def _page(experiment: Experiment, names: list[str], means: pd.DataFrame, differences: pd.DataFrame) -> str:
    missing = [name for name in experiment.settings.rows if name not in names]
    made = provenance()
    shown = means.assign(mAP=means["mAP"].round(1), mAP_spread=means["mAP_spread"].round(1), rank1=means["rank1"].round(1))
    lines = [
        "# The latest study",
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
        *_markdown(shown[["title", "protocol", "seeds", "mAP", "mAP_spread", "rank1", "queries"]]),
        "",
        "## Paired differences, both directions, 95 % intervals over people",
        "",
        *_markdown(readable(differences).reset_index()),
        "",
        *(f"* {sentence}" for sentence in verdicts(differences)),
        "",
    ]
    return "\n".join(lines)


def _markdown(table: pd.DataFrame) -> list[str]:
    head = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    return head + ["| " + " | ".join("" if pd.isna(cell) else str(cell) for cell in row) + " |" for row in table.itertuples(index=False)]


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.analysis.study", description=__doc__)
    parser.add_argument("--dataset", default="walkers")
    parser.add_argument("--preset", default="study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", default="runs/walkers-study")
    parser.add_argument("--folder", default="reports/study")
    options = parser.parse_args(arguments)
    experiment = Experiment(options.dataset, options.preset, options.seed, options.output_dir)
    print("finished:", ", ".join(publish_finished(experiment, options.folder)))


if __name__ == "__main__":
    main()
