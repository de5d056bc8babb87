"""SDCL's chunks, on replicas as the release's loaders describe them: every event survives, in its place and time."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_sets import moving, write_frames, write_set
from scipy.io import savemat

from reidlib.datasets.sdcl_events import RecordedSettings, build, chunk_events, find_chunks, make, read_chunk
from reidlib.datasets.video_events import ConversionSettings

SMALL = ConversionSettings(height=32, width=16)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_chunk(path, start, x, y, t, p, **other):
    """As SDCL stores a chunk; x and y from 0 here, from 1 there."""
    columns = {"x": np.asarray(x) + 1, "y": np.asarray(y) + 1, "timestamp": t, "polarity": p}
    values = {f"section_event_{name}": np.asarray(column, float).reshape(1, -1) for name, column in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"start_timestamp": np.array([[float(start)]]), **values, **other}, do_compression=True)


def random_chunk(path, rng, start, length=40_000, count=30):
    """Some with events on both edges of the interval, some empty."""
    t = np.sort(np.r_[start, rng.integers(start, start + length, count), start + length - 1]) if count else []
    n = len(t)
    events = rng.integers(0, 16, n), rng.integers(0, 32, n), t, rng.choice([-1, 0, 1], n)
    write_chunk(path, start, *events)
    return np.stack([np.asarray(column, np.int64) for column in events], axis=1)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A made-up set and its chunks, one per interval between frames (one fewer), with an empty one and a late origin."""
    folder, rng = tmp_path_factory.mktemp("sdcl"), np.random.default_rng(0)
    rows, written = write_set(folder / "set"), {}
    for row in rows:
        chunks = [folder / "events" / row["source"] / f"section_{i}.mat" for i in range(5)]
        starts = 7_000_000 + 40_000 * np.arange(5)
        counts = [0 if i == 2 else 30 for i in range(5)]
        written[row["key"]] = [random_chunk(chunk, rng, start, count=n) for chunk, start, n in zip(chunks, starts, counts, strict=True)]
    return folder, rows, written


def test_every_event_lands_at_its_column_row_time_and_sign(recorded):
    folder, rows, written = recorded
    sample = make(folder / "set", SMALL, RecordedSettings(folder / "events"), rows[3])
    x, y, t, p = np.concatenate(written[rows[3]["key"]]).T
    events = sample.events
    assert len(events) == 4 * 32 and (events.width, events.height) == (16, 32)
    for found, expected in ((events.x, x), (events.y, y), (events.t, t - 7_000_000), (events.p, p > 0)):
        np.testing.assert_array_equal(found, expected)
    assert sample.attributes["frame_times"].tolist() == [0, 40_000, 80_000, 120_000, 160_000, 200_000]
    assert sample.interval() == (0, 200_000) and sample.attributes["chunks"] == 5
    np.testing.assert_array_equal(sample.frames, moving(6, 32, 16, seed=11))


def test_a_vertical_bar_stays_vertical(tmp_path):
    """The release's loader shows it lying down."""
    y = np.arange(32)
    write_chunk(tmp_path / "a.mat", 0, np.full(32, 5), y, np.arange(32), np.ones(32))
    _, events = chunk_events([tmp_path / "a.mat"], SMALL, 1e-6)
    picture = np.zeros((32, 16), int)
    np.add.at(picture, (events.y, events.x), np.where(events.p, 1, -1))
    assert (picture[:, 5] == 1).all() and picture.sum() == 32


def test_the_store_of_recorded_events(recorded, tmp_path):
    folder, rows, written = recorded
    store = build("made_up", folder / "set", rows, SMALL, RecordedSettings(folder / "events"), tmp_path / "s.h5", 1)
    assert store.index["events"].tolist() == [sum(map(len, written[key])) for key in store.index["key"]] and len(store) == 8
    assert store.settings["events"] == "recorded (SDCL)" and store.settings["tick"] == 1e-6
    again = build("made_up", folder / "set", rows, SMALL, RecordedSettings(str(folder / "events")), tmp_path / "s.h5", 1)
    assert again.data_hash == store.data_hash
    with pytest.raises(FileNotFoundError, match=r"no folder of recorded events at .*nowhere"):
        build("made_up", folder / "set", rows, SMALL, RecordedSettings(folder / "nowhere"), tmp_path / "s.h5", 1)
    with pytest.raises(ValueError, match="recorded events need height and width"):
        unsized = ConversionSettings(height=None, width=None)
        build("made_up", folder / "set", rows, unsized, RecordedSettings(folder / "events"), tmp_path / "s.h5", 1)


@pytest.mark.parametrize("home, place", [("bbox_train/0001", "train_origin_mat_divide/0001"), ("bbox_test/0001", "test_mat2/0001")])
def test_chunks_of_mars_have_the_names_of_the_frames(tmp_path, home, place):
    """A person's folder holds several tracklets; the same person's number under the other part is another folder."""
    names = [f"0001C{c}T000{c}F00{i}" for c in (1, 2) for i in (1, 2, 3)]
    for folder in ("train_origin_mat_divide/0001", "test_mat2/0001"):
        for i, name in enumerate(names):
            write_chunk(tmp_path / folder / f"{name}.mat", i * 100, [i], [1], [i * 100 + 5], [1])
    row = {"key": "a", "files": [f"{home}/{name}.jpg" for name in names[3:]]}
    assert find_chunks(tmp_path, row) == [tmp_path / place / f"{name}.mat" for name in names[3:]]
    (tmp_path / place / f"{names[5]}.mat").unlink()  # one per interval: the last frame has none
    assert len(find_chunks(tmp_path, row)) == 2
    (tmp_path / place / f"{names[4]}.mat").unlink()
    with pytest.raises(ValueError, match=r"2 of 3 frames of tracklet a have no chunk in .*, the first is 0001C2T0002F002.mat"):
        find_chunks(tmp_path, row)
    with pytest.raises(FileNotFoundError, match=r"no folder of events for tracklet b in .*: none ends in 0009"):
        find_chunks(tmp_path, {"key": "b", "files": ["bbox_train/0009/x.jpg"]})


def test_chunks_are_sorted_by_number_and_counted(tmp_path):
    for i in (1, 2, 9, 10, 11):
        write_chunk(tmp_path / "cam_a" / "p1" / f"chunk_{i}.mat", i, [], [], [], [])
    files = [f"x/cam_a/p1/{i}.png" for i in range(100, 106)]
    assert [path.stem for path in find_chunks(tmp_path, {"key": "a", "files": files})] == [f"chunk_{i}" for i in (1, 2, 9, 10, 11)]
    with pytest.raises(ValueError, match=r"tracklet a has 4 frames and 5 chunks"):
        find_chunks(tmp_path, {"key": "a", "files": files[:4]})


def test_silence_and_stamps_in_seconds(tmp_path):
    for i in range(3):
        write_chunk(tmp_path / f"{i}.mat", 5 + 0.04 * i, [], [], [], [])
    paths = [tmp_path / f"{i}.mat" for i in range(3)]
    starts, events = chunk_events(paths, SMALL, 1.0)
    assert starts.tolist() == [0, 40_000, 80_000] and len(events) == 0
    write_chunk(tmp_path / "1.mat", 5.04, [3, 4], [1, 1], [5.041, 5.07], [1, -1])
    assert chunk_events(paths, SMALL, 1.0)[1].t.tolist() == [41_000, 70_000]
    with pytest.raises(ValueError, match=r"1.mat: its times hold fractions, as of seconds, and tick is 1e-06 s"):
        chunk_events(paths, SMALL, 1e-6)
    (tmp_path / "set").mkdir()
    names = write_frames(tmp_path / "set" / "cam" / "p", moving(1, 32, 16, 0))
    write_chunk(tmp_path / "events" / "cam" / "p" / "0001.mat", 17, [], [], [], [])
    row = {"key": "a", "files": [f"cam/p/{name}" for name in names]}
    assert make(tmp_path / "set", SMALL, RecordedSettings(tmp_path / "events"), row).interval() == (0, 40_000)


def test_refused_chunks(tmp_path):
    path = tmp_path / "a.mat"
    good = {"start": 10, "x": [1, 2], "y": [3, 4], "t": [10, 12], "p": [1, -1]}

    def error(**changed):
        write_chunk(path, **{**good, **changed})
        with pytest.raises(ValueError, match=r"a.mat") as caught:
            chunk_events([path], SMALL, 1e-6)
        return str(caught.value)

    assert "section_event_x holds 0: coordinates are whole numbers from 1" in error(x=[-1, 2])
    assert "section_event_y holds 4.5" in error(y=[3.5, 4])
    assert "coordinates" in error(x=[np.nan, 2])
    assert "x = 17, y = 4 lies outside 16 x 32 (width x height)" in error(x=[16, 2])
    assert "must be finite and ascend" in error(t=[12, 10])
    assert "must be finite and ascend from start_timestamp = 11" in error(start=11)
    assert "must be finite" in error(t=[10, np.inf])
    assert "not of equal length" in error(p=[1])
    savemat(path, {"start_timestamp": 1.0, "x": [1.0]})
    with pytest.raises(ValueError, match=r"a.mat has no section_event_x: .* It holds \['start_timestamp', 'x'\]"):
        read_chunk(path)
    write_chunk(path, **good, section_event_label=1)
    assert len(read_chunk(path)[1]) == 2  # further variables are nobody's business
    values = {f"section_event_{name}": [[1.0]] for name in ("x", "y", "timestamp")}
    savemat(path, {"start_timestamp": 1.0, "section_event_polarity": "on", **values})
    with pytest.raises(ValueError, match=r"section_event_polarity does not hold real numbers"):
        read_chunk(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(ValueError, match=r"a.mat"):
        read_chunk(path)
    with pytest.raises(FileNotFoundError, match=r"no chunk of events at .*none.mat"):
        read_chunk(tmp_path / "none.mat")
    with pytest.raises(ValueError, match="tick must be from 1e-9 to 1 second"):
        RecordedSettings(tick=0)


def test_chunks_whose_clocks_overlap_are_refused(tmp_path):
    for i, start in enumerate((0, 0)):
        write_chunk(tmp_path / f"{i}.mat", start, [1], [1], [start + 9], [1])
    with pytest.raises(ValueError, match=r"1.mat starts at 0, and the chunk before it started at 0 and ended at 9: .* begin anew\?"):
        chunk_events([tmp_path / "0.mat", tmp_path / "1.mat"], SMALL, 1e-6)
    write_chunk(tmp_path / "1.mat", 9, [2], [1], [9], [1])  # an event on the edge belongs to both stamps and is kept once each
    assert chunk_events([tmp_path / "0.mat", tmp_path / "1.mat"], SMALL, 1e-6)[1].t.tolist() == [9, 9]


@FEW
@given(st.integers(0, 10**9), st.integers(0, 7), st.booleans(), st.booleans())
def test_a_damaged_chunk_is_refused_or_holds_legal_events(tmp_path, place, bit, cut, compressed):
    path = tmp_path / "a.mat"
    rng = np.random.default_rng(0)
    values = {
        "x": rng.integers(1, 17, 40),
        "y": rng.integers(1, 33, 40),
        "timestamp": np.sort(rng.integers(9, 99, 40)),
        "polarity": rng.integers(0, 2, 40),
    }
    savemat(
        path, {"start_timestamp": 5, **{f"section_event_{k}": v[None].astype(float) for k, v in values.items()}}, do_compression=compressed
    )
    data = bytearray(path.read_bytes())
    if cut:
        del data[place % len(data) :]
    else:
        data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    try:
        start, events = read_chunk(path)
    except ValueError as error:
        assert "a.mat" in str(error)
    else:
        assert events.shape[1] == 4 and (events[:, :2] >= 0).all() and (np.diff([start, *events[:, 2]]) >= 0).all()
        assert set(events[:, 3]) <= {0, 1} and (not cut or len(events) == 40)
