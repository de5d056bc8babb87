"""Our systems by input, published boards in sections, and rows of ours that stand beside published ones only where they may."""

import re

import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis.leaderboards import (
    METRICS,
    OWN,
    board,
    board_mixtures,
    board_title,
    boards,
    events_gain,
    gain_sentences,
    left_out,
    our_rows,
    ours_beside,
    own_data,
    own_systems,
    readable_board,
    readable_gain,
    readable_systems,
    scores,
)
from reidlib.analysis.published import DATASETS, leaderboard, published_tables
from reidlib.analysis.results import chance_scores

TABLE = published_tables()


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("filmed"), video=True)


@pytest.fixture(scope="module")
def own(filmed):
    return own_systems(filmed, clips=2)


def test_every_main_row_stands_in_its_group(filmed, own):
    assert own["input"].tolist() == ["V+E", "V", *["E"] * 5, "none"]
    assert set(own["row"]) == {*filmed.main_rows, "counts", "chance"} and own["row"].iloc[-1] == "chance"
    for _, part in own.groupby("input"):
        assert part["mAP"].is_monotonic_decreasing
    lines = own.set_index("row")
    seen = filmed.evaluation("psta")
    assert lines.loc["psta", ["mAP", "mAP low", "mAP high"]].tolist() == pytest.approx([seen.mAP.mean, seen.mAP.low, seen.mAP.high])
    assert lines.loc["psta", "Rank-1"] == pytest.approx(seen.rank1.mean)
    assert lines.loc["chance", "mAP"] == pytest.approx(chance_scores(filmed)["query to gallery"])
    assert lines.loc[["counts", "chance"], ["parameters", "dense", "energy_uJ"]].isna().all(axis=None)
    assert (lines.drop(["counts", "chance"])[["parameters", "dense", "energy_uJ"]] > 0).all(axis=None)


def test_systems_are_read_by_input(own):
    shown = readable_systems(own)
    assert shown.index.get_level_values("input").tolist() == own["input"].tolist()
    assert shown["energy (µJ)"].iloc[-1] == "" and shown["parameters (k)"].iloc[0] != ""
    first = own.iloc[0]
    assert shown["mAP (%)"].iloc[0] == f"{first['mAP']:.1f} [{first['mAP low']:.1f}, {first['mAP high']:.1f}]"


def test_events_alone_make_a_leaderboard_too(tmp_path):
    own = own_systems(SmallExperiment(tmp_path), clips=1)
    assert set(own["input"]) == {"E", "none"} and len(own) == 5


def test_our_data_are_described(filmed):
    assert own_data(filmed).startswith(
        "Measured on small, preset small: 8 queries of 4 people against 8 gallery tracklets; a random order "
    )


def ours(own, **about):
    return our_rows(own, **({"dataset": "mars", "protocol": "query_in_gallery"} | about))


def test_rows_of_the_same_set_and_protocol_join_and_get_their_place(own):
    made = own.assign(mAP=own["row"].map({"psta": 86.1}).fillna(20.0))
    table, sentences = ours_beside(TABLE, ours(made))
    assert sentences == [] and len(table) == len(TABLE) + 2 * 6  # six trained systems, two metrics; no counts, no chance
    found = leaderboard(table, "mars", "mAP")
    mine = found[found["paper"] == OWN].set_index("method")
    assert mine.loc["PSTA (frames alone)", ["input", "place", "value"]].tolist() == ["V", 2, 86.1]  # behind RFCnet's 86.3
    assert mine.loc["SDCL (frames + events)", "place"] == 1  # the only V+E line under this protocol: no rank against other protocols
    before = leaderboard(TABLE, "mars", "mAP")
    others = found[found["paper"] != OWN].reset_index(drop=True)
    away = others["protocol"] != "query_in_gallery"
    pd.testing.assert_frame_equal(others[away], before[away])  # sections of other protocols are left alone
    assert (others.loc[~away, "place"] - before.loc[~away, "place"]).tolist() == [0, *[1] * 11]
    merged = board(table, "mars")
    assert merged[merged["paper"] == OWN]["protocol"].unique().tolist() == ["query_in_gallery"]
    assert not (board(table, "prid2011")["paper"] == OWN).any()


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"dataset": "walkers", "protocol": "query to gallery"}, "No published table is of walkers: other people"),
        ({"dataset": "event_reid", "protocol": "one_split"}, "No published table is of event_reid"),  # whatever protocol is claimed
        ({"protocol": "query to gallery"}, "'query to gallery' is no known published protocol"),
        ({"protocol": "unknown"}, "'unknown' is no known published protocol"),
        ({"protocol": "one_split"}, r"on MARS \(standard\) under that protocol \(published: query_in_gallery, query_not_in_gallery"),
        ({"condition": "blur"}, r"on MARS \(blur\) under that protocol \(published: none\)"),
        ({"dataset": "prid2011", "protocol": "one_split_clean_events"}, r"on PRID-2011 \(standard\)"),
    ],
    ids=str,
)
def test_other_rows_are_left_out_with_a_sentence(own, about, reason):
    table, sentences = ours_beside(TABLE, ours(own, **about))
    pd.testing.assert_frame_equal(table, TABLE)
    assert len(sentences) == 1 and sentences[0].startswith("Not in the published boards: SDCL (frames + events); PSTA")
    assert re.search(reason, sentences[0])


def test_groups_of_rows_are_judged_one_by_one(own):
    both = pd.concat([ours(own), ours(own, dataset="walkers")], ignore_index=True)
    table, sentences = ours_beside(TABLE, both)
    assert len(table) == len(TABLE) + len(ours(own)) and len(sentences) == 1 and "walkers" in sentences[0]


def test_boards_hold_both_metrics_and_lose_no_number():
    found = boards(TABLE)
    assert len(found) == 10 and all(not DATASETS[dataset].images for dataset, _ in found)
    for (dataset, condition), one in found.items():
        for metric in METRICS:
            single = leaderboard(TABLE, dataset, metric, condition)
            shown = one[one[metric].notna()]
            assert sorted(shown[metric]) == sorted(single["value"]) and shown[f"{metric} doubt"].sum() == single["doubt"].sum()
        assert not one.duplicated(["protocol", "input", "method", "paper"]).any()


def test_sections_and_places_of_a_board():
    one = board(TABLE, "mars")
    assert one["protocol"].unique().tolist() == ["query_in_gallery", "query_not_in_gallery", "unknown"]
    for (protocol, _), part in one.groupby(["protocol", "input"], sort=False):
        assert part["mAP"].is_monotonic_decreasing and part.index.tolist() == list(range(part.index[0], part.index[-1] + 1))
        assert part["place"].isna().all() if protocol == "unknown" else part["place"].iloc[0] == 1
    prid = board(TABLE, "prid2011").set_index(["method", "input"])
    assert prid.loc[("SDCL", "V+E"), ["mAP", "Rank-1", "mAP doubt", "Rank-1 doubt"]].tolist() == [96.9, 96.5, False, True]
    sinet = prid.loc[("SINet", "V")]
    assert pd.isna(sinet["mAP"]) and sinet["Rank-1"] == 96.5 and pd.isna(sinet["place"])


def test_contradicting_numbers_of_one_paper_stay_two_lines():
    row = TABLE[(TABLE["dataset"] == "ls_vid") & (TABLE["method"] == "IANet") & (TABLE["metric"] == "mAP")].iloc[[0]]
    one = board(pd.concat([TABLE, row.assign(value=60.0, table="Table 9")], ignore_index=True), "ls_vid")
    assert one[one["method"] == "IANet"]["mAP"].tolist() == [69.2, 60.0]


def test_boards_are_read_with_their_doubts():
    shown = readable_board(board(TABLE, "prid2011"))
    assert shown.loc[[("one_split", "V+E", "1")]].iloc[0].tolist() == ["SDCL", "96.9", "96.5 ?", "sdcl_cvpr2023, Table 1"]
    degraded = readable_board(board(TABLE, "prid2011", "blur"))
    assert "Rank-1 (%)" not in degraded.columns and "mAP (%)" in degraded.columns
    assert board_title("prid2011", "blur") == "PRID-2011, blur" and board_title("mars", "standard") == "MARS"
    assert board_mixtures(TABLE, "prid2011")[-1].startswith("1 of 41 numbers are in doubt")


def test_what_the_boards_do_not_show_is_counted():
    video = ~TABLE["dataset"].map(lambda name: DATASETS[name].images)
    shown = video & (TABLE["kind"] == "comparison") & TABLE["metric"].isin(METRICS)
    numbers = [int(word) for word in left_out(TABLE).replace(",", "").split() if word.isdigit()]
    assert sum(numbers) == (~shown).sum()


def test_one_metric_for_a_figure():
    lines = scores(board(TABLE, "prid2011"))
    assert len(lines) == 19 and lines["protocol"].unique().tolist() == ["one_split"] and not lines["doubt"].any()
    assert scores(board(TABLE, "prid2011"), "Rank-1")["doubt"].sum() == 1


def test_gains_by_hand():
    gain = events_gain(TABLE).set_index(["method", "dataset", "condition"])
    psta = gain.loc[("PSTA", "prid2011", "occlusion")]
    assert [psta["V"], psta["V+E"], psta["gain"]] == pytest.approx([71.3, 78.9, 7.6])
    assert gain.loc[("PSTA", "prid2011", "standard"), "gain"] == pytest.approx(94.7 - 92.3)
    assert gain.loc[("SDCL", "prid2011", "blur"), ["V", "gain"]].isna().all()
    assert gain.xs("mars", level="dataset")["gain"].isna().all()  # another gallery for V+E
    assert gain.loc[("PSTA", "ilids_vid", "blur"), "doubt"] and not psta["doubt"]


def test_gains_in_words_and_cells():
    gain = events_gain(TABLE)
    shown = readable_gain(gain)
    assert shown.columns.tolist() == ["PRID-2011, blur", "PRID-2011, occlusion", "iLIDS-VID, blur", "iLIDS-VID, occlusion"]
    assert shown.loc["PSTA"].tolist()[1:3] == ["71.3 → 78.9 (+7.6)", "58.9 → 65.5 (+6.6) ?"]
    assert shown.index[0] == "SDCL" and shown.loc["SDCL", "PRID-2011, blur"] == "89.5 (no row on video)"
    first, *_, last = gain_sentences(gain)
    assert first == (
        "PRID-2011, blur: events add +3.3 to +7.0 points of mAP to 5 methods; on video as recorded the same methods gain +0.5 to +2.7."
    )
    assert "5 methods, 2 of them in doubt;" in last
