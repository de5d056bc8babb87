"""Our systems side by side, the published boards, and the rule that keeps the two apart.

A published number and one of ours stand in one board only where data set, condition and protocol are the same (`ours_beside`).
"""

import pandas as pd

from reidlib.analysis.costs import cost_tables
from reidlib.analysis.published import CONDITIONS, DATASETS, INPUTS, PROTOCOLS, leaderboard, mixtures
from reidlib.analysis.results import chance_scores, interval_text, rankings, result_table
from reidlib.experiment import Experiment

OWN = "this run"  # stands in the boards' column `paper`
NO_INPUT = "none"
METRICS = ("mAP", "Rank-1")
#: Protocols of video (first) and of video and events (second) under which a method's two numbers answer the same question: what is
#: degraded is the video, and a network of frames sees no events.
_SAME_TEST = {("one_split", "one_split_clean_events")} | {(name, name) for name in PROTOCOLS if name != "unknown"}


def own_systems(experiment: Experiment, clips: int = 16, protocol: str = "query to gallery") -> pd.DataFrame:
    """Every main row, raw event counts and the chance level on this run's data, by input, best mAP first.

    Columns: row, title, input, mAP, mAP low, mAP high, Rank-1, Rank-1 low, Rank-1 high (percent over all seeds, 95 % over people), and
    from `costs.cost_tables` parameters, dense, macs, synops and energy_uJ of one clip (NaN where nothing is computed).
    """
    costs, _ = cost_tables(experiment, experiment.main_rows, clips)
    scores = result_table(experiment, rankings(experiment, experiment.main_rows))
    scores = scores[(scores["protocol"] == protocol) & scores["metric"].isin(METRICS)]
    found = scores[["row", "title"]].drop_duplicates().merge(costs.drop(columns="title"), left_on="row", right_on="name", how="left")
    for metric in METRICS:
        part = scores[scores["metric"] == metric].set_index("row")
        for column, value in ((metric, "mean"), (f"{metric} low", "low"), (f"{metric} high", "high")):
            found[column] = found["row"].map(part[value])
    found["input"] = found["input"].fillna(found["row"].map({"counts": "E", "chance": NO_INPUT}))
    found["order"] = found["input"].map({name: i for i, name in enumerate(("V+E", "V", "E", NO_INPUT))})
    found = found.sort_values(["order", "mAP"], ascending=[True, False], kind="stable", ignore_index=True)
    scored = [column for metric in METRICS for column in (metric, f"{metric} low", f"{metric} high")]
    return found[["row", "title", "input", *scored, "parameters", "dense", "macs", "synops", "energy_uJ"]]


def readable_systems(own: pd.DataFrame) -> pd.DataFrame:
    """`own_systems` for reading: input and system down, scores as "mean [low, high]"."""
    table = pd.DataFrame({"input": own["input"], "system": own["title"]})
    for metric in METRICS:
        table[f"{metric} (%)"] = [interval_text(*line) for line in own[[metric, f"{metric} low", f"{metric} high"]].to_numpy(float)]
    table["parameters (k)"] = _cells(own["parameters"] / 1e3, 0)
    for column, label in (("dense", "dense MACs (M)"), ("macs", "MACs (M)"), ("synops", "SynOps (M)")):
        table[label] = _cells(own[column] / 1e6, 2)
    table["energy (µJ)"] = _cells(own["energy_uJ"], 2)
    return table.set_index(["input", "system"])


def _cells(values: pd.Series, digits: int) -> list[str]:
    return ["" if pd.isna(value) else f"{value:,.{digits}f}" for value in values]


def our_rows(own: pd.DataFrame, dataset: str, protocol: str, condition: str = "standard") -> pd.DataFrame:
    """The trained systems of `own_systems` as rows of a published table, to be handed to `ours_beside`.

    dataset, protocol: what they were measured on and how. Only names of `published.DATASETS` and `published.PROTOCOLS` can meet a published
    number; whoever says "one_split" vouches for it.
    """
    trained = own[own["parameters"].notna()]
    lines = []
    for metric in METRICS:
        notes = [f"95 % over people [{low:.1f}, {high:.1f}]" for low, high in trained[[f"{metric} low", f"{metric} high"]].to_numpy()]
        about = {"paper": OWN, "table": "", "kind": "comparison", "dataset": dataset, "condition": condition, "protocol": protocol}
        measured = {"method": trained["title"], "input": trained["input"], "value": trained[metric], "note": notes}
        lines.append(pd.DataFrame(measured).assign(**about, metric=metric, reading="measured", doubt=False, file=""))
    return pd.concat(lines, ignore_index=True)


def ours_beside(table: pd.DataFrame, ours: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The published tables with those of our rows that they can be compared with, and a sentence for each group of rows left out.

    table: of `published_tables`; ours: of `our_rows`. A row joins only where the tables hold numbers of the same data set and condition
    under the same protocol, and that protocol is known; `published.leaderboard` then gives it a place as it does to all others.
    """
    kept, sentences = [], []
    for (dataset, condition, protocol), rows in ours.groupby(["dataset", "condition", "protocol"], sort=False):
        reason = _why_not(table, dataset, condition, protocol)
        if reason:
            named = "; ".join(dict.fromkeys(rows["method"]))
            sentences.append(f"Not in the published boards: {named} (measured on {dataset} under {protocol!r}). {reason}")
        else:
            kept.append(rows)
    return pd.concat([table, *kept], ignore_index=True), sentences


def _why_not(table: pd.DataFrame, dataset: str, condition: str, protocol: str) -> str:
    """Why rows can stand beside no published number; empty where they can."""
    if dataset not in set(table["dataset"]):
        sets = ", ".join(DATASETS[name].title for name in DATASETS if not DATASETS[name].images and name in set(table["dataset"]))
        return f"No published table is of {dataset}: other people, other cameras and another number of candidates ({sets})."
    if protocol == "unknown" or protocol not in PROTOCOLS:
        return f"{protocol!r} is no known published protocol, so nobody could say what the numbers have in common."
    met = table[(table["dataset"] == dataset) & (table["condition"] == condition)]
    if protocol not in set(met["protocol"]):
        known = ", ".join(name for name in PROTOCOLS if name in set(met["protocol"])) or "none"
        return f"Nothing is published on {DATASETS[dataset].title} ({condition}) under that protocol (published: {known})."
    return ""


def own_data(experiment: Experiment, protocol: str = "query to gallery") -> str:
    """What our numbers were measured on, in one sentence: what makes a score easy or hard."""
    asked = experiment.protocols[protocol]
    people = asked.index["person"].iloc[asked.queries].nunique()
    chance = chance_scores(experiment)[protocol]
    return (
        f"Measured on {experiment.dataset}, preset {experiment.preset}: {len(asked.queries)} queries of {people} people against "
        f"{len(asked.gallery)} gallery tracklets; a random order scores {chance:.1f} % mAP."
    )


def boards(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """`board` of every set of tracklets and condition with published comparisons, by (data set, condition)."""
    found = {(d, c): board(table, d, c) for c in CONDITIONS for d in DATASETS if not DATASETS[d].images}
    return {key: one for key, one in found.items() if len(one)}


def board(table: pd.DataFrame, dataset: str, condition: str = "standard") -> pd.DataFrame:
    """The published comparisons on one data set, a line per method, input, protocol and paper: protocol, input, place, method, mAP, Rank-1,
    mAP doubt, Rank-1 doubt (whether that number is in doubt), paper, table, note.

    Sections by protocol, in each the inputs, in each the best mAP first. place: by mAP, among the lines of the same section and input (see
    `published.leaderboard`).
    """
    lines: dict[tuple, dict] = {}
    for metric in METRICS:
        one = leaderboard(table, dataset, metric, condition)
        copy = one.groupby(["protocol", "input", "method", "paper"]).cumcount()  # numbers of one paper that differ stay two lines
        for row, number in zip(one.to_dict("records"), copy, strict=True):
            key = (row["protocol"], row["input"], row["method"], row["paper"], number)
            line = lines.setdefault(key, _blank(row if metric == METRICS[0] else row | {"place": pd.NA}))
            line |= {metric: row["value"], f"{metric} doubt": row["doubt"]}
            line |= {column: [*line[column], row[column]] for column in ("table", "note")}
    found = pd.DataFrame(lines.values(), columns=list(_blank(dict.fromkeys(("protocol", "input", "place", "method", "paper")))))
    for column in ("table", "note"):
        found[column] = ["; ".join(dict.fromkeys(part for part in parts if part)) for parts in found[column]]
    names = {"protocol": list(PROTOCOLS), "input": list(INPUTS)}
    found = found.sort_values(
        ["protocol", "input", *METRICS, "method"],
        ascending=[True, True, *(False for _ in METRICS), True],
        key=lambda column: column.map(names[column.name].index) if column.name in names else column,
        ignore_index=True,
    )
    return found.astype({"place": "Int64"})


def _blank(row: dict) -> dict:
    """A line of `board` before its numbers. Its place is that by the first metric; a method without that number has none."""
    known = {column: row[column] for column in ("protocol", "input", "place", "method")}
    doubts = {f"{metric} doubt": False for metric in METRICS}
    return known | dict.fromkeys(METRICS, float("nan")) | doubts | {"paper": row["paper"], "table": [], "note": []}


def readable_board(one: pd.DataFrame) -> pd.DataFrame:
    """`board` for reading: sections down, a question mark behind a number in doubt, nothing where none is published."""
    shown = {"place": ["" if pd.isna(value) else str(value) for value in one["place"]], "method": one["method"]}
    for metric in METRICS:
        if one[metric].notna().any():
            shown[f"{metric} (%)"] = [_doubted(*pair) for pair in one[[metric, f"{metric} doubt"]].itertuples(index=False)]
    source = [", ".join(part for part in pair if part) for pair in zip(one["paper"], one["table"], strict=True)]
    return one[["protocol", "input"]].assign(**shown, source=source).set_index(["protocol", "input", "place"])


def _doubted(value: float, doubt: bool) -> str:
    return "" if pd.isna(value) else f"{value:.1f}{' ?' if doubt else ''}"


def scores(one: pd.DataFrame, metric: str = "mAP") -> pd.DataFrame:
    """One metric of a `board` as `plots.leaderboard.published_scores` takes it, sections in the same order."""
    renamed = one.drop(columns="place").rename(columns={metric: "value", f"{metric} doubt": "doubt"})
    return renamed[renamed["value"].notna()]


def board_title(dataset: str, condition: str) -> str:
    """How a board is headed."""
    return DATASETS[dataset].title + ("" if condition == "standard" else f", {condition}")


def board_mixtures(table: pd.DataFrame, dataset: str, condition: str = "standard") -> list[str]:
    """`published.mixtures` of all numbers of a `board`."""
    return mixtures(pd.concat([leaderboard(table, dataset, metric, condition) for metric in METRICS], ignore_index=True))


def left_out(table: pd.DataFrame) -> str:
    """Which published numbers the boards do not show, in one sentence."""
    images = table[table["dataset"].map(lambda name: DATASETS[name].images)]
    ablations = table[(table["kind"] == "ablation") & ~table.index.isin(images.index)]
    other = table[~table.index.isin([*images.index, *ablations.index]) & ~table["metric"].isin(METRICS)]
    return (
        f"Not shown, but in the files: {len(images)} numbers on single images, {len(ablations)} of ablations, and {len(other)} of other "
        f"metrics of systems on video ({', '.join(dict.fromkeys(other['metric']))})."
    )


def events_gain(table: pd.DataFrame, metric: str = "mAP") -> pd.DataFrame:
    """What the same method gains from events in the same table: paper, table, method, dataset, condition, V, V+E, gain, doubt.

    Lines for every published V+E number; V and gain are NaN where the method has no row on video, or one of another test (on MARS the
    queries join the gallery for V and not for V+E).
    """
    rows = table[(table["metric"] == metric) & (table["kind"] == "comparison")]
    keys = ["paper", "table", "method", "dataset", "condition"]
    columns = [*keys, "protocol", "value", "doubt"]
    video, both = (rows.loc[rows["input"] == name, columns] for name in ("V", "V+E"))
    pairs = both.merge(video, on=keys, how="left", suffixes=("", " V"))
    same = [pair in _SAME_TEST for pair in zip(pairs["protocol V"], pairs["protocol"], strict=True)]
    found = pairs[keys].assign(**{"V": pairs["value V"].where(same), "V+E": pairs["value"]})
    return found.assign(gain=found["V+E"] - found["V"], doubt=pairs["doubt"] | pairs["doubt V"].eq(True))


def readable_gain(gain: pd.DataFrame, conditions: tuple[str, ...] = ("blur", "occlusion")) -> pd.DataFrame:
    """`events_gain` for reading: methods down, data sets and conditions across, best V+E of the first column first.

    Cells: "V → V+E (gain)", with a question mark where one of the two numbers is in doubt.
    """
    shown = gain[gain["condition"].isin(conditions)]
    cells = [
        f"{line.both:.1f} (no row on video)" if pd.isna(line.gain) else f"{line.V:.1f} → {line.both:.1f} ({line.gain:+.1f})"
        for line in shown.rename(columns={"V+E": "both"}).itertuples()
    ]
    cells = [cell + " ?" * doubt for cell, doubt in zip(cells, shown["doubt"], strict=True)]
    titles = [board_title(*pair) for pair in zip(shown["dataset"], shown["condition"], strict=True)]
    wide = shown.assign(cell=cells, board=titles).pivot(index="method", columns="board", values="cell")
    first = shown[(shown["dataset"] == shown["dataset"].iloc[0]) & (shown["condition"] == shown["condition"].iloc[0])]
    order = first.sort_values("V+E", ascending=False)["method"]
    return wide.loc[[*order, *wide.index.difference(order)], list(dict.fromkeys(titles))].rename_axis(columns=None)


def gain_sentences(gain: pd.DataFrame, conditions: tuple[str, ...] = ("blur", "occlusion")) -> list[str]:
    """What events gain under each condition, beside what the same methods gain on video as recorded, one sentence each."""
    sentences, told = [], gain[gain["gain"].notna()]
    clean = told[told["condition"] == "standard"]
    for (dataset, condition), part in told[told["condition"].isin(conditions)].groupby(["dataset", "condition"], sort=False):
        same = clean[(clean["dataset"] == dataset) & clean["method"].isin(part["method"])]
        beside = f"; on video as recorded the same methods gain {_range(same['gain'])}" if len(same) else ""
        doubts = f", {count} of them in doubt" if (count := int(part["doubt"].sum())) else ""
        what = f"{board_title(dataset, condition)}: events add {_range(part['gain'])} points of mAP to {len(part)} methods"
        sentences.append(f"{what}{doubts}{beside}.")
    return sentences


def _range(values: pd.Series) -> str:
    return f"{values.min():+.1f} to {values.max():+.1f}".replace("-", "−")
