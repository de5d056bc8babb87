"""Degraded video: a function of (seed, key), worse with every severity, and never written into the caller's arrays."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import moving_rectangles

from reidlib.datasets import Degradation
from reidlib.datasets.degrade import BLUR, COVERED, DIM, KINDS, block, covered, degrade, line_kernel, low_light, motion_blur

KEYS = [f"p{number:04d}/c0/t0" for number in range(8)]


def film(shape=(4, 64, 32), seed=0) -> np.ndarray:
    """A textured video that refuses to be written to."""
    video = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    video[:, 10:50, 8:24] //= 3
    video.setflags(write=False)
    return video


videos = st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 20), st.booleans(), st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(videos, st.sampled_from(KINDS), st.integers(1, 5), st.integers(0, 99), st.sampled_from(KEYS))
def test_a_function_of_seed_and_key_for_video_of_any_shape(shape, kind, severity, seed, key):
    count, height, width, colour, drawn = shape
    video = film((count, height, width, 3) if colour else (count, height, width), drawn)
    before, degradation = video.copy(), Degradation(kind, severity, seed)
    found = degrade(video, degradation, key)
    assert found.shape == video.shape and found.dtype == np.uint8 and not np.shares_memory(found, video)
    np.testing.assert_array_equal(found, degrade(video, Degradation(kind, severity, seed), key))
    np.testing.assert_array_equal(video, before)


@pytest.mark.parametrize("kind", KINDS)
def test_other_seeds_and_other_tracklets_draw_otherwise(kind):
    video = film()
    results = [degrade(video, Degradation(kind, 3, seed), key) for seed in (0, 1) for key in KEYS[:3]]
    assert len({result.tobytes() for result in results}) == 6
    np.random.seed(0)  # nothing may come from the global generator
    again = degrade(video, Degradation(kind, 3, 0), KEYS[0])
    np.testing.assert_array_equal(again, results[0])


def severities(kind: str, key: str, video: np.ndarray) -> list[np.ndarray]:
    return [degrade(video, Degradation(kind, severity), key) for severity in range(1, 6)]


@pytest.mark.parametrize("key", KEYS)
def test_blur_removes_more_detail_with_every_severity(key):
    video = film((3, 128, 64))
    detail = [np.abs(np.diff(v.astype(float), axis=2)).mean() for v in (video, *severities("motion_blur", key, video))]
    assert all(b < 0.97 * a for a, b in pairwise(detail))


@pytest.mark.parametrize("key", KEYS)
def test_low_light_darkens_more_with_every_severity(key):
    video = film()
    greys = [v.mean() for v in (video, *severities("low_light", key, video))]
    assert all(b < 0.95 * a for a, b in pairwise(greys))


@pytest.mark.parametrize("key", KEYS)
def test_a_severer_block_contains_the_milder_one_and_covers_what_it_says(key):
    video = np.full((3, 128, 64), 255, np.uint8)  # no block is as bright
    hidden = [v != 255 for v in severities("occlusion", key, video)]
    np.testing.assert_allclose([h.mean() for h in hidden], COVERED, rtol=0.06)
    for mild, severe in pairwise(hidden):
        assert (severe | ~mild).all() and severe.sum() > mild.sum()
    assert all((h == h[0]).all() for h in hidden)  # it stands still


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 999))
def test_the_block_lies_in_the_picture(height, width, share, seed):
    left, top, right, bottom, grey = block((height, width), share, np.random.default_rng(seed))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height and 12 <= grey <= 153


def test_covered_follows_the_box_of_the_picture():
    video, corner = film((3, 20, 30)), np.array([[0, 0], [4, 1], [9, 3]])
    found = covered(video, corner, (2, 5, 8, 9), 77)
    for n, (x, y) in enumerate(corner):
        inside = np.zeros((20, 30), bool)
        inside[y + 5 : y + 9, x + 2 : x + 8] = True
        assert (found[n][inside] == 77).all() and (found[n][~inside] == video[n][~inside]).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 12), st.floats(0.1, 10), st.floats(-np.pi / 4, np.pi / 4))
def test_the_kernel_is_a_centred_line(radius, sigma, angle):
    kernel = line_kernel(radius, sigma, angle).astype(float)
    reach = len(kernel) // 2
    y, x = np.mgrid[reach : -reach - 1 : -1, -reach : reach + 1]  # y upwards
    assert kernel.min() >= 0 and np.isclose(kernel.sum(), 1, atol=1e-5)
    assert abs((kernel * x).sum()) < 1e-4 and abs((kernel * y).sum()) < 1e-4  # nothing is displaced
    across, along = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    assert (np.abs(across)[kernel > 0] < 1.5).all() and (np.abs(along)[kernel > 0] < radius + 1.5).all()
    if radius > 3 * sigma > 3:  # not cut off: the line has the width that it is said to have (and half a pixel from sharing)
        assert np.isclose(np.sqrt((kernel * along**2).sum()), sigma, rtol=0.1)


def test_blur_against_a_plain_loop():
    video = film((1, 9, 7))
    found = motion_blur(video, 40, 30, np.random.default_rng(5))
    scale = np.sqrt(63) / 224
    kernel = line_kernel(40 * scale, 30 * scale, np.radians(np.random.default_rng(5).uniform(-45, 45)))
    reach = len(kernel) // 2
    for y in range(9):
        for x in range(7):
            total = 0.0
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    total += kernel[dy + reach, dx + reach] * video[0, min(max(y + dy, 0), 8), min(max(x + dx, 0), 6)]
            assert abs(found[0, y, x] - total) < 0.51


def test_low_light_follows_its_formula_and_its_noise():
    ramp = np.linspace(20, 220, 50).round().astype(np.uint8)
    video = np.broadcast_to(ramp, (4000, 1, 50)).copy()
    found = low_light(video, 0.5, np.random.default_rng(0)) / 255
    dark = 0.5 * ((ramp - 20.0) / 200) ** 2
    bright = dark > 0.1  # below, negative noise is cut off at black
    np.testing.assert_allclose(found.mean(0)[0, bright], dark[bright], atol=0.005)
    np.testing.assert_allclose(found.std(0)[0, bright], np.sqrt(dark / 120 + 0.018**2)[bright], rtol=0.1)


def test_severity_tables_are_the_published_ones():
    """ImageNet-C's make_imagenet_c.py and 3D Common Corruptions' create_non3d.py."""
    assert BLUR == ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)) and DIM == (0.6, 0.5, 0.4, 0.3, 0.2)


def test_an_even_video_stays_even_under_blur_and_has_no_range_in_low_light():
    even = np.full((2, 30, 20), 90, np.uint8)
    np.testing.assert_array_equal(degrade(even, Degradation("motion_blur", 5), "k"), even)
    assert abs(degrade(even, Degradation("low_light", 1), "k").mean() / 255 - 0.6 * (90 / 255) ** 2) < 0.01


def test_all_frames_and_colours_get_the_same_direction_and_block():
    video = np.repeat(moving_rectangles(0, 1), 3, axis=0)
    for kind in ("motion_blur", "occlusion"):
        grey = degrade(video, Degradation(kind, 4), "k")
        assert (grey == grey[0]).all()
        colour = degrade(np.repeat(video[..., None], 3, axis=-1), Degradation(kind, 4), "k")
        assert (colour == grey[..., None]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fog", 1), "unknown degradation 'fog'; legal: motion_blur, occlusion, low_light"),
        (("occlusion", 0), "severity must be a whole number from 1 to 5, not 0"),
        (("occlusion", 6), "not 6"),
        (("occlusion", 2.5), "not 2.5"),
        (("occlusion", True), "not True"),
        (("occlusion", 1, -1), "seed must be 0 or more, not -1"),
        (("occlusion", 1, 0, "new"), "unknown protocol events='new'; legal: clean, resimulated"),
    ],
)
def test_bad_degradations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Degradation(*arguments)


@pytest.mark.parametrize("video", [np.zeros((2, 3, 4)), np.zeros((3, 4), np.uint8)])
def test_other_video_is_refused(video):
    with pytest.raises(ValueError, match="video must be uint8"):
        degrade(video, Degradation("occlusion", 1), "k")


def test_only_resimulated_occlusion_changes_events():
    changing = {(kind, events) for kind in KINDS for events in ("clean", "resimulated") if Degradation(kind, 1, 0, events).changes_events}
    assert changing == {("occlusion", "resimulated")}
