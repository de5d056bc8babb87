"""Events as dense arrays: event frames (counts), voxel grids, and the scaling of counts."""

import operator

import numba
import numpy as np

from reidlib.events.stream import Events

SCALES = ("log", "raw", "binary")


def event_frames(events: Events, steps: int, t_start=None, t_stop=None, size: tuple[int, int] | None = None) -> np.ndarray:
    """Count the events of [t_start, t_stop) in `steps` bins of equal duration: float32 [T, 2, H, W], channel 0 OFF, 1 ON.

    t_start, t_stop: microseconds; by default the first event's time and the last one's + 1. An event at time t lands in bin
    (t - t_start) * steps // (t_stop - t_start), worked out in integers, so that each event of the window is counted exactly once.
    size: (H, W) of the result instead of the sensor's: column x is counted in x * W // width, row y in y * H // height.
    Raises ValueError for steps or a size below 1 and for a window that ends before it starts."""
    steps = _whole("steps", steps, 1)
    start, stop = _window(events, t_start, t_stop)
    height, width = _size(events, size)
    # Times ascend, so the bins are found by binary search: bin k starts at the first t with (t - start) * steps >= k * span.
    edges = [start - (-k * (stop - start) // steps) for k in range(steps + 1)]
    limits = np.searchsorted(events.t, _clip_int64(edges))
    counts = np.zeros((steps, 2, height, width), np.float32)
    if (height, width) == (events.height, events.width):
        _count(events.x, events.y, events.p, limits, counts.reshape(-1), height, width)
    else:
        columns = (np.arange(events.width) * width // events.width).astype(np.uint32)
        rows = (np.arange(events.height) * height // events.height * width).astype(np.uint32)
        _count_scaled(events.x, events.y, events.p, limits, counts.reshape(-1), columns, rows, height * width)
    return counts


def voxel_grid(events: Events, bins: int, t_start=None, t_stop=None, size: tuple[int, int] | None = None) -> np.ndarray:
    """Signed voxel grid, float32 [bins, H, W]: each event adds its polarity (-1 or +1), shared between the two nearest bins.

    An event at t lies at (t - t_start) / (t_stop - 1 - t_start) * (bins - 1) on the axis of bins, and a bin at distance d < 1 gets
    1 - d of it, so the grid sums to the number of ON minus OFF events of the window. With one bin, or a window of one microsecond,
    everything falls into the first bin. Window and size as in `event_frames`.
    Source: Zhu et al., "Unsupervised Event-based Learning of Optical Flow, Depth, and Egomotion", CVPR 2019, section 3.1."""
    bins = _whole("bins", bins, 1)
    start, stop = _window(events, t_start, t_stop)
    height, width = _size(events, size)
    inside = events.window(*_clip_int64([start, stop]))
    columns = (np.arange(events.width) * width // events.width).astype(np.uint32)
    rows = (np.arange(events.height) * height // events.height * width).astype(np.uint32)
    grid = np.zeros(bins * height * width, np.float64)
    per_microsecond = (bins - 1) / max(stop - 1 - start, 1)
    _spread(inside.x, inside.y, inside.t - start, inside.p, per_microsecond, grid, columns, rows, height * width)
    return grid.astype(np.float32).reshape(bins, height, width)


def scale_counts(frames: np.ndarray, mode: str = "log") -> np.ndarray:
    """Bring event counts to a range that a network likes; returns a new float32 array of the same shape.

    "log": log(1 + count), divided by the 99th percentile (linear interpolation) of the clip's non-zero values; nothing is clipped,
    and a clip without events stays zero. "raw": the counts. "binary": 1 where anything happened.
    The last four axes [T, 2, H, W] are one clip; clips along earlier axes are scaled each for itself.
    Raises ValueError for another mode and for negative or non-finite counts."""
    if mode not in SCALES:
        raise ValueError(f"scale mode must be one of {', '.join(SCALES)}, got {mode!r}")
    frames = np.asarray(frames)
    counts = np.array(frames, np.float32, order="C")
    if mode == "raw" or counts.size == 0:
        return counts
    clips = counts.reshape(-1, int(np.prod(counts.shape[-4:])))
    for clip in clips:
        if mode == "binary":
            np.not_equal(clip, 0, out=clip, casting="unsafe")
        else:
            _scale_log(clip)
    return counts


def _scale_log(clip: np.ndarray) -> None:
    """log1p and division by the 99th percentile of the non-zero values, in place."""
    if not (clip.min() >= 0 and np.isfinite(clip.max())):
        raise ValueError(f"event counts must be finite and not negative, got {clip.min()} to {clip.max()}")
    np.log1p(clip, out=clip)
    happened = clip[clip > 0]
    if len(happened):
        clip /= np.percentile(happened, 99)


def _whole(name: str, value, least: int) -> int:
    try:
        value = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def _window(events: Events, t_start, t_stop) -> tuple[int, int]:
    """The window in microseconds as Python integers (their products cannot overflow)."""
    first, last = (int(events.t[0]), int(events.t[-1])) if len(events) else (None, None)
    least = -(2**63)
    start = None if t_start is None else _whole("t_start", t_start, least)
    stop = None if t_stop is None else _whole("t_stop", t_stop, least)
    if start is None:
        start = first if first is not None else (0 if stop is None else stop - 1)
    if stop is None:
        stop = last + 1 if last is not None else start + 1
    if stop <= start:
        raise ValueError(f"t_stop must be greater than t_start, got the window [{start}, {stop}) (the events lie from {first} to {last})")
    return start, stop


def _size(events: Events, size) -> tuple[int, int]:
    if size is None:
        return events.height, events.width
    if len(size) != 2:
        raise ValueError(f"size must be (height, width), got {size!r}")
    return _whole("height of size", size[0], 1), _whole("width of size", size[1], 1)


def _clip_int64(times: list[int]) -> np.ndarray:
    limits = np.iinfo(np.int64)
    return np.array([min(max(t, limits.min), limits.max) for t in times], np.int64)


@numba.njit(cache=True, nogil=True)
def _count(x, y, p, limits, counts, height, width):
    size = np.uint32(height * width)
    for k in range(len(limits) - 1):
        frame = counts[2 * k * size : 2 * (k + 1) * size]
        for i in range(limits[k], limits[k + 1]):
            frame[np.uint32(p[i]) * size + np.uint32(y[i]) * np.uint32(width) + np.uint32(x[i])] += np.float32(1)


@numba.njit(cache=True, nogil=True)
def _count_scaled(x, y, p, limits, counts, columns, rows, size):
    size = np.uint32(size)
    for k in range(len(limits) - 1):
        frame = counts[2 * k * size : 2 * (k + 1) * size]
        for i in range(limits[k], limits[k + 1]):
            frame[np.uint32(p[i]) * size + rows[y[i]] + columns[x[i]]] += np.float32(1)


@numba.njit(cache=True, nogil=True)
def _spread(x, y, t, p, per_microsecond, grid, columns, rows, size):
    last = len(grid) // size - 1
    for i in range(len(t)):
        place = t[i] * per_microsecond
        low = min(int(place), max(last - 1, 0))  # the last event lies on the last bin, at share 1 of the one before
        share = min(place - low, 1.0)
        sign = 1.0 if p[i] else -1.0
        pixel = rows[y[i]] + columns[x[i]]
        grid[low * size + pixel] += sign * (1.0 - share)
        if share > 0:
            grid[(low + 1) * size + pixel] += sign * share
