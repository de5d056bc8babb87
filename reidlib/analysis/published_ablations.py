"""A system's own ablation tables beside ours: what each row changes here, and what it changed in the paper."""

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
    found = {}
    for group in dict.fromkeys(one.group for one in system.rows if one.published and one.name != system.name):
        names = [one.name for one in system.rows if one.group == group and one.published and one.name in trained.index]
        if names and system.name in trained.index:
            found[GROUPS[group]] = _table(system.name, names, trained, tables, metric)
    return found


def _table(itself: str, names: list[str], trained: pd.DataFrame, tables: pd.DataFrame, metric: str) -> pd.DataFrame:
    topic = _topic(row(names[0]).published[0])
    own = next(name for name in row(itself).published if _topic(name) == topic)
    about = tables[tables["method"].map(_topic) == topic]
    lines = []
    for name in (*names, itself):
        line = {"row": row(name).title, f"ours, {metric} (%)": f"{trained.loc[name, metric]:.1f}"}
        line["ours, difference"] = _signed(trained.loc[name, metric] - trained.loc[itself, metric], name == itself)
        method = own if name == itself else row(name).published[0]
        for dataset, there in about.groupby("dataset", sort=False):
            line |= _theirs(there.set_index("method"), method, own, dataset)
        lines.append(line)
    return pd.DataFrame(lines).set_index("row")


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
