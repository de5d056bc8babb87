"""DukeMTMC-VideoReID and Occluded-Duke-Video: two ways to name frames, missing numbers, folders that are not as described."""

import shutil
import warnings

import pytest
import replicas

from reidlib.datasets import describe, duke_video, make_index
from reidlib.datasets.duke_video import DukeVideoSettings

FACTS = {"duration": 1.0, "events": 5, "width": 8, "height": 16}


def rows_of(root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return duke_video.rows(root, DukeVideoSettings(**options))


def test_counts_and_cameras(tmp_path):
    replicas.duke_video(tmp_path)
    rows = rows_of(tmp_path)
    table = describe(make_index({**row, **FACTS, "frames": len(row["files"])} for row in rows))
    counts = table[["people", "tracklets", "frames", "cameras"]].T.to_dict("list")
    assert counts == {"train": [2, 3, 16, 2], "query": [2, 2, 6, 2], "gallery": [3, 4, 7, 4], "all": [5, 9, 29, 7]}
    assert [row["key"] for row in rows[3:6]] == ["p0002/c1/query0030", "p0004/c8/query0031", "p0002/c3/gallery0030"]


def test_names_with_and_without_underscores(tmp_path):
    for underscores in (False, True):
        root = tmp_path / str(underscores)
        expected = replicas.duke_video(root, underscores)
        found = sorted((row["split"], row["subset"], row["person"], row["camera"], tuple(row["files"])) for row in rows_of(root))
        assert found == expected
    assert expected[0][4][0] == "gallery/0002/0033/0002_C1_F0001_X30008.jpg"


def test_missing_numbers_are_counted_in_one_warning(tmp_path):
    replicas.duke_video(tmp_path)
    numbers, tracklets = replicas.DUKE_GAPS
    with pytest.warns(UserWarning, match=f"^duke_video: {numbers} frame numbers are missing in {tracklets} tracklets; every") as caught:
        duke_video.rows(tmp_path, DukeVideoSettings())
    assert len(caught) == 1
    for folder in ("query/0004", "gallery/0002/0030"):  # all that have gaps
        shutil.rmtree(tmp_path / folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        duke_video.rows(tmp_path, DukeVideoSettings())


def test_the_occluded_set_has_its_own_name_and_counts(tmp_path):
    replicas.duke_video(tmp_path)
    rows = rows_of(tmp_path, occluded=True)
    assert {row["dataset"] for row in rows} == {"occluded_duke_video"}
    table = duke_video.compare(rows).set_index(["subset", "count"])["published"]
    assert table["query", "people"] == 661 and table["train", "tracklets"] == 1_702 and table["gallery", "people"] == 1_110
    for count in ("tracklets", "frames", "people"):
        assert table["train", count] + table["gallery", count] == table["train + gallery", count]


def test_junk_is_dropped(tmp_path):
    expected = replicas.duke_video(tmp_path)
    replicas.write_images(tmp_path, ["gallery/-1/0001/whatever.jpg"])
    assert len(rows_of(tmp_path)) == len(expected)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train/0001/0001/0001C2.jpg", r"holds '0001C2.jpg': expected 0001C6F0099X30823.jpg or 0001_C6_F0099_X30823.jpg"),
        ("train/0001/0001/0001C3F0004X1.jpg", r"mixes people \[1\] and cameras \[2, 3\]: expected person 1, one camera"),
        ("train/0001/0001/0002C2F0004X1.jpg", r"mixes people \[1, 2\] and cameras \[2\]"),
        ("train/0001/0001/0001C2F0003X1.jpg", r"holds 4 images but 3 frame numbers"),
        ("train/nobody/0001/0001C2F0003X1.jpg", r"train holds the folder 'nobody': expected a person's number"),
    ],
)
def test_other_names_are_refused(tmp_path, file, message):
    replicas.duke_video(tmp_path)
    replicas.write_images(tmp_path, [file])
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path)


def test_a_person_without_tracklets_is_refused(tmp_path):
    replicas.duke_video(tmp_path)
    (tmp_path / "query" / "0009").mkdir()
    with pytest.raises(FileNotFoundError, match="0009 holds no folders"):
        rows_of(tmp_path)
