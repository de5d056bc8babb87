"""Figures of events: what is drawn is what was given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_rgb

from reidlib.plots import events, style


def shown(figure):
    return [ax for ax in figure.axes if ax.get_visible() and ax.axison]


def picture(ax):
    return np.asarray(ax.images[0].get_array())


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (2, 3, 2), elements=st.integers(0, 50)))
def test_event_image_is_white_exactly_where_nothing_happened(frame):
    image = events.event_image(frame)
    assert image.shape == (3, 2, 3)
    assert (image >= 0).all()
    assert (image <= 1).all()
    np.testing.assert_array_equal((image == 1).all(axis=2), frame.sum(axis=0) == 0)


def test_event_image_colours_and_limits():
    frame = np.zeros((2, 1, 3))
    frame[1, 0, 0], frame[0, 0, 1] = 5, 5
    image = events.event_image(frame, limit=5)
    np.testing.assert_allclose(image[0, 0], to_rgb(style.ON_COLOUR))
    np.testing.assert_allclose(image[0, 1], to_rgb(style.OFF_COLOUR))
    assert (events.event_image(frame, limit=10)[0, 0] >= image[0, 0]).all()  # a higher limit is paler
    with pytest.raises(ValueError, match="below 0"):
        events.event_image(-frame)


def test_as_image_takes_the_three_kinds_and_nothing_else():
    assert events.as_image("q", np.zeros((4, 3), np.uint8)).shape == (4, 3, 3)
    assert events.as_image("q", np.zeros((4, 3, 3))).shape == (4, 3, 3)
    np.testing.assert_array_equal(events.as_image("q", np.zeros((2, 4, 5))), np.ones((4, 5, 3)))
    with pytest.raises(ValueError, match="q must be a grey image"):
        events.as_image("q", np.zeros((4, 3, 5)))


def test_event_frame_strip_shares_one_scale_and_wraps():
    frames = np.zeros((10, 2, 4, 3))
    frames[:, 1, 0, 0] = np.arange(1, 11)
    figure = events.event_frame_strip(frames, step_ms=75)
    panels = shown(figure)
    assert [ax.get_title("left") for ax in panels[:2]] == ["0–75 ms", "75–150 ms"]
    assert len(panels) == 10
    darkness = [1 - picture(ax)[0, 0, 2] for ax in panels]
    assert darkness == sorted(darkness)
    assert darkness[0] < darkness[-1]
    assert figure.get_suptitle() == "Event frames"


def test_event_frame_strip_takes_silent_frames_and_refuses_others():
    events.event_frame_strip(np.zeros((1, 2, 4, 3)))
    with pytest.raises(ValueError, match=r"frames must have the shape \[T, 2, H, W\]"):
        events.event_frame_strip(np.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match="titles 1"):
        events.event_frame_strip(np.zeros((2, 2, 4, 3)), ["one"])


def test_sample_grid_places_people_in_rows():
    cells = [(f"p{i // 2} c{i % 2}", np.full((8, 4), i, np.uint8), np.zeros((2, 8, 4))) for i in range(4)]
    cells[3] = ("p1 c1", None, np.zeros((2, 8, 4)))
    figure = events.sample_grid(cells, 2)
    axes = np.array(figure.axes).reshape(2, 4)
    assert [axes[row, column].get_title("left") for row in (0, 1) for column in (0, 2)] == ["p0 c0", "p0 c1", "p1 c0", "p1 c1"]
    assert picture(axes[1, 0]).max() == 2
    assert axes[1, 2].texts[0].get_text() == "no video"
    assert len(events.sample_grid([(t, None, e) for t, _, e in cells], 2).axes) == 4
    with pytest.raises(ValueError, match="rows of 3 cells: got 4"):
        events.sample_grid(cells, 3)


@pytest.mark.parametrize("tracklets", [1, 4])
def test_event_rate_divides_by_the_bin(tracklets):
    counts = {f"t{i}": np.array([[1, 10], [2, 20 + i]]) for i in range(tracklets)}
    figure = events.event_rate(counts, 0.02)
    panels = shown(figure)
    assert [ax.get_title("left") for ax in panels] == list(counts)
    on, off = panels[-1].lines
    np.testing.assert_allclose(on.get_ydata(), [500, 1000 + 50 * (tracklets - 1)])
    np.testing.assert_allclose(off.get_ydata(), [50, 100])
    np.testing.assert_allclose(on.get_xdata(), [0.01, 0.03])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ON (brighter)", "OFF (darker)"]
    for i, ax in enumerate(panels):  # the lowest panel of every column carries the time axis
        assert (ax.get_xlabel() == "time (s)") == (i + 3 >= tracklets)


def test_event_rate_errors():
    with pytest.raises(ValueError, match="bin_seconds must be positive"):
        events.event_rate({"a": np.ones((2, 2))}, 0)
    with pytest.raises(ValueError, match=r"counts of 'a' must have the shape \[n, 2\]"):
        events.event_rate({"a": np.ones((2, 3))}, 0.1)


def test_space_time_separates_polarity_and_rows():
    x, y, t, p = np.array([1, 2, 3, 4]), np.array([0, 5, 8, 9]), np.array([1000, 2000, 3000, 5000]), np.array([0, 1, 1, 0])
    figure = events.space_time(x, y, t, p, height=10, rows=(5, 10))
    left, right = figure.axes
    np.testing.assert_allclose(left.collections[0].get_offsets(), [[1, 2], [2, 3]])  # ON
    np.testing.assert_allclose(left.collections[1].get_offsets(), [[4, 4]])  # OFF, below row 5 only
    np.testing.assert_allclose(right.collections[1].get_offsets(), [[0, 0], [4, 9]])
    assert right.get_ylim() == (10, 0)


def test_space_time_thins_and_says_so():
    many = np.arange(100)
    figure = events.space_time(many % 5, many % 9, many, many % 2, height=9, max_points=34)
    assert "1 event in 3 shown" in figure.get_suptitle()
    assert sum(len(dots.get_offsets()) for dots in figure.axes[1].collections) == 34
    with pytest.raises(ValueError, match="x 100, y 99"):
        events.space_time(many, many[1:], many, many, height=9)
    with pytest.raises(ValueError, match=r"rows must lie within 0\.\.9"):
        events.space_time(many, many, many, many, height=9, rows=(3, 12))


def record(**changes):
    counts = np.array([[2.0, 6.0], [4.0, 4.0]])
    return {"title": "a", "kind": "real", "frame": np.ones((2, 8, 4)), "counts": counts, "bin_seconds": 0.01} | changes


def test_simulated_vs_real_compares_shape_and_states_the_rate():
    figure = events.simulated_vs_real([record(kind="simulated"), record(title="b")])
    top, bottom = figure.axes[1], figure.axes[3]
    assert top.get_title("left") == "real: b\n800 events/s, 62 % ON"
    np.testing.assert_allclose([line.get_ydata() for line in bottom.lines], [[1.5, 1], [0.5, 1]])
    assert figure.axes[2].get_ylim() == bottom.get_ylim()
    assert bottom.get_ylim()[0] == 0
    events.simulated_vs_real([record(counts=np.zeros((2, 2)))])
    with pytest.raises(ValueError, match="nothing to compare"):
        events.simulated_vs_real([])
    with pytest.raises(ValueError, match="a record needs"):
        events.simulated_vs_real([record(kind="fake")])


def test_rate_histogram_counts_every_busy_tracklet():
    rates = {"A": np.array([100.0, 200, 3000]), "B": np.array([0.0, 500])}
    figure = events.rate_histogram(rates)
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A (n = 3)", "B (n = 2, 1 silent)"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in ax.lines], [200, 500])
    assert max(vertex[1] for patch in ax.patches for vertex in patch.get_xy()) == 1
    with pytest.raises(ValueError, match="all tracklets are silent"):
        events.rate_histogram({"A": [0.0]})


def test_polarity_balance_shows_every_tracklet_once():
    figure = events.polarity_balance({"A": [0.2, 0.4], "B": [0.5, np.nan]})
    ax = figure.axes[0]
    assert sorted(ax.collections[0].get_offsets()[:, 0]) == [0.2, 0.4]
    assert len(ax.collections[1].get_offsets()) == 1
    np.testing.assert_allclose([line.get_xdata()[0] for line in ax.lines], [0.3, 0.5, 0.5])
    assert "1 silent" in ax.get_yticklabels()[1].get_text()
    with pytest.raises(ValueError, match="must not be above 1"):
        events.polarity_balance({"A": [52.0]})


def test_events_over_frame_lays_both_on_one_area():
    frame, event_frame = np.full((8, 4), 100, np.uint8), np.zeros((2, 4, 2))
    event_frame[1, 0, 0] = 3
    figure = events.events_over_frame(frame, event_frame)
    backdrop, overlay = figure.axes[2].images
    assert backdrop.get_extent() == overlay.get_extent()
    opacity = np.asarray(overlay.get_array())[..., 3]
    assert (opacity > 0).sum() == 1
    assert opacity[0, 0] == 1
    assert [ax.get_title("left") for ax in figure.axes] == ["video", "events", "both"]
    with pytest.raises(ValueError, match="event frame must have the shape"):
        events.events_over_frame(frame, np.zeros((3, 4, 2)))
