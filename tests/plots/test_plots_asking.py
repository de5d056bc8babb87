"""Figures of verification, read back from their axes."""

import numpy as np
import pandas as pd
import pytest

from reidlib.plots import asking

RNG = np.random.default_rng(0)
PARTS = {"validation": (RNG.normal(0.6, 0.1, 50), RNG.normal(0.2, 0.1, 500)), "test": (RNG.normal(0.5, 0.1, 40), RNG.normal(0.2, 0.1, 300))}
CURVE = pd.DataFrame({"false match": [1.0, 0.1, 0.01], "false non-match": [0.0, 0.2, 0.5], "low": [0.0, 0.1, 0.4], "high": [0.0, 0.3, 0.6]})


def test_distributions_state_their_errors_at_the_threshold():
    figure = asking.score_distributions(PARTS, 0.4)
    for ax, (name, (right, wrong)) in zip(figure.axes, PARTS.items(), strict=True):
        title = ax.get_title("left")
        assert title.startswith(f"{name}: {100 * np.mean(wrong >= 0.4):.1f} % false matches ({len(wrong):,})")
        assert f"{100 * np.mean(right < 0.4):.1f} % false non-matches ({len(right):,})" in title
        assert [line.get_xdata()[0] for line in ax.lines] == [0.4, 0.4][: len(ax.lines)] and ax.get_xlabel()
    with pytest.raises(ValueError, match="NaN"):
        asking.score_distributions({"test": ([0.1, np.nan], [0.2])}, 0.3)


def test_the_tradeoff_is_in_percent_with_its_band_and_points():
    figure = asking.error_tradeoff({"test": CURVE}, {"test": (0.0, 0.5)})
    (ax,) = figure.axes
    curve, point = ax.lines[:2]
    np.testing.assert_allclose(curve.get_xydata(), 100 * CURVE[["false match", "false non-match"]])
    assert point.get_xydata().tolist() == [[1.0, 50.0]]  # a rate of 0 stands at the left border
    assert ax.get_xscale() == "log" and len(ax.collections) == 1
    with pytest.raises(ValueError, match="lacks the columns"):
        asking.error_tradeoff({"test": CURVE.drop(columns="low")})
    with pytest.raises(ValueError, match="per cent"):
        asking.error_tradeoff({"test": 100 * CURVE})


def test_reliability_shows_predicted_against_observed():
    table = pd.DataFrame({"predicted": [0.1, 0.8], "observed": [0.2, 0.7], "low": [0.1, 0.6], "high": [0.3, 0.9], "pairs": [5, 6]})
    (ax,) = asking.reliability({"test": table}).axes
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[10, 20], [80, 70]])
    spans = [segment[:, 1].tolist() for collection in ax.collections for segment in collection.get_segments()]
    np.testing.assert_allclose(spans, [[10, 30], [60, 90]])


def row(same, people, probability=0.7) -> dict:
    picture = np.zeros((8, 4), np.uint8)
    return {"a": picture, "b": picture, "rule": "chosen", "people": people, "score": 0.5, "probability": probability, "same": same}


def test_verdicts_mark_right_and_wrong_answers():
    figure = asking.verdicts([row(True, (1, 1)), row(True, (1, 2)), row(None, (3, 4), np.nan)])
    titles = [ax.get_title("left") for ax in figure.axes[::2]]
    assert titles[0] == "chosen\n✓ says same, 70 %\nsimilarity 0.500" and "✗ says same" in titles[1] and "says" not in titles[2]
    styles = [ax.spines["left"].get_linestyle() for ax in figure.axes[::2]]
    assert styles[0] == "-" and styles[1] == "--" and styles[2] == "-"
    assert [ax.get_xlabel() for ax in figure.axes[2:4]] == ["person 1", "person 2"]
    with pytest.raises(ValueError, match="rows is empty"):
        asking.verdicts([])
