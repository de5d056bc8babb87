"""Frames and events of a clip show the same moments under the same flip, shift and box; each modality can be had alone."""

import numpy as np
import pytest
import torch
from paired import HEIGHT, PERIOD, WIDTH, PairedStore, edges, moving_rectangles

from reidlib.datasets import ClipDataset, ClipSettings, PKSampler, collate, eval_batches, train_loader
from reidlib.datasets.clips import clip_geometry, drawn_degradation
from reidlib.datasets.degrade import KINDS, degrade
from reidlib.datasets.frames import MEAN, STD
from reidlib.events import augment

STEPS = 4
ALL = {"flip": 0.5, "erase": 0.8, "shift": 0.2, "drop": 0.0}
OFF = dict.fromkeys(ALL, 0.0)
BOTH = ("events", "frames")
ROWS_AND_DRAWS = [(draw % 12, draw) for draw in range(60)]


def clips(store=None, train=True, modalities=BOTH, size=(HEIGHT, WIDTH), **augmentation) -> ClipDataset:
    store = store or PairedStore()
    settings = ClipSettings(steps=STEPS, size=size, seconds=STEPS * PERIOD / 1e6, scale="binary", **{**OFF, **augmentation})
    return ClipDataset(store, store.index, settings, train, seed=7, modalities=modalities)


def greys(frames: torch.Tensor) -> np.ndarray:
    """Network input `[..., 3, H, W]` back to 8-bit greys `[..., H, W]`; -1 where nothing is known, which must hold in all channels."""
    assert frames.dtype == torch.float32
    known = (frames != 0).numpy()
    assert (known.all(-3) == known.any(-3)).all()
    values = frames.numpy() * np.array(STD)[:, None, None] + np.array(MEAN)[:, None, None]
    assert np.ptp(np.where(known, values, 0), axis=-3).max() < 1e-6
    return np.where(known.all(-3), np.rint(255 * values.mean(-3)), -1).astype(int)


def surrounded(known: np.ndarray) -> np.ndarray:
    """Pixels `[H, W]` that are known with all four neighbours; those of the border have fewer."""
    inner = np.zeros_like(known)
    inner[1:-1, 1:-1] = known[1:-1, 1:-1] & known[:-2, 1:-1] & known[2:, 1:-1] & known[1:-1, :-2] & known[1:-1, 2:]
    return inner


def check_events_mark_the_edges(events: torch.Tensor, frames: torch.Tensor) -> int:
    """Pixel by pixel; returns how many pixels were compared."""
    fired, pictures = events.numpy().any(1), greys(frames)  # [T, H, W] both
    compared = 0
    for one, picture in zip(fired, pictures, strict=True):
        inner = surrounded(picture >= 0)
        np.testing.assert_array_equal(one[inner], edges(picture)[inner])
        assert not one[picture < 0].any()
        compared += int(inner.sum())
    return compared


def test_events_mark_the_edges_of_the_frames_under_every_draw():
    dataset = clips(**ALL)
    items = [dataset[row_and_draw] for row_and_draw in ROWS_AND_DRAWS]
    compared = [check_events_mark_the_edges(item["events"], item["frames"]) for item in items]
    assert min(compared) > 0.2 * STEPS * HEIGHT * WIDTH
    drawn = [clip_geometry((WIDTH, HEIGHT), dataset.settings, 7, draw) for _, draw in ROWS_AND_DRAWS]
    assert {g.flipped for g in drawn} == {True, False} and {g.box is None for g in drawn} == {True, False}
    assert len({(g.dx, g.dy) for g in drawn}) > 20


@pytest.mark.parametrize("wrong", ["flip", "shift", "box", "moment"])
def test_the_check_notices_each_mistake(wrong):
    """Frames with another flip, shift or moment than the events' do not pass, nor does an event in the box."""
    dataset = clips(flip=1.0, erase=1.0, shift=0.2)
    events, frames = (dataset[3, 2][name] for name in BOTH)
    check_events_mark_the_edges(events, frames)
    if wrong == "box":
        left, top, _, _ = clip_geometry((WIDTH, HEIGHT), dataset.settings, 7, 2).box
        events[:, :, top, left] = 1.0
    else:
        frames = {"flip": frames.flip(-1), "shift": frames.roll(1, -1), "moment": frames.roll(1, 0)}[wrong]
    with pytest.raises(AssertionError):
        check_events_mark_the_edges(events, frames)


def test_without_augmentation_the_frames_are_the_stored_ones_of_the_drawn_moments_in_order():
    store = PairedStore()
    dataset, video, firsts = clips(store), moving_rectangles(0, store.count), set()
    for draw in range(20):
        start = augment.generator(7, draw, "window").integers(0, (store.count - STEPS) * PERIOD, endpoint=True)
        found = [[n for n in range(store.count) if np.array_equal(picture, video[n])] for picture in greys(dataset[0, draw]["frames"])]
        first = -(-(start - PERIOD // 2) // PERIOD)  # the first frame taken in the window
        assert found == [[first + t] for t in range(STEPS)]
        firsts.add(first)
    assert len(firsts) > 4


def test_test_clips_hold_the_whole_video_and_its_events():
    store = PairedStore()
    dataset = clips(store, train=False)
    for row in range(3):
        item = dataset[row]
        assert item["frames"].shape == (3, STEPS, 3, HEIGHT, WIDTH) and item["events"].shape == (3, STEPS, 2, HEIGHT, WIDTH)
        np.testing.assert_array_equal(greys(item["frames"]).reshape(store.count, HEIGHT, WIDTH), moving_rectangles(row, store.count))
        for events, frames in zip(item["events"], item["frames"], strict=True):
            check_events_mark_the_edges(events, frames)


def test_dropped_events_leave_the_frames_alone():
    some, none = clips(**ALL | {"drop": 0.9}), clips(**ALL)
    items = [(some[0, draw], none[0, draw]) for draw in range(5)]
    assert all(torch.equal(a["frames"], b["frames"]) for a, b in items)
    assert sum(float(a["events"].sum()) for a, _ in items) < 0.8 * sum(float(b["events"].sum()) for _, b in items)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("alone", BOTH)
def test_one_modality_alone_is_the_same_and_reads_nothing_else(train, alone):
    store = PairedStore()
    one, both = clips(store, train, (alone,), **ALL), clips(train=train, **ALL)
    item = (5, 9) if train else 5
    found = one[item]
    assert set(found) == {alone, "label", "camera", "row"} and set(store.read) == {alone}
    assert torch.equal(found[alone], both[item][alone])


@pytest.mark.parametrize("modalities", [("events",), ("frames",), BOTH, ("frames", "events")])
def test_batches_carry_what_there_is(modalities):
    dataset = clips(modalities=modalities, **ALL)
    batch = collate([dataset[0, 0], dataset[5, 1]])
    assert set(batch) == {*modalities, "label", "camera", "row"}
    loaded = next(iter(train_loader(dataset, PKSampler(dataset.store.index, 2, 2, 0, 1))))
    assert {name: tuple(loaded[name].shape[:2]) for name in modalities} == dict.fromkeys(modalities, (4, STEPS))
    test = clips(train=False, modalities=modalities)
    batches = list(eval_batches(test, 7))
    assert [len(batch["owner"]) for batch in batches] == [7, 7, 7, 7, 7, 1]
    assert torch.cat([batch["owner"] for batch in batches]).tolist() == [row for row in range(12) for _ in range(3)]
    for name in modalities:
        expected = torch.cat([test[row][name] for row in range(12)])
        assert torch.equal(torch.cat([batch[name] for batch in batches]), expected)


def test_without_degradation_no_bit_changes():
    """Not a draw of the others moves: clips that stay clean at one half are those of probability 0, bit by bit, and so are all events."""
    none, half = clips(**ALL), clips(**ALL, degrade=0.5)
    clean = 0
    for row, draw in ROWS_AND_DRAWS:
        expected, found = none[row, draw], half[row, draw]
        assert torch.equal(expected["events"], found["events"])
        degraded = drawn_degradation(0.5, 7, draw) is not None
        assert torch.equal(expected["frames"], found["frames"]) is not degraded
        clean += not degraded
    assert 20 < clean < 40


def test_every_clip_is_degraded_before_anything_else_and_its_events_stay():
    store, seen = PairedStore(), set()
    dataset, clean = clips(store, degrade=1.0), clips(store)
    for row, draw in ROWS_AND_DRAWS:
        found, plain = dataset[row, draw], clean[row, draw]
        what = drawn_degradation(1.0, 7, draw)
        expected = degrade(greys(plain["frames"]).astype(np.uint8), what, dataset.keys[row])
        np.testing.assert_array_equal(greys(found["frames"]), expected)
        assert not torch.equal(found["frames"], plain["frames"]) and torch.equal(found["events"], plain["events"])
        seen.add(what.kind)
    assert seen == set(KINDS)


def test_flip_shift_and_box_come_after_the_degradation():
    """What a shift uncovers and a box erases stays unknown: noise in the dark would tell where the box is."""
    some, none = clips(**ALL, degrade=1.0), clips(**ALL)
    for row, draw in ROWS_AND_DRAWS[:20]:
        found, plain = (greys(dataset[row, draw]["frames"]) for dataset in (some, none))
        np.testing.assert_array_equal(found < 0, plain < 0)


def test_test_clips_are_never_degraded_by_the_settings():
    items = [clips(train=False, degrade=p)[4] for p in (0.0, 1.0)]
    assert all(torch.equal(items[0][name], items[1][name]) for name in BOTH)


def test_frames_shrink_with_the_events():
    """At half the size an event of column x is counted in column x / 2, and a frame's pixel shows the pixels around 2 x + 1/2."""
    small, large = (clips(size=size, **ALL)[1, 11] for size in ((HEIGHT // 2, WIDTH // 2), (HEIGHT, WIDTH)))
    assert small["frames"].shape == (STEPS, 3, HEIGHT // 2, WIDTH // 2)
    blocks = large["frames"].unflatten(-1, (WIDTH // 2, 2)).unflatten(-3, (HEIGHT // 2, 2)).mean((-3, -1))
    assert np.corrcoef(small["frames"].flatten(), blocks.flatten())[0, 1] > 0.97
    assert np.corrcoef(small["frames"].roll(1, -1).flatten(), blocks.flatten())[0, 1] < 0.95


def test_a_tracklet_without_video_is_named():
    dataset = clips(PairedStore(video=False))
    with pytest.raises(ValueError, match=r"tracklet 'p0/t2' has no video frames.*events alone"):
        dataset[2, 0]
    assert clips(PairedStore(video=False), modalities=("events",))[2, 0]["events"].any()


@pytest.mark.parametrize("modalities", [(), ("events", "events"), ("rgb",), ("events", "depth"), "video"])
def test_bad_modalities_are_refused(modalities):
    with pytest.raises(ValueError, match="modalities must be some of"):
        clips(modalities=modalities)
