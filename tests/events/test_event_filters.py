"""Noise filters against loops written from their definitions."""

import numpy as np
import pytest
from event_strategies import frozen, recordings, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.events import Events, filters

ALL = [filters.background_activity, filters.refractory, filters.hot_pixels]


def slow_background_activity(events, microseconds, neighbourhood):
    kept, seen = [], []
    for x, y, t, p in rows(events):
        near = [(abs(a - x), abs(b - y), t - s) for a, b, s in seen]
        allowed = [(0, 1), (1, 0)] + ([(1, 1)] if neighbourhood == "block" else [])
        if any((dx, dy) in allowed and age <= microseconds for dx, dy, age in near):
            kept.append((x, y, t, p))
        seen.append((x, y, t))
    return kept


def slow_refractory(events, microseconds):
    kept, last = [], {}
    for x, y, t, p in rows(events):
        if (x, y) not in last or t - last[x, y] >= microseconds:
            kept.append((x, y, t, p))
            last[x, y] = t
    return kept


def slow_hot_pixels(events, deviations):
    counts: dict = {}
    for x, y, _, _ in rows(events):
        counts[x, y] = counts.get((x, y), 0) + 1
    values = np.array(list(counts.values()), float)
    return [row for row in rows(events) if counts[row[0], row[1]] <= values.mean() + deviations * values.std()]


@settings(max_examples=60, deadline=None)
@given(recordings(side=5, latest=60), st.integers(0, 15), st.sampled_from(["block", "cross"]))
def test_background_activity_equals_a_plain_loop(events, microseconds, neighbourhood):
    kept = filters.background_activity(frozen(events), microseconds, neighbourhood)
    assert rows(kept) == slow_background_activity(events, microseconds, neighbourhood)


@settings(max_examples=60, deadline=None)
@given(recordings(side=3, latest=60), st.integers(0, 15))
def test_refractory_equals_a_plain_loop(events, microseconds):
    assert rows(filters.refractory(frozen(events), microseconds)) == slow_refractory(events, microseconds)


@settings(max_examples=60, deadline=None)
@given(recordings(side=4), st.sampled_from([0.0, 0.7, 1.3, 3.0]))
def test_hot_pixels_equals_a_plain_loop(events, deviations):
    assert rows(filters.hot_pixels(frozen(events), deviations)) == slow_hot_pixels(events, deviations)


def test_a_stuck_pixel_goes_and_the_rest_stays():
    grid = [(x, y) for x in range(6) for y in range(6)]
    pixels = grid + [(2, 3)] * 100
    events = Events(*np.array(pixels).T, np.arange(len(pixels)), np.ones(len(pixels), int), 6, 6)
    kept = filters.hot_pixels(events)
    assert len(kept) == 35 and (2, 3) not in {row[:2] for row in rows(kept)}


@pytest.mark.parametrize("apply", ALL)
def test_empty_recordings_and_sensor_size(apply):
    assert apply(Events.empty(7, 5)) == Events.empty(7, 5)
    one = apply(Events([1], [1], [2**60], [1], 7, 5))
    assert (one.width, one.height) == (7, 5) and set(one.t.tolist()) <= {2**60}


@pytest.mark.parametrize("apply", ALL)
@pytest.mark.parametrize("value", [-1, "often", np.nan])
def test_bad_parameters_are_named(apply, value):
    with pytest.raises((ValueError, TypeError), match="must be"):
        apply(Events.empty(2, 2), value)


def test_bad_neighbourhood_is_named():
    with pytest.raises(ValueError, match="one of block, cross, got 'ring'"):
        filters.background_activity(Events.empty(2, 2), neighbourhood="ring")
