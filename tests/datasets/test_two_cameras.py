"""PRID-2011 and iLIDS-VID: ten splits, people with few frames, split files that are not as described."""

import json

import numpy as np
import pytest
import replicas
from scipy.io import savemat

from reidlib.datasets import check_index, describe, ilids_vid, make_index, prid2011
from reidlib.datasets.ilids_vid import IlidsVidSettings
from reidlib.datasets.prid2011 import Prid2011Settings
from reidlib.evaluation import evaluate, protocols

FACTS = {"duration": 1.0, "events": 5, "width": 8, "height": 16}
SETS = {
    "prid2011": (prid2011, replicas.prid2011, Prid2011Settings),
    "ilids_vid": (ilids_vid, replicas.ilids_vid, IlidsVidSettings),
}


@pytest.mark.parametrize("name", SETS)
def test_every_split_is_a_test_of_its_own(name, tmp_path):
    loader, builder, settings = SETS[name]
    builder(tmp_path)
    whole = make_index({**row, **FACTS, "frames": len(row["files"])} for row in loader.rows(tmp_path, settings(split=None)))
    with pytest.raises(ValueError, match="the index holds 10 splits, each a test of its own"):
        protocols(whole)
    for split in (0, 4, 9):
        rows = loader.rows(tmp_path, settings(split=split))
        index = check_index(make_index({**row, **FACTS, "frames": len(row["files"])} for row in rows))
        assert index.equals(whole[whole["split"] == split].reset_index(drop=True))
        counts = describe(index)[["people", "tracklets", "cameras"]].T.to_dict("list")
        assert counts == {"train": [3, 6, 2], "query": [3, 3, 1], "gallery": [3, 3, 1], "all": [6, 12, 2]}
        protocol = protocols(index)["query to gallery"]
        assert set(protocol.index["camera"][protocol.queries]) == {1} and set(protocol.index["camera"][protocol.gallery]) == {2}
        found = evaluate(np.eye(14, dtype=np.float32)[protocol.index["person"]], protocol)
        assert found.mAP.mean == 100 and len(found.ranking.excluded) == 0


@pytest.mark.parametrize("kind", [Prid2011Settings, IlidsVidSettings])
@pytest.mark.parametrize("split", [-1, 10, True, 1.5])
def test_splits_that_do_not_exist_are_refused(kind, split):
    with pytest.raises(ValueError, match=f"split must be 0 to 9, or None for all 10, not {split}"):
        kind(split=split)


def test_people_with_few_frames_can_be_left_out_of_prid(tmp_path):
    expected = replicas.prid2011(tmp_path)
    for least, people in ((1, {1, 2, 3, 5, 8, 13}), (2, {1, 2, 3, 5, 8}), (4, {8})):
        rows = prid2011.rows(tmp_path, Prid2011Settings(split=None, min_frames=least))
        assert {row["person"] for row in rows} == people
        assert len(rows) == sum(row[2] in people for row in expected)
    (tmp_path / "prid_2011/multi_shot/cam_b/person_0003/0002.png").unlink()
    rows = prid2011.rows(tmp_path, Prid2011Settings(split=None, min_frames=3))
    assert {row["person"] for row in rows} == {1, 2, 5, 8}  # short under one camera is short
    with pytest.raises(ValueError, match="min_frames must be at least 1, not 0"):
        Prid2011Settings(min_frames=0)


def test_the_folder_as_it_unpacks_is_taken_too(tmp_path):
    for loader, builder, settings in SETS.values():
        root = tmp_path / loader.NAME
        expected = builder(root)
        outer = "prid_2011" if loader is prid2011 else "i-LIDS-VID"
        (inner,) = (root / outer).iterdir()
        inner.rename(root / inner.name)
        rows = loader.rows(root, settings(split=None))
        assert sorted(f"{outer}/{file}" for row in rows for file in row["files"]) == sorted(file for row in expected for file in row[4])


def test_prids_split_file(tmp_path):
    replicas.prid2011(tmp_path)
    path = tmp_path / "splits_prid2011.json"
    splits = json.loads(path.read_text())

    def refused(content, message, error=ValueError):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(error, match=message):
            prid2011.rows(tmp_path, Prid2011Settings())

    refused("[{", r'splits_prid2011.json is no list of {"train": .*JSONDecodeError')
    refused([{"train": []}] * 10, r"is no list of .*KeyError: 'test'")
    refused(3, r"is no list of .*TypeError")
    refused([{"train": 3, "test": []}] * 10, r"is no list of .*TypeError")
    refused(splits[:9], "holds 9 splits: expected 10")
    refused([{**splits[0], "test": splits[0]["train"]}, *splits[1:]], "split 0 of .* names a person twice")
    refused([{**splits[0], "test": ["cat"]}, *splits[1:]], "'cat' is no person's folder")
    refused([{**splits[0], "test": [5]}, *splits[1:]], "'5' is no person's folder")
    refused([{**splits[0], "test": ["person_0300"]}, *splits[1:]], "no folder .*cam_b/person_0300", FileNotFoundError)
    path.write_bytes(b"[\xff]")
    with pytest.raises(ValueError, match="not UTF-8"):
        prid2011.rows(tmp_path, Prid2011Settings())
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no splits_prid2011\.json; it holds 'prid_2011'"):
        prid2011.rows(tmp_path, Prid2011Settings())


def test_ilids_split_file(tmp_path):
    replicas.ilids_vid(tmp_path)
    path = tmp_path / "train-test people splits" / "train_test_splits_ilidsvid.mat"
    good = np.tile(np.arange(1, 7), (10, 1))

    def refused(message, **arrays):
        savemat(path, arrays)
        with pytest.raises(ValueError, match=message):
            ilids_vid.rows(tmp_path, IlidsVidSettings())

    refused("has no array 'ls_set'; it has sets", sets=good)
    refused(r"is \[9, 6\]: expected 10 rows, each with the numbers 1 to 6 once", ls_set=good[1:])
    refused(r"is \[10, 4\]: expected 10 rows", ls_set=good[:, :4])
    refused(r"is \[10, 6\]: expected 10 rows, each with the numbers 1 to 6 once", ls_set=good - 1)
    refused(r"is \[10, 6\]: expected 10 rows", ls_set=np.maximum(good, 2))


def test_ilids_people_need_both_cameras(tmp_path):
    replicas.ilids_vid(tmp_path)
    replicas.write_images(tmp_path, ["i-LIDS-VID/sequences/cam1/person020/cam1_person020_00001.png"])
    with pytest.raises(ValueError, match="1 people have one camera only, the first is person020"):
        ilids_vid.rows(tmp_path, IlidsVidSettings())
