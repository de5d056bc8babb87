"""Reading and writing recordings: exact round trips, known bytes of the camera formats, and one clear error for each defect."""

import h5py
import numpy as np
import pytest
from event_strategies import recordings, rows, some_events
from hypothesis import HealthCheck, given, settings

from reidlib.events import Events, read, write

WRITABLE = [".npz", ".h5", ".hdf5", ".txt"]
THREE = [(3, 5, 100, 1), (7, 2, 100, 0), (1, 1, 250_000, 1)]  # x, y, t, p; a short recording, where units are easily mistaken


def three_events(width: int = 20, height: int = 10) -> Events:
    return Events(*np.array(THREE).T, width, height)


def text(tmp_path, content: str, name: str = "recording.txt"):
    path = tmp_path / name
    path.write_text(content)
    return path


def hdf5(tmp_path, attributes=(), **columns):
    path = tmp_path / "recording.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(dict(attributes))
        for name, column in zip("xytp", np.array(THREE).T, strict=True):
            kind = {"t": np.int64, "p": np.uint8}.get(name, np.uint16)
            file[f"events/{name}"] = columns.get(name, column.astype(kind))
    return path


def dat(tmp_path, header: bytes = b"% Width 20\n% Height 10\n", cut: int = 0):
    """Prophesee CD events: 32 bits of time, then 14 of x, 14 of y, 4 of polarity."""
    x, y, t, p = np.array(THREE, np.uint32).T
    words = np.stack([t, x | (y << 14) | (p << 28)], axis=1).astype("<u4").tobytes()
    path = tmp_path / "recording.dat"
    path.write_bytes(b"% Data file containing CD events.\n% Version 2\n" + header + bytes([0x0C, 8]) + words[: len(words) - cut])
    return path


def evt2(tmp_path, header: bytes = b"% geometry 20x10\n", cut: int = 0):
    """Prophesee EVT2: words of 4 bits of type; type 8 holds the high bits of the time, types 0 and 1 an event."""
    words = []
    for x, y, t, p in THREE:
        words += [(8 << 28) | (t >> 6), (p << 28) | ((t & 63) << 22) | (x << 11) | y]
    content = np.array(words, "<u4").tobytes()
    path = tmp_path / "recording.raw"
    path.write_bytes(b"% evt 2.0\n% format EVT2\n" + header + b"% end\n" + content[: len(content) - cut])
    return path


@pytest.mark.parametrize("suffix", WRITABLE)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=recordings(least=1))
def test_round_trips_are_exact(tmp_path, suffix, events):
    write(events, tmp_path / f"recording{suffix}")
    assert read(tmp_path / f"recording{suffix}") == events
    assert [path.name for path in tmp_path.iterdir()] == [f"recording{suffix}"]


@pytest.mark.parametrize("make", [dat, evt2, hdf5])
def test_other_formats(tmp_path, make):
    path = make(tmp_path)
    assert rows(read(path)) == THREE
    assert read(path, width=20, height=10) == three_events()


def test_rosbag(tmp_path):
    eventcv = pytest.importorskip("eventcv")
    path = tmp_path / "recording.bag"
    events = some_events(20_000)
    columns = np.stack([events.x, events.y, events.t, events.p], axis=1).astype(np.int64)
    eventcv.save(eventcv.from_numpy(columns, sensor_size=(12, 8), time_unit="us"), str(path))
    assert read(path) == events
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(ValueError, match=r"recording\.bag is cut off"):
        read(path)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        ("100 3 5 1\n100 7 2 0\n250000 1 1 1\n", (8, 6)),
        ("20 10\n100 3 5 1\n100 7 2 0\n250000 1 1 1\n", (20, 10)),
        ("# width 20 height 10\n100 3 5 1\n100 7 2 0\n250000 1 1 1", (20, 10)),
        ("# made on 1.5.2020\n100 3 5 1\n100 7 2 -1\n250000 1 1 1\n", (8, 6)),
        ("0.0001 3 5 1\n0.0001 7 2 0\n0.25 1 1 1\n", (8, 6)),
        ("t,x,y,p\n100,3,5,1\n100,7,2,0\n250000,1,1,1\n", (8, 6)),
        ("x y t p\n3 5 100 1\n7 2 100 0\n1 1 250000 1\n", (8, 6)),
    ],
)
def test_layouts_of_text(tmp_path, content, size):
    for name in ("recording.txt", "recording.csv"):
        assert read(text(tmp_path, content, name)) == three_events(*size)
    assert read(tmp_path / "recording.txt", width=30, height=40) == three_events(30, 40)


@pytest.mark.parametrize(
    ("unit", "times", "expected"),
    [
        ("s", "2 2.000001 3.5", [2_000_000, 2_000_001, 3_500_000]),
        ("ms", "1 1.5 4", [1000, 1500, 4000]),
        ("us", "7 8 1600000000000001", [7, 8, 1_600_000_000_000_001]),
        ("us", "0.4 0.6 7.2", [0, 1, 7]),
        ("ns", "1499 1500 9000000", [1, 2, 9000]),
        (100.0, "324572590.7894657 324572590.8181738 324572591", [32_457_259_079, 32_457_259_082, 32_457_259_100]),
        (100, "1 2 3", [100, 200, 300]),
        (0.5, "3 4 8", [2, 2, 4]),
    ],
)
def test_units_of_time_in_text(tmp_path, unit, times, expected):
    path = text(tmp_path, "".join(f"{t} 0 0 1\n" for t in times.split()))
    assert read(path, time_unit=unit).t.tolist() == expected


def test_units_of_time_in_hdf5(tmp_path):
    assert read(hdf5(tmp_path)).t[-1] == 250_000  # no unit stated: microseconds, not a guess from the length
    assert read(hdf5(tmp_path), time_unit="ms").t[-1] == 250_000_000
    assert read(hdf5(tmp_path), time_unit="ns").t.tolist() == [0, 0, 250]
    stated = {"width": np.uint64(20), "height": np.uint64(10), "timestamp_scale_ms": 1.0}
    assert read(hdf5(tmp_path, stated)).t[-1] == 250_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no events"),
        ("# nothing\n", "holds no events"),
        ("1 1 1 1\n2 2 2 0\n3 1", r"line 3.*was the last one cut off\?"),
        ("5 1 2 1\n3 1 2 0\n", "t = 3 in row 1 follows 5"),
        ("-5 1 2 1\n3 1 2 0\n", "t = -5 in row 0 is negative"),
        ("-0.5 1 2 1\n3.5 1 2 0\n", "t = -500000 in row 0 is negative"),
        ("4 4\n1 9 2 1\n3 1 2 0\n", r"x = 9 in row 0 is outside the sensor \(x must be from 0 to 3\)"),
        ("1 -1 2 1\n", "invalid x"),
        ("hello world\n1 1 1 1\n", "does not name all of x/y/t/p"),
        ("99999999999999999999 1 1 1\n", "do not fit in 64 bits"),
    ],
)
def test_bad_text_is_named(tmp_path, content, message):
    path = text(tmp_path, content)
    with pytest.raises(ValueError, match=rf"recording\.txt.*{message}"):
        read(path)


def test_events_outside_the_sensor_are_never_dropped(tmp_path):
    message = r"x = 7 in row 1 is outside the sensor \(x must be from 0 to 5\)"
    small = {"width": np.uint64(6), "height": np.uint64(10), "timestamp_scale_ms": 0.001}
    files = [dat(tmp_path), evt2(tmp_path), text(tmp_path, "".join(f"{t} {x} {y} {p}\n" for x, y, t, p in THREE))]
    for suffix in WRITABLE:
        write(three_events(), tmp_path / f"written{suffix}")
        files.append(tmp_path / f"written{suffix}")
    for path in files:
        with pytest.raises(ValueError, match=message):
            read(path, width=6, height=10)
    for path in (hdf5(tmp_path, small), dat(tmp_path, b"% Width 6\n% Height 10\n"), evt2(tmp_path, b"% geometry 6x10\n")):
        with pytest.raises(ValueError, match=message):  # the file itself states too small a sensor
            read(path)
        assert read(path, width=20, height=10) == three_events()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"t": np.array([100, 50, 250])}, "t = 50 in row 1 follows 100"),
        ({"t": np.array([-7, 50, 250])}, "t = -7 in row 0 is negative"),
        ({"t": np.array([7, 50])}, "cannot be read"),
        ({"t": np.array([0.1, 0.2, 0.3])}, "cannot be read"),
        ({name: np.zeros(0, np.int64 if name == "t" else np.uint16) for name in "xytp"}, "holds no events"),
    ],
)
def test_bad_hdf5_is_named(tmp_path, columns, message):
    with pytest.raises(ValueError, match=rf"recording\.h5.*{message}"):
        read(hdf5(tmp_path, **columns))


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_files_cut_off_while_copied(tmp_path, suffix):
    path = tmp_path / f"recording{suffix}"
    write(some_events(2000), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=rf"recording{suffix} cannot be read.*cut off"):
        read(path)


@pytest.mark.parametrize(("make", "cut"), [(dat, 3), (evt2, 2)])
def test_camera_files_cut_inside_an_event(tmp_path, make, cut):
    with pytest.raises(ValueError, match="ends in the middle of an event"):
        read(make(tmp_path, cut=cut))


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".raw", ".dat", ".aedat", ".aedat4", ".bag"])
@pytest.mark.parametrize("content", [b"", b"certainly not a recording of events"])
def test_foreign_content(tmp_path, suffix, content):
    path = tmp_path / f"recording{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"recording\{suffix} (holds no events|cannot be read|is cut off|ends in the middle)"):
        read(path)


def test_bad_arguments_of_read(tmp_path):
    path = text(tmp_path, "1 1 1 1\n")
    with pytest.raises(FileNotFoundError, match=r"no recording at .*missing\.npz"):
        read(tmp_path / "missing.npz")
    with pytest.raises(FileNotFoundError):
        read(tmp_path)
    with pytest.raises(ValueError, match="both width and height"):
        read(path, width=5)
    with pytest.raises(ValueError, match="time_unit must be one of s, ms, us, ns"):
        read(path, time_unit="minutes")
    with pytest.raises(ValueError, match=r"time_unit must be from 0\.001"):
        read(path, time_unit=0)
    with pytest.raises(ValueError, match="state their unit of time"):
        read(dat(tmp_path), time_unit="ms")
    with pytest.raises(ValueError, match=r"unknown format '\.foo'"):
        read(text(tmp_path, "1 1 1 1\n", "recording.foo"))
    with pytest.raises(ValueError, match="pass width and height"):
        read(dat(tmp_path, b""))
    assert read(dat(tmp_path, b""), width=20, height=10) == three_events()


def test_write_refuses_what_cannot_be_read_back(tmp_path):
    with pytest.raises(ValueError, match=r"written as \.npz"):
        write(three_events(), tmp_path / "recording.raw")
    with pytest.raises(ValueError, match="without events"):
        write(Events.empty(3, 3), tmp_path / "recording.h5")
    with pytest.raises(ValueError, match="too late to be written exactly"):
        write(Events([0], [0], [2**53], [1], 1, 1), tmp_path / "recording.h5")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "recording.npz"
    write(three_events(), path)
    monkeypatch.setattr("eventcv.save", lambda stream, name: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(some_events(), path)
    assert read(path) == three_events() and [p.name for p in tmp_path.iterdir()] == ["recording.npz"]


def test_event_reid_sample(shared_data):
    paths = sorted((shared_data / "event_reid_sample").glob("t*/*.txt"))
    assert len(paths) == 63
    for path in paths[::9]:
        events = read(path, width=640, height=480, time_unit=100.0)
        table = np.loadtxt(path, ndmin=2)
        np.testing.assert_array_equal(np.stack([events.x, events.y, events.p], axis=1), table[:, 1:])
        assert np.abs(events.t - table[:, 0] * 100).max() <= 0.501
        assert 0.02 < events.duration < 0.05
