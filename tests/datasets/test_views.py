"""Stores under a condition: degraded video with clean or resimulated events, and events of other people."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import HEIGHT, PERIOD, WIDTH, PairedStore

from reidlib.datasets import ClipDataset, ClipSettings, Degradation, DegradedStore, ShuffledEvents, build_store, walkers
from reidlib.datasets.degrade import COVERED, block, degrade
from reidlib.datasets.views import foreign_permutation, moved
from reidlib.datasets.walkers import WalkersSettings
from reidlib.events import Events

KEY = "p0001/c1/t0"
WALKERS = WalkersSettings(people=4, train_people=2, repeats=1, seconds=0.3, height=64, width=32)
CLIPS = ClipSettings(steps=4, size=(HEIGHT, WIDTH), seconds=4 * PERIOD / 1e6, scale="raw")
BLOCK = Degradation("occlusion", 5, seed=0, events="resimulated")


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    rows = [row for row in walkers.rows(WALKERS) if row["key"] in (KEY, "p0002/c0/t0")]
    stored = dataclasses.asdict(WALKERS) | {"code": walkers.CODE_VERSION}
    return build_store(tmp_path_factory.mktemp("views") / "w.h5", rows, lambda row: walkers.make(WALKERS, row), stored, workers=1)


def columns(events: Events) -> set[tuple]:
    return set(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def test_behind_a_resimulated_block_there_is_silence_and_elsewhere_nothing_changes(walking):
    """Above and below the block: beside it lie pixels that it covered shortly before, as it goes along with the person."""
    clean, inside, rates, same = walking.events(KEY), [], [], []
    for seed in range(4):
        degradation = dataclasses.replace(BLOCK, severity=4, seed=seed)
        left, top, right, bottom, _ = block((64, 32), COVERED[3], degradation.rng(KEY))
        seen = DegradedStore(walking, degradation).events(KEY)
        assert (seen.width, seen.height) == (32, 64) and seen.t.max() < walking.interval(KEY)[1]
        behind = [(e.x >= left + 5) & (e.x < right - 5) & (e.y >= top + 5) & (e.y < bottom - 5) for e in (clean, seen)]
        inside.append([int(hit.sum()) for hit in behind])
        rates.append(inside[-1][1] / ((right - left - 10) * (bottom - top - 10) * WALKERS.seconds))
        apart = [columns(e.take((e.y < top - 4) | (e.y >= bottom + 4))) for e in (clean, seen)]
        same.append([len(apart[0] & apart[1]), max(map(len, apart))])
        left_edge = (seen.x >= left - 1) & (seen.x <= left + 1) & (seen.y >= top) & (seen.y < bottom)
        assert left == 0 or left_edge.sum() > 2 * (bottom - top)  # it moves over the still background
    assert max(rates) < 2.5  # noise: shot noise at most 1 Hz per polarity, leak 0.1 Hz
    (before, after), (kept, all_) = np.sum(inside, 0), np.sum(same, 0)
    assert after < 0.15 * before and kept > 0.9 * all_ > 900


def test_frames_are_the_same_under_both_protocols_and_show_the_block(walking):
    box = block((64, 32), COVERED[4], BLOCK.rng(KEY))
    left, top, right, bottom, grey = box
    by_protocol = [DegradedStore(walking, dataclasses.replace(BLOCK, events=events)).frames(KEY) for events in ("clean", "resimulated")]
    np.testing.assert_array_equal(*by_protocol)
    video = walking.frames(KEY)
    assert (by_protocol[0][:, top:bottom, left:right] == grey).all()
    np.testing.assert_array_equal(by_protocol[0], degrade(video, BLOCK, KEY))
    filmed = walkers.film_again(walking, KEY, lambda film, corner: film).frames
    np.testing.assert_array_equal(filmed, video)


def test_recorded_walks_are_filmed_again_where_their_folder_is_known(shared_data, tmp_path, monkeypatch):
    recorded = dataclasses.replace(WALKERS, gait=str(shared_data / "cmu_walks"))
    store = walkers.build(recorded, tmp_path / "recorded.h5", workers=1)
    filmed = walkers.film_again(store, KEY, lambda film, corner: film)
    np.testing.assert_array_equal(filmed.frames, store.frames(KEY))
    assert filmed.events == store.events(KEY)
    monkeypatch.setattr(walkers, "_GAITS", {})  # as in a process that opened the store by its path
    with pytest.raises(ValueError, match="load the set with the option gait"):
        walkers.film_again(store, KEY, lambda film, corner: film)


@pytest.mark.parametrize("kind", ["motion_blur", "low_light", "occlusion"])
def test_events_stay_clean_where_they_should(walking, kind):
    events = "clean" if kind == "occlusion" else "resimulated"
    view = DegradedStore(walking, Degradation(kind, 5, 0, events))
    assert view.events(KEY) == walking.events(KEY) and not np.array_equal(view.frames(KEY), walking.frames(KEY))
    assert view.interval(KEY) == walking.interval(KEY) and view.attributes(KEY) == walking.attributes(KEY)


def test_memory_keeps_what_was_made(walking):
    view = DegradedStore(walking, BLOCK, memory=True)
    assert view.events(KEY) is view.events(KEY) and view.frames(KEY) is view.frames(KEY)
    assert view.events(KEY) == DegradedStore(walking, BLOCK).events(KEY)


class Changed:
    """A store with other settings or attributes than it was built with."""

    def __init__(self, store, settings=None, box=None):
        self.index, self.settings, self.box, self.store = store.index, store.settings | (settings or {}), box, store

    def attributes(self, key: str) -> dict:
        return self.store.attributes(key) | ({"box": self.box} if self.box else {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"code": 1}}, f"made by code version 1, this is {walkers.CODE_VERSION}"),
        ({"settings": {"gait": "a1b2"}}, "its walks are recorded ones"),
        ({"box": [[0, 0]]}, "another box than the stored one"),
    ],
)
def test_what_cannot_be_filmed_again_is_named(walking, changes, message):
    with pytest.raises(ValueError, match=message):
        DegradedStore(Changed(walking, **changes), BLOCK).events(KEY)


def test_other_sets_are_not_simulated_from_their_slow_video():
    with pytest.raises(ValueError, match=r"'p0/t0' of data set 'paired' cannot be simulated again.*events='clean'"):
        DegradedStore(PairedStore(), BLOCK).events("p0/t0")
    assert DegradedStore(PairedStore(video=False), BLOCK).frames("p0/t0") is None


def test_clips_of_degraded_video():
    store = PairedStore()
    degradation = Degradation("low_light", 3, seed=2)
    for train, item in ((False, 4), (True, (4, 1))):
        changed, plain = (
            ClipDataset(store, store.index, CLIPS, train, modalities=("events", "frames"), degradation=d)[item] for d in (degradation, None)
        )
        assert torch.equal(changed["events"], plain["events"]) and changed["frames"].mean() < plain["frames"].mean() - 0.3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=9), st.integers(0, 10**6), st.randoms())
def test_no_tracklet_keeps_events_of_its_person(counts, seed, random):
    persons = np.repeat(np.arange(len(counts)), counts)
    random.shuffle(persons)
    if 2 * max(counts) > len(persons):
        with pytest.raises(ValueError, match=rf"has {max(counts)} of {len(persons)} tracklets"):
            foreign_permutation(persons, seed)
        return
    found = foreign_permutation(persons, seed)
    assert sorted(found) == list(range(len(persons))) and (persons[found] != persons).all()
    np.testing.assert_array_equal(found, foreign_permutation(persons, seed))


def test_the_donors_of_a_person_are_several_people():
    """Were they one, the events would still say which tracklets belong together."""
    persons = np.repeat(np.arange(20), 4)
    for seed in range(20):
        donors = persons[foreign_permutation(persons, seed)].reshape(20, 4)
        assert np.mean([len(set(row)) for row in donors]) > 3.2
    assert len({foreign_permutation(persons, seed).tobytes() for seed in range(20)}) == 20


def test_shuffled_events_depend_on_seed_and_index_in_any_order():
    store = PairedStore()
    one = ShuffledEvents(store, store.index, 3)
    assert one.donors == ShuffledEvents(store, store.index.sample(frac=1, random_state=0), 3).donors
    assert one.donors != ShuffledEvents(store, store.index, 4).donors
    for key, donor in one.donors.items():
        assert key[:2] != donor[:2] and one.events(key) == store.events(donor)
        np.testing.assert_array_equal(one.frames(key), store.frames(key))
    part = ShuffledEvents(store, store.index.head(6), 3)
    assert set(part.donors.values()) == set(store.index["key"].head(6))
    with pytest.raises(KeyError, match="'p3/t0' has no donor"):
        part.events("p3/t0")


def test_clips_with_shuffled_events():
    store = PairedStore()
    mixed, plain = (ClipDataset(store, store.index, CLIPS, False, modalities=("events", "frames"), shuffled=s) for s in (5, None))
    donors = ShuffledEvents(store, store.index, 5).donors
    rows = {key: row for row, key in enumerate(store.index["key"])}
    for row, key in enumerate(store.index["key"]):
        assert torch.equal(mixed[row]["frames"], plain[row]["frames"])
        assert torch.equal(mixed[row]["events"], plain[rows[donors[key]]]["events"])


def test_a_recording_on_another_clock_is_cut_or_repeated():
    events = Events([1, 2, 3], [0, 0, 0], [110, 120, 149], [0, 1, 0], 4, 1)
    cut = moved(events, (100, 150), (1000, 1030))
    assert (cut.t.tolist(), cut.x.tolist()) == ([1010, 1020], [1, 2])
    repeated = moved(events, (100, 150), (0, 120))
    assert (repeated.t.tolist(), repeated.x.tolist()) == ([10, 20, 49, 60, 70, 99, 110], [1, 2, 3, 1, 2, 3, 1])
    assert moved(events, (100, 150), (100, 150)) == events
    assert len(moved(Events.empty(4, 1), (0, 0), (0, 10**6))) == 0
    assert len(moved(Events([0], [0], [5], [1], 4, 1), (5, 6), (0, 10**6))) == 100


def test_views_keep_their_order_and_name_themselves():
    store = PairedStore()
    shuffled = ShuffledEvents(store, store.index)
    with pytest.raises(ValueError, match="shuffle the degraded store"):
        DegradedStore(shuffled, BLOCK)
    with pytest.raises(ValueError, match="shuffle the degraded store"):
        ClipDataset(shuffled, store.index, CLIPS, False, degradation=BLOCK)
    keys = {store.cache_key, shuffled.cache_key, DegradedStore(store, BLOCK).cache_key}
    keys |= {DegradedStore(store, dataclasses.replace(BLOCK, severity=1)).cache_key, ShuffledEvents(store, store.index, 1).cache_key}
    assert len(keys) == 5
