"""The papers' tables as data: every cell of the specifications is there, in range, once; what cannot be is refused."""

import csv
import re
import shutil
import subprocess

import numpy as np
import pytest

from reidlib.analysis import published
from reidlib.analysis.published import COLUMNS, FOLDER, KEY, published_tables

TABLE = published_tables()

# Cells that hold a number, counted by hand in the specifications' tables: rows x columns, less the cells printed as "-".
CELLS = {
    ("sdcl.csv", "Table 1"): 56 + 36 + 42,  # V: 6 full rows of 6, then 2, 4, 4, 4, 3, 3; E: 6 rows of 6; V+E: 7 rows of 6
    ("sdcl.csv", "Table 2"): 9 * 4,
    ("sdcl.csv", "Table 3"): 11 * 4,
    ("sdcl.csv", "Table 4"): 3 * 4,
    ("sdcl.csv", "Fig. 5"): 7 * 2,
    ("sdcl.csv", "Fig. 6"): 8 * 2,
    ("thesis_ianet.csv", "Table 2.1"): 10 * 4,
    ("thesis_ianet.csv", "Table 2.2"): 10 * 4,
    ("thesis_ianet.csv", "Table 2.3"): 3 * 4,
    ("thesis_ianet.csv", "Table 2.4"): 3 * 2 * 4,
    ("thesis_ianet.csv", "Table 2.5"): 6 * 4,
    ("thesis_ianet.csv", "Table 2.6"): 6 * 2 + 3 * 4 + 2 * 6,  # MARS alone: 6 systems; one more set: EUG, M3D, CoSAM; all: GLTP, IANet
    ("thesis_ianet.csv", "Table 2.7"): 2 * 2 + 9 * 4 + 1 * 6,  # one set: GLAD, MGCAM; all three: IANet
    ("thesis_tclnet.csv", "Table 3.1"): 9 * 4,
    ("thesis_tclnet.csv", "Table 3.2"): 4 * 4,
    ("thesis_tclnet.csv", "Table 3.3"): 4 * 4,
    ("thesis_tclnet.csv", "Table 3.4"): 4 * 2,
    ("thesis_tclnet.csv", "Table 3.5"): 4 * 4 + 3,  # TSB without parameters
    ("thesis_tclnet.csv", "Table 3.6"): 2 * 6,
    ("thesis_vrstc.csv", "Table 4.3"): 8 * 2,
    ("thesis_vrstc.csv", "Table 4.4"): 9 * 4,
    ("thesis_vrstc.csv", "Table 4.5"): 2 + 4,
    ("thesis_rfcnet.csv", "Table 5.1"): 8 * 6 + 7 * 2,
    ("thesis_rfcnet.csv", "Table 5.2"): 8 * 6 + 4 * 2,
    ("thesis_rfcnet.csv", "Table 5.3"): (9 + 3) * 4,
    ("thesis_rfcnet.csv", "Table 5.4"): 4,
    ("thesis_rfcnet.csv", "Table 5.5"): 9 * 4 + 2 + 2 * 1,  # Adver Occluded: two cells; Part Bilinear and FD-GAN: rank-1 alone
    ("thesis_bicnet_tks.csv", "Table 6.1"): 3 * 6 + 2,
    ("thesis_bicnet_tks.csv", "Table 6.2"): 8 * 4,
    ("thesis_bicnet_tks.csv", "Table 6.3"): 5 * 4,
    ("thesis_bicnet_tks.csv", "Table 6.4"): 6 * 3,
    ("thesis_bicnet_tks.csv", "Table 6.5"): 7 * 4,
    ("thesis_bicnet_tks.csv", "Table 6.6"): 5 * 4,
    ("second_hand.csv", "unknown"): 4 + 1 + 1,
}

# Typed from the specifications: table, method, input, data set (and condition), then metric: value.
SPOTS = [
    ("Table 1", "GRL", "V", "ilids_vid", {"mAP": 90.1, "Rank-1": 84.7}),
    ("Table 1", "SINet", "V", "prid2011", {"Rank-1": 96.5}),
    ("Table 1", "STRF", "V", "mars", {"mAP": 86.1, "Rank-1": 90.3}),
    ("Table 1", "SDCL", "V+E", "mars", {"mAP": 86.5, "Rank-1": 91.1}),
    ("Table 1", "CTL", "V+E", "prid2011", {"mAP": 93.9, "Rank-1": 91.0}),
    ("Table 2", "SDCL, fusion: none", "V", "ilids_vid", {"mAP": 85.2, "Rank-1": 80.0}),
    ("Table 2", "SDCL, fusion: ours F2E", "V+E", "prid2011", {"mAP": 89.9, "Rank-1": 85.4}),
    ("Table 3", "PSTA", "V", "prid2011/occlusion", {"mAP": 71.3}),
    ("Table 3", "STMN", "V+E", "ilids_vid/blur", {"mAP": 62.3}),
    ("Table 4", "SDCL, pyramid: none", "V+E", "ilids_vid", {"mAP": 88.1, "Rank-1": 82.6}),
    ("Fig. 5", "GRL", "V", "mars", {"parameters_M": 68.3, "GFLOP": 4.39}),
    ("Fig. 6", "SDCL, spiking layers: 4", "V+E", "prid2011", {"mAP": 79.5, "Rank-1": 72.0}),
    ("Fig. 6", "SDCL, deformable mappings: 4", "V+E", "prid2011", {"mAP": 95.7, "Rank-1": 94.4}),
    ("Table 2.1", "IA stage2+3", "V", "duke_video", {"mAP": 95.9, "Rank-1": 96.3}),
    ("Table 2.2", "IA stage3", "image", "duke", {"mAP": 79.3, "Rank-1": 89.3}),
    ("Table 2.3", "CIA-STIA", "image", "market1501", {"mAP": 85.9, "Rank-1": 94.4}),
    ("Table 2.4", "Inception+IA", "V", "mars", {"mAP": 74.1, "Rank-1": 83.6}),
    ("Table 2.4", "ResNet34", "image", "market1501", {"mAP": 74.8, "Rank-1": 89.5}),
    ("Table 2.5", "+CIA", "V", "mars", {"parameters_M": 23.7, "GFLOP": 5.26, "mAP": 84.5, "Rank-1": 89.1}),
    ("Table 2.6", "M3D", "V", "ls_vid", {"mAP": 40.1, "Rank-1": 57.7}),
    ("Table 2.7", "GLAD", "image", "msmt17", {"mAP": 34.0, "Rank-1": 61.4}),
    ("Table 3.1", "TCLNet, TSB at stage2+3", "V", "mars", {"parameters_M": 29.9, "GFLOP": 4.066, "mAP": 82.7, "Rank-1": 88.2}),
    ("Table 3.2", "TSE, N=4 learners", "V", "mars", {"parameters_M": 38.9, "GFLOP": 4.063, "mAP": 81.0, "Rank-1": 87.0}),
    ("Table 3.5", "TSE+NonLocal", "V", "mars", {"parameters_M": 32.1, "GFLOP": 5.405, "mAP": 82.6, "Rank-1": 87.6}),
    ("Table 3.6", "TCLNet+IA", "V", "ls_vid", {"mAP": 72.8, "Rank-1": 83.7}),
    ("Table 4.3", "Spa+AE", "V", "mars", {"mAP": 80.8, "Rank-1": 87.0}),
    ("Table 4.4", "VRSTC", "V", "occluded_duke_video", {"mAP": 82.7, "Rank-1": 84.0, "Rank-5": 94.4, "Rank-10": 97.1}),
    ("Table 4.5", "VRSTC", "V", "duke_video", {"mAP": 93.8, "Rank-1": 95.0}),
    ("Table 5.1", "TRFC", "V", "occluded_duke_video", {"parameters_M": 23.8, "GFLOP": 4.2, "training_min": 270, "inference_min": 27}),
    ("Table 5.2", "RFC stage4", "image", "occluded_duke", {"training_min": 80, "inference_s": 115, "mAP": 49.5, "Rank-1": 58.2}),
    ("Table 5.2", "SRFC-P", "image", "occluded_duke", {"mAP": 51.3, "Rank-1": 60.0}),
    ("Table 5.3", "RFCnet+VRSTC", "V", "occluded_duke_video", {"mAP": 92.1, "Rank-1": 92.9, "Rank-5": 98.7, "Rank-10": 98.9}),
    ("Table 5.5", "FD-GAN", "image", "occluded_duke", {"Rank-1": 40.8}),
    ("Table 5.5", "PCB+RPP", "image", "occluded_duke", {"mAP": 35.0, "Rank-1": 46.8, "Rank-5": 61.1, "Rank-10": 67.3}),
    ("Table 6.1", "AP3D", "V", "ls_vid", {"mAP": 73.2, "Rank-1": 84.5}),
    ("Table 6.2", "BiCnet (DAO)", "V", "mars", {"parameters_M": 27.6, "GFLOP": 1.89, "mAP": 85.6, "Rank-1": 89.8}),
    ("Table 6.3", "heights 64", "V", "mars", {"parameters_M": 23.5, "GFLOP": 0.25, "mAP": 64.1, "Rank-1": 77.4}),
    ("Table 6.4", "two branches, alpha=inf", "V", "mars", {"GFLOP": 1.02, "mAP": 80.7, "Rank-1": 87.4}),
    ("Table 6.5", "one kernel: K7", "V", "mars", {"parameters_M": 28.3, "GFLOP": 1.94, "mAP": 85.5, "Rank-1": 89.8}),
    ("Table 6.6", "TKS at stage4", "V", "mars", {"parameters_M": 53.5, "GFLOP": 2.29, "mAP": 85.4, "Rank-1": 90.0}),
]
# The event-only floor, as the specification of S3CE-Net repeats it: PRID-2011, iLIDS-VID, MARS, each mAP and rank-1.
EVENTS_ONLY = {
    "GRL": (21.4, 11.2, 30.2, 18.0, 27.7, 16.7),
    "OSNet": (22.2, 10.1, 27.9, 16.7, 30.9, 19.3),
    "SRS-Net": (17.2, 9.0, 32.7, 19.3, 20.9, 10.0),
    "STMN": (20.2, 11.2, 23.5, 12.7, 22.4, 10.0),
    "CTL": (20.4, 13.5, 28.4, 18.0, 25.6, 12.7),
    "PSTA": (22.2, 12.4, 22.4, 10.0, 22.7, 12.0),
}
PLAIN = ("sdcl_cvpr2023", "T", "comparison", "A", "V", "mars", "standard", "unknown", "mAP", "80.1", "printed", "no", "")
ROW = dict(zip(COLUMNS, PLAIN, strict=True))


def rows(table, method, kind_of_input, where):
    dataset, _, condition = where.partition("/")
    same = (TABLE["table"] == table) & (TABLE["method"] == method) & (TABLE["input"] == kind_of_input) & (TABLE["dataset"] == dataset)
    return TABLE[same & (TABLE["condition"] == (condition or "standard"))]


def write(folder, *changes, name="some.csv", columns=COLUMNS):
    with open(folder / name, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows((ROW | change).values() for change in changes)
    return folder


def test_every_cell_of_every_table_is_there():
    found = TABLE.groupby(["file", "table"]).size()
    assert found.to_dict() == CELLS and len(TABLE) == sum(CELLS.values()) == 997


@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: f"{spot[0]} {spot[1]}")
def test_spot_values(spot):
    found = rows(*spot[:4]).set_index("metric")["value"].to_dict()
    assert {metric: found.get(metric) for metric in spot[4]} == spot[4]


def test_the_event_only_rows():
    found = TABLE[(TABLE["input"] == "E") & (TABLE["table"] == "Table 1")].pivot(
        index="method", columns=["dataset", "metric"], values="value"
    )
    order = [(dataset, metric) for dataset in ("prid2011", "ilids_vid", "mars") for metric in ("mAP", "Rank-1")]
    assert {method: tuple(line) for method, line in zip(found.index, found[order].to_numpy(), strict=True)} == EVENTS_ONLY


def test_ranges_and_keys():
    percent = TABLE["metric"].isin(["mAP", "Rank-1", "Rank-5", "Rank-10"])
    assert TABLE.loc[percent, "value"].between(9, 99.4).all()  # what the tables span
    assert TABLE.loc[TABLE["metric"] == "parameters_M", "value"].between(23.5, 68.3).all()
    assert TABLE.loc[TABLE["metric"] == "GFLOP", "value"].between(0.25, 9.33).all()
    assert not TABLE.duplicated(list(KEY)).any() and np.isfinite(TABLE["value"]).all()
    assert (TABLE.loc[TABLE["doubt"], "note"] != "").all() and 0 < TABLE["doubt"].sum() < len(TABLE) / 3
    uncertain = TABLE["reading"].isin(["scan", "figure", "inferred_label", "quoted", "remembered"])
    assert TABLE.loc[uncertain, "doubt"].all()


@pytest.mark.parametrize(("dataset", "queries"), [("prid2011", 89), ("ilids_vid", 150)])
def test_one_split_means_whole_numbers_of_queries(dataset, queries):
    """One match per query: rank-1 is k / queries, and mAP, the mean reciprocal rank, is at least rank-1. A misread digit breaks this."""
    split = TABLE[(TABLE["protocol"] == "one_split") & (TABLE["dataset"] == dataset) & (TABLE["reading"] == "printed")]
    rank1 = split[split["metric"] == "Rank-1"]
    possible = np.round(100 * np.arange(queries + 1) / queries, 1)
    whole = rank1["value"].map(lambda value: np.abs(possible - value).min() < 1e-6)
    assert len(rank1) > 30 and rank1.loc[~whole, "doubt"].all()
    assert set(rank1.loc[~whole, "value"]) == ({96.5} if queries == 89 else {46.1, 82.6})
    wide = split[split["condition"] == "standard"].pivot(index=["table", "method", "input"], columns="metric", values="value")
    assert len(wide) == len(rank1) and (wide["mAP"] >= wide["Rank-1"]).all()


def test_the_event_only_mars_rows_stand_apart():
    mars = TABLE[(TABLE["dataset"] == "mars") & TABLE["metric"].isin(["mAP", "Rank-1"])]
    wide = mars.pivot(index=["paper", "table", "method", "input"], columns="metric", values="value")
    events = wide.index.get_level_values("input") == "E"
    assert (wide["mAP"] - wide["Rank-1"])[events].min() > 10 and (wide["mAP"] < wide["Rank-1"])[~events].all()
    assert mars.loc[mars["input"] == "E", "doubt"].all()


def test_repeated_numbers_agree():
    """A system that one paper puts into several comparisons has one number in all of them."""
    whole = TABLE[(TABLE["kind"] == "comparison") & ~TABLE["metric"].isin(["parameters_M", "GFLOP"])]
    groups = whole.groupby(["paper", "method", "input", "dataset", "condition", "metric"])["value"]
    assert (groups.nunique() == 1).all() and (groups.size() > 1).sum() == 42  # Table 4.4 in 5.3: 36; TCLNet in 3.6 and 6.1: 6


CONTRADICTED = [
    ("Table 2", "SDCL, fusion: attention both", "V+E", "ilids_vid", "Rank-1", "85.4"),
    ("Table 2", "SDCL, fusion: ours both", "V+E", "ilids_vid", "mAP", "2.4"),
    ("Table 2", "SDCL, fusion: none", "V", "prid2011", "mAP", "PSTA"),
    ("Table 3", "PSTA", "V+E", "ilids_vid/blur", "mAP", "12.5"),
    ("Table 3", "SDCL", "V+E", "ilids_vid/occlusion", "mAP", "6.2"),
    ("Table 4", "SDCL, pyramid: residual block", "V+E", "prid2011", "Rank-1", "PSTA"),
    ("Table 2.3", "STIA+CIA", "V", "mars", "mAP", "CIA-STIA"),
    ("Table 2.5", "+CIA", "V", "mars", "parameters_M", "23.1"),
    ("Table 2.7", "CASN", "image", "duke", "Rank-1", "81.7"),
    ("Table 3.1", "+TSB", "V", "mars", "GFLOP", "4.064"),
    ("Table 5.3", "VRSTC", "V", "occluded_duke_video", "mAP", "13.4"),
    ("Table 6.3", "heights 256+128", "V", "mars", "GFLOP", "2.57"),
    ("Table 6.5", "two kernels: row 1 (K3+K5?)", "V", "mars", "Rank-1", "90.2"),
]


@pytest.mark.parametrize("case", CONTRADICTED, ids=lambda case: f"{case[0]} {case[1]}")
def test_contradictions_are_marked(case):
    line = rows(*case[:4]).set_index("metric").loc[case[4]]
    assert line["doubt"] and case[5] in line["note"]


def test_the_page_counts_the_rows_of_every_file():
    page = (FOLDER / "README.md").read_text()
    counted = {name: int(count) for name, count in re.findall(r"^\| `(\w+\.csv)` \|.*\| (\d+) \|$", page, flags=re.M)}
    assert counted == TABLE["file"].value_counts().to_dict()
    assert f"| {(TABLE['reading'] == 'printed').sum()} |" in page and "nothing was run by us" in page
    names = [name for column in (published.PROTOCOLS, published.PAPERS, published.METRICS, published.DATASETS) for name in column]
    assert [name for name in names if f"`{name}`" not in page] == []


@pytest.mark.skipif(not shutil.which("git") or not (FOLDER.parents[1] / ".git").exists(), reason="no git checkout")
def test_git_does_not_ignore_them():
    paths = [str(path) for path in (*FOLDER.glob("*.csv"), FOLDER / "README.md")]
    answer = subprocess.run(["git", "check-ignore", "--no-index", *paths], cwd=FOLDER, capture_output=True, text=True)
    assert len(paths) == 8 and answer.stdout == "" and answer.returncode == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paper": "cvpr"}, r"unknown paper 'cvpr'; legal: sdcl_cvpr2023, "),
        ({"kind": "main"}, r"unknown kind 'main'; legal: comparison, ablation"),
        ({"input": "RGB"}, r"unknown input 'RGB'; legal: V, E, V\+E, image"),
        ({"dataset": "MARS"}, r"unknown dataset 'MARS'; legal: prid2011, "),
        ({"condition": "dark"}, r"unknown condition 'dark'"),
        ({"protocol": ""}, r"unknown protocol ''"),
        ({"metric": "rank1"}, r"unknown metric 'rank1'; legal: mAP, Rank-1, "),
        ({"reading": "sure"}, r"unknown reading 'sure'"),
        ({"doubt": "True"}, r"unknown doubt 'True'; legal: yes, no"),
        ({"doubt": "yes"}, r"the note gives no reason"),
        ({"method": " "}, r"method is empty"),
        ({"table": ""}, r"table is empty"),
        ({"input": "image"}, r"input 'image' cannot be, mars is a set of tracklets"),
        ({"dataset": "duke"}, r"input 'V' cannot be, duke is a set of single images"),
        ({"value": "-"}, r"value '-' is not a plain number; leave a row out"),
        ({"value": "nan"}, r"value 'nan' is not a plain number"),
        ({"value": "8O.1"}, r"value '8O.1' is not a plain number"),
        ({"value": "801"}, r"mAP 801 lies outside 1 to 100 \(percent, not a share\)"),
        ({"value": "0.801"}, r"mAP 0.801 lies outside 1 to 100 \(percent, not a share\)"),
        ({"metric": "parameters_M", "value": "23500000"}, r"parameters_M 23500000 lies outside 1 to 200$"),
    ],
    ids=str,
)
def test_a_wrong_row_is_refused_with_its_place(tmp_path, change, message):
    fine = {"method": "another"}
    assert len(published_tables(write(tmp_path, {}, fine))) == 2
    with pytest.raises(ValueError, match=rf"^some\.csv, line 3: .*{message}"):
        published_tables(write(tmp_path, fine, change))


def test_two_rows_for_one_number_are_refused_within_and_across_files(tmp_path):
    again = {"value": "80.2", "note": "another value, protocol and kind are still the same number", "kind": "ablation", "protocol": "image"}
    with pytest.raises(
        ValueError, match=r"some.csv, line 3 and some.csv, line 2 are two rows for one number: paper 'sdcl_cvpr2023', table 'T'"
    ):
        published_tables(write(tmp_path, {}, again))
    write(tmp_path, {})
    write(tmp_path, {"method": "B"}, again, name="z.csv")
    with pytest.raises(ValueError, match=r"z.csv, line 3 and some.csv, line 2 are two rows"):
        published_tables(tmp_path)


def test_every_part_of_the_key_tells_numbers_apart(tmp_path):
    other = {
        "paper": "hou_thesis",
        "table": "T2",
        "method": "B",
        "input": "E",
        "dataset": "ls_vid",
        "condition": "blur",
        "metric": "Rank-1",
    }
    assert tuple(other) == KEY
    assert len(published_tables(write(tmp_path, {}, *({column: name} for column, name in other.items())))) == 8


def test_a_cmc_that_falls_is_refused(tmp_path):
    good = [{"metric": "Rank-10", "value": "90"}, {"metric": "Rank-1", "value": "70"}, {"metric": "Rank-5", "value": "90.0"}]
    assert len(published_tables(write(tmp_path, *good))) == 3
    with pytest.raises(ValueError, match=r"some.csv, line 2: Rank-10 90.0 is below Rank-5 90.1 of the same row"):
        published_tables(write(tmp_path, *good[:2], good[2] | {"value": "90.1"}))


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no published tables: .* holds no \*\.csv"):
        published_tables(tmp_path)
    columns = ("papers", *COLUMNS[1:])
    with pytest.raises(ValueError, match=r"some.csv must have the columns paper, .* in this order; missing: paper; unknown: papers"):
        published_tables(write(tmp_path, {}, columns=columns))
    with pytest.raises(ValueError, match=r"in this order; missing: none; unknown: none"):
        published_tables(write(tmp_path, {}, columns=COLUMNS[::-1]))
    path = write(tmp_path, {}) / "some.csv"
    path.write_text(path.read_text().rstrip() + "see, the text\n")
    with pytest.raises(ValueError, match=r"some.csv, line 2: 14 cells instead of 13 \(a comma outside quotes\?\)"):
        published_tables(tmp_path)
    path.write_text("")
    with pytest.raises(ValueError, match=r"some.csv must have the columns"):
        published_tables(tmp_path)
