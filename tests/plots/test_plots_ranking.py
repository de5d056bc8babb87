"""Figures of retrieval read back from their axes."""

import numpy as np
import pytest

from reidlib.plots import ranking, style


def row(**changes):
    images = [np.full((8, 4), 10 * i, np.uint8) for i in range(4)]
    values = {"query": images[0], "query_id": "7", "gallery": images[1:], "correct": [True, False, True], "ids": [7, 3, 7]}
    return values | {"distances": [0.1, 0.2, 0.3]} | changes


def test_ranked_lists_mark_right_and_wrong_by_sign_line_and_colour():
    figure = ranking.ranked_lists([row(), row(correct=[False] * 3)])
    axes = np.array(figure.axes).reshape(2, 4)
    assert [ax.get_title("left") for ax in axes[0]] == ["query", "1 ✓", "2 ✗", "3 ✓"]
    assert [ax.get_title("left")[-1] for ax in axes[1, 1:]] == ["✗"] * 3
    assert axes[0, 0].get_xlabel() == "7"
    assert axes[0, 2].get_xlabel() == "3\nd = 0.20"
    frames = [ax.spines["left"] for ax in axes[0, 1:3]]
    assert [style.mpl.colors.to_hex(frame.get_edgecolor()).upper() for frame in frames] == [style.RIGHT_COLOUR, style.WRONG_COLOUR]
    assert frames[0].get_linestyle() != frames[1].get_linestyle()
    assert np.asarray(axes[0, 3].images[0].get_array()).max() == 30


def test_ranked_lists_take_event_frames_and_refuse_gaps():
    events = np.zeros((2, 8, 4))
    assert len(ranking.ranked_lists([row(query=events, gallery=[events] * 3)]).axes) == 4
    with pytest.raises(ValueError, match="no query to show"):
        ranking.ranked_lists([])
    with pytest.raises(ValueError, match="gallery 3, correct 2"):
        ranking.ranked_lists([row(correct=[True, False])])
    with pytest.raises(ValueError, match=r"lacks \['ids'\]"):
        ranking.ranked_lists([{key: value for key, value in row().items() if key != "ids"}])
    with pytest.raises(ValueError, match="no ranked image"):
        ranking.ranked_lists([row(gallery=[], correct=[], ids=[], distances=[])])


def test_cmc_curves_in_per_cent_with_rank_1_and_band():
    curve = np.array([0.5, 0.75, 1.0])
    figure = ranking.cmc_curves({"s3ce_net": curve, "x": curve[:2]}, max_rank=2, intervals={"s3ce_net": (curve - 0.1, curve)})
    (ax,) = figure.axes
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 50], [2, 75]])
    assert ax.get_legend().get_texts()[0].get_text() == "S3CE-Net: Rank-1 50.0 %"
    low = ax.collections[0].get_paths()[0].vertices[:, 1].min()
    assert low == pytest.approx(40)
    assert list(ax.get_xticks()) == [1, 2]
    with pytest.raises(ValueError, match="per cent"):
        ranking.cmc_curves({"x": [50.0, 60.0]})
    with pytest.raises(ValueError, match="curve 2, low 1"):
        ranking.cmc_curves({"x": [0.5, 0.6]}, intervals={"x": ([0.5], [0.6])})


def test_distance_histogram_states_what_the_threshold_accepts():
    figure = ranking.distance_histogram([0.1, 0.2, 0.3, 0.9], [0.25, 0.8, 0.9, 1.0, 1.1], threshold=0.3)
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "different people (n = 5)" in texts
    assert "same person (n = 4)" in texts
    assert any(text == "threshold 0.3: accepts 75 % of same,\n20.0 % of different" for text in texts)
    line = next(line for line in ax.lines)
    assert line.get_xdata()[0] == 0.3
    width = (1.1 - 0.1) / 50
    heights = [rectangle.get_xy()[:, 1].max() for rectangle in ax.patches]
    assert max(heights) == pytest.approx(1 / 4 / width, rel=1e-3)  # a density: one of four in a bin
    assert len(ranking.distance_histogram([0.5], [0.5]).axes[0].lines) == 0
    with pytest.raises(ValueError, match=r"positive must have the shape \[n\]"):
        ranking.distance_histogram([], [0.5])
