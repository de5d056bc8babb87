"""Event-ReId: the authors' sample, a replica of the whole set's layout, and `load_dataset`."""

import os
import shutil

import numpy as np
import pytest

from reidlib.datasets import Sample, load_dataset, store, unmatched_queries
from reidlib.datasets.event_reid import EventReIdSettings, build, find_time_unit, person_box
from reidlib.datasets.store import to_json
from reidlib.events import Events


@pytest.fixture(scope="module")
def sample(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("event_reid")
    return load_dataset("event_reid", data=shared_data / "event_reid_sample", cache_dir=folder, workers=1, memory=True, quiet=True)


def test_the_sample_has_the_expected_people_windows_and_events(sample):
    index = sample.index
    assert len(index) == 63 and int(index["events"].sum()) == 389_513
    assert index.groupby("subset")["person"].nunique().to_dict() == {"train": 10, "query": 5, "gallery": 5}
    assert index["subset"].value_counts().to_dict() == {"train": 30, "query": 13, "gallery": 20}
    assert sorted(set(index["camera"])) == [1, 2, 3, 4]
    assert sorted(set(index.loc[index["subset"] != "train", "person"])) == [1001, 1002, 1003, 1004, 1005]
    assert unmatched_queries(index) == []
    assert index.loc[index["subset"] == "query", "source"].iloc[:2].tolist() == ["test/001_c1_060.txt", "test/001_c2_095.txt"]
    assert index.set_index("source").loc["train/004_c2_133.txt", "events"] == 338  # nearly empty, and kept


def test_windows_last_33_ms(sample):
    assert sample.settings["time_unit"] == 1e-4
    assert sample.index["duration"].between(0.0325, 0.0334).all()


def test_windows_are_cut_to_the_person_at_one_to_two(sample, shared_data):
    assert (sample.index["height"] == 2 * sample.index["width"]).all()
    row = sample.index.iloc[0]
    text = np.loadtxt(shared_data / "event_reid_sample" / row["source"])
    events, (left, top, width, height) = sample.events(row["key"]), sample.attributes(row["key"])["box"]
    assert (events.width, events.height) == (width, height)
    np.testing.assert_array_equal(events.x + left, text[:, 1])
    np.testing.assert_array_equal(events.y + top, text[:, 2])
    np.testing.assert_array_equal(events.p, text[:, 3])
    np.testing.assert_allclose(events.t, (text[:, 0] - text[0, 0]) * 100, atol=1.01)
    assert (events.x.min() == 0 and events.x.max() == width - 1) or (events.y.min() == 0 and events.y.max() >= height - 2)


def test_person_box_is_the_smallest_of_its_shape():
    def box(x, y):
        zeros = np.zeros(len(x), np.int64)
        return person_box(Events(np.array(x, np.uint16), np.array(y, np.uint16), zeros, zeros.astype(np.uint8), 640, 480))

    assert box([100, 109], [50, 69]) == (100, 50, 10, 20)
    assert box([100, 109], [50, 89]) == (95, 50, 20, 40)  # too tall: wider on both sides
    assert box([100, 119], [50, 69]) == (100, 40, 20, 40)  # too wide: higher on both sides
    assert box([5], [7]) == (5, 7, 1, 2)
    assert box([0, 1], [0, 399])[0] < 0  # the box may leave the sensor


def write_recording(path, t, header="640 480\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)))
    x, y, p = rng.integers(100, 200, len(t)), rng.integers(100, 200, len(t)), rng.integers(0, 2, len(t))
    path.write_text(header + "".join(f"{float(row[0])} {row[1]} {row[2]} {row[3]}\n" for row in zip(t, x, y, p, strict=True)))


@pytest.fixture
def replica(tmp_path):
    """Four people under three cameras in the whole set's layout, 5 s each, t in units of 0.1 ms with fractions."""
    for person in (1, 2, 3, 5):
        for camera in (1, 2, 3):
            write_recording(tmp_path / "full" / f"{person:03d}" / str(camera) / "events.txt", 7e8 + np.linspace(0, 50_000, 300) + 0.25)
    return tmp_path / "full"


def whole(folder, tmp_path, **options):
    return build(folder, EventReIdSettings(**options), tmp_path / "full.h5", workers=1)


def test_the_whole_set_by_our_reading(replica, tmp_path):
    index = whole(replica, tmp_path).index
    assert len(index) == 12
    assert set(index.loc[index["subset"] == "train", "person"]) == {1, 3}
    assert set(index.loc[index["subset"] == "query", "camera"]) == {1}
    assert index[index["subset"] == "gallery"].groupby("person")["camera"].apply(list).to_dict() == {1002: [2, 3], 1005: [2, 3]}
    assert index["duration"].to_numpy() == pytest.approx(5.0, abs=1e-3)
    assert (index["events"] == 300).all()


def test_the_whole_set_with_another_query_camera_and_time_unit(replica, tmp_path):
    index = whole(replica, tmp_path, query_camera=3, time_unit=1e-6).index
    assert set(index.loc[index["subset"] == "query", "camera"]) == {3}
    assert index["duration"].to_numpy() == pytest.approx(0.05, abs=1e-4)


def test_the_whole_set_in_windows_keeps_every_event_of_a_whole_window(replica, tmp_path):
    found = whole(replica, tmp_path, window_ms=500)
    assert len(found.index) == 12 * 10
    assert found.index["events"].sum() == 12 * 299  # the last one falls on the border where the next window would begin
    assert found.index["duration"].max() <= 0.5
    assert found.index["key"].iloc[1] == "p0001/c1/w0001"


def test_silent_windows_are_left_out(tmp_path):
    for person in (1, 2):
        for camera in (1, 2):
            pause = np.r_[np.linspace(0, 1, 50), np.linspace(4, 5, 50)]  # seconds
            write_recording(tmp_path / "full" / str(person) / str(camera) / "events.txt", pause)
    index = whole(tmp_path / "full", tmp_path, window_ms=1000).index
    assert [key[-5:] for key in index["key"]] == ["w0000", "w0001", "w0004"] * 4
    assert index["events"].min() > 0


def test_lists_decide_where_they_exist(replica, tmp_path):
    (replica / "query_list.txt").write_text("002/3/events.txt 002\n005/2/events.txt 005 \n")
    (replica / "gallery_list.txt").write_text("002/1/events.txt 002\n005/1/events.txt 005\n")
    index = whole(replica, tmp_path).index
    assert index[index["subset"] == "query"].set_index("person")["camera"].to_dict() == {1002: 3, 1005: 2}
    assert index[index["subset"] == "gallery"].set_index("person")["camera"].to_dict() == {1002: 1, 1005: 1}
    assert index["subset"].value_counts()["train"] == 6


@pytest.mark.parametrize("span, unit", [(333, 1e-4), (33_300, 1e-6), (33, 1e-3), (0.033, 1.0)])
def test_time_units_of_windows(tmp_path, span, unit):
    write_recording(tmp_path / "a.txt", np.linspace(1e6, 1e6 + span, 40), header="")
    write_recording(tmp_path / "empty.txt", [], header="")
    assert find_time_unit([tmp_path / "a.txt", tmp_path / "empty.txt"], 0.0333) == unit
    with pytest.raises(ValueError, match="give the option time_unit"):
        find_time_unit([tmp_path / "empty.txt"], 0.0333)


def small_sample(folder):
    names = [f"{part}/{person:03d}_c{camera}_000.txt" for part in ("train", "test") for person in (1, 2) for camera in (1, 2)]
    for name in names:
        write_recording(folder / name, np.linspace(5000, 5330, 30), header="")
    for subset, chosen in {"train": names[:4], "query": names[4::2], "gallery": names[5::2]}.items():
        (folder / f"{subset}_list.txt").write_text("".join(f"{name} {name.split('/')[1][:3]}\n" for name in chosen))
    return folder


def test_errors(tmp_path):
    def load(data=tmp_path / "sample"):
        return load_dataset("event_reid", data=data, cache_dir=tmp_path / "cache", workers=1, quiet=True)

    with pytest.raises(ValueError, match='"event_reid" needs data=<folder'):
        load(None)
    with pytest.raises(FileNotFoundError, match=r"no Event-ReId folder at .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"neither train_list.txt.* nor <ID>/<camera>/events.txt"):
        load(tmp_path)
    folder = small_sample(tmp_path / "sample")
    assert len(load()) == 8
    (folder / "test" / "001_c2_000.txt").write_text("")
    with pytest.raises(ValueError, match=r"001_c2_000.txt"):
        load()
    (folder / "test" / "001_c2_000.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"gallery_list.txt names 1 absent files, the first is test/001_c2_000.txt"):
        load()
    (folder / "query_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no query_list.txt in"):
        load()
    (folder / "train_list.txt").write_text("train/odd.txt 001\n")
    shutil.copy(folder / "train" / "001_c1_000.txt", folder / "train" / "odd.txt")
    with pytest.raises(ValueError, match=r"names 'train/odd.txt': expected ID_cCAM_WINDOW.txt"):
        load()


def test_changed_data_is_noticed(tmp_path):
    folder = small_sample(tmp_path / "sample")
    first = load_dataset("event_reid", data=folder, cache_dir=tmp_path, workers=1, quiet=True)
    write_recording(folder / "train" / "001_c1_000.txt", np.linspace(5000, 5330, 31), header="")
    second = load_dataset("event_reid", data=folder, cache_dir=tmp_path, workers=1, quiet=True)
    assert second.path == first.path and second.data_hash != first.data_hash
    assert second.index["events"].iloc[0] == 31


def test_load_dataset_prints_one_table_and_the_unmatched_queries(tmp_path, capsys):
    folder = small_sample(tmp_path / "sample")
    write_recording(folder / "test" / "003_c1_000.txt", np.linspace(0, 330, 10), header="")
    with open(folder / "query_list.txt", "a") as file:
        file.write("test/003_c1_000.txt 003\n")
    with pytest.raises(ValueError, match=r"1 queries have no gallery.*p1003/c1/w000; people 1003"):
        load_dataset("event_reid", data=folder, cache_dir=tmp_path, workers=1)
    capsys.readouterr()
    found = load_dataset("event_reid", data=folder, cache_dir=tmp_path, workers=1, unmatched="drop")
    out = capsys.readouterr().out
    assert len(found) == 8
    assert [line.split()[0] for line in out.splitlines()] == ["event_reid", "people", "subset", "train", "query", "gallery", "all", "1"]
    assert out.splitlines()[-1] == "1 queries without a gallery match (drop): p1003/c1/w000"


def test_unknown_names_and_options(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set 'walker'; legal: .*event_reid.*walkers"):
        load_dataset("walker")
    with pytest.raises(ValueError, match="unknown option 'windows' of data set 'event_reid'; legal: window_ms, query_camera, time_unit"):
        load_dataset("event_reid", data=tmp_path, options={"windows": 3})
    with pytest.raises(ValueError, match="window_ms must be above 0"):
        load_dataset("event_reid", data=tmp_path, options={"window_ms": -1})


def test_where_a_store_is_kept(tmp_path, monkeypatch):
    folder = small_sample(tmp_path / "sample")
    monkeypatch.setenv("REIDLIB_DATA", str(tmp_path / "elsewhere"))
    found = load_dataset("event_reid", data=folder, workers=1, quiet=True)
    assert found.path.parent == tmp_path / "elsewhere" / "event_reid"
    other = load_dataset("event_reid", data=folder, workers=1, quiet=True, options={"query_camera": 1})
    assert other.path != found.path and len(os.listdir(found.path.parent)) == 2


def test_json_of_settings_and_attributes():
    text = to_json({"b": np.float32(0.5), "a": [np.arange(2)], "s": EventReIdSettings()})
    assert text == '{"a": [[0, 1]], "b": 0.5, "s": {"query_camera": null, "time_unit": null, "window_ms": null}}'
    with pytest.raises(TypeError, match="cannot be stored as JSON"):
        to_json(Sample)
    assert store.FORMAT_VERSION == 1
