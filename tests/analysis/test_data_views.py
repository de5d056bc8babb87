"""Tables and pictures of a data set, from a small set in memory."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.analysis import data_views as views
from reidlib.datasets import Degradation, DegradedStore, make_index, validation_split
from reidlib.datasets.degrade import KINDS
from reidlib.evaluation import protocols
from reidlib.events import Events
from reidlib.plots.robustness import degradation_grid


class MemoryStore:
    """As a TrackletStore, without a file: `recordings` key -> (events, seconds)."""

    def __init__(self, index, recordings, frames=None, settings=None):
        self.index, self.recordings, self.video, self.settings = index, recordings, frames, settings or {}

    def events(self, key):
        return self.recordings[key][0]

    def interval(self, key):
        return 0, round(self.recordings[key][1] * 1e6)

    def frames(self, key):
        return self.video


def recording(count, seed, seconds=0.2, on=0.5, width=16, height=32) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, round(seconds * 1e6), count))
    return Events(rng.integers(0, width, count), rng.integers(0, height, count), t, rng.random(count) < on, width=width, height=height)


def small_set(people=6, cameras=2, repeats=2, train=4, missing=(), frames=None) -> MemoryStore:
    """Camera 1 is twice as busy as camera 0 and makes more ON events; (person, camera) pairs in `missing` were not seen."""
    lines, recordings = [], {}
    places = [(p, c, r) for p in range(people) for c in range(cameras) for r in range(repeats) if (p, c) not in missing]
    for number, (person, camera, repeat) in enumerate(places):
        key = f"p{person:04d}/c{camera}/t{repeat}"
        events = recording((500 + 10 * number) * (1 + camera), number, on=0.5 + 0.2 * camera)
        recordings[key] = (events, 0.2)
        subset = "train" if person < train else "query" if camera == 0 else "gallery"
        line = {"key": key, "dataset": "small", "split": 0, "subset": subset, "person": person, "camera": camera, "source": "test"}
        lines.append(
            line | {"frames": 0 if frames is None else len(frames), "duration": 0.2, "events": len(events), "width": 16, "height": 32}
        )
    return MemoryStore(
        make_index(lines),
        recordings,
        frames,
        {"gait": "", "yaw": [35.0, 100.0], "yaw_jitter": 10.0} | dict.fromkeys(("occluder", "shake", "dim"), 0),
    )


def experiment_of(store, validation=2, dataset="walkers"):
    train, held_out = validation_split(store.index, validation, 0) if validation else (store.index[store.index["subset"] == "train"], None)
    protocol = None if held_out is None else protocols(held_out)["query to gallery"]
    return SimpleNamespace(dataset=dataset, index=store.index, store=store, train_index=train, validation=protocol)


def test_the_split_adds_up_and_validation_people_leave_the_training_part():
    table = views.split_table(experiment_of(small_set()))
    assert list(table.index) == ["train", "validation query", "validation gallery", "test query", "test gallery", "all"]
    assert table.loc[["train", "validation query"], "people"].tolist() == [2, 2]
    assert table.iloc[:-1]["tracklets"].sum() == table.loc["all", "tracklets"] == 24
    assert table.iloc[:-1]["events"].sum() == table.loc["all", "events"]
    without = views.split_table(experiment_of(small_set(), validation=0))
    assert list(without.index) == ["train", "test query", "test gallery", "all"]
    assert without.loc["train", "people"] == 4


def test_split_sentences_name_the_queries_that_nobody_answers():
    sentences = views.split_sentences(experiment_of(small_set(missing={(5, 1)})))
    assert sentences[0] == "People on both sides of the split: 0."
    assert sentences[1] == "Queries without a gallery match: p0005/c0/t0, p0005/c0/t1."
    assert views.split_sentences(experiment_of(small_set()))[1].endswith("none.")


def test_the_card_tells_what_the_store_holds():
    card = views.data_card(experiment_of(small_set(frames=np.zeros((7, 8, 4), np.uint8))))["value"]
    assert card["people"] == "6"
    assert card["tracklets"] == "24, of 2 per person and camera"
    assert card["cameras"].startswith("2, yaw 35° and 100° ± 10°")
    assert card["video"] == "7 frames of each tracklet, 30 per second"
    assert card["picture (height × width)"] == "32 × 16 pixels"
    real = small_set()
    real.settings = {}
    card = views.data_card(experiment_of(real, dataset="event_reid"))["value"]
    assert card["video"] == "none, events alone" and "gait" not in card and "local use" in card["terms"]


def test_rates_and_polarity_per_camera():
    store = small_set()
    rates, shares = views.event_rates(store.index), views.on_shares(store, store.index)
    np.testing.assert_allclose(rates, [5 * len(store.events(key)) for key in store.index["key"]])
    table = views.camera_table(store.index, shares)
    assert table["tracklets"].tolist() == [12, 12] and table["people"].tolist() == [6, 6]
    assert 1.9 < table.loc["camera 1", "rate, median"] / table.loc["camera 0", "rate, median"] < 2.1
    assert table.loc["camera 0", "ON (%)"] == pytest.approx(50, abs=2)
    assert table.loc["camera 1", "ON (%)"] == pytest.approx(70, abs=2)
    assert list(views.by_camera(store.index, shares)) == ["camera 0", "camera 1"]
    store.recordings["p0000/c0/t0"] = (Events.empty(16, 32), 0.2)
    assert np.isnan(views.on_shares(store, store.index)[0])


def test_the_grid_has_no_holes():
    store = small_set(cameras=3, missing={(0, 2), (1, 2), (2, 2), (3, 2), (5, 1)})
    cameras, people = views.common_cameras(store.index, 4)
    assert cameras == [0, 1] and len(people) == 4 and 5 not in people
    cells, columns = views.sample_cells(store, store.index)
    assert len(cells) == 8 and columns == 2
    assert [text for text, *_ in cells[:2]] == ["0, camera 0", "0, camera 1"]
    assert all(video is None and picture.shape[0] == 2 for _, video, picture in cells)


def test_pictures_hold_a_tenth_of_a_second_around_the_middle_at_full_resolution():
    video = np.arange(7, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 4), np.uint8)
    store = small_set(frames=video)
    frame, events = views.pictures(store, "p0000/c0/t0")
    assert frame.min() == frame.max() == 3 and events.shape == (2, 32, 16)
    assert events.sum() == len(store.events("p0000/c0/t0").window(50_000, 150_000))


def test_degraded_pictures_are_the_middle_frames_that_a_degraded_store_shows():
    video = np.random.default_rng(0).integers(0, 255, (7, 24, 12)).astype(np.uint8)
    store, key = small_set(frames=video), "p0003/c1/t0"
    pictures = views.degraded_pictures(store, key)
    assert {kind: list(row) for kind, row in pictures.items()} == {kind: list(range(6)) for kind in KINDS}
    for kind, row in pictures.items():
        np.testing.assert_array_equal(row[0], video[3])
        for severity in range(1, 6):
            np.testing.assert_array_equal(row[severity], DegradedStore(store, Degradation(kind, severity)).frames(key)[3])
            assert not any(np.array_equal(row[severity], row[less]) for less in range(severity))
    assert len(degradation_grid(pictures).axes) == 18
    with pytest.raises(ValueError, match=f"tracklet '{key}' has no video frames"):
        views.degraded_pictures(small_set(), key)


def test_median_tracklets_are_the_middle_ones():
    store = small_set(repeats=3)
    for camera, key in views.median_tracklets(store.index).items():
        counts = store.index.loc[store.index["camera"] == camera, "events"]
        assert len(store.events(key)) == sorted(counts)[(len(counts) - 1) // 2]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 60), length=st.integers(1, 90_000), most=st.integers(1, 50), seed=st.integers(0, 9))
def test_counts_over_time_equal_a_plain_loop(count, length, most, seed):
    events = recording(count, seed, seconds=0.1)
    table, seconds = views.counts_over_time(events, 5_000, 5_000 + length, most)
    width = round(seconds * 1e6)
    assert width % 1000 == 0 and len(table) <= most and (len(table) * width <= length or len(table) == 1)
    expected = np.zeros_like(table)
    for t, p in zip(events.t, events.p, strict=True):
        if 0 <= t - 5_000 < min(length, len(table) * width):
            expected[(t - 5_000) // width, p] += 1
    np.testing.assert_array_equal(table, expected)


def test_rate_curves_share_their_bins_and_have_one_name_each():
    store = small_set()
    keys = ["p0000/c0/t0", "p0000/c0/t1", "p0003/c1/t0"]
    curves, seconds = views.rate_curves(store, store.index, keys)
    assert seconds == 0.005 and len(curves) == 3 and {len(counts) for counts in curves.values()} == {40}
    assert [counts.sum() for counts in curves.values()] == [len(store.events(key)) for key in keys]
