"""The public video sets, all in one go: every replica gives exactly its rows, in any file system order, as an index without faults."""

import contextlib
import os
import random

import numpy as np
import pytest
import replicas
from PIL import Image
from samples import random_events

from reidlib.datasets import Sample, build_store, check_index, describe, duke_video, ilids_vid, ls_vid, make_index, mars, prid2011
from reidlib.datasets.tracklets import JOINED
from reidlib.events import Events

#: Loader, builder of the replica, settings of the default and of everything that the builder returns.
SETS = {
    "prid2011": (prid2011, replicas.prid2011, prid2011.Prid2011Settings(), prid2011.Prid2011Settings(split=None)),
    "ilids_vid": (ilids_vid, replicas.ilids_vid, ilids_vid.IlidsVidSettings(), ilids_vid.IlidsVidSettings(split=None)),
    "mars": (mars, replicas.mars, mars.MarsSettings(), mars.MarsSettings()),
    "duke_video": (duke_video, replicas.duke_video, duke_video.DukeVideoSettings(), duke_video.DukeVideoSettings()),
    "ls_vid": (ls_vid, replicas.ls_vid, ls_vid.LsVidSettings(), ls_vid.LsVidSettings()),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*frame numbers are missing")
FACTS = {"duration": 1.0, "events": 5, "width": 8, "height": 16}


def plain(rows: list[dict]) -> replicas.Expected:
    return sorted((row["split"], row["subset"], row["person"], row["camera"], tuple(row["files"])) for row in rows)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Name -> (root of its replica, what must be found there)."""
    roots = {name: tmp_path_factory.mktemp(name) for name in SETS}
    return {name: (roots[name], SETS[name][1](roots[name])) for name in SETS}


def load(built, name, everything=True):
    loader, _, default, whole = SETS[name]
    return loader.rows(built[name][0], whole if everything else default)


@pytest.mark.parametrize("name", SETS)
def test_a_replica_gives_exactly_its_rows(built, name):
    root, expected = built[name]
    rows = load(built, name)
    assert plain(rows) == expected
    assert {row["dataset"] for row in rows} == {name} == {SETS[name][0].NAME}
    assert all((root / file).is_file() for row in rows for file in row["files"])
    with Image.open(root / rows[0]["files"][0]) as image:
        assert (image.height, image.width) == replicas.SIZE


@pytest.mark.parametrize("name", ["prid2011", "ilids_vid"])
def test_the_default_is_the_first_split(built, name):
    assert plain(load(built, name, everything=False)) == [row for row in built[name][1] if row[0] == 0]
    assert len({row[0] for row in built[name][1]}) == 10


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_do_not_depend_on_the_file_systems_order(built, name, seed, monkeypatch):
    usual = load(built, name)
    scandir = os.scandir
    shuffled = []

    def any_order(folder):
        with scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        random.Random(f"{seed}{folder}").shuffle(entries)
        shuffled.append(len(entries))
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", any_order)
    assert load(built, name) == usual
    assert max(shuffled) > 10  # the longest tracklet was among them


@pytest.mark.parametrize("name", SETS)
def test_rows_are_an_index_that_passes_the_checks(built, name):
    rows = load(built, name)
    index = check_index(make_index({**row, **FACTS, "frames": len(row["files"])} for row in rows))
    assert len(index) == len(rows)
    people = index.loc[(index["split"] == 0) & (index["subset"] == "train"), "person"].tolist()
    assert people == sorted(people)  # so that labels are in the order of the people's numbers
    assert describe(index).loc["all", "frames"] == len({file for row in rows for file in row["files"]})


def make_tracklet(row: dict) -> Sample:
    number = len(row["files"])
    return Sample(random_events(5, number, *replicas.SIZE[::-1]), np.zeros((number, *replicas.SIZE), np.uint8))


@pytest.mark.parametrize("name", SETS)
def test_the_store_takes_the_rows(built, name, tmp_path):
    """Keys are legal; a tracklet of several splits is made once."""
    rows = load(built, name)
    store = build_store(tmp_path / "a.h5", rows, make_tracklet, {"code": 1}, workers=1)
    assert store.index["frames"].tolist() == [len(row["files"]) for row in rows]
    assert isinstance(store.events(rows[-1]["key"]), Events)
    assert len({tuple(row["files"]) for row in rows}) == store.index["key"].nunique()


def loop_counts(expected: replicas.Expected, subsets: set[str]) -> dict[str, int]:
    part = [row for row in expected if row[1].replace(JOINED, "query") in subsets]
    people, cameras = {row[2] for row in part}, {row[3] for row in part}
    return {"people": len(people), "tracklets": len(part), "frames": sum(len(row[4]) for row in part), "cameras": len(cameras)}


@pytest.mark.parametrize("name", SETS)
def test_counts_stand_beside_the_published_ones(built, name):
    loader = SETS[name][0]
    table = loader.compare(load(built, name, everything=False))
    expected = [row for row in built[name][1] if row[0] == 0]
    lines = [
        (subset, count, number, loop_counts(expected, set(subset.split(" + ")))[count])
        for subset, numbers in loader.PUBLISHED[name].items()
        for count, number in numbers.items()
    ]
    assert [tuple(line) for line in table.drop(columns="difference").itertuples(index=False)] == lines
    assert (table["difference"] == table["ours"] - table["published"]).all()


def test_counts_of_several_splits_are_told_apart(built):
    table = prid2011.compare(load(built, "prid2011"))
    assert len(table) == 10 * len(prid2011.compare(load(built, "prid2011", everything=False)))
    assert table["subset"].iloc[0] == "0 train" and table["subset"].iloc[-1] == "9 train + query + gallery"
    assert (table.loc[table["count"] == "people", "ours"].unique() == [3, 6]).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prid2011", "prid_2011/multi_shot"),
        ("ilids_vid", "i-LIDS-VID/sequences"),
        ("mars", "info"),
        ("duke_video", "train"),
        ("ls_vid", "list_sequence/list_seq_train.txt"),
    ],
)
def test_a_wrong_root_says_what_was_expected_and_found(name, expected, tmp_path):
    loader, _, settings, _ = SETS[name]
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere: check the path"):
        loader.rows(tmp_path / "nowhere", settings)
    with pytest.raises(FileNotFoundError, match=f"holds no {expected}.*it holds nothing"):
        loader.rows(tmp_path, settings)
    for i in range(10):
        (tmp_path / f"other{i}").mkdir()
    with pytest.raises(FileNotFoundError, match=f"holds no {expected}.*it holds 'other0', .*'other7', ... \\(10 in all\\)"):
        loader.rows(tmp_path, settings)


@pytest.mark.parametrize("name", ["prid2011", "ilids_vid", "duke_video", "ls_vid"])
def test_an_empty_tracklet_is_named(name, tmp_path):
    loader, builder, settings, _ = SETS[name]
    tracklet = builder(tmp_path)[0][4]
    for file in tracklet:
        (tmp_path / file).unlink()
    where = tracklet[0].rpartition("_" if name == "ls_vid" else "/")[0]
    with pytest.raises(FileNotFoundError, match=f"empty tracklet: .*{where}"):
        loader.rows(tmp_path, settings)


@pytest.mark.parametrize("name", SETS)
def test_a_name_that_is_not_utf8_is_shown(name, tmp_path):
    loader, builder, settings, _ = SETS[name]
    file = tmp_path / next(row for row in builder(tmp_path) if row[0] == 0)[4][0]
    with open(os.path.join(os.fsencode(file.parent), b"0001\xff.jpg"), "wb"):
        pass
    with pytest.raises(ValueError, match=r"holds the name b'0001\\xff\.jpg', which is not UTF-8"):
        loader.rows(tmp_path, settings)
