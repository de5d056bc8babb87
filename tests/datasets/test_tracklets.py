"""The index table: every check has a table that fails it; splits and summaries against plain references."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.datasets import cameras_or_none, check_index, describe, in_subset, make_index, unmatched_queries, validation_split
from reidlib.datasets.tracklets import JOINED


def table(*rows: tuple[str, int, int], **columns) -> pd.DataFrame:
    """Index of (subset, person, camera) rows."""
    facts = {"dataset": "d", "split": 0, "frames": 2, "duration": 1.0, "events": 10, "width": 8, "height": 16, "source": ""}
    index = make_index({**facts, "key": f"k{i}", "subset": s, "person": p, "camera": c} for i, (s, p, c) in enumerate(rows))
    return index.assign(**columns)


TRAIN = (("train", 0, 0), ("train", 0, 1), ("train", 1, 0), ("train", 1, 1))
GOOD = (*TRAIN, ("query", 2, 0), ("query", 3, 0), ("gallery", 2, 1), ("gallery", 3, 1))
LOST = (*GOOD, ("query", 4, 0), ("gallery", 4, 0))  # person 4 was never seen by another camera


def test_a_good_index_passes_unchanged():
    index = table(*GOOD)
    before = index.copy()
    pd.testing.assert_frame_equal(check_index(index), before)
    pd.testing.assert_frame_equal(index, before)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (table(*GOOD).drop(columns=["camera", "events"]), r"lacks the columns \['camera', 'events'\]"),
        (table(*GOOD, key=[*"abcdefg", "a"]), "1 duplicate keys.*: a"),
        (table(*GOOD, person=7), r"one identity \(7\)"),
        (table(*GOOD[:4]), "no query tracklets"),
        (table(*GOOD[4:]), "no train tracklets"),
        (table(*GOOD[:6]), "no gallery tracklets"),
        (table(*GOOD).iloc[:0], "no train tracklets"),
        (table(*GOOD[2:]), "train part of split 0 has one identity"),
        (table(*GOOD, ("gallery", 1, 1)), "1 people are both in train and test of split 0: 1"),
        (table(*GOOD, ("test", 5, 1)), "unknown subset 'test'.*legal: train, query, gallery"),
        (table(*GOOD, ("gallery", 3, -1)), "1 of 9 tracklets have no camera id"),
    ],
)
def test_bad_tables_are_refused(index, message):
    with pytest.raises(ValueError, match=message):
        check_index(index)


def test_unmatched_queries_are_named_dropped_or_kept():
    index = table(*LOST)
    with pytest.raises(ValueError, match=r"1 queries have no gallery.*k8; people 4.*unmatched='drop'.*unmatched='keep'"):
        check_index(index)
    assert "k8" not in check_index(index, "drop")["key"].tolist()
    assert len(check_index(index, "drop")) == len(index) - 1
    assert len(check_index(index, "keep")) == len(index)
    with pytest.raises(ValueError, match=""""error", "drop" or "keep", not 'skip'"""):
        check_index(index, "skip")


def test_dropping_every_query_is_refused():
    index = table(*GOOD[:4], ("query", 2, 0), ("gallery", 2, 0), ("gallery", 3, 1))
    with pytest.raises(ValueError, match="nothing is left to test"):
        check_index(index, "drop")


def test_without_cameras_the_same_camera_rule_is_off():
    index = table(*LOST, camera=-1)
    assert cameras_or_none(index) is None
    assert len(check_index(index)) == len(index)
    assert cameras_or_none(table(*GOOD)).tolist() == [row[2] for row in GOOD]


def test_splits_are_checked_one_by_one():
    first, second = table(*GOOD), table(*GOOD, split=1, person=[2, 2, 3, 3, 0, 1, 0, 1])  # the people change sides, the keys repeat
    both = pd.concat([first, second], ignore_index=True)
    assert len(check_index(both)) == 16
    assert describe(both).index.tolist() == ["0 train", "0 query", "0 gallery", "1 train", "1 query", "1 gallery", "all"]
    assert describe(both).loc["all", "tracklets"] == 8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["query", "gallery"]), st.integers(0, 4), st.integers(0, 2)), max_size=20), st.booleans())
def test_unmatched_queries_equal_the_definition(rows, cameras):
    index = table(*rows) if cameras else table(*rows, camera=-1)
    lost = []
    for i, (subset, person, camera) in enumerate(rows):
        if subset == "query" and not any(s == "gallery" and p == person and (c != camera or not cameras) for s, p, c in rows):
            lost.append(f"k{i}")
    assert unmatched_queries(index) == lost


def test_describe_counts():
    found = describe(table(*LOST))
    assert found.loc["train"].to_dict() == {"people": 2, "tracklets": 4, "cameras": 2, "frames": 8, "events": 40}
    assert found.loc["query", "people"] == 3
    assert found.loc["all"].to_dict() == {"people": 5, "tracklets": 10, "cameras": 2, "frames": 20, "events": 100}
    assert describe(table(*LOST, camera=-1))["cameras"].tolist() == [0, 0, 0, 0]


def test_missing_columns_of_rows_are_named():
    with pytest.raises(ValueError, match=r"lack the columns \['dataset', 'split'"):
        make_index([{"key": "a"}])


def training(people: int, seed: int, cameras: bool) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [("train", p, int(c)) for p in range(people) for c in rng.integers(0, 3, rng.integers(1, 6))]
    rows += [("query", 1000, 0), ("gallery", 1000, 1)]
    return table(*rows) if cameras else table(*rows, camera=-1)


@settings(max_examples=60, deadline=None)
@given(st.integers(6, 14), st.integers(0, 50), st.integers(1, 3), st.booleans())
def test_validation_people_are_held_out_of_training_and_can_be_tested(people, seed, held, cameras):
    index = training(people, seed, cameras)
    part = index[index["subset"] == "train"]
    usable = part.groupby("person")["camera" if cameras else "key"].nunique().ge(2).sum()
    if usable < held:
        with pytest.raises(ValueError, match=f"cannot hold out {held}"):
            validation_split(index, held, seed)
        return
    train, validation = validation_split(index, held, seed)
    assert validation["person"].nunique() == held
    assert not set(train["person"]) & set(validation["person"])
    assert sorted([*train["key"], *validation["key"]]) == sorted(part["key"])
    assert set(train["subset"]) == {"train"} and set(validation["subset"]) == {"query", "gallery"}
    assert unmatched_queries(validation) == []
    for _, rows in validation.groupby("person"):
        queries = rows[rows["subset"] == "query"]
        if cameras:
            assert set(queries["camera"]) == {rows["camera"].min()}
        else:
            assert queries["key"].tolist() == [rows["key"].iloc[0]]


def test_validation_split_is_a_function_of_the_seed():
    index = training(12, 3, True)
    shuffled = index.sample(frac=1, random_state=0)
    held = [set(validation_split(part, 3, 5)[1]["person"]) for part in (index, index, shuffled)]
    assert held[0] == held[1] == held[2]
    assert len({frozenset(validation_split(index, 3, seed)[1]["person"]) for seed in range(8)}) > 1


def test_validation_leaves_two_people_to_train_on():
    index = table(*[("train", p, c) for p in range(4) for c in range(2)])
    assert validation_split(index, 2, 0)[0]["person"].nunique() == 2
    with pytest.raises(ValueError, match="two must be left to train on"):
        validation_split(index, 3, 0)


#: Persons 2 and 3 are asked and searched; person 4 is a plain gallery entry, person 5 has no match.
JOINED_ROWS = (*TRAIN, (JOINED, 2, 0), (JOINED, 3, 0), (JOINED, 2, 1), ("gallery", 3, 1), ("gallery", 4, 0))


def test_queries_that_join_the_gallery_belong_to_both():
    index = table(*JOINED_ROWS)
    assert check_index(index).equals(index)
    assert unmatched_queries(index) == []
    assert describe(index)["tracklets"].to_dict() == {"train": 4, "query": 3, "gallery": 5, "all": 9}
    assert [int(in_subset(index, subset).sum()) for subset in ("train", "query", "gallery")] == [4, 3, 5]
    assert unmatched_queries(table(*JOINED_ROWS[:6], *JOINED_ROWS[7:])) == ["k4"]  # person 2 has no second camera then
    with pytest.raises(ValueError, match=r"query\+gallery rows but no camera ids.*finds itself"):
        check_index(table(*JOINED_ROWS, camera=-1))


def test_a_joined_query_without_a_match_is_still_searched():
    index = table(*JOINED_ROWS, (JOINED, 5, 0))
    with pytest.raises(ValueError, match=r"1 queries have no gallery.*k9; people 5"):
        check_index(index)
    left = check_index(index, "drop")
    assert left["key"].tolist() == index["key"].tolist()
    assert left["subset"].tolist() == [*index["subset"][:-1], "gallery"]
    assert index["subset"].iloc[-1] == JOINED
    with pytest.raises(ValueError, match="nothing is left to test"):
        check_index(table(*TRAIN, (JOINED, 2, 0), (JOINED, 3, 0)), "drop")
