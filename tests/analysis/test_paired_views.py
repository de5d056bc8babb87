"""The check of the paired loader: which clip is shown, and numbers that drop when frames and events do not belong together."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from paired import HEIGHT, PERIOD, WIDTH, PairedStore

from reidlib.analysis import paired_views as views
from reidlib.datasets import ClipDataset, ClipSettings
from reidlib.datasets.clips import clip_geometry
from reidlib.plots.paired import paired_strip

SETTINGS = ClipSettings(steps=4, size=(HEIGHT, WIDTH), seconds=4 * PERIOD / 1e6, shift=0.15)


def experiment_of(store=None, settings=SETTINGS, seed=0):
    store = store or PairedStore()
    return SimpleNamespace(store=store, train_index=store.index, settings=SimpleNamespace(clips=settings), seed=seed)


def test_the_clip_is_the_first_draw_in_which_everything_happens():
    experiment = experiment_of()
    clip = views.augmented_clip(experiment)
    dataset = views._training_clips(experiment)
    row, sensor = dataset.keys.index(clip.key), (WIDTH, HEIGHT)
    for draw in range(100):
        one = clip_geometry(sensor, SETTINGS, 0, draw)
        if one.flipped and one.dx and one.dy and one.box:
            break
    item = dataset[row, draw]
    assert clip.flipped and clip.moved == (one.dx, one.dy) and clip.box == one.box  # the pictures have the sensor's size
    np.testing.assert_array_equal(clip.events, item["events"].numpy())
    unknown = (item["frames"].numpy() == 0).all(1)  # [T, H, W]
    left, top, right, bottom = one.box
    assert unknown[:, top:bottom, left:right].all() and not clip.events[:, :, top:bottom, left:right].any()
    np.testing.assert_allclose(clip.video[unknown], np.broadcast_to([0.485, 0.456, 0.406], (unknown.sum(), 3)), atol=1e-6)
    greys = 255 * clip.video[~unknown]
    np.testing.assert_allclose(greys, np.rint(greys), atol=1e-3)  # the stored video's greys
    assert np.ptp(greys, axis=1).max() < 1e-3 and clip.step_ms == PERIOD / 1000
    assert clip.words.startswith("mirrored, moved ") and clip.words.endswith("emptied in the dashed box")
    assert len(paired_strip(clip.video, clip.events, step_ms=clip.step_ms, box=clip.box).axes) == 12


def test_what_was_drawn_is_told_in_pixels_of_the_picture():
    large = views.augmented_clip(experiment_of())
    small = views.augmented_clip(experiment_of(settings=ClipSettings(**{**vars(SETTINGS), "size": (HEIGHT // 2, WIDTH // 4)})))
    assert small.video.shape == (4, HEIGHT // 2, WIDTH // 4, 3)
    assert small.moved == (large.moved[0] / 4, large.moved[1] / 2)
    assert small.box == pytest.approx(np.array(large.box) / (4, 2, 4, 2))
    words = views.PairedClip("k", None, None, 1.0, False, (-1.25, 2.0), None).words
    assert words == "moved 1.2 pixels to the left and 2.0 down, and emptied in the dashed box"


def test_a_tracklet_shorter_than_a_clip_is_shown_at_its_own_length():
    settings = ClipSettings(**{**vars(SETTINGS), "seconds": 60.0})
    assert views.augmented_clip(experiment_of(settings=settings)).step_ms == pytest.approx(12 * PERIOD / 1000 / 4)


def test_events_alone_have_nothing_to_pair():
    store = PairedStore(video=False)
    store.index["frames"] = 0
    assert not views.has_video(experiment_of(store)) and views.augmented_clip(experiment_of(store)) is None


@pytest.mark.parametrize("missing", ["flip", "shift", "erase"])
def test_augmentation_that_never_does_everything_is_named(missing):
    settings = ClipSettings(**{**vars(SETTINGS), missing: 0.0})
    with pytest.raises(ValueError, match=f"no draw of the first 1000 .*{missing}=0.0.* very small"):
        views.augmented_clip(experiment_of(settings=settings))


def test_right_pairs_correlate_best_in_every_clip():
    found = views.alignment(experiment_of(), 40)
    assert len(found) == 40 and next(iter(found)) == views.RIGHT
    assert (found.idxmax(axis=1) == views.RIGHT).all() and found[views.RIGHT].min() > 0.5
    table = views.alignment_table(found)
    assert table["correlation"].tolist() == pytest.approx(found.mean().tolist())
    assert table["lower than as loaded (% of clips)"].tolist()[1:] == [100, 100, 100]
    sentence = views.alignment_sentence(found)
    assert f"correlate at **{found[views.RIGHT].mean():.2f}** (mean over 40 clips)" in sentence
    assert sentence.count("lower in 100 % of the clips") == 3


WRONG = {
    "mirrored": lambda frames: frames.flip(-1),
    "moved": lambda frames: frames.roll(3, -1),
    "away": lambda frames: frames.roll(2, 0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_loader_that_pairs_wrongly_is_seen(wrong, monkeypatch):
    """The number of the right pairing falls to where the wrong ones were."""
    right = views.alignment_table(views.alignment(experiment_of(), 40))["correlation"]
    load = ClipDataset.__getitem__

    def mispaired(dataset, item):
        clip = load(dataset, item)
        return clip | {"frames": WRONG[wrong](clip["frames"])}

    monkeypatch.setattr(ClipDataset, "__getitem__", mispaired)
    table = views.alignment_table(views.alignment(experiment_of(), 40))
    assert table.loc[views.RIGHT, "correlation"] < right[views.RIGHT] - 0.2
    assert table["lower than as loaded (% of clips)"].min() < 70


def slow_correlation(frames, density, known) -> float:
    """Of one step, pixel by pixel."""
    one, other = [], []
    for y in range(1, HEIGHT - 1):
        for x in range(1, WIDTH - 1):
            if known[y, x] and known[y - 1, x] and known[y + 1, x] and known[y, x - 1] and known[y, x + 1]:
                steep = ((frames[y + 1, x] - frames[y - 1, x]) / 2, (frames[y, x + 1] - frames[y, x - 1]) / 2)
                one.append(np.hypot(*steep))
                other.append(density[y, x])
    return np.corrcoef(one, other)[0, 1]


def test_the_correlation_is_that_of_a_plain_loop():
    experiment = experiment_of()
    item = views._training_clips(experiment)[5, 5]
    frames, events = item["frames"].numpy(), item["events"].numpy()
    expected = [slow_correlation(frames[t].mean(0), events[t].sum(0), (frames[t] != 0).all(0)) for t in range(4)]
    assert views.alignment(experiment, 6)[views.RIGHT].iloc[5] == pytest.approx(np.mean(expected), abs=1e-6)


def test_clips_without_events_say_nothing_and_are_not_counted(monkeypatch):
    load = ClipDataset.__getitem__

    def silent(dataset, item):
        clip = load(dataset, item)
        return clip | {"events": 0 * clip["events"]} if item[1] < 3 else clip

    monkeypatch.setattr(ClipDataset, "__getitem__", silent)
    found = views.alignment(experiment_of(), 10)
    assert found.isna().all(axis=1).tolist() == [True] * 3 + [False] * 7
    pd.testing.assert_frame_equal(views.alignment_table(found), views.alignment_table(found.iloc[3:]))
    assert "(mean over 7 clips)" in views.alignment_sentence(found)
