"""Event frames and voxel grids against plain loops, and the scaling of counts."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from event_strategies import frozen, recordings, rows, some_events
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.events import Events, event_frames, scale_counts, voxel_grid


def slow_frames(events, steps, start, stop, size):
    """Event frames written from the definition, one event at a time."""
    frames = np.zeros((steps, 2, *size), np.float32)
    for x, y, t, p in rows(events):
        if start <= t < stop:
            frames[(t - start) * steps // (stop - start), p, y * size[0] // events.height, x * size[1] // events.width] += 1
    return frames


def slow_voxels(events, bins, start, stop, size):
    """Voxel grid with exact shares, one event at a time."""
    grid = np.full((bins, *size), Fraction(0))
    for x, y, t, p in rows(events):
        if start <= t < stop:
            place = Fraction((t - start) * (bins - 1), max(stop - 1 - start, 1))
            for k in range(bins):
                pixel = (k, y * size[0] // events.height, x * size[1] // events.width)
                grid[pixel] += max(Fraction(0), 1 - abs(place - k)) * (1 if p else -1)
    return grid.astype(np.float64)


sizes = st.one_of(st.none(), st.tuples(st.integers(1, 14), st.integers(1, 14)))


def drawn_window(data, events):
    """A window around the events, or the default one."""
    first, last = (int(events.t[0]), int(events.t[-1])) if len(events) else (0, 0)
    start = data.draw(st.integers(first - 20, last + 20))
    return start, data.draw(st.integers(start + 1, last + 60))


@settings(max_examples=80, deadline=None)
@given(recordings(), st.integers(1, 13), sizes, st.data())
def test_frames_equal_a_plain_loop(events, steps, size, data):
    start, stop = drawn_window(data, events)
    frames = event_frames(frozen(events), steps, start, stop, size)
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, slow_frames(events, steps, start, stop, size or (events.height, events.width)))


@settings(max_examples=60, deadline=None)
@given(recordings(), st.integers(1, 300), sizes)
def test_default_window_keeps_every_event(events, steps, size):
    frames = event_frames(events, steps, size=size)
    on = int(events.p.sum())
    assert frames[:, 1].sum() == on and frames[:, 0].sum() == len(events) - on


@pytest.mark.parametrize("steps", [1, 7, 8, 1000])
def test_consecutive_windows_count_each_event_once(steps):
    events = some_events(5000, last=99_999)
    edges = [0, 33_334, 66_667, 100_000]
    parts = sum(event_frames(events, steps, a, b).sum() for a, b in pairwise(edges))
    assert parts == len(events)


def test_channels_and_axes():
    events = Events([2], [1], [5], [1], 4, 3)
    frames = event_frames(events, 2, 0, 10)
    assert frames.shape == (2, 2, 3, 4) and frames[1, 1, 1, 2] == 1 and frames.sum() == 1


def test_late_times_do_not_overflow():
    late = 2**62
    events = Events([0, 1, 2], [0, 0, 0], [late, late + 2**61, late + 2**61 + 1], [0, 1, 1], 3, 1)
    frames = event_frames(events, 4)
    assert frames[0, 0, 0, 0] == 1 and frames[3, 1, 0, 1] == 1 and frames[3, 1, 0, 2] == 1


def test_equal_times_and_one_event():
    assert event_frames(Events([1], [0], [9], [1], 2, 1), 5)[0, 1, 0, 1] == 1
    crowd = Events([1] * 50, [0] * 50, [9] * 50, [0] * 50, 2, 1)
    assert event_frames(crowd, 3)[:, 0, 0, 1].tolist() == [50, 0, 0]


@pytest.mark.parametrize("options", [{}, {"t_start": 5}, {"t_stop": -3}, {"t_start": 5, "t_stop": 6}, {"size": (2, 9)}])
def test_empty_recordings_give_zeros(options):
    events = Events.empty(5, 4)
    height, width = options.get("size", (4, 5))
    assert event_frames(events, 3, **options).shape == (3, 2, height, width) and event_frames(events, 3, **options).sum() == 0
    assert voxel_grid(events, 3, **options).shape == (3, height, width) and voxel_grid(events, 3, **options).sum() == 0


@pytest.mark.parametrize("make", [event_frames, voxel_grid])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "must be at least 1, got 0"),
        ((2.5,), "must be a whole number, got 2.5"),
        ((3, 10, 10), r"t_stop must be greater than t_start, got the window \[10, 10\)"),
        ((3, 200_000), "t_stop must be greater than t_start"),
        ((3, 0.5, 10), "t_start must be a whole number, got 0.5"),
        ((3, None, None, (0, 4)), "height of size must be at least 1, got 0"),
        ((3, None, None, (1, 2, 3)), r"size must be \(height, width\)"),
    ],
)
def test_bad_arguments_are_named(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(some_events(), *arguments)


@settings(max_examples=60, deadline=None)
@given(recordings(), st.integers(1, 7), sizes, st.data())
def test_voxels_equal_a_plain_loop(events, bins, size, data):
    start, stop = drawn_window(data, events)
    grid = voxel_grid(frozen(events), bins, start, stop, size)
    assert grid.dtype == np.float32
    np.testing.assert_allclose(grid, slow_voxels(events, bins, start, stop, size or (events.height, events.width)), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(recordings(latest=10**6), st.integers(1, 40))
def test_voxels_conserve_the_sum_of_polarities(events, bins):
    assert voxel_grid(events, bins).sum() == pytest.approx(2 * int(events.p.sum()) - len(events), abs=1e-4)


def test_log_scale_is_the_definition():
    counts = event_frames(some_events(900), 4)
    counts[0, 0, 0, 0] = 50
    logs = np.log1p(counts)
    expected = logs / np.percentile(logs[logs > 0], 99)
    before = counts.copy()
    scaled = scale_counts(counts)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    assert scaled.dtype == np.float32 and np.array_equal(counts, before)
    assert scaled.max() > 1  # nothing is clipped


def test_log_scale_does_not_depend_on_the_event_rate_of_other_clips():
    clips = np.stack([event_frames(some_events(count, seed=count), 4) for count in (50, 900, 0)])
    scaled = scale_counts(clips)
    for clip, alone in zip(scaled, clips, strict=True):
        np.testing.assert_array_equal(clip, scale_counts(alone))
    assert not scaled[2].any()


def test_raw_and_binary_scale():
    counts = event_frames(some_events(900), 4)
    raw = scale_counts(counts, "raw")
    assert np.array_equal(raw, counts) and not np.shares_memory(raw, counts)
    assert np.array_equal(scale_counts(counts, "binary"), (counts > 0).astype(np.float32))


@pytest.mark.parametrize("mode", ["log", "raw", "binary"])
@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (0, 3, 2, 4, 4), (3, 2, 4, 4)])
def test_scale_of_nothing(mode, shape):
    scaled = scale_counts(np.zeros(shape), mode)
    assert scaled.shape == shape and scaled.dtype == np.float32 and not scaled.any()


def test_scale_refuses_what_is_no_count():
    with pytest.raises(ValueError, match="one of log, raw, binary, got 'sqrt'"):
        scale_counts(np.zeros((1, 2, 2, 2)), "sqrt")
    for value in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and not negative"):
            scale_counts(np.full((1, 2, 2, 2), value))
