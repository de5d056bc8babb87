"""What people in plain sight, half hidden, cost a network: the same people on the same ways with and without occluders.

`python -m reidlib.analysis.hidden --clear runs/walkers-study --hidden runs/walkers_occluded-study` writes the tables of the rows that are
trained on both sets, every network on the set that it is tested on.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.ablations import BASELINE, row
from reidlib.analysis.comparison import difference, title
from reidlib.analysis.study import markdown
from reidlib.experiment import Experiment
from reidlib.files import write_atomically, write_text
from reidlib.reports import provenance


def precisions(clear: Experiment, hidden: Experiment, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Average precisions in percent of a row on both sets, `[seeds, queries]` each, query by query the same tracklet.

    Raises ValueError where the two do not hold the same tracklets."""
    for seed in clear.seeds:
        one, other = (each.at(seed).test_index["key"].tolist() for each in (clear, hidden))
        if one != other:
            raise ValueError(f"{clear.dataset} and {hidden.dataset} hold other test tracklets at seed {seed}: made with other settings?")
    return clear.average_precisions(name), hidden.average_precisions(name)


def loss_table(clear: Experiment, hidden: Experiment, names: tuple[str, ...], baseline: str = BASELINE.name) -> pd.DataFrame:
    """One line per row: mAP (both directions) in plain sight and half hidden, what is lost between them with its spread over seeds, and how
    much less that is than the baseline loses, with a 95 % interval over people.

    Raises ValueError where the baseline is not among `names`."""
    if baseline not in names:
        raise ValueError(f"the baseline {baseline!r} is not among the rows {', '.join(names)}: nothing to compare with")
    found = {name: precisions(clear, hidden, name) for name in names}
    kept = {name: -(one - other) for name, (one, other) in found.items()}  # the negative loss: more is better
    lines = []
    for name, (one, other) in found.items():
        line = {"row": name, "title": title(name), "mAP in plain sight": np.nanmean(one), "mAP half hidden": np.nanmean(other)}
        per_seed = -np.nanmean(kept[name], axis=1)
        line |= {"loss": per_seed.mean(), "loss spread": per_seed.std(ddof=1) if len(per_seed) > 1 else np.nan, "seeds": len(per_seed)}
        if name != baseline:
            less = difference(name, baseline, kept, clear.query_people())
            line |= {"less than the baseline": less["difference"], "low": less["low"], "high": less["high"], "same_sign": less["same_sign"]}
        lines.append(line)
    return pd.DataFrame(lines)


def sentences(table: pd.DataFrame) -> list[str]:
    """What the table says of every row but the baseline."""
    found = []
    for line in table[table["low"].notna()].to_dict("records"):
        value, low, high = (line[name] for name in ("less than the baseline", "low", "high"))
        verdict = "yes" if low > 0 else "no" if high < 0 else "not told"
        points = f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]".replace("-", "−")
        about = f"{points}, the same sign in {int(line['same_sign'])} of {int(line['seeds'])} seeds"
        found.append(f"{line['title']} loses less than {row(BASELINE.name).title} when people are half hidden: **{verdict}**, {about}.")
    return found


def publish(clear: Experiment, hidden: Experiment, folder: str | Path) -> tuple[str, ...]:
    """Write losses.csv and README.md of the rows trained on both sets into `folder`; returns their names."""
    folder = Path(folder)
    trained = [name for name in hidden.rows if all(each.is_trained(name, seed) for each in (clear, hidden) for seed in clear.seeds)]
    table = loss_table(clear, hidden, tuple(trained))
    write_atomically(folder / "losses.csv", lambda path: table.round(4).to_csv(path, index=False))
    write_text(folder / "README.md", _page(clear, hidden, table))
    return tuple(trained)


def _page(clear: Experiment, hidden: Experiment, table: pd.DataFrame) -> str:
    made = provenance()
    shown = table.drop(columns=["row", "seeds", "same_sign"], errors="ignore").round(1)
    lines = [
        "# Half hidden: the latest study of occluded people",
        "",
        "Written by `python -m reidlib.analysis.hidden` from the files of the runs; nothing here is typed by hand. The same people on the",
        "same ways, in plain sight and behind occluders; every network is trained and tested on the same kind of set. Scores in percent,",
        "both directions; *less than the baseline*: how many points of mAP less it loses than that, with a 95 % interval over people.",
        "",
        f"* {clear.dataset} and {hidden.dataset}, preset {hidden.preset}, seeds {', '.join(map(str, hidden.seeds))}",
        f"* {made['hardware']['cpu']}, {made['hardware']['cores']} cores; commit {made['commit']}",
        "",
        *markdown(shown),
        "",
        *(f"* {sentence}" for sentence in sentences(table)),
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.analysis.hidden", description=__doc__)
    parser.add_argument("--preset", default="study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clear", default="runs/walkers-study", help="output folder of the runs on walkers")
    parser.add_argument("--hidden", default="runs/walkers_occluded-study", help="output folder of the runs on walkers_occluded")
    parser.add_argument("--folder", default="reports/study/hidden")
    options = parser.parse_args(arguments)
    clear = Experiment("walkers", options.preset, options.seed, options.clear)
    hidden = Experiment("walkers_occluded", options.preset, options.seed, options.hidden)
    print("trained on both:", ", ".join(publish(clear, hidden, options.folder)))


if __name__ == "__main__":
    main()
