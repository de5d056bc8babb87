"""The parts that all figures share: checks, colours, legends, alternative text."""

import base64
import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.plots import alt_text, style


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_check_array_accepts_exactly_the_named_shape(wanted, given_shape):
    array = np.zeros(given_shape)
    if wanted == given_shape:
        assert style.check_array("a", array, " ".join(map(str, wanted))) is array
    else:
        with pytest.raises(ValueError, match="a must have the shape"):
            style.check_array("a", array, " ".join(map(str, wanted)))


@pytest.mark.parametrize(
    ("values", "shape", "options", "message"),
    [
        (np.zeros((2, 3)), "n n", {}, r"frames must have the shape \[n, n\].*got \[2, 3\]"),
        (np.zeros((0, 3)), "n 3", {}, "at least 1 long"),
        ([1.0, np.nan], "n", {}, "1 values that are NaN"),
        ([-1.0], "n", {"low": 0}, "must not be below 0"),
        ([55.0], "n", {"high": 1}, "per cent"),
        (["a"], "n", {}, "must hold numbers"),
    ],
)
def test_check_array_says_what_is_wrong(values, shape, options, message):
    with pytest.raises(ValueError, match=message):
        style.check_array("frames", values, shape, **options)


def test_other_checks_name_the_culprit():
    with pytest.raises(ValueError, match="lacks the columns"):
        style.check_columns("table", pd.DataFrame({"a": [1]}), ["a", "b"])
    with pytest.raises(ValueError, match="no rows"):
        style.check_columns("table", pd.DataFrame({"a": []}), ["a"])
    with pytest.raises(ValueError, match="DataFrame, got list"):
        style.check_columns("table", [], ["a"])
    with pytest.raises(ValueError, match="at least one entry"):
        style.check_named("rates", {})
    with pytest.raises(ValueError, match="x 2, y 3"):
        style.check_lengths(x=2, y=3)
    with pytest.raises(ValueError, match=r"low <= mean <= high does not hold for \['b'\]"):
        style.check_intervals(
            "t", pd.DataFrame({"name": ["a", "b"], "low": [0, 2], "mean": [1, 1], "high": [2, 3]}), ("low", "mean", "high")
        )


def test_methods_keep_their_colour_whoever_stands_beside_them():
    alone, together = style.method_styles(["s3ce_net"]), style.method_styles(["other", "resnet18_events", "another", "s3ce_net"])
    assert alone["s3ce_net"] == together["s3ce_net"]
    assert len({colour for colour, _ in together.values()}) == 4
    assert list(together) == ["other", "resnet18_events", "another", "s3ce_net"]
    assert style.method_label("s3ce_net") == "S3CE-Net"
    assert style.method_label("mine") == "mine"


def test_more_methods_than_colours_still_have_one_each():
    names = [f"method {i}" for i in range(12)]
    assert set(style.method_styles(names)) == set(names)


def luminance(colour: str) -> float:
    """Relative luminance of sRGB (WCAG 2.1)."""
    channels = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("pair", [(style.ON_COLOUR, style.OFF_COLOUR), (style.RIGHT_COLOUR, style.WRONG_COLOUR)])
def test_opposite_colours_stay_apart_without_red_green_vision(pair):
    """A red-green blind reader keeps the blue-yellow difference and the luminance: at least one of both is large."""
    (r1, g1, b1), (r2, g2, b2) = (mpl.colors.to_rgb(colour) for colour in pair)
    assert abs((b1 - (r1 + g1) / 2) - (b2 - (r2 + g2) / 2)) > 0.25 or abs(luminance(pair[0]) - luminance(pair[1])) > 0.1


def test_legend_moves_below_a_long_headline():
    def places(title):
        figure, _ = style.new_figure(title=title, width=5.2)
        style.polarity_legend(figure)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        headline = next(text for text in figure.texts if text.get_text() == title)
        return headline.get_window_extent(), legend.get_window_extent()

    short, beside = places("Short")
    assert beside.y1 > short.y0
    assert not short.overlaps(beside)
    long, below = places("A headline that is far too long to leave room")
    assert below.y1 < long.y0


def test_figures_show_themselves_with_alternative_text():
    figure, axes = style.new_figure(title="Headline")
    axes[0, 0].plot([0, 1], label="a line")
    axes[0, 0].set(title="panel", xlabel="time (s)", ylabel="rate")
    axes[0, 0].legend()
    assert alt_text(figure) == "Headline. panel: rate against time (s): showing a line."
    data, metadata = figure._repr_mimebundle_()
    picture = mpl.image.imread(io.BytesIO(base64.b64decode(data["image/png"])))
    assert abs(picture.shape[1] - figure.get_figwidth() * figure.dpi) <= 1
    assert metadata["image/png"]["alt"] == alt_text(figure)
    assert not mpl._pylab_helpers.Gcf.figs  # pyplot does not know it: nothing leaks, nothing is shown twice


def test_log_ticks_are_plain_numbers():
    figure, axes = style.new_figure()
    axes[0, 0].plot([1, 2], [3, 4000])
    axes[0, 0].set_yscale("log")
    style.log_ticks(axes[0, 0].yaxis)
    figure.draw_without_rendering()
    assert "1000" in [text.get_text() for text in axes[0, 0].get_yticklabels()]
    assert axes[0, 0].yaxis.get_minor_formatter()(20) == ""  # three decades: the decades are enough
