"""MARS: the queries in the gallery, junk, distractors, ranges of lines, and files that do not fit each other."""

import numpy as np
import pytest
import replicas
from scipy.io import loadmat, savemat

from reidlib.datasets import check_index, describe, make_index, mars, unmatched_queries
from reidlib.datasets.mars import MarsSettings
from reidlib.evaluation import evaluate, protocols, rank_protocol

FACTS = {"duration": 1.0, "events": 5, "width": 8, "height": 16}


def index_of(rows):
    return make_index({**row, **FACTS, "frames": len(row["files"])} for row in rows)


def test_junk_is_dropped_and_distractors_stay(tmp_path):
    replicas.mars(tmp_path)
    index = check_index(index_of(mars.rows(tmp_path, MarsSettings())))
    counts = describe(index)[["people", "tracklets", "frames"]].T.to_dict("list")
    assert counts == {"train": [3, 5, 20], "query": [3, 4, 18], "gallery": [4, 9, 28], "all": [7, 14, 48]}
    assert index.loc[index["person"] == 0, "subset"].tolist() == ["gallery", "gallery"]
    assert index["key"].tolist()[:2] == ["p0002/c1/train00001", "p0002/c5/train00002"]
    assert index["key"].iloc[-1] == "p0005/c2/test00011"  # the row's number in the table, junk counted


def test_nested_folders(tmp_path):
    expected = replicas.mars(tmp_path, nested=True)
    rows = mars.rows(tmp_path, MarsSettings())
    assert sorted(tuple(row["files"]) for row in rows) == sorted(row[4] for row in expected)
    assert rows[0]["files"][0] == "bbox_train/bbox_train/0002/0002C1T0001F001.jpg"


def test_queries_join_the_gallery_only_where_asked(tmp_path):
    replicas.mars(tmp_path)
    joined, apart = (index_of(mars.rows(tmp_path, MarsSettings(queries_join=join))) for join in (True, False))
    assert apart["key"].tolist() == joined["key"].tolist()
    assert unmatched_queries(joined) == []
    assert unmatched_queries(apart) == ["p0003/c2/test00006", "p0003/c6/test00007"]
    asked = protocols(joined)
    assert list(asked) == ["query to gallery"]
    assert len(asked["query to gallery"].queries) == 4 and len(asked["query to gallery"].gallery) == 9
    assert len(protocols(apart)["query to gallery"].gallery) == 5


def test_ranking_with_the_queries_in_the_gallery_against_a_loop(tmp_path):
    replicas.mars(tmp_path)
    rows = [row for row in mars.rows(tmp_path, MarsSettings()) if row["subset"] != "train"]
    protocol = protocols(index_of(rows))["query to gallery"]
    vectors = np.random.default_rng(1).normal(size=(len(rows), 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = rank_protocol(vectors, protocol).average_precision
    queries = [i for i, row in enumerate(rows) if row["subset"] == "query+gallery"]
    for query, precision in zip(queries, found, strict=True):
        kept = [
            i for i, row in enumerate(rows) if row["person"] != rows[query]["person"] or row["camera"] != rows[query]["camera"]
        ]  # every test tracklet but those of the query's person and camera, itself included
        kept.sort(key=lambda i: -float(vectors[i] @ vectors[query]))
        hits = [place for place, i in enumerate(kept, start=1) if rows[i]["person"] == rows[query]["person"]]
        assert precision == pytest.approx(np.mean([(n + 1) / place for n, place in enumerate(hits)]))
    perfect = np.eye(6, dtype=np.float32)[[row["person"] for row in rows]]
    result = evaluate(perfect, protocol)
    assert result.mAP.mean == result.rank1.mean == 100 and len(result.ranking.excluded) == 0


def test_frames_are_in_time_order_whatever_the_list_says(tmp_path):
    expected = replicas.mars(tmp_path)
    path = tmp_path / "info" / "train_name.txt"
    names = path.read_text().split()
    path.write_text("\n".join(names[:8] + names[8:][::-1]) + "\n")
    rows = mars.rows(tmp_path, MarsSettings())
    assert tuple(rows[4]["files"]) == next(row[4] for row in expected if row[2] == 6)


def change(path, key, row, column, value):
    table = loadmat(path)[key]
    table[row, column] = value
    savemat(path, {key: table})


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    def broken(name, *edit):
        root = tmp_path / name
        replicas.mars(root)
        if edit:
            change(root / "info" / edit[0], *edit[1:])
        return root

    def refused(root, message, error=ValueError):
        with pytest.raises(error, match=message):
            mars.rows(root, MarsSettings())

    info = ("tracks_train_info.mat", "track_train_info")
    refused(broken("zero", *info, 0, 0, 0), "row 1 of track_train_info spans lines 0 to 3 of train_name.txt, which has 20")
    refused(broken("long", *info, 4, 1, 21), "row 5 of track_train_info spans lines 9 to 21")
    refused(broken("empty", *info, 1, 1, 3), "row 2 of track_train_info spans lines 4 to 3")
    refused(broken("shifted", *info, 1, 0, 3), "row 2 of .* says person 2, camera 5, but spans 0002C1T0001F003.jpg")
    refused(broken("camera", *info, 1, 3, 6), "says person 2, camera 6, but spans 0002C5T0002F001.jpg")
    refused(broken("person", *info, 1, 2, 3), "says person 3, camera 5, but spans 0002C5")
    refused(broken("query", "query_IDX.mat", "query_IDX", 0, 0, 12), "query_IDX of .* names row 12 of 11")
    refused(broken("nobody", "query_IDX.mat", "query_IDX", 0, 0, 2), "query_IDX names row 2 of track_test_info, which shows person 0")
    root = broken("absent")
    for name in ("0006C3T0005F003.jpg", "0006C3T0005F011.jpg"):
        (root / "bbox_train" / "0006" / name).unlink()
    refused(root, "lacks 2 listed images, the first is bbox_train/0006/0006C3T0005F003.jpg", FileNotFoundError)
    savemat(root / "info" / info[0], {"tracks_train_info": np.ones((2, 4))})
    refused(root, "has no array 'track_train_info'; it has tracks_train_info")
    savemat(root / "info" / info[0], {"track_train_info": np.ones((2, 3))})
    refused(root, "track_train_info has 3 columns: expected first line, last line, person, camera")
    (root / "info" / "train_name.txt").unlink()
    refused(root, "no file .*train_name.txt", FileNotFoundError)
