"""Events in memory: four columns and the size of the sensor, checked once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

LARGEST_SENSOR = 65535  # coordinates are uint16
_COLUMNS: dict[str, type[np.integer]] = {"x": np.uint16, "y": np.uint16, "t": np.int64, "p": np.uint8}


@dataclass(frozen=True, eq=False)
class Events:
    """A recording of an event camera, or a part of one; it may be empty.

    x, y: column and row of each event, uint16, 0 at the top left. t: time in microseconds, int64, ascending (equal times are
    allowed), not negative. p: polarity, uint8, 0 = OFF (darker), 1 = ON (brighter). width, height: the sensor, in pixels.

    Integer (and, for p, boolean) input of any type is converted; input that already has these types is kept, not copied, and never
    written to. Raises ValueError with the first offending row: unequal lengths, coordinates outside the sensor, unsorted or negative
    times, polarities other than 0 and 1."""

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    p: np.ndarray
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            object.__setattr__(self, name, _sensor_side(name, getattr(self, name)))
        columns = {name: _integers(name, getattr(self, name)) for name in _COLUMNS}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"events need columns of equal length, got {lengths}")
        _check_coordinates(columns["x"], "x", "width", self.width)
        _check_coordinates(columns["y"], "y", "height", self.height)
        _check_times(columns["t"])
        _check_polarities(columns["p"])
        for name, kind in _COLUMNS.items():
            object.__setattr__(self, name, np.ascontiguousarray(columns[name], kind))

    @classmethod
    def from_arrays(cls, x: ArrayLike, y: ArrayLike, t: ArrayLike, p: ArrayLike, width: int, height: int) -> "Events":
        """Events from any integer arrays, with polarity as 0/1 or as -1/+1 (-1 and 0 mean OFF, but not both in one recording)."""
        p = _integers("p", p)
        if len(p) and p.min() < 0:
            bad = np.flatnonzero((p != -1) & (p != 1))
            if bad.size:
                raise ValueError(f"polarity {p[bad[0]]} in row {bad[0]}: a recording uses either 0/1 or -1/+1")
            p = p > 0
        return cls(np.asarray(x), np.asarray(y), np.asarray(t), p, width, height)

    @classmethod
    def empty(cls, width: int, height: int) -> "Events":
        """A recording in which nothing happened."""
        x, y, t, p = (np.zeros(0, kind) for kind in _COLUMNS.values())
        return cls(x, y, t, p, width, height)

    @classmethod
    def _trusted(cls, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray, width: int, height: int) -> "Events":
        """Columns that are right by construction (parts of valid events): no checks, no copies."""
        events = object.__new__(cls)
        events.__dict__.update(x=x, y=y, t=t, p=p, width=width, height=height)
        return events

    def __len__(self) -> int:
        return len(self.t)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events):
            return NotImplemented
        sizes = (self.width, self.height) == (other.width, other.height)
        return sizes and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _COLUMNS)

    def __repr__(self) -> str:
        return f"Events({len(self):,} events, {self.width} x {self.height}, {self.duration:.3f} s)"

    @property
    def duration(self) -> float:
        """Seconds from the first event to the last; 0 for fewer than two events."""
        return float(self.t[-1] - self.t[0]) / 1e6 if len(self) else 0.0

    def window(self, t_start: int, t_stop: int) -> "Events":
        """The events with t_start <= t < t_stop (microseconds), as views of this recording's columns."""
        first, last = np.searchsorted(self.t, (t_start, t_stop))
        return self.take(slice(first, max(first, last)))

    def take(self, rows: np.ndarray | slice) -> "Events":
        """The events of a slice, a boolean mask or ascending indices; a slice gives views."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool:
            rows = np.flatnonzero(rows)  # numpy applies indices to four columns faster than a mask
        return Events._trusted(self.x[rows], self.y[rows], self.t[rows], self.p[rows], self.width, self.height)


def _sensor_side(name: str, value: object) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"sensor {name} must be a whole number of pixels, got {value!r}")
    if not 1 <= value <= LARGEST_SENSOR:
        raise ValueError(f"sensor {name} must be from 1 to {LARGEST_SENSOR} pixels, got {value}")
    return int(value)


def _integers(name: str, values: ArrayLike) -> np.ndarray:
    column = np.asarray(values)
    if column.size == 0 and column.dtype == np.float64:  # np.asarray([])
        column = column.astype(_COLUMNS[name])
    if column.ndim != 1:
        raise ValueError(f"column {name} must have one axis, got shape {column.shape}")
    if column.dtype.kind not in ("iub" if name == "p" else "iu"):
        raise ValueError(f"column {name} must hold integers, got {column.dtype}; round the values first (times are in microseconds)")
    return column


def _check_coordinates(column: np.ndarray, name: str, side: str, limit: int) -> None:
    if len(column) and (column.max() >= limit or column.min() < 0):
        row = int(np.flatnonzero((column >= limit) | (column < 0))[0])
        raise ValueError(
            f"{name} = {column[row]} in row {row} is outside the sensor ({name} must be from 0 to {limit - 1}): "
            f"is {side}={limit} the size of another sensor, or are x and y exchanged?"
        )


def _check_times(t: np.ndarray) -> None:
    if not len(t):
        return
    if t.dtype.kind == "u" and t.max() > np.iinfo(np.int64).max:
        row = int(np.argmax(t > np.iinfo(np.int64).max))
        raise ValueError(f"t = {t[row]} in row {row} does not fit in 63 bits: was a negative time stored without a sign?")
    falls = t[1:] < t[:-1]
    if falls.any():
        row = int(np.argmax(falls)) + 1
        raise ValueError(
            f"times must ascend, but t = {t[row]} in row {row} follows {t[row - 1]}: "
            "the recording is not sorted, or its clock wrapped round or was reset"
        )
    if t[0] < 0:
        raise ValueError(f"t = {t[0]} in row 0 is negative (times are microseconds from 0 on): subtract the recording's start first")


def _check_polarities(p: np.ndarray) -> None:
    if len(p) and p.dtype != bool and (p.max() > 1 or p.min() < 0):
        row = int(np.flatnonzero((p > 1) | (p < 0))[0])
        hint = "Events.from_arrays accepts -1/+1" if p[row] == -1 else "is another column taken for the polarity?"
        raise ValueError(f"polarity {p[row]} in row {row} is neither 0 (OFF) nor 1 (ON): {hint}")
