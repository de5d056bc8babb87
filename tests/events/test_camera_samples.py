"""Real recordings of cameras, read as another library, faery, reads them: AEDAT4, EVT2, EVT3 and DAT.

`REIDLIB_CAMERA_SAMPLES` names a folder that holds `davis346.aedat4`, `evt2.raw`, `evt3.raw` and `gen4.dat` (`tests/data` in faery's source
package) and, where faery is not installed beside reidlib, `<file>.npz` with arrays t, x, y, p that faery read:

    import faery, numpy, pathlib
    for path in pathlib.Path(".").iterdir():
        if path.suffix in (".aedat4", ".raw", ".dat"):
            rows = numpy.concatenate(list(faery.events_stream_from_file(path)))
            numpy.savez(f"{path.name}.npz", t=rows["t"], x=rows["x"], y=rows["y"], p=rows["on"])

Without either, a slow decoder of the camera's words written here stands in for faery (not for AEDAT4)."""

import os
from pathlib import Path

import numpy as np
import pytest

from reidlib.events import Recording, read

COUNTS = {"davis346.aedat4": 78_830, "evt2.raw": 521_252, "evt3.raw": 1_218_618, "gen4.dat": 1_218_618}  # as faery 0.7.1 reads them
SENSORS = {"davis346.aedat4": (346, 260), "evt2.raw": (640, 480), "evt3.raw": (1280, 720), "gen4.dat": (1280, 720)}
SLOW = 40_000  # words that the slow decoders look at


@pytest.fixture(params=sorted(COUNTS))
def sample(request) -> Path:
    folder = os.environ.get("REIDLIB_CAMERA_SAMPLES")
    if not folder:
        pytest.skip("REIDLIB_CAMERA_SAMPLES names no folder of camera recordings (see this file's text)")
    path = Path(folder) / request.param
    if not path.is_file():
        pytest.skip(f"no {request.param} in {folder}")
    return path


def read_by_faery(path: Path) -> np.ndarray:
    """x, y, t, p as faery reads or has read them."""
    kept = path.with_name(path.name + ".npz")
    if kept.is_file():
        with np.load(kept) as saved:
            return np.stack([saved[name].astype(np.int64) for name in "xytp"])
    faery = pytest.importorskip("faery", reason=f"neither faery nor {kept.name}, which it would have written (see this file's text)")
    found = np.concatenate(list(faery.events_stream_from_file(path)))
    return np.stack([found[name].astype(np.int64) for name in ("x", "y", "t", "on")])


def content(path: Path) -> bytes:
    """What follows the lines of text."""
    raw = path.read_bytes()
    while raw.startswith(b"%"):
        raw = raw[raw.index(b"\n") + 1 :]
    return raw


def slow_dat(raw: bytes) -> list[tuple]:
    """32 bits of time, 14 of x, 14 of y, 4 of polarity, behind two bytes."""
    words = np.frombuffer(raw[2 : 2 + 8 * (SLOW // 2)], "<u4").tolist()
    return [(word & 0x3FFF, word >> 14 & 0x3FFF, time, word >> 28) for time, word in zip(words[::2], words[1::2], strict=True)]


def slow_evt2(raw: bytes) -> list[tuple]:
    """Type 8: upper 28 bits of the time; 0 and 1: an event with the lower 6."""
    found, high = [], None
    for word in np.frombuffer(raw[: 4 * SLOW], "<u4").tolist():
        if word >> 28 == 8:
            high = (word & 0xFFFFFFF) << 6
        elif word >> 28 < 2 and high is not None:
            found.append((word >> 11 & 0x7FF, word & 0x7FF, high | word >> 22 & 0x3F, word >> 28))
    return found


def slow_evt3(raw: bytes) -> list[tuple]:
    """Types 8 and 6: upper and lower 12 bits of the time, which wraps; 0: row; 2: column; 3: first column of vectors, 4 and 5: 12 and 8
    bits of which pixels fired."""
    found, high, low, wraps, y, base, sign = [], None, 0, 0, 0, 0, 0
    for word in np.frombuffer(raw[: 2 * SLOW], "<u2").tolist():
        kind, value = word >> 12, word & 0xFFF
        if kind == 8:
            wraps += high is not None and value < high
            high = value
        elif kind == 6:
            low = value
        elif kind == 0:
            y = value & 0x7FF
        elif kind == 2 and high is not None:
            found.append((value & 0x7FF, y, wraps << 24 | high << 12 | low, value >> 11))
        elif kind == 3:
            base, sign = value & 0x7FF, value >> 11
        elif kind in (4, 5) and high is not None:
            width = 12 if kind == 4 else 8
            found += [(base + i, y, wraps << 24 | high << 12 | low, sign) for i in range(width) if value >> i & 1]
            base += width
    return found


def test_faery_reads_the_same(sample):
    events, columns = read(sample), read_by_faery(sample)
    assert len(events) == COUNTS[sample.name] and (events.width, events.height) == SENSORS[sample.name]
    np.testing.assert_array_equal(np.stack([events.x, events.y, events.t, events.p]), columns)


def test_words_mean_the_same(sample):
    decoders = {"evt2.raw": slow_evt2, "evt3.raw": slow_evt3, "gen4.dat": slow_dat}
    if sample.name not in decoders:
        pytest.skip("packets of AEDAT4 are checked against faery alone")
    slow = np.array(decoders[sample.name](content(sample)))
    events = read(sample)
    assert len(slow) > 1000
    np.testing.assert_array_equal(np.stack([getattr(events, name)[: len(slow)] for name in "xytp"], axis=1), slow)


def test_windows_hold_the_same(sample):
    events, recording = read(sample), Recording(sample)
    assert recording.span == (events.t[0], events.t[-1])
    middle = (recording.span[0] + recording.span[1]) // 2
    assert recording.read(middle, middle + 20_000) == events.window(middle, middle + 20_000)
