"""The geometry of a draw says where flip, crop and erase put every event, so that a picture can follow them."""

import numpy as np
from event_strategies import recordings, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.events import augment

AREA = (0.05, 0.6)


def followed(events, geometry) -> list[tuple]:
    """The events one by one, by the geometry's own words."""
    found = []
    for x, y, t, p in rows(events):
        x = events.width - 1 - x if geometry.flipped else x
        x, y = x + geometry.dx, y + geometry.dy
        inside = 0 <= x < events.width and 0 <= y < events.height
        left, top, right, bottom = geometry.box or (0, 0, 0, 0)
        if inside and not (left <= x < right and top <= y < bottom):
            found.append((x, y, t, p))
    return found


@settings(max_examples=150, deadline=None)
@given(recordings(), st.integers(0, 10**6), st.integers(0, 50), st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_geometry_follows_the_events(events, seed, index, pixels):
    augmented = augment.flip(events, seed, index, 0.5)
    augmented = augment.erase(augment.crop(augmented, seed, index, pixels), seed, index, 0.5, AREA)
    geometry = augment.geometry(events.width, events.height, seed, index, 0.5, pixels, 0.5, AREA)
    assert followed(events, geometry) == rows(augmented)


def test_draws_differ_and_may_be_switched_off():
    drawn = [augment.geometry(24, 40, 0, i, 0.5, (3, 5), 0.5, AREA) for i in range(60)]
    assert {g.flipped for g in drawn} == {True, False} and {g.box is None for g in drawn} == {True, False}
    assert np.ptp([g.dx for g in drawn]) == 6 and np.ptp([g.dy for g in drawn]) == 10
    assert augment.geometry(24, 40, 0, 3, 0.0, (0, 0), 0.0, AREA) == augment.Geometry()
