"""The store: round trips, refusals, and builds that are killed, repeated, raced or changed."""

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
from samples import SETTINGS, make, make_broken, make_counted, random_events, rows

from reidlib.datasets import Sample, TrackletStore, build_store
from reidlib.datasets.store import FORMAT_VERSION, to_json
from reidlib.datasets.store_build import cache_key
from reidlib.events import Events
from reidlib.files import TEMPORARY

HERE = Path(__file__).resolve().parent


def assert_same_events(a, b):
    assert (a.width, a.height) == (b.width, b.height)
    for name, dtype in {"x": np.uint16, "y": np.uint16, "t": np.int64, "p": np.uint8}.items():
        assert getattr(a, name).dtype == getattr(b, name).dtype == dtype
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def quiet(path, some, function=make, settings=SETTINGS, workers=1):
    return build_store(path, some, function, settings, workers=workers)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return quiet(tmp_path_factory.mktemp("store") / "small.h5", rows())


@pytest.mark.parametrize("memory", [False, True])
def test_round_trip(store, memory):
    with TrackletStore(store.path, memory=memory) as again:
        assert len(again) == len(rows()) == 16
        for row in rows():
            expected = make(row)
            assert_same_events(again.events(row["key"]), expected.events)
            np.testing.assert_array_equal(again.frames(row["key"]), expected.frames)
            assert again.attributes(row["key"]) == {"number": row["number"]}
            assert again.interval(row["key"]) == (expected.events.t[0], expected.events.t[-1] + 1)
        assert again.settings == SETTINGS
        assert again.index["key"].tolist() == [row["key"] for row in rows()]
        first = again.index.iloc[0]
        assert (first["events"], first["frames"], first["width"], first["height"]) == (50, 3, 24, 48)
        assert first["duration"] == pytest.approx(make(rows()[0]).events.duration, abs=2e-6)


def test_memory_serves_the_same_object_and_the_disk_does_not(store):
    key = rows()[0]["key"]
    loaded = TrackletStore(store.path).load()
    assert loaded.events(key) is loaded.events(key)
    assert store.events(key) is not store.events(key)


def test_what_does_not_fit_stays_on_the_disk_and_says_so(store, capsys):
    needed = sum(13 * len(make(row).events) + 3 * len(make(row).frames) * 48 * 24 for row in rows())
    assert TrackletStore(store.path).size_in_memory() == needed
    key = rows()[0]["key"]
    small, large = TrackletStore(store.path).load(needed - 1), TrackletStore(store.path).load(needed)
    assert small.events(key) is not small.events(key) and large.events(key) is large.events(key)
    assert capsys.readouterr().out.count("is read from the disk") == 1


def test_a_pickled_store_reads_in_another_process(store):
    store.events(rows()[0]["key"])  # an open file does not stop pickling
    keys = [row["key"] for row in rows()]
    for one in (store, pickle.loads(pickle.dumps(store))):
        INHERITED.append(one)
        assert count_events(keys[0]) == (50, True)
        with get_context("fork").Pool(2) as pool:  # what a DataLoader does: each process opens the file for itself
            assert pool.map(count_events, keys) == [(50, True)] * 16


INHERITED = []


def count_events(key):
    return len(INHERITED[-1].events(key)), INHERITED[-1]._pid == os.getpid()


def make_odd(row):
    count = (0, 0, 1, 3)[row["number"]]
    events = Events(*(np.zeros(count, dtype) for dtype in (np.uint16, np.uint16, np.int64, np.uint8)), width=5, height=7)
    frames = np.zeros((2, 4, 3, 3), np.uint8) if row["number"] == 3 else None
    return Sample(events, frames, duration=0.5 if row["number"] in (1, 2) else None)


def test_empty_and_degenerate_recordings(tmp_path):
    store = quiet(tmp_path / "odd.h5", rows()[:4], make_odd).load()
    keys = store.index["key"].tolist()
    assert [len(store.events(key)) for key in keys] == [0, 0, 1, 3]
    assert [store.interval(key) for key in keys] == [(0, 0), (0, 500_000), (0, 500_000), (0, 1)]
    assert store.frames(keys[0]) is None and store.frames(keys[3]).shape == (2, 4, 3, 3)
    assert store.index["duration"].tolist() == pytest.approx([0, 0.5, 0.5, 1e-6])
    assert store.index["frames"].tolist() == [0, 0, 0, 2]


def test_refused_files(tmp_path, store):
    with pytest.raises(FileNotFoundError, match=r"no tracklet store at .*none.h5"):
        TrackletStore(tmp_path / "none.h5")
    with pytest.raises(KeyError, match="no tracklet 'p9'"):
        store.events("p9")
    whole = store.path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut.h5").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut.h5 is not HDF5 or is truncated"):
            TrackletStore(tmp_path / "cut.h5")
    (tmp_path / "other.h5").write_bytes(whole)
    with h5py.File(tmp_path / "other.h5", "a") as file:
        file.attrs["format"] = 99
    with pytest.raises(ValueError, match="has store format 99, this reidlib reads 1"):
        TrackletStore(tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "a") as file:
        del file.attrs["complete"]
    with pytest.raises(ValueError, match="no finished tracklet store"):
        TrackletStore(tmp_path / "other.h5")


def test_refused_rows_settings_and_samples(tmp_path):
    some = rows()
    with pytest.raises(ValueError, match="list of rows is empty"):
        quiet(tmp_path / "a.h5", [])
    with pytest.raises(ValueError, match=r'settings\["code"\] is missing'):
        quiet(tmp_path / "a.h5", some, settings={})
    for key in ("", "/p", "p//c", "p/../c", "p0000"):
        with pytest.raises(ValueError, match="illegal tracklet key"):
            quiet(tmp_path / "a.h5", [*some, {**some[0], "key": "p0000/c0/t0/x"}] if key == "p0000" else [{**some[0], "key": key}])
    with pytest.raises(ValueError, match=r"after the duration of 0.1 s"):
        Sample(random_events(20, 0), duration=0.1).interval()
    with pytest.raises(ValueError, match="frames must be uint8"):
        quiet(tmp_path / "a.h5", some[:1], make_float_frames)
    with pytest.raises(ValueError, match=r"lack the columns \['source'\]"):
        quiet(tmp_path / "a.h5", [{k: v for k, v in row.items() if k != "source"} for row in some[:2]])
    assert not (tmp_path / "a.h5").exists()


def make_float_frames(row):
    return Sample(make(row).events, frames=np.zeros((2, 3, 4)))


def test_data_hash_sees_the_data(tmp_path, store):
    assert quiet(tmp_path / "more.h5", rows(count=51)).data_hash != store.data_hash


def test_an_up_to_date_store_is_not_built_again_and_a_changed_one_is(tmp_path, capsys):
    path, calls = tmp_path / "s.h5", tmp_path / "calls"
    calls.mkdir()
    function = partial(make_counted, str(calls))
    quiet(path, rows(), function)
    quiet(path, rows(), function)
    assert len(os.listdir(calls)) == 16
    assert "again" not in capsys.readouterr().out
    quiet(path, rows(), function, {**SETTINGS, "code": 2})
    assert len(os.listdir(calls)) == 32
    assert capsys.readouterr().out == "building s.h5 again: code changed\n"
    quiet(path, rows(people=3), function, {**SETTINGS, "code": 2})
    assert capsys.readouterr().out == "building s.h5 again: its list of tracklets changed\n"
    path.write_bytes(path.read_bytes()[:1000])
    assert len(quiet(path, rows(people=3), function, {**SETTINGS, "code": 2})) == 12
    assert "truncated" in capsys.readouterr().out


def test_a_key_shared_by_two_splits_is_made_once(tmp_path):
    (tmp_path / "calls").mkdir()
    some = rows()
    store = quiet(tmp_path / "s.h5", [*some, *({**row, "split": 1} for row in some)], partial(make_counted, str(tmp_path / "calls")))
    assert len(store) == 32 and len(os.listdir(tmp_path / "calls")) == 16


def test_an_error_names_the_tracklet_and_keeps_what_was_done(tmp_path):
    path, calls = tmp_path / "s.h5", tmp_path / "calls"
    calls.mkdir()
    with pytest.raises(ValueError, match="a broken recording") as caught:
        quiet(path, rows()[:6], make_broken, workers=2)
    assert "while building tracklet p0000/c1/t1" in caught.value.__notes__
    assert not path.exists()
    kept = len(list((tmp_path / "s.h5.parts").glob("*.h5")))
    quiet(path, rows()[:6], partial(make_counted, str(calls)))
    assert kept >= 3 and len(os.listdir(calls)) == 6 - kept


def test_broken_parts_are_made_again(tmp_path, store):
    path = tmp_path / "s.h5"
    with pytest.raises(ValueError, match="broken"):
        quiet(path, rows(), partial(fail_last))
    parts = sorted((tmp_path / "s.h5.parts").glob("*.h5"))
    assert len(parts) == 15
    parts[0].write_bytes(parts[0].read_bytes()[:500])
    parts[1].write_bytes(b"")
    parts[2].write_bytes(parts[3].read_bytes())  # whole, but of another tracklet
    assert quiet(path, rows()).data_hash == store.data_hash


def fail_last(row):
    if row["number"] == 15:
        raise ValueError("broken")
    return make(row)


# A process started in the background of a script ignores Ctrl-C, and so do its children: here it must arrive.
SCRIPT = """
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from samples import {make}, rows, SETTINGS
    from reidlib.datasets import build_store
    print("started", flush=True)
    build_store({path!r}, rows(), {make}, SETTINGS, workers={workers})
"""


def start_build(path, workers, folder, make):
    """A build as a script of its own, without `if __name__ == "__main__"`."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(path=str(path), workers=workers, make=make)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parents[1]))), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def wait_for(condition, seconds=60):
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize(("workers", "how"), [(2, signal.SIGKILL), (1, signal.SIGINT)])
def test_a_killed_build_leaves_no_store_and_resumes_to_the_same_one(tmp_path, store, workers, how):
    path, parts = tmp_path / "s.h5", tmp_path / "s.h5.parts"
    build = start_build(path, workers, tmp_path, "make_stuck")
    wait_for(lambda: len([part for part in parts.glob("*.h5") if not part.name.startswith(TEMPORARY)]) == 12)
    children = [int(pid) for pid in Path(f"/proc/{build.pid}/task/{build.pid}/children").read_text().split()]
    build.send_signal(how)
    assert build.wait(120) != 0
    assert len(children) >= (2 if workers == 2 else 0)
    wait_for(lambda: not any(map(is_worker, children)))  # nobody is left behind when the parent is killed
    assert build.stdout.read() == "started\n"  # worker processes did not run the script again
    assert not path.exists()
    calls = tmp_path / "calls"
    calls.mkdir()
    again = quiet(path, rows(), partial(make_counted, str(calls)))
    assert len(os.listdir(calls)) == 4  # the rest was kept
    assert path.read_bytes() == store.path.read_bytes()
    assert again.data_hash == store.data_hash
    assert sorted(os.listdir(tmp_path)) == ["calls", "s.h5", "script.py"]


def is_worker(pid):
    try:
        return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_the_cache_key_is_the_hash_of_everything_at_once():
    """It is built up row by row; stores made before that are found again."""
    for some in (rows(), rows()[:1], []):
        whole = to_json([FORMAT_VERSION, SETTINGS, some])
        assert cache_key(SETTINGS, some) == hashlib.sha256(whole.encode()).hexdigest()
