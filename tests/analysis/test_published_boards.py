"""Leaderboards of published numbers: nothing lost, nothing ranked across inputs or protocols, mixtures named."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.analysis.published import BOARD_COLUMNS, DATASETS, INPUTS, METRICS, leaderboard, mixtures, published_tables

TABLE = published_tables()
SAME = ["method", "input", "protocol", "value", "paper"]
ASKED = st.tuples(
    st.sampled_from(list(DATASETS)),
    st.sampled_from(list(METRICS)),
    st.sampled_from(["standard", "blur"]),
    st.sampled_from([None, "comparison", "ablation"]),
    st.none() | st.sets(st.sampled_from(list(INPUTS)), min_size=1),
)


@settings(deadline=None, max_examples=20)
@given(asked=ASKED, seed=st.integers(0, 100))
def test_a_board_holds_just_the_numbers_asked_for_in_any_order_of_the_table(asked, seed):
    dataset, metric, condition, kind, inputs = asked
    board = leaderboard(TABLE, *asked)
    wanted = TABLE[(TABLE["dataset"] == dataset) & (TABLE["metric"] == metric) & (TABLE["condition"] == condition)]
    wanted = wanted[wanted["input"].isin(inputs or INPUTS) & ((wanted["kind"] == kind) | (kind is None))]
    assert {tuple(line) for line in board[SAME].to_numpy()} == {tuple(line) for line in wanted[SAME].to_numpy()}
    assert not board.duplicated(SAME).any() and tuple(board.columns) == BOARD_COLUMNS
    shuffled = leaderboard(TABLE.sample(frac=1, random_state=seed), *asked)
    columns = [column for column in BOARD_COLUMNS if column != "note"]  # notes are joined in the table's order
    pd.testing.assert_frame_equal(board[columns], shuffled[columns])


@settings(deadline=None, max_examples=20)
@given(asked=ASKED)
def test_places_are_counted_within_one_input_and_one_protocol(asked):
    board = leaderboard(TABLE, *asked)
    for line in board.itertuples():
        if line.protocol == "unknown":
            assert line.place is pd.NA
            continue
        peers = board[(board["input"] == line.input) & (board["protocol"] == line.protocol)]["value"]
        better = peers > line.value if METRICS[asked[1]].more_is_better else peers < line.value
        assert line.place == 1 + better.sum()


def test_mars_by_hand():
    board = leaderboard(TABLE, "mars", "mAP")
    assert board.loc[0, ["method", "input", "protocol", "value", "place"]].tolist() == ["SDCL", "V+E", "query_not_in_gallery", 86.5, 1]
    best = board[(board["protocol"] == "query_in_gallery") & (board["place"] == 1)]
    assert best[["method", "input", "value"]].to_numpy().tolist() == [["RFCnet", "V", 86.3]]
    tclnet = board[board["method"] == "TCLNet"]  # the thesis prints it twice; SDCL's copy is a line of its own
    assert tclnet["table"].tolist() == ["Table 3.6; Table 6.1", "Table 1"] and tclnet["value"].tolist() == [85.1, 85.1]
    assert tclnet["place"].isna().tolist() == [False, True]
    assert "Baseline" not in set(board["method"]) and "Baseline" in set(leaderboard(TABLE, "mars", "mAP", kind="ablation")["method"])


def test_less_is_better_for_costs():
    board = leaderboard(TABLE, "occluded_duke", "inference_s", kind=None)
    assert board["value"].tolist() == sorted(board["value"]) and board.loc[0, "place"] == 1 and len(board) == 8


def test_conditions_stay_apart():
    board = leaderboard(TABLE, "prid2011", "mAP", "occlusion", inputs="V+E")
    assert board["value"].tolist() == [88.9, 83.0, 82.7, 82.2, 78.9, 78.5] and board["place"].tolist() == [1, 2, 3, 4, 5, 6]
    assert mixtures(board) == []


def test_conflicting_numbers_are_two_lines():
    board = leaderboard(TABLE, "occluded_duke_video", "mAP")
    vrstc = board[board["method"] == "VRSTC"]
    assert vrstc["value"].tolist() == [82.7, 76.7] and vrstc["paper"].tolist() == ["hou_thesis", "rfcnet_tpami"] and vrstc["doubt"].all()
    assert vrstc["table"].tolist() == ["Table 4.4; Table 5.3", "unknown"]
    assert "13.4" in vrstc["note"].iloc[0] and "do not mix" in vrstc["note"].iloc[1]


def test_one_doubtful_repetition_makes_the_line_doubtful():
    doubts = TABLE[(TABLE["method"] == "RFCnet") & (TABLE["dataset"] == "occluded_duke_video") & (TABLE["metric"] == "mAP")]["doubt"]
    assert sorted(doubts) == [False, True]  # Table 5.1 alone says nothing wrong
    board = leaderboard(TABLE, "occluded_duke_video", "mAP", kind=None)
    line = board[board["method"] == "RFCnet"].squeeze()
    assert line["table"] == "Table 5.1; Table 5.3" and line["doubt"] and "13.4" in line["note"]


def test_mixtures_are_said():
    board = leaderboard(TABLE, "mars", "Rank-1")
    inputs, protocols, papers, doubt = mixtures(board)
    assert inputs == "3 inputs: V (video frames); E (events); V+E (video frames and events)."
    assert protocols.startswith("3 protocols: query_in_gallery (") and "query_not_in_gallery (" in protocols and "unknown (" in protocols
    assert papers == "2 papers: sdcl_cvpr2023; hou_thesis." and doubt.startswith(f"6 of {len(board)} numbers are in doubt")
    assert mixtures(board[board["protocol"] == "query_in_gallery"]) == ["2 papers: sdcl_cvpr2023; hou_thesis."]
    alone = mixtures(board[(board["protocol"] == "unknown") & (board["paper"] == "hou_thesis")])
    assert len(alone) == 1 and alone[0].startswith("1 protocol: unknown (not stated")


def test_nothing_published_is_an_empty_board():
    board = leaderboard(TABLE, "duke_video", "Rank-10")
    assert len(board) == 0 and tuple(board.columns) == BOARD_COLUMNS and mixtures(board) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dataset": "walkers"}, r"^unknown dataset 'walkers'; legal: prid2011, "),
        ({"metric": "map"}, r"^unknown metric 'map'; legal: mAP, "),
        ({"condition": "dark"}, r"^unknown condition 'dark'; legal: standard, blur, occlusion"),
        ({"kind": "all"}, r"^unknown kind 'all'; legal: comparison, ablation"),
        ({"inputs": ("V", "RGB")}, r"^unknown input 'RGB'; legal: V, E, V\+E, image"),
    ],
    ids=str,
)
def test_unknown_names_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        leaderboard(TABLE, **({"dataset": "mars", "metric": "mAP"} | asked))
