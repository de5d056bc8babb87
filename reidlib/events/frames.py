"""Events as dense arrays: event frames (counts), voxel grids, and the scaling of counts."""

import operator
from typing import SupportsIndex

import numba
import numpy as np

from reidlib.events.stream import Events

SCALES = ("log", "raw", "binary")
Time = SupportsIndex  # whole microseconds, Python's or numpy's


def event_frames(
    events: Events, steps: int, t_start: Time | None = None, t_stop: Time | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
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
    counts = np.empty((steps, 2, height * width), np.float32)
    _count(events.x, events.y, events.p, limits, counts, *_places(events, height, width))
    return counts.reshape(steps, 2, height, width)


def voxel_grid(
    events: Events, bins: int, t_start: Time | None = None, t_stop: Time | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Signed voxel grid, float32 [bins, H, W]: each event adds its polarity (-1 or +1), shared between the two nearest bins.

    An event at t lies at (t - t_start) / (t_stop - 1 - t_start) * (bins - 1) on the axis of bins, and a bin at distance d < 1 gets
    1 - d of it, so the grid sums to the number of ON minus OFF events of the window. With one bin, or a window of one microsecond,
    everything falls into the first bin. Window and size as in `event_frames`.
    Source: Zhu et al., "Unsupervised Event-based Learning of Optical Flow, Depth, and Egomotion", CVPR 2019, section 3.1."""
    bins = _whole("bins", bins, 1)
    start, stop = _window(events, t_start, t_stop)
    height, width = _size(events, size)
    # Times ascend: the events between two neighbouring bins lie side by side, and only these two bins are at work at a time.
    span, gaps = max(stop - 1 - start, 1), max(bins - 1, 1)
    edges = [start - (-k * span // gaps) for k in range(gaps)]
    limits = np.append(np.searchsorted(events.t, _clip_int64(edges)), np.searchsorted(events.t, _clip_int64([stop])))
    grid = np.empty((bins, height * width), np.float32)
    _spread(events.x, events.y, events.t, events.p, limits, start, (bins - 1) / span, grid, *_places(events, height, width))
    return grid.reshape(bins, height, width)


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


def _whole(name: str, value: SupportsIndex, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _window(events: Events, t_start: Time | None, t_stop: Time | None) -> tuple[int, int]:
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


def _size(events: Events, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        return events.height, events.width
    if len(size) != 2:
        raise ValueError(f"size must be (height, width), got {size!r}")
    return _whole("height of size", size[0], 1), _whole("width of size", size[1], 1)


def _places(events: Events, height: int, width: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Where a pixel's events go: to rows[y] + columns[x]; and whether that is elsewhere than at y * width + x."""
    columns = (np.arange(events.width) * width // events.width).astype(np.uint32)
    rows = (np.arange(events.height) * height // events.height * width).astype(np.uint32)
    return columns, rows, (height, width) != (events.height, events.width)


def _clip_int64(times: list[int]) -> np.ndarray:
    limits = np.iinfo(np.int64)
    return np.array([min(max(t, limits.min), limits.max) for t in times], np.int64)


# Both kernels collect what belongs to one step in an array that stays in the cache, a pixel's two numbers side by side, and write the
# large result once, in its order. Voxel grids work block by block, so that all but the adding itself runs in vector instructions.
_BLOCK = 1024  # events


@numba.njit(cache=True, nogil=True)
def _count(
    x: np.ndarray, y: np.ndarray, p: np.ndarray, limits: np.ndarray, counts: np.ndarray, columns: np.ndarray, rows: np.ndarray, scaled: bool
) -> None:
    size, width, two = np.uint32(counts.shape[2]), np.uint32(len(columns)), np.uint32(2)
    here = np.zeros(two * size, np.uint32)  # OFF and ON
    for k in range(len(counts)):
        for i in range(limits[k], limits[k + 1]):
            pixel = rows[y[i]] + columns[x[i]] if scaled else np.uint32(y[i]) * width + np.uint32(x[i])
            here[two * pixel + np.uint32(p[i])] += np.uint32(1)
        for pixel in range(size):
            counts[k, 0, pixel], counts[k, 1, pixel] = here[two * pixel], here[two * pixel + 1]
            here[two * pixel] = here[two * pixel + 1] = 0


@numba.njit(cache=True, nogil=True)
def _spread(
    x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray, limits: np.ndarray, start: int, per_microsecond: float, grid: np.ndarray,
    columns: np.ndarray, rows: np.ndarray, scaled: bool,
) -> None:  # fmt: skip
    size, width, two = np.uint32(grid.shape[1]), np.uint32(len(columns)), np.uint32(2)
    here = np.zeros(two * size, np.float32)  # for this bin and for the next one
    place, now, later = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for k in range(len(grid)):
        stop = limits[min(k + 1, len(limits) - 1)]
        for first in range(limits[min(k, len(limits) - 1)], stop, _BLOCK):
            count = min(_BLOCK, stop - first)
            xs, ys, ts, ps = x[first : first + count], y[first : first + count], t[first : first + count], p[first : first + count]
            for j in range(count):
                place[j] = two * (rows[ys[j]] + columns[xs[j]] if scaled else np.uint32(ys[j]) * width + np.uint32(xs[j]))
            for j in range(count):
                sign = np.float32(2) * np.float32(ps[j]) - np.float32(1)
                later[j] = sign * np.float32((ts[j] - start) * per_microsecond - k)
                now[j] = sign - later[j]
            for j in range(count):
                here[place[j]] += now[j]
                here[place[j] + np.uint32(1)] += later[j]
        for pixel in range(size):
            grid[k, pixel] = here[two * pixel]
            here[two * pixel], here[two * pixel + 1] = here[two * pixel + 1], np.float32(0)
