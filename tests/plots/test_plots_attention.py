"""Figures of attention read back from their axes."""

import numpy as np
import pytest

from reidlib.plots import attention

rng = np.random.default_rng(0)
FRAMES, MAP = rng.poisson(0.5, (4, 2, 16, 8)).astype(float), rng.random((4, 4, 2))


def test_attention_over_events_shows_the_map_of_each_step():
    figure = attention.attention_over_events(FRAMES, {"stage 2": MAP, "stage 4": 2 * MAP})
    axes = np.array(figure.axes).reshape(3, 5)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["events", "stage 2", "stage 4"]
    for step in range(4):
        heat, ink = axes[2, step].images
        np.testing.assert_allclose(heat.get_array(), 2 * MAP[step])
        assert heat.get_clim() == (2 * MAP.min(), 2 * MAP.max())  # one scale for the steps of a layer
        assert heat.get_extent() == ink.get_extent() == [0, 8, 16, 0]
    assert [ax.get_ylabel() for ax in axes[1:, 4]] == ["attention"] * 2
    assert axes[0, 3].get_title("left") == "step 4"


def test_attention_over_events_chooses_even_steps():
    figure = attention.attention_over_events(np.repeat(FRAMES, 4, 0), {"s": np.repeat(MAP, 4, 0)}, columns=4)
    assert [ax.get_title("left") for ax in figure.axes[:4]] == ["step 1", "step 6", "step 11", "step 16"]
    with pytest.raises(ValueError, match="steps of the frames 4, steps of the map 's' 3"):
        attention.attention_over_events(FRAMES, {"s": MAP[:3]})
    with pytest.raises(ValueError, match=r"map of 's' must have the shape \[T, h, w\]"):
        attention.attention_over_events(FRAMES, {"s": MAP[0]})


def test_a_flat_map_is_dark_and_a_method_keeps_its_colour():
    axes = attention.attention_over_events(FRAMES, {"flat": np.zeros((4, 2, 2))}).axes
    assert {ax.images[0].norm(0.0) for ax in axes[5:9]} == {0.0}
    line = attention.attention_over_time({"s3ce_net": [1.0, 2.0]}).axes[0].lines[0]
    assert (line.get_label(), line.get_color()) == ("S3CE-Net", "#D55E00")


def test_attention_over_time_with_and_without_events():
    energy, counts = {"a": np.array([1.0, 3.0, 2.0])}, np.array([5, 6, 7])
    upper, lower = attention.attention_over_time(energy, events=counts).axes
    np.testing.assert_allclose(upper.lines[0].get_xydata(), [[1, 1], [2, 3], [3, 2]])
    assert upper.lines[1].get_ydata()[0] == 2
    assert [bar.get_height() for bar in lower.patches] == [5, 6, 7]
    assert lower.get_xlabel() == "step"
    assert len(attention.attention_over_time(energy).axes) == 1
    with pytest.raises(ValueError, match="a 3, events 2"):
        attention.attention_over_time(energy, events=counts[:2])


@pytest.mark.parametrize("several", [False, True])
def test_sensitivity_map_is_centred_on_zero(several):
    maps = np.stack([MAP[0] - 0.2, 3 * MAP[1]])
    figure = attention.sensitivity_map(FRAMES[:2], maps, ["a", "b"]) if several else attention.sensitivity_map(FRAMES[0], maps[0])
    columns = 3 if several else 2
    axes = np.array(figure.axes).reshape(2, columns)
    heat = axes[1, 0].images[0]
    np.testing.assert_allclose(heat.get_array(), maps[0])
    peak = np.abs(maps if several else maps[0]).max()
    assert (heat.norm.vmin, heat.norm.vcenter, heat.norm.vmax) == (-peak, 0, peak)
    assert axes[1, -1].get_ylabel() == "drop in similarity"
    assert axes[0, 0].get_title("left") == ("a" if several else "clip 1")


def test_sensitivity_map_takes_a_flat_map_and_refuses_mixed_lengths():
    attention.sensitivity_map(FRAMES[0], np.zeros((4, 2)))
    with pytest.raises(ValueError, match="event_frames 4, maps 3"):
        attention.sensitivity_map(FRAMES, MAP[:3])


def test_band_profile_draws_bars_from_top_to_bottom():
    figure = attention.band_profile({"s3ce_net": [0.1, 0.2, -0.3, 0.4], "x": [1, 2, 3, 4]}, event_frame=FRAMES[0])
    picture, ax = figure.axes
    first, second = ax.containers
    assert [bar.get_width() for bar in first] == [0.1, 0.2, -0.3, 0.4]
    assert [bar.get_width() for bar in second] == [1, 2, 3, 4]
    centres = [bar.get_y() + bar.get_height() / 2 for bar in first]
    assert centres == sorted(centres)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # band 1 at the top
    assert [line.get_ydata()[0] for line in picture.lines] == [3.5, 7.5, 11.5]
    assert len(attention.band_profile({"x": [1.0]}).axes) == 1
    with pytest.raises(ValueError, match="a 1, b 2"):
        attention.band_profile({"a": [1], "b": [1, 2]})


def test_band_profile_takes_named_bands_of_unequal_height():
    bands = {"head": (0, 0.25), "body": (0.25, 1)}
    picture, ax = attention.band_profile({"x": [1.2, 0.9]}, event_frame=FRAMES[0], bands=bands, even=1).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["head", "body"]
    assert [line.get_ydata()[0] for line in picture.lines] == [3.5]
    assert ax.lines[0].get_xdata()[0] == 1
    with pytest.raises(ValueError, match="values 3, bands 2"):
        attention.band_profile({"x": [1, 2, 3]}, bands=bands)
