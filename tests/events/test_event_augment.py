"""Augmentations: what each does, what it conserves, and that draws depend on (seed, index) alone."""

import numpy as np
import pytest
from event_strategies import frozen, recordings, rows, some_events
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.events import Events, augment, event_frames

ALWAYS = {"probability": 1.0}
ALL = {
    augment.flip: ALWAYS,
    augment.polarity_flip: ALWAYS,
    augment.reverse: ALWAYS,
    augment.erase: ALWAYS,
    augment.time_shift: {"microseconds": 50},
    augment.event_drop: {"largest": 0.6},
    augment.crop: {"pixels": (2, 3)},
}
seeds = st.integers(0, 10**6)


@pytest.mark.parametrize("apply", ALL)
@settings(max_examples=25, deadline=None)
@given(recordings(), seeds)
def test_results_are_valid_events_and_input_is_untouched(apply, events, seed):
    result = apply(frozen(events), seed=seed, index=3, **ALL[apply])
    assert Events(result.x, result.y, result.t, result.p, events.width, events.height) == result  # checked anew
    assert len(result) <= len(events)
    assert result == apply(events, seed=seed, index=3, **ALL[apply])


@pytest.mark.parametrize("apply", ALL)
def test_draws_depend_on_seed_and_index(apply):
    events = some_events(400, last=5000)
    options = {"probability": 0.5} if "probability" in ALL[apply] else ALL[apply]
    by_index = [rows(apply(events, seed=1, index=i, **options)) for i in range(20)]
    by_seed = [rows(apply(events, seed=i, index=1, **options)) for i in range(20)]
    assert any(result != by_index[0] for result in by_index) and any(result != by_seed[0] for result in by_seed)
    assert rows(apply(events, seed=1, index=7, **options)) == by_index[7]


@pytest.mark.parametrize("apply", [augment.flip, augment.polarity_flip, augment.reverse, augment.erase])
def test_probability(apply):
    events = some_events(400)
    changed = sum(apply(events, 0, i, probability=0.3) is not events for i in range(400))
    assert 85 <= changed <= 155  # 120 +- 3.8 standard deviations
    assert apply(events, 0, 0, probability=0.0) is events


def test_augmentations_draw_independently():
    both = [(augment.generator(0, i, "flip").random(), augment.generator(0, i, "reverse").random()) for i in range(300)]
    assert abs(np.corrcoef(np.array(both).T)[0, 1]) < 0.2


@settings(max_examples=40, deadline=None)
@given(recordings())
def test_flip_mirrors_the_columns_of_the_frames(events):
    flipped = augment.flip(events, 0, 0, **ALWAYS)
    np.testing.assert_array_equal(event_frames(flipped, 3), event_frames(events, 3)[..., ::-1])


@settings(max_examples=40, deadline=None)
@given(recordings())
def test_polarity_flip_exchanges_the_channels(events):
    flipped = augment.polarity_flip(events, 0, 0, **ALWAYS)
    np.testing.assert_array_equal(event_frames(flipped, 3), event_frames(events, 3)[:, ::-1])


@settings(max_examples=40, deadline=None)
@given(recordings())
def test_reverse_plays_backwards_with_polarities_flipped(events):
    result = augment.reverse(events, 0, 0, **ALWAYS)
    if len(events):
        ends = int(events.t[0]) + int(events.t[-1])
        assert rows(result) == [(x, y, ends - t, 1 - p) for x, y, t, p in reversed(rows(events))]
    assert augment.reverse(result, 0, 0, **ALWAYS) == events


@settings(max_examples=40, deadline=None)
@given(recordings(least=1), seeds)
def test_time_shift_moves_all_events_alike(events, seed):
    result = augment.time_shift(events, seed, 0, 50)
    moved = int(result.t[0]) - int(events.t[0])
    assert abs(moved) <= 50 and rows(result) == [(x, y, t + moved, p) for x, y, t, p in rows(events)]


def test_event_drop_drops_the_drawn_share():
    events = some_events(20_000)
    kept = np.array([len(augment.event_drop(events, 0, i, 0.5)) for i in range(60)]) / len(events)
    assert kept.min() > 0.48 and kept.max() < 1 and abs(kept.mean() - 0.75) < 0.07
    assert augment.event_drop(events, 0, 0, 0.0) is events
    assert set(rows(augment.event_drop(events, 0, 1))) <= set(rows(events))


@settings(max_examples=60, deadline=None)
@given(recordings(), seeds)
def test_erase_drops_exactly_the_box(events, seed):
    left, top, right, bottom = augment.erased_box(events.width, events.height, seed, 5)
    assert 0 <= left < right <= events.width and 0 <= top < bottom <= events.height
    expected = [row for row in rows(events) if not (left <= row[0] < right and top <= row[1] < bottom)]
    assert rows(augment.erase(events, seed, 5, **ALWAYS)) == expected


def test_erased_boxes_have_the_area_and_aspect_asked_for():
    boxes = np.array([augment.erased_box(400, 800, 0, i, (0.02, 0.1), (0.5, 2.0)) for i in range(200)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, aspect = width * height / (400 * 800), height / width
    assert share.min() > 0.019 and share.max() < 0.101 and np.ptp(share) > 0.06
    assert aspect.min() > 0.49 and aspect.max() < 2.03 and (aspect < 1).mean() > 0.3


@settings(max_examples=60, deadline=None)
@given(recordings(), st.integers(-12, 12), st.integers(-12, 12))
def test_shift_moves_the_picture(events, dx, dy):
    moved = [(x + dx, y + dy, t, p) for x, y, t, p in rows(events)]
    inside = [row for row in moved if 0 <= row[0] < events.width and 0 <= row[1] < events.height]
    assert rows(augment.shift(frozen(events), dx, dy)) == inside


def test_crop_reaches_all_shifts():
    middle = Events([5], [5], [0], [1], 11, 11)
    places = {row[:2] for i in range(300) for row in rows(augment.crop(middle, 0, i, (1, 2)))}
    assert places == {(x, y) for x in (4, 5, 6) for y in (3, 4, 5, 6, 7)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: augment.flip(e, 0, 0, probability=1.2), "probability must be from 0 to 1, got 1.2"),
        (lambda e: augment.event_drop(e, 0, 0, largest=-0.1), "largest must be from 0 to 1"),
        (lambda e: augment.erase(e, 0, 0, area=(0.0, 0.5)), "area must be a range"),
        (lambda e: augment.erase(e, 0, 0, area=(0.1, 1.5)), "area must be a range"),
        (lambda e: augment.erase(e, 0, 0, aspect=(2.0, 1.0)), "aspect must be a range"),
        (lambda e: augment.time_shift(e, 0, 0, microseconds=-5), "microseconds must be a whole number"),
        (lambda e: augment.crop(e, 0, 0, pixels=(1.5, 2)), "pixels must be two whole numbers"),
    ],
)
def test_bad_parameters_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(some_events())
