"""The papers' result tables, kept as data under reports/published/: read, checked, and laid out as leaderboards.

Every number is published by others; none was run by us. reports/published/README.md says where each comes from and how sure it is.
"""

import csv
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "published"
COLUMNS = (
    "paper",
    "table",
    "kind",
    "method",
    "input",
    "dataset",
    "condition",
    "protocol",
    "metric",
    "value",
    "reading",
    "doubt",
    "note",
)
#: What a number is the number of: two rows that agree in all of these would contradict or repeat each other.
KEY = ("paper", "table", "method", "input", "dataset", "condition", "metric")
BOARD_COLUMNS = ("place", "method", "input", "protocol", "value", "paper", "table", "reading", "doubt", "note")

PAPERS = {
    "sdcl_cvpr2023": "Cao et al., Event-guided Person Re-Identification via Sparse-Dense Complementary Learning, CVPR 2023",
    "hou_thesis": "Hou, doctoral thesis on spatial-temporal modelling for video person re-identification",
    "rfcnet_tpami": "the RFCnet paper (TPAMI), as a third party's table cites it",
    "vrstc_cvpr2019": "the VRSTC paper (CVPR 2019), second-hand",
}
KINDS = {
    "comparison": "whole systems beside each other",
    "ablation": "parts and settings of one system; a baseline's name says nothing outside its own table",
}
INPUTS = {"V": "video frames", "E": "events", "V+E": "video frames and events", "image": "single images"}


class Dataset(NamedTuple):
    """A data set that the tables name. images: single images instead of tracklets."""

    title: str
    images: bool


DATASETS = {
    "prid2011": Dataset("PRID-2011", False),
    "ilids_vid": Dataset("iLIDS-VID", False),
    "mars": Dataset("MARS", False),
    "duke_video": Dataset("DukeMTMC-VideoReID", False),
    "ls_vid": Dataset("LS-VID", False),
    "occluded_duke_video": Dataset("Occluded-Duke-Video", False),
    "market1501": Dataset("Market-1501", True),
    "duke": Dataset("DukeMTMC-reID", True),
    "msmt17": Dataset("MSMT17", True),
    "occluded_duke": Dataset("Occluded-Duke", True),
}
CONDITIONS = {"standard": "as recorded", "blur": "motion blur added to the frames", "occlusion": "occlusion added to the frames"}
PROTOCOLS = {
    "one_split": "half of the people train; first camera queries, second camera gallery; one of the ten splits, inferred from the values",
    "one_split_clean_events": "as one_split, frames degraded in training and test, events taken from the undegraded video",
    "query_in_gallery": "the queries join the gallery, as in the released loaders",
    "query_not_in_gallery": "the queries do not join the gallery, as in the released loaders: 140 MARS queries lose their match",
    "gallery_alone": "the gallery folder alone, as in the released loaders; assumed for Occluded-Duke-Video, which has no public loader",
    "image": "single query, entries of the query's person and camera removed",
    "cost_per_frame": "parameters without the classifier; multiply-accumulates per frame of 256 x 128 unless the method says otherwise",
    "time": "as printed; hardware and amount of data are not stated",
    "unknown": "not stated, most often a number that another paper obtained: two such numbers need not be comparable",
}
READINGS = {
    "printed": "printed in a table of the source",
    "scan": "a digit of the scanned text is doubtful",
    "inferred_label": "the number is printed, but which row it belongs to is inferred",
    "figure": "read off the pixels of a figure",
    "quoted": "quoted by a third party",
    "remembered": "from memory, not checked",
}


class Metric(NamedTuple):
    """Legal range of a metric's values, and whether more is better."""

    low: float
    high: float
    more_is_better: bool


_PERCENT = Metric(1, 100, True)  # a value under 1 would be a share, not a percentage
METRICS = {
    "mAP": _PERCENT,
    "Rank-1": _PERCENT,
    "Rank-5": _PERCENT,
    "Rank-10": _PERCENT,
    "parameters_M": Metric(1, 200, False),
    "GFLOP": Metric(0.1, 100, False),
    "GMAC": Metric(0.1, 100, False),
    "training_min": Metric(1, 10_000, False),
    "inference_min": Metric(0.1, 1_000, False),
    "inference_s": Metric(1, 10_000, False),
}
_NAMES: dict[str, Collection[str]] = {
    "paper": PAPERS,
    "kind": KINDS,
    "input": INPUTS,
    "dataset": DATASETS,
    "condition": CONDITIONS,
    "protocol": PROTOCOLS,
    "metric": METRICS,
    "reading": READINGS,
    "doubt": ("yes", "no"),
}


def published_tables(folder: str | Path = FOLDER) -> pd.DataFrame:
    """All tables (*.csv) of the folder in one: the columns of `COLUMNS` (value a float, doubt a bool) and `file`.

    Raises ValueError, naming file and line, for wrong columns, unknown names, values that are no numbers or out of their metric's range,
    a doubt without its reason, two rows for one number, or CMC values that fall with rank; and where the folder holds no tables.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise ValueError(f"no published tables: {folder} holds no *.csv (they are part of the repository, not of an installed package)")
    table = pd.concat([_read(path) for path in files], ignore_index=True)
    _check_duplicates(table)
    _check_cmc(table)
    return table.drop(columns="line").assign(doubt=table["doubt"] == "yes")


def leaderboard(
    table: pd.DataFrame,
    dataset: str,
    metric: str,
    condition: str = "standard",
    kind: str | None = "comparison",
    inputs: str | Iterable[str] | None = None,
) -> pd.DataFrame:
    """The published numbers of one metric on one data set, best first; empty where nothing is published. Columns: `BOARD_COLUMNS`.

    table: of `published_tables`. kind: "comparison", "ablation" or None for both. inputs: names of `INPUTS` to keep, None for all.
    place: among the lines of the same input *and* protocol, equal values sharing the better place; none where the protocol is unknown: no
    order is claimed across inputs or protocols (`mixtures` says what a board mixes). A number that one paper repeats in several tables
    is one line that names them all; numbers that differ stay apart. Raises ValueError for an unknown name.
    """
    inputs = tuple(INPUTS) if inputs is None else (inputs,) if isinstance(inputs, str) else tuple(inputs)
    asked = [("dataset", dataset), ("metric", metric), ("condition", condition)]
    asked += [("input", name) for name in inputs] + ([] if kind is None else [("kind", kind)])
    for column, name in asked:
        _known(column, name)
    wanted = (table["dataset"] == dataset) & (table["metric"] == metric) & (table["condition"] == condition) & table["input"].isin(inputs)
    rows = table[wanted if kind is None else wanted & (table["kind"] == kind)]
    same = ["method", "input", "protocol", "value", "paper"]
    joined = {"table": lambda names: _join(names.sort_values()), "reading": _join, "doubt": "any", "note": _join}
    board = rows.groupby(same, sort=False, as_index=False).agg(joined)
    more = METRICS[metric].more_is_better
    board = board.sort_values(["value", *same[:3], "paper"], ascending=[not more, True, True, True, True], ignore_index=True)
    known = board[board["protocol"] != "unknown"]
    place = known.groupby(["input", "protocol"])["value"].rank(method="min", ascending=not more)
    return board.assign(place=place.reindex(board.index).astype("Int64"))[list(BOARD_COLUMNS)]


def mixtures(board: pd.DataFrame) -> list[str]:
    """What a `leaderboard` mixes, one sentence each, for a reader who would compare any two lines; empty where all is of one kind."""
    sentences = []
    inputs = [name for name in INPUTS if name in set(board["input"])]
    if len(inputs) > 1:
        sentences.append(f"{len(inputs)} inputs: {'; '.join(f'{name} ({INPUTS[name]})' for name in inputs)}.")
    protocols = [name for name in PROTOCOLS if name in set(board["protocol"])]
    if len(protocols) > 1 or protocols == ["unknown"]:
        word = "protocols" if len(protocols) > 1 else "protocol"
        sentences.append(f"{len(protocols)} {word}: {'; '.join(f'{name} ({PROTOCOLS[name]})' for name in protocols)}.")
    papers = [name for name in PAPERS if name in set(board["paper"])]
    if len(papers) > 1:
        sentences.append(f"{len(papers)} papers: {'; '.join(papers)}.")
    if doubtful := int(board["doubt"].sum()):
        sentences.append(f"{doubtful} of {len(board)} numbers are in doubt; their notes say why.")
    return sentences


def _read(path: Path) -> pd.DataFrame:
    """One file, checked row by row; `line` is the line in the file."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        _check_columns(next(reader, []), path.name)
        rows = [_row(cells, path.name, reader.line_num) for cells in reader]
    for row in rows:
        _check_names(row)
        _check_value(row)
    return pd.DataFrame(rows, columns=[*COLUMNS, "file", "line"]).astype({"value": float})


def _check_columns(found: list[str], name: str) -> None:
    if tuple(found) != COLUMNS:
        missing, unknown = (", ".join(sorted(set(a) - set(b))) or "none" for a, b in ((COLUMNS, found), (found, COLUMNS)))
        raise ValueError(f"{name} must have the columns {', '.join(COLUMNS)} in this order; missing: {missing}; unknown: {unknown}")


def _row(cells: list[str], name: str, line: int) -> dict:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{name}, line {line}: {len(cells)} cells instead of {len(COLUMNS)} (a comma outside quotes?)")
    return dict(zip(COLUMNS, cells, strict=True)) | {"file": name, "line": line}


def _check_names(row: dict) -> None:
    where = _where(row)
    for column in _NAMES:
        _known(column, row[column], where)
    for column in ("table", "method"):
        if not row[column].strip():
            raise ValueError(f"{where}: {column} is empty")
    if row["doubt"] == "yes" and not row["note"].strip():
        raise ValueError(f"{where}: doubt is yes, but the note gives no reason")
    if (row["input"] == "image") != DATASETS[row["dataset"]].images:
        raise ValueError(f"{where}: input {row['input']!r} cannot be, {row['dataset']} is a set of {_things(row['dataset'])}")


def _check_value(row: dict) -> None:
    where, low, high = _where(row), *METRICS[row["metric"]][:2]
    if not re.fullmatch(r"\d+(\.\d+)?", row["value"]):
        raise ValueError(f"{where}: value {row['value']!r} is not a plain number; leave a row out where the paper prints none")
    if not low <= float(row["value"]) <= high:
        hint = " (percent, not a share)" if METRICS[row["metric"]] is _PERCENT else ""
        raise ValueError(f"{where}: {row['metric']} {row['value']} lies outside {low:g} to {high:g}{hint}")


def _check_duplicates(table: pd.DataFrame) -> None:
    again = table[table.duplicated(list(KEY))]
    if len(again):
        row = again.iloc[0]
        first = table[(table[list(KEY)] == row[list(KEY)]).all(axis=1)].iloc[0]
        what = ", ".join(f"{column} {row[column]!r}" for column in KEY)
        raise ValueError(f"{_where(row)} and {_where(first)} are two rows for one number: {what}")


def _check_cmc(table: pd.DataFrame) -> None:
    """Rank-k can only grow with k."""
    ranks = table[table["metric"].str.startswith("Rank-")]
    ranks = ranks.assign(k=ranks["metric"].str.removeprefix("Rank-").astype(int)).sort_values("k", kind="stable")
    for _, group in ranks.groupby([column for column in KEY if column != "metric"], sort=False):
        falls = np.flatnonzero(group["value"].diff() < 0)
        if len(falls):
            before, row = group.iloc[falls[0] - 1], group.iloc[falls[0]]
            raise ValueError(f"{_where(row)}: {row['metric']} {row['value']} is below {before['metric']} {before['value']} of the same row")


def _known(column: str, name: str, where: str = "") -> None:
    if name not in _NAMES[column]:
        raise ValueError(f"{where}{': ' if where else ''}unknown {column} {name!r}; legal: {', '.join(_NAMES[column])}")


def _where(row: Mapping | pd.Series) -> str:
    return f"{row['file']}, line {row['line']}"


def _things(dataset: str) -> str:
    return "single images" if DATASETS[dataset].images else "tracklets"


def _join(parts: pd.Series) -> str:
    """Different non-empty parts, in order of appearance."""
    return "; ".join(dict.fromkeys(part for part in parts if part))
