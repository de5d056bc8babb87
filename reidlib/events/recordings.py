"""Recordings on disk: every format that EventCV reads (and AEDAT 4, see there), checked, with nothing dropped or guessed in silence."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import eventcv
import h5py
import numpy as np

from reidlib.events.aedat4 import read_aedat4
from reidlib.events.stream import LARGEST_SENSOR, Events
from reidlib.events.whole_files import check_whole
from reidlib.files import write_atomically

TEXT_FORMATS = (".txt", ".csv")
HDF5_FORMATS = (".h5", ".hdf5")
WRITABLE_FORMATS = (".npz", ".h5", ".hdf5", ".txt")
READABLE_FORMATS = (*TEXT_FORMATS, ".npz", *HDF5_FORMATS, ".raw", ".dat", ".aedat", ".aedat4", ".bag")
MICROSECONDS: dict[str, int | Fraction] = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": Fraction(1, 1000)}  # per unit of time
_SIZE_LINE = re.compile(rb"\s*(\d+)\s+(\d+)\s*$")
_SIZE_COMMENT = re.compile(rb"#\s*width\s+(\d+)\s+height\s+(\d+)\s*$")


def read(path: str | os.PathLike, *, width: int | None = None, height: int | None = None, time_unit: str | float | None = None) -> Events:
    """Read a recording, its format told by the extension: npz, txt, csv, h5, hdf5, raw (EVT2, EVT3), dat, aedat, aedat4, bag.

    width, height: the sensor, where the file does not state it or states it wrongly. Without either, the smallest sensor that holds
    every event is taken (text may begin with a line `width height`, which then counts as a statement).
    time_unit: of the times in text, npz and HDF5 files: "s", "ms", "us", "ns" or the number of microseconds in one unit (100.0 for
    Event-ReId). Default: what the file states, else microseconds, or seconds where text holds fractions. Times are rounded to whole
    microseconds. Text has rows `t x y p`, or a header that names the columns. A positive polarity is ON, any other OFF.
    Raises FileNotFoundError for a missing file, and ValueError, with the path, for files that are empty, cut off or of an unknown
    format, for unsorted or negative times, and for events outside the sensor. `whole_files` says which cuts no reader can notice."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no recording at {path}")
    if path.suffix.lower() not in READABLE_FORMATS:
        raise ValueError(f"{path}: unknown format {path.suffix!r}; the known ones are {', '.join(READABLE_FORMATS)}")
    if (width is None) != (height is None):
        raise ValueError(f"give both width and height of the sensor or neither, got width={width} and height={height}")
    size = None if width is None or height is None else (width, height)
    reader = _read_text if path.suffix.lower() in TEXT_FORMATS else _read_binary
    empty = f"{path} holds no events: was the recording interrupted, or everything filtered out?"
    if path.stat().st_size == 0:
        raise ValueError(empty)
    columns, sensor = reader(path, size, None if time_unit is None else _microseconds(time_unit))
    if not len(columns):
        raise ValueError(empty)
    x, y, t, p = columns.T
    try:
        return Events(x, y, t, p, *sensor)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class Recording:
    """A long recording that is read window by window: HDF5 and raw (EVT3) files from where they lie, other formats whole, once.

    `width`, `height`: the sensor. `span`: times of the first and the last event, in microseconds. Errors as `read`."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._whole: Events | None = None
        if self.path.suffix.lower() not in (*HDF5_FORMATS, ".raw") or not self.path.is_file() or not self.path.stat().st_size:
            self._whole = read(self.path)
            self.width, self.height = self._whole.width, self._whole.height
            self.span = int(self._whole.t[0]), int(self._whole.t[-1])
            return
        check_whole(self.path)
        options = {} if _states_unit(self.path) else {"time_unit": "us"}
        self.width, self.height = _load(self.path, eventcv.open, **options).sensor_size
        # With the largest sensor nothing outside is dropped in silence: Events names it.
        self._reader = _load(self.path, eventcv.open, sensor_size=(LARGEST_SENSOR, LARGEST_SENSOR), **options)
        if not self._reader.n_events:
            raise ValueError(f"{self.path} holds no events: was the recording interrupted, or everything filtered out?")
        first, last = self._reader.time_span("us")
        self.span = int(first), int(last)

    def read(self, t_start: int, t_stop: int) -> Events:
        """The events with t_start <= t < t_stop (microseconds), their times as in the file."""
        if self._whole is not None:
            return self._whole.window(t_start, t_stop)
        x, y, t, p = _columns(_load(self.path, lambda _: self._reader.slice(t0_us=t_start, t1_us=t_stop))).T
        try:
            return Events(x, y, t, p, self.width, self.height)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error


def write(events: Events, path: str | os.PathLike) -> None:
    """Write a recording as npz, h5, hdf5 or txt (rows `t x y p` in microseconds under a comment with the sensor's size).

    The file appears whole or not at all, and `read` gives back the same events. Raises ValueError for other formats, for a
    recording without events (no reader could tell it from an interrupted one) and for times from 2**53 us (285 years) on."""
    path = Path(path)
    if path.suffix.lower() not in WRITABLE_FORMATS:
        raise ValueError(f"{path}: events are written as {', '.join(WRITABLE_FORMATS)}, not as {path.suffix!r}")
    if not len(events):
        raise ValueError(f"{path}: a recording without events is not written")
    if events.t[-1] >= 2**53:
        raise ValueError(f"{path}: t = {events.t[-1]} us is too late to be written exactly (the limit is 2**53): subtract a start time")
    columns = np.stack([events.x, events.y, events.t, events.p], axis=1).astype(np.int64)  # [N, 4]
    stream = eventcv.from_numpy(columns, sensor_size=(events.width, events.height), time_unit="us")

    def save(temporary: Path) -> None:
        eventcv.save(stream, str(temporary))
        if path.suffix.lower() == ".txt":
            temporary.write_bytes(f"# width {events.width} height {events.height}\n".encode() + temporary.read_bytes())

    write_atomically(path, save)


def _microseconds(time_unit: str | float) -> Fraction:
    if isinstance(time_unit, str):
        if time_unit not in MICROSECONDS:
            raise ValueError(f"time_unit must be one of {', '.join(MICROSECONDS)} or a number of microseconds, got {time_unit!r}")
        return Fraction(MICROSECONDS[time_unit])
    if not np.isfinite(time_unit) or not 1e-3 <= time_unit <= 1e9:
        raise ValueError(f"time_unit must be from 0.001 to 1e9 microseconds per unit, got {time_unit!r}: is it given in seconds?")
    return Fraction(str(time_unit))


def _load(path: Path, load: Callable[..., Any] = eventcv.load, source: Path | None = None, /, **options: object) -> Any:
    """EventCV's `load` (or another of its readers), its errors told with the path and what usually causes them. source: the file that is
    read in the place of `path`. What EventCV returns has no types."""
    try:
        return load(str(source or path), **options)
    except BaseException as error:
        if not isinstance(error, (ValueError, OSError, RuntimeError)) and type(error).__name__ != "PanicException":  # EventCV's own bugs
            raise
        text = path.suffix.lower() in TEXT_FORMATS
        cause = "rows must be `t x y p`; was the last one cut off?" if text else "is the file cut off, or of another format or layout?"
        message = str(error).replace("sensor_size", "width and height")  # this module's names for it
        raise ValueError(f"{path} cannot be read: {message} ({cause})") from error


def _columns(stream: Any) -> np.ndarray:
    """int64 [N, 4] of x, y, t, p; EventCV's unsigned integers hold negative times as two's complement."""
    return stream.numpy().view(np.int64)


def _scale_times(columns: np.ndarray, factor: Fraction, path: Path) -> np.ndarray:
    """Multiply the times by an exact factor, rounding to the nearest integer."""
    t = columns[:, 2]
    largest = max(abs(int(t.max())), abs(int(t.min()))) if len(t) else 0
    if largest * factor.numerator >= 2**62:
        raise ValueError(f"{path}: its times do not fit in 64 bits as microseconds: is time_unit right?")
    if factor != 1:
        columns[:, 2] = (t * factor.numerator + factor.denominator // 2) // factor.denominator
    return columns


def _read_text(path: Path, size: tuple[int, int] | None, unit: Fraction | None) -> tuple[np.ndarray, tuple[int, int]]:
    with open(path, "rb") as file:
        first = file.readline()
        fractions = any(b"." in line.split(b"#")[0] for line in (first, *file))
    stated = _SIZE_LINE.match(first) or _SIZE_COMMENT.match(first)
    if unit is None:
        unit = Fraction(MICROSECONDS["s" if fractions else "us"])
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if _SIZE_LINE.match(first):  # EventCV takes this line for a row
            source = Path(folder) / path.name
            with open(path, "rb") as file, open(source, "wb") as copy:
                file.readline()
                shutil.copyfileobj(file, copy)
        # EventCV rounds to whole microseconds: fractions are read as if they were seconds, then scaled, and lose nothing.
        for name in ("s", "us") if fractions else ("us",):
            stream = _load(path, eventcv.load, source, time_unit=name)
            columns = _columns(stream)
            if len(columns) and columns[:, 2].max() < 2**62:  # else too late for that detour
                break
    found = (int(stated[1]), int(stated[2])) if stated else stream.sensor_size
    return _scale_times(columns, unit / MICROSECONDS[name], path), size or found


def _read_binary(path: Path, size: tuple[int, int] | None, unit: Fraction | None) -> tuple[np.ndarray, tuple[int, int]]:
    stored = path.suffix.lower() in (".npz", *HDF5_FORMATS)
    if unit is not None and not stored:
        raise ValueError(f"{path}: {path.suffix} files state their unit of time; leave time_unit={float(unit):g} out")
    if path.suffix.lower() == ".aedat4":
        columns, stated = read_aedat4(path)
        right, bottom = columns[:, :2].max(axis=0, initial=0)
        return columns, size or stated or (int(right) + 1, int(bottom) + 1)
    check_whole(path)
    options = {"time_unit": "us"} if unit is not None or not _states_unit(path) else {}
    stream = _load(path, sensor_size=size, **options)
    columns, everything = _columns(stream), _columns(_load(path, sensor_size=(LARGEST_SENSOR, LARGEST_SENSOR), **options))
    if len(everything) > len(columns):  # EventCV drops events outside the sensor; kept, the first one is named by Events
        columns = everything
    return _scale_times(columns, unit or Fraction(1), path), size or stream.sensor_size


def _states_unit(path: Path) -> bool:
    """False for HDF5 files without a unit, where EventCV guesses one from the length of the recording."""
    if path.suffix.lower() not in HDF5_FORMATS:
        return True
    try:
        with h5py.File(path) as file:
            return "timestamp_scale_ms" in file.attrs
    except Exception as error:  # h5py raises errors of many kinds on a damaged file
        raise ValueError(f"{path} cannot be read: {error} (is the file cut off or damaged, or not HDF5?)") from error
