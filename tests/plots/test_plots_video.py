"""Figures of the inside of the video systems read back from their axes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from reidlib.plots import video

rng = np.random.default_rng(0)
FRAME, MAP = rng.random((16, 8, 3)), rng.random((4, 2))


def test_labels_have_their_colours():
    image = video.label_image(np.array([[0, 1], [4, 255]]))
    expected = [[video.LABELS[0], video.LABELS[1]], [video.LABELS[4], video.LABELS[255]]]
    assert [[tuple(pixel) for pixel in row] for row in image.tolist()] == [[to_rgb(colour) for _, colour in row] for row in expected]
    with pytest.raises(ValueError, match=r"labels hold \[7\]"):
        video.label_image(np.array([[0, 7]]))


def edges(areas) -> set:
    return {tuple(map(tuple, (line * [len(areas[0]), len(areas)]).round(6).tolist())) for line in video.borders(np.array(areas))}


def test_borders_stand_around_areas():
    around = {((0, y), (1, y)) for y in (0, 2)} | {((x, y), (x, y + 1)) for x in (0, 1) for y in (0, 1)}
    assert edges([[3], [3]]) == around and edges([[1], [2]]) == around | {((0, 1), (1, 1))}
    assert edges([[0, 1]]) == {((1, 0), (1, 1)), ((2, 0), (2, 1)), ((1, 0), (2, 0)), ((1, 1), (2, 1))}
    assert edges([[0, 0]]) == set()


def test_a_grid_with_labels_outlines_and_maps():
    labels, block = np.repeat([[0], [1], [2], [4]], 2, 1), np.array([[0, 0], [1, 1]])
    rows = {
        "step 1": {"frame": (FRAME, block * 0), "true parts": labels, "map": MAP},
        "step 2": {"frame": (FRAME, block), "true parts": labels, "map": 2 * MAP},
    }
    figure = video.view_grid(rows, title="t")
    axes = np.array(figure.axes).reshape(3, 3)
    np.testing.assert_allclose(axes[0, 0].images[0].get_array(), FRAME)
    np.testing.assert_allclose(axes[1, 1].images[0].get_array(), video.label_image(labels))
    assert axes[0, 2].images[0].get_clim() == (0, 2 * MAP.max())
    outlined = [[c for c in ax.collections if isinstance(c, LineCollection)] for ax in axes[:2, 0]]
    assert [[len(c.get_segments()) for c in found] for found in outlined] == [[0, 0], [6, 6]]
    lines = outlined[1][1]
    points = np.concatenate(lines.get_segments())
    assert points.min(0).tolist() == [0, 8] and points.max(0).tolist() == [8, 16]  # the lower half of 16 rows
    assert not axes[1, 2].collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["background", "head", "upper body", "shoes"]
    with pytest.raises(ValueError, match="at least one entry"):
        video.view_grid({})
    assert not video.view_grid({"a": {"map": MAP}}).legends


def test_scores_of_thirds_and_what_was_covered():
    scores, hidden = np.linspace(0.8, 1, 12).reshape(4, 3), np.zeros((4, 3), bool)
    hidden[1:3, 2] = True
    (ax,) = video.third_scores(scores, 0.89, hidden=hidden).axes
    thirds = [line for line in ax.lines if line.get_label().endswith("third")]
    assert [line.get_ydata().tolist() for line in thirds] == scores.T.tolist()
    assert [(patch.get_x(), patch.get_width()) for patch in ax.patches] == [(1.5, 1), (2.5, 1)]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_label() == "threshold 0.89"] == [0.89]
    assert not video.third_scores(scores, 0.89).axes[0].patches
    with pytest.raises(ValueError, match=r"shape \[T, 3\]"):
        video.third_scores(scores.T[:2], 0.89)


def test_marks_with_intervals_beside_each_other():
    lines = [("head", "maps", 0.8, 0.7, 0.95), ("head", "best", 0.9, np.nan, np.nan), ("shoes", "maps", 0.6, 0.5, 0.65)]
    table = pd.DataFrame([*lines, ("shoes", "best", np.nan, np.nan, np.nan)], columns=["measure", "of", "mean", "low", "high"])
    (ax,) = (figure := video.interval_dots(table, unit="AUC", reference=0.5)).axes
    maps, best = (container[0] for container in ax.containers)
    assert maps.get_xdata().tolist() == [0.8, 0.6] and best.get_xdata().tolist() == [0.9]
    assert maps.get_ydata().tolist() == pytest.approx([-0.15, 0.85]) and best.get_ydata().tolist() == pytest.approx([0.15])
    ends = [segment[:, 0].tolist() for segment in ax.containers[0][2][0].get_segments()]
    np.testing.assert_allclose(ends, [[0.7, 0.95], [0.5, 0.65]])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["head", "shoes"] and ax.get_xlabel() == "AUC"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["chance", "maps", "best"]
    with pytest.raises(ValueError, match="no mean that is a number"):
        video.interval_dots(table.tail(1), unit="AUC")


def test_kernels_are_ordered_by_the_first():
    small = np.array([[0.9, 0.2, 0.4], [0.7, 0.2, 0.6]])
    (ax,) = video.kernel_channels({"3 frames": small, "5 frames": 1 - small}).axes
    three, five = ax.lines[:2]
    np.testing.assert_allclose(three.get_ydata(), [0.2, 0.5, 0.8])
    np.testing.assert_allclose(five.get_ydata(), [0.8, 0.5, 0.2])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.2) and band[:, 1].max() == pytest.approx(0.89)
    assert [line.get_ydata()[0] for line in ax.lines if line.get_label() == "no choice"] == [0.5]
    with pytest.raises(ValueError, match="lengths differ"):
        video.kernel_channels({"a": small, "b": small[:, :2]})
