"""A system's own ablation tables beside ours: what each row changes here, and what it changed in the paper.

A row says how the papers call it (`Row.published`): an ablation of SDCL by its name, which begins with what it varies ("SDCL, fusion:
none"), one of the thesis by table and name ("Table 2.1: STIA"). What stands before the colon is its topic: rows of one are compared.
"""

import pandas as pd

from reidlib.ablations import System, row
from reidlib.analysis.comparison import GROUPS

PROTOCOL = "query to gallery"


def beside(system: System, means: pd.DataFrame, published: pd.DataFrame, metric: str = "mAP") -> dict[str, pd.DataFrame]:
    """Group -> a table of its rows: ours and, for every data set of the paper's ablation tables, theirs; each with the difference from
    the system itself in the same table.

    means: of `comparison.mean_over_seeds`; rows that are not in it are left out, as are groups with the system alone. published: of
    `published_tables`. Doubtful values carry a question mark. Other people, cameras and sizes: only the *differences* can be looked at side
    by side, and even they belong to different data.
    """
    trained = means[means["protocol"] == PROTOCOL].set_index("row")
    tables = published[(published["kind"] == "ablation") & (published["metric"] == metric)]
    tables = tables.assign(called=[_called(*line) for line in zip(tables["table"], tables["method"], strict=True)])
    found = {}
    for topic in dict.fromkeys(_topic(name) for name in row(system.name).published):
        calls = {one.name: name for one in system.rows for name in one.published if _topic(name) == topic}
        names = [name for name in calls if name != system.name and name in trained.index]
        if names and system.name in trained.index:
            group = next((row(name).group for name in names if name != system.parts[0]), row(names[0]).group)
            about = tables[tables["called"].map(_topic) == topic]
            found[GROUPS[group]] = _table([*names, system.name], calls, trained, about, metric)
    return found


def _table(names: list[str], calls: dict[str, str], trained: pd.DataFrame, about: pd.DataFrame, metric: str) -> pd.DataFrame:
    """calls: how the paper calls each of the rows `names`, of which the last is the system itself."""
    itself, lines = names[-1], []
    for name in names:
        line = {"row": row(name).title, f"ours, {metric} (%)": f"{trained.loc[name, metric]:.1f}"}
        line["ours, difference"] = _signed(trained.loc[name, metric] - trained.loc[itself, metric], name == itself)
        for dataset, there in about.groupby("dataset", sort=False):
            line |= _theirs(there.set_index("called"), calls[name], calls[itself], dataset)
        lines.append(line)
    return pd.DataFrame(lines).set_index("row")


def _called(table: str, method: str) -> str:
    """How `Row.published` names a published ablation."""
    return method if method.startswith("SDCL, ") else f"{table}: {method}"


def _theirs(there: pd.DataFrame, method: str, own: str, dataset: str) -> dict:
    labels = f"paper, {dataset}", f"paper, {dataset}, difference"
    if method not in there.index or own not in there.index:
        return dict.fromkeys(labels, "–")
    value, doubt = there.loc[method, ["value", "doubt"]]
    return dict(zip(labels, (f"{value:.1f}{'?' * bool(doubt)}", _signed(value - there.loc[own, "value"], method == own)), strict=True))


def _topic(method: str) -> str:
    """What a published ablation row varies: "SDCL, fusion: none" -> "SDCL, fusion"."""
    return method.partition(":")[0]


def _signed(value: float, itself: bool) -> str:
    return "–" if itself else f"{value:+.1f}".replace("-", "−")
