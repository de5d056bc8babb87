"""The pieces of the video half: clocks, the nearest frame, the transform at other resolutions, normalisation, resizing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paired import PairedStore

from reidlib.datasets import build_store, walkers
from reidlib.datasets.frames import MEAN, STD, frame_times, nearest_frames, normalised, resized, transformed
from reidlib.datasets.walkers import WalkersSettings
from reidlib.events.augment import Geometry


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(0, 10**9), st.integers(1, 10**8), st.integers(1, 12))
def test_the_nearest_frame_against_a_plain_loop(times, start, length, steps):
    times = np.sort(np.array(times, np.int64))
    found = nearest_frames(times, start, start + length, steps)
    assert found.shape == (steps,) and (np.diff(found) >= 0).all()
    for t, frame in enumerate(found):
        distances = [abs(2 * steps * int(time) - 2 * steps * start - (2 * t + 1) * length) for time in times]
        assert distances[frame] == min(distances)


def test_of_two_equally_near_frames_the_earlier_is_taken():
    assert nearest_frames(np.array([0, 100, 200]), 0, 100, 1).tolist() == [0]
    assert nearest_frames(np.array([0, 100, 200]), 100, 300, 2).tolist() == [1, 2]


class Stated(PairedStore):
    def __init__(self, attributes: dict):
        super().__init__(count=5)
        self.stated = attributes

    def attributes(self, key: str) -> dict:
        return self.stated


def test_stated_times_count_and_a_video_without_them_spans_the_recording():
    assert frame_times(Stated({"frame_times": [0, 1, 5, 5, 9]}), "p0/t0", 5).tolist() == [0, 1, 5, 5, 9]
    assert frame_times(Stated({}), "p0/t0", 5).tolist() == [0, 62_500, 125_000, 187_500, 250_000]
    for wrong in ([0, 1, 2, 3], [0, 2, 1, 3, 4]):
        with pytest.raises(ValueError, match="'p0/t0': frame_times must be 5 ascending times"):
            frame_times(Stated({"frame_times": wrong}), "p0/t0", 5)


@pytest.mark.parametrize("fps", [120, 100])
def test_the_clock_of_walkers_is_that_of_their_events(fps):
    """A flash in the film: the frames that show it lie after the events that it makes, those that do not before."""
    settings = WalkersSettings(people=4, train_people=2, repeats=1, seconds=0.25, height=64, width=32, fps=fps)
    flash = 12  # a frame that is stored, as number 3

    def alter(film, corner):
        return np.where(np.arange(len(film))[:, None, None] < flash, 40, 200).astype(np.uint8) + np.zeros_like(film)

    sample, _ = walkers.make_tracklet(settings, 1, 0, 0, alter=alter)
    times = walkers.frame_times(fps, len(sample.frames))
    bright = sample.frames.mean((1, 2)) > 120
    assert bright.tolist() == [n >= 3 for n in range(len(times))]
    counts = np.bincount(sample.events.t // 1000)
    burst = np.flatnonzero(counts > 100) * 1000
    assert times[2] <= burst.min() and burst.max() <= times[3] and times[3] == round(flash * 1e6 / fps)
    assert burst.min() >= (flash - 1) * 1e6 / fps - 1000


def test_a_walkers_store_knows_its_frame_times(tmp_path):
    settings = WalkersSettings(people=4, train_people=2, repeats=1, seconds=0.25, height=32, width=16)
    stored = dataclasses.asdict(settings) | {"code": walkers.CODE_VERSION}
    store = build_store(tmp_path / "w.h5", walkers.rows(settings)[:1], lambda row: walkers.make(settings, row), stored, workers=1)
    assert frame_times(store, "p0000/c0/t0", 8).tolist() == [0, 33333, 66667, 100000, 133333, 166667, 200000, 233333]
    assert len(store.frames("p0000/c0/t0")) == 8
    kept = store.load().frames("p0000/c0/t0")
    assert store.frames("p0000/c0/t0") is kept and not kept.flags.writeable


shifts = st.integers(-6, 6)
boxes = st.none() | st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(3, 6), st.integers(4, 8))


@given(st.booleans(), shifts, shifts, boxes, st.integers(0, 99))
def test_the_transform_against_a_plain_loop(flipped, dx, dy, box, seed):
    geometry, (w, h) = Geometry(flipped, dx, dy, box), (6, 8)
    pictures = np.random.default_rng(seed).normal(size=(2, 3, h, w)).astype(np.float32)
    before, expected = pictures.copy(), np.zeros_like(pictures)
    for y in range(h):
        for x in range(w):
            column = w - 1 - x if flipped else x
            if 0 <= column + dx < w and 0 <= y + dy < h:
                expected[..., y + dy, column + dx] = pictures[..., y, x]
    if box is not None:
        expected[..., box[1] : box[3], box[0] : box[2]] = 0
    np.testing.assert_array_equal(transformed(pictures, geometry, (w, h)), expected)
    np.testing.assert_array_equal(pictures, before)
    finer = transformed(np.kron(pictures, np.ones((2, 2), np.float32)), geometry, (w, h))  # twice the sensor's resolution
    np.testing.assert_array_equal(finer, np.kron(expected, np.ones((2, 2))))


def test_normalisation_of_grey_and_colour():
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(np.uint8)
    colour = normalised(frames)
    assert colour.shape == (2, 3, 5, 4) and colour.dtype == np.float32
    for c in range(3):
        np.testing.assert_allclose(colour[:, c], (frames[..., c] / 255 - MEAN[c]) / STD[c], rtol=1e-5, atol=1e-6)
    grey = normalised(frames[..., 0])
    np.testing.assert_array_equal(grey, normalised(np.repeat(frames[..., :1], 3, axis=-1)))


@pytest.mark.parametrize("size", [(8, 4), (4, 2), (16, 8), (5, 3)])
def test_resizing_keeps_even_pictures_and_the_places_of_things(size):
    even = np.full((1, 3, 8, 4), 0.7, np.float32)
    np.testing.assert_allclose(resized(even, size).numpy(), np.full((1, 3, *size), 0.7), rtol=1e-5)
    ramp = np.broadcast_to((np.arange(4, dtype=np.float32) + 0.5) / 4, (1, 3, 8, 4)).copy()
    found = resized(ramp, size).numpy()
    assert found.shape == (1, 3, *size)
    np.testing.assert_allclose(found.mean(), 0.5, atol=1e-5)
    np.testing.assert_allclose(found, 1 - found[..., ::-1], atol=1e-5)
