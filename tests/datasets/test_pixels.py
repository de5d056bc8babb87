"""Pixels for networks that make pictures: there and back, neighbours by a plain search, and a store of repaired video."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reidlib.datasets import RepairedStore
from reidlib.datasets.frames import normalised, resized
from reidlib.datasets.pixels import nearest_others, network_input, to_bytes, to_pixels, with_neighbours


def video(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(3, 12, 8), (3, 12, 8, 3)])
def test_bytes_come_back_at_their_own_size(shape):
    frames = video(*shape)
    pixels = to_pixels(frames, (12, 8))
    assert pixels.shape == (3, 3, 12, 8) and pixels.min() >= -1 and pixels.max() <= 1
    assert np.array_equal(to_bytes(pixels, shape[1:]), frames)
    assert to_bytes(to_pixels(frames, (24, 12)), shape[1:]).shape == shape


def test_black_and_white_are_the_ends():
    ends = to_pixels(np.array([[[0, 255]]], np.uint8), (1, 2))
    assert ends[0, :, 0].tolist() == [[-1.0, 1.0]] * 3
    assert to_bytes(torch.tensor([-2.0, 2.0]).expand(1, 3, 1, 2), (1, 2)).tolist() == [[[0, 255]]]


def test_grey_is_the_mean_of_colours():
    colours = torch.tensor([0.0, 0.2, 0.4])[None, :, None, None].expand(1, 3, 2, 2)
    assert to_bytes(colours, (2, 2)).tolist() == [[[153, 153]] * 2]  # 127.5, 153 and 178.5, rounded to even


@pytest.mark.parametrize("size", [(12, 8), (24, 16), (6, 4)])
def test_network_input_is_what_clips_are(size):
    frames = video(2, 12, 8, 3)
    expected = resized(normalised(frames), size)
    torch.testing.assert_close(network_input(to_pixels(frames, (12, 8)), size), expected, rtol=1e-4, atol=1e-5)


@given(st.lists(st.booleans(), min_size=2, max_size=7), st.data())
def test_the_nearest_usable_frame_on_either_side(usable, data):
    t = data.draw(st.integers(0, len(usable) - 1))
    candidates = [i for i, good in enumerate(usable) if good and i != t] or [i for i in range(len(usable)) if i != t]
    before, after = [i for i in candidates if i < t], [i for i in candidates if i > t]
    previous, following = nearest_others(t, np.array(usable))
    assert previous == (before[-1] if before else after[0]) and following == (after[0] if after else before[-1])


def test_a_single_frame_is_its_own_neighbour():
    assert nearest_others(0, np.array([True])) == nearest_others(0, np.array([False])) == (0, 0)


def test_neighbours_in_which_the_third_is_visible():
    frames, hidden = video(5, 12, 8), np.zeros((5, 3), bool)
    hidden[1:4, 2] = hidden[4, 0] = True
    lower = np.array([False, False, True])
    adjacent = with_neighbours(frames, 2, hidden, lower, (12, 8), "adjacent")
    visible = with_neighbours(frames, 2, hidden, lower, (12, 8), "visible")
    assert torch.equal(adjacent, to_pixels(frames[[2, 1, 3]], (12, 8))) and torch.equal(visible, to_pixels(frames[[2, 0, 4]], (12, 8)))
    both = np.array([True, False, True])
    assert torch.equal(with_neighbours(frames, 2, hidden, both, (12, 8), "visible"), to_pixels(frames[[2, 0, 0]], (12, 8)))


class Kept:
    """A store of the videos it is given."""

    index, settings = None, {"fps": 30}

    def __init__(self, cache_key: str, **videos):
        self.cache_key, self.videos = cache_key, videos

    def frames(self, key):
        return self.videos[key]

    def interval(self, key):
        return 0, 10

    def attributes(self, key):
        return {"of": self.cache_key}


def test_repaired_video_stands_for_the_stores_own():
    own = Kept("own", a=video(2, 4, 4), b=video(2, 4, 4, seed=1))
    view = RepairedStore(own, Kept("mended", a=video(2, 4, 4, seed=2), b=None))
    assert np.array_equal(view.frames("a"), video(2, 4, 4, seed=2)) and np.array_equal(view.frames("b"), own.frames("b"))
    assert view.cache_key == "own repaired mended" and view.interval("a") == (0, 10) and view.attributes("a") == {"of": "own"}
    with pytest.raises(KeyError):
        view.frames("c")
