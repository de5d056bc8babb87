"""Walkers: determinism, independent streams, the moving box, the renderer against geometry, settings, a small build."""

import dataclasses

import numpy as np
import pytest

from reidlib.datasets import load_dataset, walkers
from reidlib.datasets import walkers_scene as scene
from reidlib.datasets.walkers import WalkersSettings, camera_of, crop_events, crop_frames, identity, make_tracklet, render_tracklet
from reidlib.datasets.walkers_body import JOINTS, PARTS, draw_body, draw_gait, natural_speed, walk
from reidlib.datasets.walkers_render import HOOPS, PLAIN, Capsules, render
from reidlib.events import Events

SMALL = WalkersSettings(people=4, train_people=2, repeats=1, seconds=0.25, height=64, width=32)


def test_the_key_of_a_tracklet_says_where_it_stands():
    assert [walkers.place_of(row["key"]) for row in walkers.rows(SMALL)][:3] == [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    with pytest.raises(ValueError, match="'p0001/c0/w0007' is no tracklet of walkers"):
        walkers.place_of("p0001/c0/w0007")


def test_same_seed_same_bytes_other_seed_other_bytes():
    frames, events = render_tracklet(SMALL, 1, 0, 0)
    again, events_again = render_tracklet(dataclasses.replace(SMALL), 1, 0, 0)
    assert np.array_equal(frames, again) and events == events_again and len(events) > 500
    for other in (dataclasses.replace(SMALL, seed=1), SMALL):
        different = render_tracklet(other, 1, 0, 0) if other != SMALL else render_tracklet(SMALL, 1, 1, 0)
        assert not np.array_equal(frames, different[0]) and events != different[1]


def test_a_set_with_more_people_begins_with_the_same_ones():
    more = dataclasses.replace(SMALL, people=50, train_people=20, repeats=4)
    assert identity(more, 1) == identity(SMALL, 1) and render_tracklet(more, 1, 0, 0)[1] == render_tracklet(SMALL, 1, 0, 0)[1]


def test_streams_are_independent():
    codes = list(walkers.STREAMS.values())
    assert len(set(codes)) == len(codes)
    draws = {name: SMALL.rng(name, 1, 0, 0).random(4).tobytes() for name in walkers.STREAMS}
    assert len(set(draws.values())) == len(draws)
    turned = dataclasses.replace(SMALL, yaw=(80.0, 10.0), yaw_jitter=0.0, dim=0.5)
    assert identity(turned, 2) == identity(SMALL, 2)
    assert dataclasses.replace(camera_of(turned, 0), yaw=35.0) == camera_of(SMALL, 0)


def test_the_background_does_not_know_the_person(monkeypatch):
    """Another identity before the same camera at the same indices: light, threshold, place and picture stay."""
    before, parts = make_tracklet(SMALL, 1, 0, 0, want_parts=True)
    monkeypatch.setattr(walkers, "identity", lambda settings, person: identity(settings, 2))
    after, parts_after = make_tracklet(SMALL, 1, 0, 0, standing=True, want_parts=True)
    assert before.attributes["identity"] != after.attributes["identity"]
    for name in ("camera", "shot"):
        assert before.attributes[name] == after.attributes[name]
    wide = scene.panorama((0, 9, 1), (64, 32), 1.2)
    small, large = (scene.backdrop(wide, SMALL.rng("backdrop", 1, 0, 0), size) for size in ((64, 60), (66, 90)))
    assert np.array_equal(small, large[1:-1, 15:-15])  # a wider walk sees more of the same
    assert (parts == 0).any() and (parts_after == 0).any()


def test_a_standing_person_makes_only_noise():
    still, _ = make_tracklet(SMALL, 1, 1, 0, standing=True)
    moving, _ = make_tracklet(SMALL, 1, 1, 0)
    box = np.array(still.attributes["box"])
    rate = len(still.events) / (SMALL.height * SMALL.width * SMALL.seconds)
    assert rate < 2.5  # shot noise at most 1 Hz per polarity, leak 0.1 Hz
    assert len(moving.events) > 3 * len(still.events) and np.ptp(box, axis=0).max() <= 3


def test_the_torso_fires_although_the_box_follows_it():
    """The sensor stands still, so the torso moves over its pixels, whatever the box does."""
    settings = WalkersSettings(people=4, train_people=2, repeats=1, seconds=0.6)
    sample, parts = make_tracklet(settings, 0, 1, 0, want_parts=True)
    frame = np.minimum(sample.events.t * 30 // 1_000_000, len(parts) - 1)
    near = parts[frame, sample.events.y, sample.events.x]
    torso, free = (np.sum(near == PARTS.index(name)) / np.sum(parts == PARTS.index(name)) for name in ("torso", "background"))
    assert torso > 2 * free
    for name in ("head", "torso", "thigh", "shin", "foot"):
        assert (parts == PARTS.index(name)).any(axis=(1, 2)).mean() > 0.9
    rows, columns = np.nonzero((parts > 0).any(axis=0))
    assert rows.min() < 35 and rows.max() > 95 and columns.min() < 28 and columns.max() > 36


def test_box_crop_against_a_plain_loop():
    rng = np.random.default_rng(0)
    N, fps = 13, 120
    corner = np.stack([np.arange(N) * 2, rng.integers(0, 3, N)], -1)
    t = np.sort(rng.integers(0, (N - 1) * 1_000_000 // fps, 3000))
    events = Events(rng.integers(0, 60, 3000), rng.integers(0, 40, 3000), t, rng.integers(0, 2, 3000), 60, 40)
    got = crop_events(events, corner, fps, (32, 16))
    expected = []
    for x, y, time, p in zip(events.x, events.y, t, events.p, strict=True):
        x0, y0 = corner[min(int(np.floor(time * fps / 1e6 + 0.5)), N - 1)]
        if x0 <= x < x0 + 16 and y0 <= y < y0 + 32:
            expected.append((x - x0, y - y0, time, p))
    assert [tuple(map(int, e)) for e in zip(got.x, got.y, got.t, got.p, strict=True)] == [tuple(map(int, e)) for e in expected]
    video = rng.integers(0, 255, (N, 40, 60)).astype(np.uint8)
    frames = crop_frames(video, corner, (32, 16))
    assert frames.shape == (4, 32, 16) and frames[2, 5, 7] == video[8, corner[8, 1] + 5, corner[8, 0] + 7]


def _one(start, stop, radius, texture, light=(0, 0, 1, 1.0), size=(40, 40)):
    """A capsule before black, 10 pixels per metre, origin at column and row 20."""
    count = len(np.atleast_2d(radius))
    places = (np.array(v, float).reshape(1, count, 3) for v in (start, stop, [[0, 0, 1]] * count))
    capsules = Capsules(*places, np.atleast_2d(radius), np.atleast_2d(texture), np.arange(1, 1 + count))
    tone = np.round(255 * np.linspace(0, 1, 4097))
    view, background = np.array([[10.0, 20.1, 20.2]]), np.zeros((size[0] + 8, size[1] + 8))
    return render(capsules, view, np.array(light, float), background, np.zeros((1, 2)), np.zeros((1, 0, 6)), tone, size, True)


def _plain(grey):
    return (PLAIN, grey, grey, 1, 1, 0, 0, 0)


def test_renderer_draws_the_silhouette_of_a_capsule():
    _, parts = _one([0, -0.5, 0], [0, 0.5, 0], (0.5, 0.5, 2, 1), _plain(1.0))
    y, x = np.mgrid[:40, :40]
    X, Y = (x - 20.1) / 10, (20.2 - y) / 10
    expected = (X / 2) ** 2 + np.maximum(np.abs(Y) - 0.5, 0) ** 2 < 0.25
    assert (parts[0] != expected).sum() <= 4  # pixels on the very edge
    _, cone = _one([0, -1, 0], [0, 1, 0], (0.8, 0.2, 1, 0.01), _plain(1.0))
    widths = cone[0].sum(axis=1)
    np.testing.assert_allclose(widths[12:29], [2 * 10 * (0.5 - 0.3 * (20 - y) / 10) for y in range(12, 29)], atol=1.6)


def test_renderer_depth_light_and_texture():
    ends = [[-0.3, 0, 0], [0.3, 0, 0.5]]
    video, parts = _one(ends, [[-0.3, 0.5, 0], [0.3, 0.5, 0.5]], [(0.6, 0.6, 1, 1)] * 2, [_plain(0.3), _plain(0.8)])
    assert parts[0, 18, 21] == 2 and parts[0, 18, 15] == 1  # the nearer one wins where both are
    assert abs(int(video[0, 18, 23]) - 0.8 * 255) < 1.5 and abs(int(video[0, 18, 15]) - 0.3 * 255) < 1.5
    lit, _ = _one([0, -1, 0], [0, 1, 0], (0.8, 0.8, 1, 1), _plain(1.0), light=(1, 0, 0, 0.4))
    assert lit[0, 20, 26] > lit[0, 20, 20] >= lit[0, 20, 14] and abs(int(lit[0, 20, 14]) - round(0.4 * 255)) <= 1
    hoops, _ = _one([0, -1.5, 0], [0, 1.5, 0], (0.8, 0.8, 1, 0.1), (HOOPS, 0.2, 0.9, 1.0, 0.5, 0, 0, 0))
    bright = hoops[0, :, 20] > 140
    assert [bool(bright[20 - round(10 * v)]) for v in (-1.25, -0.75, -0.25, 0.25, 0.75, 1.25)] == [False, True] * 3
    assert (hoops[0, 8:32, 17] == hoops[0, 8:32, 23]).all()


def test_gait_walks_without_sliding():
    for person in range(12):
        body, gait = draw_body(np.random.default_rng((0, person))), draw_gait(np.random.default_rng((1, person)))
        joints, speed = walk(body, gait, np.arange(240) / 120, 0.3)
        assert 0.7 < speed < 2.2 and np.isclose(speed, natural_speed(body, gait))
        assert np.isclose(joints[-1, 0, 0] - joints[0, 0, 0], speed * 239 / 120, atol=0.02)
        feet = joints[:, [JOINTS.index("l_toe"), JOINTS.index("r_toe")]]
        assert feet[:, :, 1].min() > -0.08 and feet[:, :, 1].min(axis=1).max() < 0.2
        assert np.isclose(joints[:, JOINTS.index("head"), 1].mean(), body.height, rtol=0.06)
        limb = np.linalg.norm(joints[:, JOINTS.index("l_knee")] - joints[:, JOINTS.index("l_hip")], axis=1)
        np.testing.assert_allclose(limb, limb[0])


def test_harder_options_change_what_they_name():
    plain, _ = make_tracklet(SMALL, 1, 1, 0)
    occluded, parts = make_tracklet(dataclasses.replace(SMALL, occluder=1.0), 1, 1, 0, want_parts=True)
    assert (parts == 255).any() and np.array_equal(occluded.attributes["box"], plain.attributes["box"])
    shaken, _ = make_tracklet(dataclasses.replace(SMALL, shake=2.0), 1, 1, 0)
    assert len(shaken.events) > 1.5 * len(plain.events)
    dim, _ = make_tracklet(dataclasses.replace(SMALL, dim=0.8), 1, 1, 0)
    assert dim.frames.mean() < 0.6 * plain.frames.mean()
    moved = scene.shaking(np.random.default_rng(0), np.arange(2000) / 120, 2.0)
    assert np.allclose(np.sqrt((moved**2).mean(axis=0)), 2.0, rtol=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": 1, "train_people": 1}, "people must be a whole number from 4 on.*two identities each"),
        ({"train_people": 80}, "leaves 0 of 80 people"),
        ({"train_people": 1}, "train_people must be a whole number from 2 on"),
        ({"train_people": 79}, "leaves 1 of 80 people"),
        ({"people": 8.5}, "people must be a whole number"),
        ({"seed": -1}, "seed"),
        ({"seconds": 0}, "seconds must be from 0.1"),
        ({"occluder": 1.5}, "occluder must be from 0 to 1"),
        ({"dim": float("nan")}, "dim"),
        ({"yaw": (35,)}, "one angle .* per camera"),
        ({"cameras": 3}, r"per camera \(3\)"),
        ({"cameras": 1, "yaw": (35,)}, "cameras must be a whole number from 2 on"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WalkersSettings(**change)


def test_missing_gait_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of BVH files"):
        WalkersSettings(gait=str(tmp_path / "nowhere"))


def test_small_build(tmp_path):
    options = {"people": 4, "train_people": 2, "repeats": 2, "seconds": 0.25, "height": 32, "width": 16}
    store = load_dataset("walkers", cache_dir=tmp_path, options=options, workers=1, quiet=True)
    index = store.index
    assert len(index) == 16 and list(index["key"][:3]) == ["p0000/c0/t0", "p0000/c0/t1", "p0000/c1/t0"]
    assert set(index.loc[index["person"] < 2, "subset"]) == {"train"}
    test = index[index["person"] > 1]
    assert (test["subset"] == np.where(test["camera"] == 0, "query", "gallery")).all()
    assert (index["frames"] == 8).all() and np.allclose(index["duration"], 0.25) and (index["width"] == 16).all()
    attributes = store.attributes("p0002/c1/t0")
    assert {"identity", "camera", "shot", "speed", "box", "walk"} <= set(attributes) and 75 < attributes["shot"]["yaw"] < 125
    frames, events = render_tracklet(WalkersSettings(**options), 2, 1, 0)
    assert store.events("p0002/c1/t0") == events and np.array_equal(store.frames("p0002/c1/t0"), frames)
    assert load_dataset("walkers", cache_dir=tmp_path, options=options, quiet=True).cache_key == store.cache_key


def test_recorded_gaits(shared_data):
    folder = shared_data / "cmu_walks"
    if not folder.is_dir():
        pytest.skip(f"no recorded walks at {folder}")
    settings = WalkersSettings(people=15, train_people=5, gait=str(folder), height=64, width=32, seconds=1.2)
    walks = [make_tracklet(settings, person, camera, 0)[0] for person, camera in ((0, 0), (0, 1), (1, 0), (13, 0))]
    names = [sample.attributes["walk"] for sample in walks]
    subjects = [name.split("_")[0] for name in names]
    assert subjects[0] == subjects[1] == subjects[3] != subjects[2] and names[0] != names[1]
    assert all(len(sample.events) > 2000 and 0.5 < sample.attributes["speed"] < 2.5 for sample in walks)
    assert walks[0].attributes["identity"]["clothes"] != walks[3].attributes["identity"]["clothes"]
