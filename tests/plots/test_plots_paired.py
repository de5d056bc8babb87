"""Frames and events of one clip, read back from the axes."""

import numpy as np
import pytest

from reidlib.plots import paired
from reidlib.plots.events import event_image, full_scale


def clip(steps=4, size=(16, 8)):
    video = np.stack([np.full(size, 20 * t, np.uint8) for t in range(steps)])
    events = np.random.default_rng(0).poisson(0.3, (steps, 2, *size)).astype(float)
    return video, events


def test_each_column_is_one_step():
    video, events = clip()
    figure = paired.paired_strip(video, events, step_ms=75, box=(2, 3, 5, 9), title="A clip")
    axes = np.reshape(figure.axes, (3, 4))
    assert [ax.get_title("left") for ax in axes[0]] == ["0–75 ms", "75–150 ms", "150–225 ms", "225–300 ms"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["video", "events", "both"]
    for t, (top, middle, bottom) in enumerate(axes.T):
        assert (np.asarray(top.images[0].get_array()) == 20 * t).all()
        np.testing.assert_allclose(middle.images[0].get_array(), event_image(events[t], full_scale(events)))
        backdrop, overlay = bottom.images
        np.testing.assert_array_equal(np.asarray(overlay.get_array())[..., 3] > 0, events[t].any(0))
        assert backdrop.get_extent() == overlay.get_extent() == top.images[0].get_extent() == middle.images[0].get_extent()
        for ax in (top, middle, bottom):
            (patch,) = ax.patches
            assert patch.get_bbox().extents.tolist() == [2, 3, 5, 9]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ON (brighter)", "OFF (darker)"]


def test_video_of_another_size_lies_on_the_same_area():
    _, events = clip()
    figure = paired.paired_strip(np.zeros((4, 48, 24, 3)), events)
    assert {tuple(image.get_extent()) for ax in figure.axes for image in ax.images} == {(0, 8, 16, 0)}
    assert figure.axes[0].get_title("left") == "step 1" and not figure.axes[0].patches


def test_long_clips_are_shown_at_every_other_step():
    video, events = clip(steps=12)
    figure = paired.paired_strip(video, events, columns=4)
    titles = [ax.get_title("left") for ax in figure.axes[:4]]
    assert titles == ["step 1", "step 5", "step 8", "step 12"]
    assert [int(np.asarray(ax.images[0].get_array())[0, 0, 0]) for ax in figure.axes[:4]] == [0, 80, 140, 220]


def test_halves_that_do_not_fit_are_refused():
    video, events = clip()
    with pytest.raises(ValueError, match="lengths differ: video 3, events 4"):
        paired.paired_strip(video[:3], events)
    with pytest.raises(ValueError, match="events must have the shape"):
        paired.paired_strip(video, events[:, 0])
    with pytest.raises(ValueError, match="video frame 0 must be a grey image"):
        paired.paired_strip(np.zeros((4, 16, 8, 5)), events)
