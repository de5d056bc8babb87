"""Recordings for property tests: small sensors, repeated pixels and times, also empty ones."""

import numpy as np
from hypothesis import strategies as st

from reidlib.events import Events

COLUMNS = ("x", "y", "t", "p")


@st.composite
def recordings(draw, largest: int = 60, least: int = 0, latest: int = 200, side: int = 9) -> Events:
    """Up to `largest` events on a sensor of up to `side` x `side` pixels, times from 0 to `latest` microseconds and an offset."""
    width, height = draw(st.integers(1, side)), draw(st.integers(1, side))
    count = draw(st.integers(least, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    last = draw(st.integers(0, latest))
    offset = draw(st.sampled_from([0, 7, 1_600_000_000_000_000]))
    t = np.sort(rng.integers(0, last + 1, count)) + offset
    return Events(rng.integers(0, width, count), rng.integers(0, height, count), t, rng.integers(0, 2, count), width, height)


def some_events(count: int = 500, width: int = 12, height: int = 8, last: int = 100_000, seed: int = 0) -> Events:
    """Events spread evenly over the sensor and over the time up to `last`."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, last, count))
    return Events(rng.integers(0, width, count), rng.integers(0, height, count), t, rng.integers(0, 2, count), width, height)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    """The events as (x, y, t, p) of Python integers."""
    return list(zip(*(getattr(events, name).tolist() for name in COLUMNS), strict=True))


def frozen(events: Events) -> Events:
    """The same events in arrays that refuse to be written to, so that any change of the caller's data is an error."""
    for name in COLUMNS:
        getattr(events, name).setflags(write=False)
    return events
