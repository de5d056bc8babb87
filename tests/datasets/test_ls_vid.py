"""LS-VID: beginnings that begin one another, test people numbered anew, queries in the gallery, lists that are not as described."""

import h5py
import numpy as np
import pytest
import replicas

from reidlib.datasets import describe, ls_vid, make_index
from reidlib.datasets.ls_vid import LsVidSettings
from reidlib.evaluation import evaluate, protocols

FACTS = {"duration": 1.0, "events": 5, "width": 8, "height": 16}


def test_counts_and_the_protocol(tmp_path):
    replicas.ls_vid(tmp_path)
    rows = ls_vid.rows(tmp_path, LsVidSettings())
    index = make_index({**row, **FACTS, "frames": len(row["files"])} for row in rows)
    counts = describe(index)[["people", "tracklets", "frames", "cameras"]].T.to_dict("list")
    assert counts == {"train": [2, 4, 18, 4], "query": [2, 3, 6, 3], "gallery": [2, 5, 10, 4], "all": [4, 9, 28, 7]}
    asked = protocols(index)
    assert list(asked) == ["query to gallery"] and len(asked["query to gallery"].gallery) == 5
    vectors = np.eye(10, dtype=np.float32)[asked["query to gallery"].index["person"]]
    assert evaluate(vectors, asked["query to gallery"]).mAP.mean == 100
    apart = ls_vid.rows(tmp_path, LsVidSettings(queries_join=False))
    assert [row["subset"] for row in apart if row["subset"] != "train"] == ["query", "gallery", "gallery", "query", "query"]


def test_an_image_belongs_to_the_longest_beginning_that_fits(tmp_path):
    """A bare prefix would give ..._1 the images of ..._10 (the builder has such a pair) and of ..._1_7."""
    expected = replicas.ls_vid(tmp_path)
    longer = [f"tracklet_test/0008/0008_1_1_7_{frame}.jpg" for frame in (1, 2)]
    replicas.write_images(tmp_path, longer)
    path = tmp_path / "list_sequence" / "list_seq_test.txt"
    path.write_text(path.read_text() + "tracklet_test/0008/0008_1_1_7 8\n")
    files = [row["files"] for row in ls_vid.rows(tmp_path, LsVidSettings())]
    assert files[-1] == longer
    assert sorted(map(tuple, files[:-1])) == sorted(row[4] for row in expected)


def test_images_that_nobody_lists_are_passed_over(tmp_path):
    expected = replicas.ls_vid(tmp_path)
    replicas.write_images(
        tmp_path, ["tracklet_test/0008/0008_77_1_5.jpg", "tracklet_test/0008/lone.jpg", "tracklet_val/0100/0100_1_1_1.jpg"]
    )
    assert len(ls_vid.rows(tmp_path, LsVidSettings())) == len(expected)


def test_beginnings_may_end_with_the_underscore(tmp_path):
    expected = replicas.ls_vid(tmp_path)
    path = tmp_path / "list_sequence" / "list_seq_train.txt"
    path.write_text(path.read_text().replace(" ", "_\t"))
    assert len(ls_vid.rows(tmp_path, LsVidSettings())) == len(expected)


def test_test_people_numbered_anew_get_other_numbers(tmp_path):
    replicas.ls_vid(tmp_path)
    path = tmp_path / "list_sequence" / "list_seq_test.txt"
    path.write_text(path.read_text().replace(" 8\n", " 5\n"))
    with pytest.raises(ValueError, match=r"1 people are in both lists, the first is 5: .*option test_offset"):
        ls_vid.rows(tmp_path, LsVidSettings())
    rows = ls_vid.rows(tmp_path, LsVidSettings(test_offset=1000))
    assert {row["person"] for row in rows if row["subset"] != "train"} == {1005, 1009}
    assert {row["person"] for row in rows if row["subset"] == "train"} == {0, 5}
    with pytest.raises(ValueError, match="test_offset must be 0 or more"):
        LsVidSettings(test_offset=-1)


def test_errors(tmp_path):
    replicas.ls_vid(tmp_path)
    lists = tmp_path / "list_sequence" / "list_seq_train.txt"
    whole = lists.read_text()

    def refused(message, error=ValueError):
        with pytest.raises(error, match=message):
            ls_vid.rows(tmp_path, LsVidSettings())

    lists.write_text(whole + "tracklet_train/0005/0005_2_2\n")
    refused("line 5 of .*list_seq_train.txt is 'tracklet_train/0005/0005_2_2': expected the beginning of a path and a person's number")
    lists.write_text(whole + "tracklet_train/0005/0005_9_2 five\n")
    refused("line 5 of .*expected the beginning of a path")
    lists.write_text(whole + "tracklet_train/0005/0005_9_2 5\n")
    refused(r"empty tracklet: .* holds no image tracklet_train/0005/0005_9_2_\*", FileNotFoundError)
    lists.write_text(whole + "tracklet_train/0006/0006_9_2 5\n")
    refused("no folder .*tracklet_train/0006", FileNotFoundError)
    replicas.write_images(tmp_path, ["tracklet_train/0006/0006_9_c2_1.jpg"])
    lists.write_text(whole + "tracklet_train/0006/0006_9_c2 5\n")
    refused(r"0006_9_c2_1.jpg: expected the tracklet's camera as the third field .*found \[\('c2',\)\]")
    replicas.write_images(tmp_path, ["tracklet_train/0007/0007_1.jpg"])
    lists.write_text(whole + "tracklet_train/0007/0007 5\n")
    refused(r"0007_1.jpg: expected the tracklet's camera")
    replicas.write_images(tmp_path, ["tracklet_train/0009/0009_1_2_1.jpg", "tracklet_train/0009/0009_1_3_1.jpg"])
    lists.write_text(whole + "tracklet_train/0009/0009_1 5\n")
    refused(r"expected the tracklet's camera .*found \[\('2',\), \('3',\)\]")
    lists.write_text(whole)
    info = tmp_path / "test" / "data" / "info_test.mat"
    with h5py.File(info, "w") as file:
        file["gallery"] = np.ones((1, 2))
    refused("info_test.mat has no array 'query'; it has gallery")
    info.unlink()
    refused("holds no test/data/info_test.mat", FileNotFoundError)
