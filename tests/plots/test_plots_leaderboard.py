"""Figures of leaderboards read back from their axes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from reidlib.plots import leaderboard

SYSTEMS = pd.DataFrame(
    [
        ("sdcl", "V+E", 55e6, 180.0, 80.0, 75.0, 85.0),
        ("psta", "V", 37e6, 150.0, 70.0, 64.0, 76.0),
        ("s3ce_net", "E", 17e6, 5.0, 61.0, 56.0, 66.0),
        ("resnet18_events", "E", 16e6, 72.0, 67.0, 62.0, 72.0),
    ],
    columns=["row", "input", "dense", "energy_uJ", "mAP", "mAP low", "mAP high"],
)
SCORES = pd.DataFrame(
    [
        ("A", "V", "one", 90.0, False, "p"),
        ("A", "V+E", "one", 95.0, False, "p"),
        ("A", "E", "one", 20.0, True, "p"),
        ("B", "V", "one", 92.0, False, "p"),
        ("B", "V", "two", 60.0, False, "this run"),
    ],
    columns=["method", "input", "protocol", "value", "doubt", "paper"],
)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_systems_stand_at_their_costs_in_the_colour_of_their_input():
    figure = leaderboard.accuracy_and_cost(SYSTEMS, chance=2.7)
    operations, energy = figure.axes
    for ax, costs in ((operations, SYSTEMS["dense"] / 1e6), (energy, SYSTEMS["energy_uJ"])):
        marks = [line for line in ax.lines if line.get_linestyle() == "None"]
        np.testing.assert_allclose([line.get_xydata()[0] for line in marks], np.stack((costs, SYSTEMS["mAP"]), 1))
        assert [to_hex(line.get_color()) for line in marks] == [leaderboard.INPUTS[name][0].lower() for name in SYSTEMS["input"]]
        bars = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
        np.testing.assert_allclose(bars, SYSTEMS[["mAP low", "mAP high"]])
        assert ax.get_xscale() == "log" and ax.get_xlabel() and ax.get_title("left")
        assert {text.get_text() for text in ax.texts} == {"SDCL", "PSTA", "S3CE-Net", "ResNet-18 (ReLU)"}
        boxes = [Text.get_window_extent(text) for text in ax.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert legend(figure) == ["V: video frames", "E: events", "V+E: both", "chance"]
    assert legend(leaderboard.accuracy_and_cost(SYSTEMS[SYSTEMS["input"] == "E"])) == ["E: events"]


def test_bad_systems_are_refused():
    with pytest.raises(ValueError, match="dense must be above 0"):
        leaderboard.accuracy_and_cost(SYSTEMS.assign(dense=0.0))
    with pytest.raises(ValueError, match=r"inputs \['none'\]; legal: V, E, V\+E"):
        leaderboard.accuracy_and_cost(SYSTEMS.assign(input="none"))
    with pytest.raises(ValueError, match="mAP low <= mAP <= mAP high"):
        leaderboard.accuracy_and_cost(SYSTEMS.assign(**{"mAP low": 99.0}))


def test_published_scores_have_a_panel_per_protocol():
    figure = leaderboard.published_scores(SCORES)
    one, two = figure.axes
    assert [ax.get_title("left") for ax in figure.axes] == ["protocol: one", "protocol: two"]
    assert [label.get_text() for label in one.get_yticklabels()] == ["A", "B"]  # best first, by the best of any input
    assert one.get_ylim()[0] > one.get_ylim()[1]
    marks = {(*line.get_xydata()[0], line.get_marker()): line for line in one.lines if line.get_linestyle() == "None"}
    assert set(marks) == {(90, 0, "s"), (95, 0, "D"), (20, 0, "o"), (92, 1, "s")}
    assert marks[20, 0, "o"].get_markerfacecolor() == "white" and marks[90, 0, "s"].get_markerfacecolor() != "white"
    (star,) = [line for line in two.lines if line.get_linestyle() == "None"]
    assert star.get_marker() == "*" and two.get_xlabel() == "mAP (%)" and one.get_xlim() == two.get_xlim()
    assert legend(figure) == ["V: video frames", "E: events", "V+E: both", "in doubt", "this run"]
    assert legend(leaderboard.published_scores(SCORES[SCORES["input"] == "V+E"])) == ["V+E: both"]


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="must not be above 100"):
        leaderboard.published_scores(SCORES.assign(value=101.0))
    with pytest.raises(ValueError, match=r"inputs \['image'\]"):
        leaderboard.published_scores(SCORES.assign(input="image"))
    with pytest.raises(ValueError, match="no rows"):
        leaderboard.published_scores(SCORES.head(0))
