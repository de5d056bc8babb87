"""The simulator against what its settings promise: analytic event counts, and the trace that each noise term leaves."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from reidlib.events import IDEAL, REALISTIC, Events, SimulatorSettings, simulate

SIDE = 24
PIXELS = SIDE * SIDE


def scene(*levels: int) -> np.ndarray:
    """One uniform grey frame per level."""
    return np.stack([np.full((SIDE, SIDE), level, np.uint8) for level in levels])


def thresholds(value: float, **changes) -> SimulatorSettings:
    return replace(IDEAL, positive_threshold=value, negative_threshold=value, **changes)


def log_light(level: float) -> float:
    """Log intensity of an sRGB level, which the simulator takes as logarithmic above a tenth or so of full light."""
    return float(np.log(((level / 255 + 0.055) / 1.055) ** 2.4))


def test_a_still_scene_is_silent():
    texture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE)).astype(np.uint8)
    events = simulate(np.repeat(texture, 30, axis=0), 100, IDEAL)
    assert len(events) == 0 and (events.width, events.height) == (SIDE, SIDE)


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.35])
def test_a_change_of_light_makes_contrast_over_threshold_events(threshold):
    expected = int((log_light(250) - log_light(150)) / threshold) * PIXELS
    brighter, darker = (simulate(scene(*levels), 100, thresholds(threshold)) for levels in ((150, 250), (250, 150)))
    assert len(brighter) == len(darker) == expected
    assert brighter.p.all() and not darker.p.any()


def test_half_the_threshold_makes_about_twice_the_events():
    frames = np.random.default_rng(0).integers(60, 256, (12, SIDE, SIDE)).astype(np.uint8)
    once, twice = (len(simulate(frames, 100, thresholds(value))) for value in (0.2, 0.1))
    assert 1.9 < twice / once < 2.4


def test_times_run_from_zero_over_the_frames():
    events = simulate(scene(150, 250, 150), 50, thresholds(0.05))
    assert 0 <= events.t[0] < 4000 and 36_000 < events.t[-1] <= 40_000
    assert events.p[events.t < 20_000].all() and not events.p[events.t > 20_000].any()


def test_same_seed_same_events():
    frames = np.random.default_rng(0).integers(0, 256, (10, SIDE, SIDE)).astype(np.uint8)
    before = frames.copy()
    first = simulate(frames, 100, REALISTIC, seed=4)
    assert first == simulate(frames, 100, REALISTIC, seed=4) and first != simulate(frames, 100, REALISTIC, seed=5)
    assert np.array_equal(frames, before)
    assert simulate(frames, 100, IDEAL, seed=4) == simulate(frames, 100, IDEAL, seed=5)


def test_colour_and_float_frames():
    frames = scene(150, 250, 120)
    expected = simulate(frames, 100, IDEAL)
    assert len(expected) > 0
    assert simulate(np.stack([frames] * 3, axis=-1), 100, IDEAL) == expected
    for kind in (np.float32, np.float64):
        assert simulate((frames / 255).astype(kind), 100, IDEAL) == expected


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_frames_nothing_happens(count):
    assert simulate(scene(9)[:count], 100) == Events.empty(SIDE, SIDE)


def test_leak_makes_on_events_at_its_rate():
    events = simulate(scene(*[100] * 300), 100, replace(IDEAL, leak_rate_hz=4.0))
    assert events.p.all() and len(events) / PIXELS / 3 == pytest.approx(4.0, rel=0.2)


def test_shot_noise_makes_both_polarities_more_in_the_dark():
    dark, bright = (simulate(scene(*[level] * 300), 100, replace(IDEAL, shot_noise_rate_hz=5.0)) for level in (5, 200))
    assert len(dark) / PIXELS / 3 == pytest.approx(5.0, rel=0.15) and len(bright) < 0.95 * len(dark)
    assert 0.4 < dark.p.mean() < 0.6


def test_refractory_time_limits_the_rate_of_a_pixel():
    events = simulate(scene(150, 250), 100, thresholds(0.05, refractory_us=3000))
    pixel = events.t[(events.x == 3) & (events.y == 3)]
    assert len(pixel) > 1 and np.diff(pixel).min() >= 3000
    assert len(events) < len(simulate(scene(150, 250), 100, thresholds(0.05)))


def test_threshold_spread_makes_pixels_differ():
    def counts(spread: float) -> np.ndarray:
        events = simulate(scene(150, 250), 100, thresholds(0.1, threshold_spread=spread))
        return np.bincount(events.y.astype(int) * SIDE + events.x, minlength=PIXELS)

    assert counts(0.0).std() == 0 and 0.5 < counts(0.01).std() < counts(0.03).std()


def test_a_slow_photoreceptor_lags():
    step = scene(150, *[250] * 20)
    fast, slow = (simulate(step, 100, thresholds(0.1, cutoff_hz=cutoff)) for cutoff in (0.0, 10.0))
    assert fast.t[-1] <= 10_000 and slow.t[-1] > 20_000


@pytest.mark.parametrize("upsample", ["off", "adaptive", 3])
def test_upsampling_keeps_the_number_of_events_of_a_steady_change(upsample):
    assert len(simulate(scene(150, 250), 100, thresholds(0.1, upsample=upsample))) == 11 * PIXELS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_threshold": 0.0}, "positive_threshold must be from 0.01 to 10 .*got 0.0"),
        ({"negative_threshold": float("nan")}, "negative_threshold must be"),
        ({"threshold_spread": 0.5}, "threshold_spread must be from 0 to 0.15"),
        ({"cutoff_hz": -1.0}, "cutoff_hz must be from 0"),
        ({"leak_rate_hz": "some"}, "leak_rate_hz must be from 0"),
        ({"refractory_us": 1.5}, "refractory_us must be a whole number"),
        ({"upsample": "sometimes"}, 'upsample must be "off", "adaptive" or a number'),
        ({"upsample": 0}, "upsample must be"),
        ({"max_upsample": 0}, "max_upsample must be from 1"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        SimulatorSettings(**changes)


def test_settings_are_plain_values():
    assert SimulatorSettings(**asdict(REALISTIC)) == REALISTIC
    assert all(isinstance(value, (int, float, str)) for value in asdict(REALISTIC).values())


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (scene(1, 2), None, "needs fps"),
        (scene(1, 2), 0, "positive number of frames per second, got 0"),
        (scene(1, 2)[0], 10, r"frames must be \[N, H, W\]"),
        (scene(1, 2)[..., None], 10, r"got shape \(2, 24, 24, 1\)"),
        (scene(1, 2).astype(np.float32), 10, "float frames must lie from 0 to 1, got 1 to 2"),
        (scene(1, 2).astype(np.int64), 10, "uint8 or float from 0 to 1, got int64"),
        (scene(1, 2)[:, :0], 10, "got shape"),
    ],
)
def test_bad_frames_are_named(frames, fps, message):
    with pytest.raises(ValueError, match=message):
        simulate(frames, fps)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_bad_seeds_are_named(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        simulate(scene(1, 2), 10, seed=seed)


def test_video_errors(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no video at .*missing\.mp4"):
        simulate(tmp_path / "missing.mp4")
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"no video")
    with pytest.raises(ValueError, match="has its own frame rate"):
        simulate(video, fps=25)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"clip\.mp4 cannot be simulated: .*needs ffmpeg on PATH"):
        simulate(video)
