"""Noise filters: pure functions from events to fewer events. The work is done by EventCV; the tests hold it to plain loops."""

import math
from collections.abc import Callable
from typing import Any

import eventcv
import numpy as np

from reidlib.events.stream import Events

NEIGHBOURHOODS = ("block", "cross")


def background_activity(events: Events, microseconds: int = 2000, neighbourhood: str = "block") -> Events:
    """Keep an event only if a neighbouring pixel fired at most `microseconds` before it (kept or not, of any polarity).

    neighbourhood: "block", the eight pixels around, or "cross", the four that share an edge. The pixel itself does not count, and
    the neighbour's event must come earlier in the recording, so the first event of a group goes too.
    Source: Delbruck, "Frame-free dynamic digital vision", 2008."""
    if neighbourhood not in NEIGHBOURHOODS:
        raise ValueError(f"neighbourhood must be one of {', '.join(NEIGHBOURHOODS)}, got {neighbourhood!r}")
    duration = _duration(microseconds)
    return _filtered(events, lambda stream: stream.background_activity_filter(duration, neighbourhood=neighbourhood))


def refractory(events: Events, microseconds: int = 1000) -> Events:
    """Drop what a pixel makes less than `microseconds` after its last kept event: at most one event per pixel and dead time."""
    duration = _duration(microseconds)
    return _filtered(events, lambda stream: stream.refractory_filter(duration, refresh="kept"))


def hot_pixels(events: Events, deviations: float = 3.0) -> Events:
    """Drop all events of pixels with more events than mean + `deviations` x standard deviation over the pixels that fired at all."""
    if not math.isfinite(deviations) or deviations < 0:
        raise ValueError(f"deviations must be a number from 0 on, got {deviations!r}")
    return _filtered(events, lambda stream: stream.hot_pixel_filter(float(deviations)))


def _filtered(events: Events, apply: Callable[[Any], Any]) -> Events:  # of EventCV's streams, which have no types
    if not len(events):
        return events
    start = events.t[0]  # EventCV takes columns as float64, which holds the time since the start exactly
    columns = np.stack([events.x, events.y, events.t - start, events.p], axis=1).astype(np.int64)  # [N, 4]
    stream = eventcv.from_numpy(columns, sensor_size=(events.width, events.height), time_unit="us")
    x, y, t, p = apply(stream).numpy().astype(np.int64).T
    return Events(x, y, t + start, p, events.width, events.height)


def _duration(microseconds: int) -> int:
    if isinstance(microseconds, bool) or not isinstance(microseconds, (int, np.integer)) or microseconds < 0:
        raise ValueError(f"microseconds must be a whole number from 0 on, got {microseconds!r}")
    return int(microseconds)
