"""From folders of pictures to a store of frames and simulated events."""

import pickle
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from picture_sets import moving, write_frames, write_set

from reidlib.datasets import build_store, frame_times
from reidlib.datasets.pictures import to_grey
from reidlib.datasets.video_events import ConversionSettings, build, make, simulator_seed
from reidlib.events import IDEAL, REALISTIC, simulate

SMALL = ConversionSettings(height=32, width=16)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    root = tmp_path_factory.mktemp("made_up")
    return root, write_set(root)


def same(a, b):
    assert a.events == b.events and a.attributes.keys() == b.attributes.keys() and a.duration == b.duration
    np.testing.assert_array_equal(a.frames, b.frames)


def test_a_tracklet_is_its_frames_and_what_the_simulator_makes_of_them(made_up):
    root, rows = made_up
    sample = make(root, SMALL, rows[1])
    frames = moving(6, 32, 16, seed=1)
    np.testing.assert_array_equal(sample.frames, frames)
    assert sample.events == simulate(frames, 25.0, REALISTIC, seed=simulator_seed(0, rows[1]["key"]))
    assert len(sample.events) > 100 and (sample.events.width, sample.events.height) == (16, 32)
    assert sample.attributes["frame_times"].tolist() == [0, 40_000, 80_000, 120_000, 160_000, 200_000]
    assert sample.interval() == (0, 200_000) and sample.events.t[-1] <= 200_000


def test_a_tracklet_is_a_function_of_its_row_alone(made_up):
    root, rows = made_up
    same(make(root, SMALL, rows[2]), make(str(root), SMALL, dict(rows[2])))
    renamed = make(root, SMALL, {**rows[2], "key": "p9999/c0/t0"})  # the noise is the tracklet's own
    assert renamed.events != make(root, SMALL, rows[2]).events
    assert simulator_seed(0, "a") != simulator_seed(1, "a") and 0 <= simulator_seed(0, "a") < 2**64


@pytest.mark.parametrize("how", ["colour", "grey", "none"])
def test_events_do_not_depend_on_what_is_stored_of_the_frames(made_up, how):
    root, rows = made_up
    sample, colour = make(root, replace(SMALL, frames=how), rows[0]), make(root, SMALL, rows[0])
    assert sample.events == colour.events
    expected = {"colour": colour.frames, "grey": to_grey(colour.frames), "none": None}[how]
    np.testing.assert_array_equal(sample.frames, expected)


def test_a_store_of_frames_alone(made_up):
    root, rows = made_up
    sample = make(root, replace(SMALL, events=False), rows[0])
    assert len(sample.events) == 0 and sample.frames.shape == (6, 32, 16, 3) and sample.interval() == (0, 200_000)


def test_crops_of_differing_size_become_one_size(tmp_path):
    sizes = [(40, 18), (36, 20), (40, 18)]
    names = [write_frames(tmp_path, np.full((1, *size, 3), 50 * i, np.uint8), first=i)[0] for i, size in enumerate(sizes)]
    row = {"key": "a", "files": names}
    sample = make(tmp_path, SMALL, row)
    assert sample.frames.shape == (3, 32, 16, 3) and sample.frames[:, 0, 0, 0].tolist() == [0, 50, 100]
    assert sample.attributes["picture_sizes"] == [[36, 20], [40, 18]]
    with pytest.raises(ValueError, match=r"0001.png has \(36, 20\) pixels .* others of its tracklet \(40, 18\): set height and width"):
        make(tmp_path, replace(SMALL, height=None, width=None), row)
    assert make(tmp_path, replace(SMALL, height=None, width=None), {**row, "files": names[::2]}).frames.shape == (2, 40, 18, 3)


def test_a_single_frame_makes_no_events_and_lasts_one_interval(made_up):
    root, rows = made_up
    sample = make(root, SMALL, {**rows[0], "files": rows[0]["files"][:1]})
    assert len(sample.events) == 0 and sample.interval() == (0, 40_000)


def test_a_still_scene_is_silent_and_the_frame_rate_sets_the_clock(tmp_path):
    names = write_frames(tmp_path, np.repeat(moving(1, 32, 16, 0), 5, axis=0))
    sample = make(tmp_path, replace(SMALL, sensor=IDEAL, fps=10), {"key": "a", "files": names})
    assert len(sample.events) == 0 and sample.attributes["frame_times"].tolist() == [0, 100_000, 200_000, 300_000, 400_000]


def test_the_store_says_how_it_was_made_and_a_resumed_one_is_the_same(made_up, tmp_path):
    root, rows = made_up
    one = build("made_up", root, rows, SMALL, tmp_path / "one.h5", workers=1)
    assert one.settings["fps"] == 25 and one.settings["sensor"]["positive_threshold"] == REALISTIC.positive_threshold
    assert one.settings["sensor"]["shot_noise_rate_hz"] == 1.0 and (one.settings["height"], one.settings["seed"]) == (32, 0)
    key = rows[3]["key"]
    assert one.events(key) == make(root, SMALL, rows[3]).events and len(one.index) == 8
    np.testing.assert_array_equal(frame_times(one, key, 6), 40_000 * np.arange(6))
    path = tmp_path / "cut.h5"
    with pytest.raises(ValueError, match="cut off"):
        build_store(path, rows, partial(stop_at, root, rows[5]["key"]), one.settings, workers=1, description="made_up")
    assert len(list(Path(f"{path}.parts").glob("*.h5"))) == 5
    again = build("made_up", root, rows, SMALL, path, workers=1)
    assert again.path.read_bytes() == one.path.read_bytes() and not Path(f"{path}.parts").exists()
    same(pickle.loads(pickle.dumps(partial(make, root, SMALL)))(rows[0]), make(root, SMALL, rows[0]))  # worker processes get it so


def stop_at(root, key, row):
    if row["key"] == key:
        raise ValueError("cut off")
    return make(root, SMALL, row)


def test_changed_pictures_are_noticed_and_missing_ones_are_named(tmp_path):
    rows = write_set(tmp_path / "set")
    first = build("made_up", tmp_path / "set", rows, SMALL, tmp_path / "s.h5", workers=1)
    write_frames(tmp_path / "set" / rows[0]["source"], moving(6, 34, 16, seed=99))
    second = build("made_up", tmp_path / "set", rows, SMALL, tmp_path / "s.h5", workers=1)
    assert second.data_hash != first.data_hash
    (tmp_path / "set" / rows[4]["files"][2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture at .*person_0002/0003.png \(tracklet p0002/c0/t0\)"):
        build("made_up", tmp_path / "set", rows, SMALL, tmp_path / "s.h5", workers=1)
    with pytest.raises(ValueError, match="tracklet a has no frames"):
        make(tmp_path, SMALL, {"key": "a", "files": []})


def test_an_error_names_file_and_tracklet(tmp_path):
    rows = write_set(tmp_path / "set")
    (tmp_path / "set" / rows[1]["files"][3]).write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"person_0000/0004.png cannot be read") as caught:
        build("made_up", tmp_path / "set", rows, SMALL, tmp_path / "s.h5", workers=1)
    assert "while building tracklet p0000/c1/t0" in caught.value.__notes__


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fps": 0}, "fps must be from 0.1 to 10000"),
        ({"fps": float("nan")}, "fps must be"),
        ({"height": 128, "width": None}, "give both height and width or neither"),
        ({"height": 4, "width": 64}, "height must be a whole number from 8 to 4096, got 4"),
        ({"frames": "color"}, "frames must be one of colour, grey, none, got 'color'"),
        ({"frames": "none", "events": False}, "would store nothing"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"sensor": {"threshold": 0.2}}, "unknown field 'threshold' of sensor; legal: positive_threshold"),
        ({"sensor": {"positive_threshold": 0}}, "positive_threshold must be from 0.01"),
    ],
)
def test_refused_settings(options, message):
    with pytest.raises(ValueError, match=message):
        ConversionSettings(**options)


def test_single_fields_of_the_sensor():
    assert ConversionSettings(sensor={"upsample": "adaptive"}).sensor == replace(REALISTIC, upsample="adaptive")


def test_peak_memory_does_not_grow_with_the_number_of_tracklets(tmp_path):
    count, size = 6, (96, 48)
    rows, peaks = write_set(tmp_path / "set", people=1, count=count, size=size), []
    for times in (1, 1, 8):  # what the first build loads for good is not counted
        many = [{**row, "key": f"{row['key']}/r{i}"} for i in range(times) for row in rows]
        tracemalloc.start()
        settings = ConversionSettings(height=size[0], width=size[1])
        build("made_up", tmp_path / "set", many, settings, tmp_path / f"{len(peaks)}.h5", workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    pixels = count * size[0] * size[1] * 3  # bytes of a tracklet; the last build has 14 more than the one before
    assert peaks[2] - peaks[1] < 2 * pixels and peaks[1] > pixels, peaks
