"""The example of own data, and the views of notebook 00."""

import numpy as np
import pandas as pd
import pytest

from reidlib.analysis import own_data
from reidlib.datasets.own_data import check


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return own_data.example(tmp_path_factory.mktemp("own") / "example")


@pytest.fixture(scope="module")
def store(data):
    return own_data.store_of(data, data.parent.parent, True)


def test_the_checks_find_every_flaw_of_the_example(data):
    table = check(data)
    assert set(table["severity"]) == {"warning"} and len(table) == 3
    (person, _), (_, _, missing) = own_data.LOST, own_data.GAP
    assert any(what.startswith("1 ids without a match") and f": {person + 1};" in what for what in table["what"])
    assert any("bridged" in what for what in table["what"]) and any("partly outside" in what for what in table["what"])
    before = {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    assert own_data.example(data.parent) == data and before == {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    assert len(missing) == 5


def test_the_example_becomes_one_tracklet_per_passage(data, store):
    passages = own_data.PEOPLE * len(own_data.CAMERAS) - 1
    assert len(store.index) == passages and (store.index["frames"] > 0).all() and (store.index["events"] > 100).all()
    assert store.index["subset"].value_counts().to_dict() == {"train": passages - 4, "query": 2, "gallery": 2}
    table = own_data.tracklet_table(store)
    assert list(table.index) == store.index["key"].tolist() and set(table["camera"]) == set(own_data.CAMERAS)
    assert table["of frames"].iloc[0] == "1–49" and len(own_data.tracklet_table(store, most=3)) == 3
    person, camera, pixels = own_data.CUT
    cut = store.index[(store.index["person"] == person + 1) & (store.index["camera"] == camera)]["key"].iloc[0]
    inside = [-left for left, *_ in store.attributes(cut)["box"] if left < 0]
    assert max(inside) == pixels and not store.frames(cut)[0][:, : -store.attributes(cut)["box"][0][0]].any()


def test_a_strip_shows_the_whole_tracklet(store):
    key = store.index["key"].iloc[0]
    video, events, step_ms = own_data.strip(store, key, steps=5)
    assert video.shape == (5, 64, 32) and events.shape == (5, 2, 64, 32) and step_ms == pytest.approx(160, rel=1e-3)
    assert events.sum() >= len(store.events(key)) - 1  # the interval ends with the last frame, where an event may lie
    np.testing.assert_array_equal(video[2], store.frames(key)[12])


def test_commands_name_the_data_and_leave_video_out_where_there_is_none():
    index = pd.DataFrame({"frames": [3, 4]})
    assert own_data.next_commands("my data/a.csv", index)[2] == "make report DATASET=own DATA='my data/a.csv'"
    assert own_data.next_commands("a", index.assign(frames=[3, 0]))[1] == "make report DATASET=own DATA=a METHOD=s3ce_net PRESET=tiny"
