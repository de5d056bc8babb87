"""Clips: nothing is lost, every draw is a function of (seed, number), and the sampler keeps its promises for any P, K and set."""

from collections import Counter
from itertools import islice, pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SETTINGS, make, random_events, rows
from test_tracklets import table

from reidlib.datasets import ClipDataset, ClipSettings, PKSampler, Sample, build_store, collate, eval_batches, train_loader
from reidlib.datasets.clips import augment_clip, clip_edges, drawn_degradation
from reidlib.datasets.degrade import KINDS

PLAIN = ClipSettings(steps=4, size=(16, 8), seconds=0.3, scale="raw", flip=0, erase=0, shift=0, drop=0)
FULL = ClipSettings(steps=4, size=(16, 8), seconds=0.3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_store(tmp_path_factory.mktemp("clips") / "small.h5", rows(count=400), make, SETTINGS, workers=1).load()


@pytest.fixture(scope="module")
def training(store):
    return store.index[store.index["subset"] == "train"]


def test_a_train_item(store, training):
    dataset = ClipDataset(store, training, FULL, train=True, seed=1, labels=[1, 5, 0])
    item = dataset[6, 12]
    assert item["events"].shape == (4, 2, 16, 8) and item["events"].dtype == torch.float32
    assert (item["label"], item["camera"], item["row"]) == (0, 1, 6)  # row 6: person 1, camera 1
    assert dataset[0, 0]["label"] == 2
    assert ClipDataset(store, training, FULL, train=True)[6, 12]["label"] == 1
    with pytest.raises(ValueError, match="1 people of the index have no label, the first is 1"):
        ClipDataset(store, training, FULL, train=True, labels=[0])


def test_an_item_of_the_other_kind_is_refused(store, training):
    with pytest.raises(TypeError, match=r"an item is a pair \(row, draw\) of this data set, not 6"):
        ClipDataset(store, training, FULL, train=True)[6]
    with pytest.raises(TypeError, match=r"an item is a row of this data set, not \(6, 12\)"):
        ClipDataset(store, training, FULL, train=False)[6, 12]


def test_a_train_clip_is_a_window_of_its_tracklet(store, training):
    dataset = ClipDataset(store, training, PLAIN, train=True, seed=0)
    events = store.events(training["key"].iloc[0])
    starts = [np.searchsorted(events.t, [a, a + 300_000]) for a in range(0, 700_000, 50_000)]
    usual = np.mean([b - a for a, b in starts])
    sums = [float(dataset[0, draw]["events"].sum()) for draw in range(20)]
    assert len(set(sums)) > 5 and 0.6 * usual < np.mean(sums) < 1.4 * usual
    whole = ClipDataset(store, training, ClipSettings(**{**vars(PLAIN), "seconds": 5.0}), train=True, seed=0)
    assert float(whole[0, 0]["events"].sum()) == 400  # shorter than a clip: all of it


def test_items_do_not_depend_on_order_or_on_workers(store, training):
    dataset = ClipDataset(store, training, FULL, train=True, seed=3)
    items = [(row, draw) for draw in range(4) for row in range(len(training))]
    forward = {item: dataset[item]["events"] for item in items}
    for item in reversed(items):
        assert torch.equal(dataset[item]["events"], forward[item])
    assert not torch.equal(forward[0, 0], forward[0, 1])
    assert not torch.equal(ClipDataset(store, training, FULL, train=True, seed=4)[0, 0]["events"], forward[0, 0])
    sampler = PKSampler(training, people=2, clips=3, seed=0, iterations=4)
    alone, shared = (list(train_loader(dataset, sampler, workers)) for workers in (0, 2))
    assert len(alone) == 4
    for one, two in zip(alone, shared, strict=True):
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def make_at_edges(row):
    """Recordings whose events crowd at clip borders; number 0 is empty, number 1 empty and of known length, number 2 one event."""
    count = (0, 0, 1, 60)[min(row["number"], 3)]
    events = random_events(count, row["number"], microseconds=max(1, row["number"] * 350_000))
    snapped = events.t // 50_000 * 50_000 if row["number"] % 2 else events.t
    moved = type(events)(events.x, events.y, snapped, events.p, events.width, events.height)
    return Sample(moved, duration=2.0 if row["number"] == 1 else None)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.6, 100])
def test_every_event_of_a_tracklet_is_in_exactly_one_test_clip(tmp_path, seconds):
    store = build_store(tmp_path / "edges.h5", rows(), make_at_edges, SETTINGS, workers=1).load()
    dataset = ClipDataset(store, store.index, ClipSettings(**{**vars(PLAIN), "seconds": seconds}), train=False)
    for row, key in enumerate(store.index["key"]):
        clips, events = dataset[row]["events"].numpy(), store.events(key)
        assert clips.shape == (max(1, round(store.index["duration"].iloc[row] / seconds)), 4, 2, 16, 8)
        expected = np.zeros((2, 16, 8))
        np.add.at(expected, (events.p, events.y.astype(int) * 16 // 48, events.x.astype(int) * 8 // 24), 1)
        np.testing.assert_array_equal(clips.sum((0, 1)), expected)
        edges = clip_edges(*store.interval(key), seconds)
        counts = [np.sum((events.t >= a) & (events.t < b)) for a, b in pairwise(edges)]
        np.testing.assert_array_equal(clips.sum((1, 2, 3, 4)), counts)


@given(st.integers(0, 10**12), st.integers(1, 10**9), st.floats(0.01, 100))
def test_clips_are_of_equal_length(start, length, seconds):
    edges = clip_edges(start, start + length, seconds)
    assert len(edges) - 1 == max(1, round(length / 1e6 / seconds))
    assert (edges[0], edges[-1]) == (start, start + length)
    steps = np.diff(edges)
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("clips", [1, 3, 7, 100])
def test_eval_batches_drop_no_clip(store, clips):
    dataset = ClipDataset(store, store.index, PLAIN, train=False)
    batches = list(eval_batches(dataset, clips))
    expected = torch.cat([dataset[row]["events"] for row in range(len(dataset))])
    owners = [row for row in range(len(dataset)) for _ in dataset[row]["events"]]
    assert len(owners) == 3 * len(dataset)
    assert torch.equal(torch.cat([batch["events"] for batch in batches]), expected)
    assert torch.cat([batch["owner"] for batch in batches]).tolist() == owners
    assert all(len(batch["owner"]) == clips for batch in batches[:-1])
    assert dataset[3]["label"] == dataset.persons[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, not 0"),
        ({"size": (64,)}, r"size must be \(height, width\)"),
        ({"size": (64, 0)}, r"size must be \(height, width\)"),
        ({"seconds": 0}, "seconds must be above 0, not 0"),
        ({"seconds": float("nan")}, "seconds must be above 0, not nan"),
        ({"scale": "sqrt"}, "unknown scale 'sqrt'; legal: log, raw, binary"),
        ({"flip": 1.5}, "flip is a share from 0 to 1, not 1.5"),
        ({"drop": -0.1}, "drop is a share from 0 to 1, not -0.1"),
        ({"degrade": 2}, "degrade is a share from 0 to 1, not 2"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ClipSettings(**change)


def augmented(seed: int, **settings) -> tuple:
    events = random_events(2000, 0)
    before = [a.copy() for a in (events.x, events.y, events.t, events.p)]
    result = augment_clip(events, ClipSettings(**{**vars(PLAIN), **settings}), seed, 5)
    for array, copy in zip((events.x, events.y, events.t, events.p), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    return events, result


def test_no_augmentation_changes_nothing():
    events, result = augmented(0)
    assert result == events


def test_flip_mirrors():
    events, result = augmented(0, flip=1)
    np.testing.assert_array_equal(result.x, 23 - events.x)
    np.testing.assert_array_equal(result.y, events.y)


@pytest.mark.parametrize("seed", range(5))
def test_shift_moves_the_picture(seed):
    events, result = augmented(seed, shift=0.25)
    moves = []
    for dx in range(-6, 7):
        for dy in range(-12, 13):
            x, y = events.x.astype(int) + dx, events.y.astype(int) + dy
            inside = (x >= 0) & (x < 24) & (y >= 0) & (y < 48)
            if np.array_equal(x[inside], result.x) and np.array_equal(y[inside], result.y) and np.array_equal(events.t[inside], result.t):
                moves.append((dx, dy))
    assert len(moves) == 1


@pytest.mark.parametrize("seed", range(5))
def test_erase_empties_one_box_and_nothing_else(seed):
    events, result = augmented(seed, erase=1)
    left = set(zip(result.x.tolist(), result.y.tolist(), result.t.tolist(), strict=True))
    gone = [(x, y) for x, y, t in zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), strict=True) if (x, y, t) not in left]
    (x0, y0), (x1, y1) = np.min(gone, 0), np.max(gone, 0)
    inside = [(x, y) for x, y in zip(result.x.tolist(), result.y.tolist(), strict=True) if x0 <= x <= x1 and y0 <= y <= y1]
    assert not inside
    assert 0.005 < (x1 - x0 + 1) * (y1 - y0 + 1) / (24 * 48) < 0.25


def test_drop_takes_a_share_drawn_per_clip():
    lost = [1 - len(augmented(seed, drop=0.4)[1]) / 2000 for seed in range(40)]
    assert max(lost) < 0.45 and 0.15 < np.mean(lost) < 0.25 and np.std(lost) > 0.05


def identities(counts: list[list[int]]):
    """Index of people whose camera c has counts[person][c] tracklets."""
    return table(*[("train", p, c) for p, cameras in enumerate(counts) for c, count in enumerate(cameras) for _ in range(count)])


people_counts = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=2, max_size=17)


@settings(max_examples=80, deadline=None)
@given(people_counts, st.integers(1, 8), st.integers(1, 6), st.integers(0, 99))
def test_batches_hold_p_people_times_k_clips_and_rounds_are_even(counts, people, clips, seed):
    index = identities(counts)
    people = min(people, len(counts))
    sampler = PKSampler(index, people, clips, seed, iterations=4 * len(counts))
    batches = list(sampler)
    assert len(batches) == len(sampler) == 4 * len(counts)
    persons, cameras = index["person"].to_numpy(), index["camera"].to_numpy()
    visits = []
    for i, batch in enumerate(batches):
        assert [draw for _, draw in batch] == list(range(i * people * clips, (i + 1) * people * clips))
        grouped = [[row for row, _ in batch[j : j + clips]] for j in range(0, len(batch), clips)]
        shown = [set(persons[group]) for group in grouped]
        assert all(len(one) == 1 for one in shown) and len(set.union(*shown)) == people
        visits += [one.pop() for one in shown]
        for group in grouped:
            repeats = Counter(group)
            available = Counter(persons)[persons[group[0]]]
            assert max(repeats.values()) - (min(repeats.values()) if len(repeats) == available else 0) <= 1
            seen = set(cameras[group])
            assert len(seen) == min(clips, len(set(cameras[persons == persons[group[0]]])))
    for start in range(0, len(visits) - len(counts) + 1, len(counts)):
        assert sorted(visits[start : start + len(counts)]) == list(range(len(counts)))


@settings(max_examples=40, deadline=None)
@given(people_counts, st.integers(1, 8), st.integers(0, 99), st.integers(0, 30))
def test_a_later_start_is_the_suffix(counts, people, seed, start):
    index = identities(counts)
    people = min(people, len(counts))
    whole = list(PKSampler(index, people, 2, seed, iterations=30))
    rest = PKSampler(index, people, 2, seed, iterations=30, start=start)
    assert len(rest) == 30 - start
    assert list(rest) == whole[start:]
    far = PKSampler(index, people, 2, seed, iterations=10**6)
    assert far.batch(29) == whole[29]  # asked alone, before any other


def test_the_order_is_drawn_anew_per_round_and_seed():
    index = identities([[2, 2]] * 12)
    draws = [tuple(row for row, _ in batch) for batch in islice(PKSampler(index, 4, 2, 0, 100), 6)]
    assert len(set(draws)) == 6
    assert list(PKSampler(index, 4, 2, 0, 6)) != list(PKSampler(index, 4, 2, 1, 6))


def test_a_drawn_degradation_is_a_function_of_seed_and_draw():
    drawn = [drawn_degradation(0.5, 3, draw) for draw in range(300)]
    assert drawn == [drawn_degradation(0.5, 3, draw) for draw in reversed(range(300))][::-1]
    assert drawn != [drawn_degradation(0.5, 4, draw) for draw in range(300)]
    often = [drawn_degradation(0.8, 3, draw) for draw in range(300)]
    assert all(more == one for one, more in zip(drawn, often, strict=True) if one)  # a higher probability adds clips, and changes none
    assert 130 < sum(one is not None for one in drawn) < 170 and 220 < sum(one is not None for one in often) < 260
    assert {drawn_degradation(0.0, 3, draw) for draw in range(300)} == {None}


def test_all_kinds_and_severities_are_drawn_evenly():
    drawn = [drawn_degradation(1.0, 0, draw) for draw in range(3000)]
    counts = Counter((one.kind, one.severity) for one in drawn)
    assert set(counts) == set(product(KINDS, range(1, 6)))
    assert all(150 < count < 250 for count in counts.values())  # 200 each; a spread of 14 is to be expected
    assert {one.events for one in drawn} == {"clean"}
    assert len({one.seed for one in drawn}) > 2900  # the place of a block is not the tracklet's for ever


def test_a_sampler_that_cannot_be_filled_is_refused():
    with pytest.raises(ValueError, match="cannot fill a batch with 4 different people: the index has 3"):
        PKSampler(identities([[1]] * 3), 4, 2, 0, 10)
    with pytest.raises(ValueError, match="need clips >= 1"):
        PKSampler(identities([[1]] * 3), 2, 0, 0, 10)
    with pytest.raises(ValueError, match="start=11, iterations=10"):
        PKSampler(identities([[1]] * 3), 2, 1, 0, 10, start=11)


def test_collate(store, training):
    dataset = ClipDataset(store, training, FULL, train=True)
    batch = collate([dataset[0, 0], dataset[5, 1]])
    assert batch["events"].shape == (2, 4, 2, 16, 8)
    assert {name: batch[name].tolist() for name in ("label", "camera", "row")} == {"label": [0, 1], "camera": [0, 0], "row": [0, 5]}
