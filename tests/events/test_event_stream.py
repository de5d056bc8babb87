"""The Events class: conversion, validation, windows."""

import pickle

import numpy as np
import pytest
from event_strategies import COLUMNS, recordings, rows, some_events
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.events import Events

GOOD = {"x": [0, 3], "y": [1, 2], "t": [5, 9], "p": [0, 1], "width": 4, "height": 3}


def make(**changes) -> Events:
    values = GOOD | changes
    return Events(**{k: np.asarray(v) if k in COLUMNS else v for k, v in values.items()})


def test_types_are_those_of_the_contract():
    events = make(p=[False, True])
    assert [getattr(events, name).dtype for name in COLUMNS] == [np.uint16, np.uint16, np.int64, np.uint8]
    assert rows(events) == [(0, 1, 5, 0), (3, 2, 9, 1)]
    assert len(events) == 2 and events.duration == pytest.approx(4e-6)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integer_columns_of_any_type(kind):
    columns = {name: np.asarray(GOOD[name], kind) for name in COLUMNS}
    before = {name: column.copy() for name, column in columns.items()}
    assert make(**columns) == make()
    assert all(np.array_equal(columns[name], before[name]) and columns[name].dtype == kind for name in COLUMNS)


def test_columns_of_the_right_type_are_not_copied():
    t = np.array([5, 9])
    assert np.shares_memory(make(t=t).t, t)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [0, 4]}, r"x = 4 in row 1 is outside the sensor \(x must be from 0 to 3\).*width=4"),
        ({"x": [-1, 3]}, r"x = -1 in row 0 is outside"),
        ({"y": [1, 70000]}, r"y = 70000 in row 1 is outside the sensor \(y must be from 0 to 2\)"),
        ({"t": [9, 5]}, r"t = 5 in row 1 follows 9.*not sorted"),
        ({"t": np.array([9, 2], np.uint64)}, r"t = 2 in row 1 follows 9"),
        ({"t": [-2, 5]}, r"t = -2 in row 0 is negative"),
        ({"t": np.array([1, 2**63], np.uint64)}, r"row 1 does not fit"),
        ({"t": [0.5, 1.0]}, r"column t must hold integers, got float64"),
        ({"p": [0, 2]}, r"polarity 2 in row 1 is neither 0 \(OFF\) nor 1 \(ON\)"),
        ({"p": [1, -1]}, r"polarity -1 in row 1.*from_arrays accepts -1/\+1"),
        ({"p": [1]}, r"equal length.*'p': 1"),
        ({"x": [[0, 3]]}, r"column x must have one axis, got shape \(1, 2\)"),
        ({"width": 0}, r"width must be from 1 to 65535 pixels, got 0"),
        ({"height": 65536}, r"height must be from 1 to 65535"),
        ({"height": 2.5}, r"height must be a whole number"),
    ],
)
def test_bad_events_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_from_arrays_takes_both_conventions_of_polarity():
    columns = [np.asarray(GOOD[name]) for name in "xyt"]
    assert Events.from_arrays(*columns, np.array([-1, 1]), 4, 3) == make()
    assert Events.from_arrays(*columns, np.array([0, 1]), 4, 3) == make()
    with pytest.raises(ValueError, match="polarity 0 in row 0"):
        Events.from_arrays(*columns, np.array([0, -1]), 4, 3)


def test_empty_recordings_are_legal():
    events = Events([], [], [], [], 3, 2)
    assert events == Events.empty(3, 2) and len(events) == 0 and events.duration == 0.0
    assert len(events.window(0, 10)) == 0


def test_times_around_zero_do_not_wrap():
    make(t=np.array([0, 0], np.uint8))
    with pytest.raises(ValueError, match="ascend"):
        make(t=np.array([1, 0], np.uint8))


@settings(max_examples=60, deadline=None)
@given(recordings(), st.integers(-5, 210), st.integers(-5, 210))
def test_window_is_half_open_and_a_view(events, start, stop):
    part = events.window(start, stop)
    assert rows(part) == [row for row in rows(events) if start <= row[2] < stop]
    assert not len(part) or all(np.shares_memory(getattr(part, name), getattr(events, name)) for name in COLUMNS)


def test_windows_cover_a_recording_once():
    events = some_events()
    parts = [events.window(a, a + 10_000) for a in range(0, 100_000, 10_000)]
    assert [row for part in parts for row in rows(part)] == rows(events)


def test_pickle_and_equality():
    events = some_events()
    assert pickle.loads(pickle.dumps(events)) == events
    assert events != some_events(seed=1) and events != Events(events.x, events.y, events.t, events.p, 13, 8)
