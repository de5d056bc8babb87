"""Figures of training read back from their axes."""

import numpy as np
import pandas as pd
import pytest

from reidlib.plots import training


def log(rows=80, **columns):
    steps = np.arange(rows)
    score = np.where(steps % 20 == 19, steps / 2.0, np.nan)
    return pd.DataFrame({"step": steps, "total": 4.0 - steps / rows, "learning_rate": 1e-3, "validation_mAP": score, **columns})


def test_learning_curves_one_panel_per_quantity_one_line_per_method():
    figure = training.learning_curves({"sew_resnet18": log(), "s3ce_net": log(**{"rate/stem": 0.1, "rate/head": 0.3})}, smooth=1)
    panels = {ax.get_title("left"): ax for ax in figure.axes if ax.get_visible()}
    assert list(panels) == ["total loss", "learning rate", "validation mAP", "mean firing rate"]
    assert [len(ax.lines) for ax in panels.values()] == [2, 2, 2, 1]
    score = panels["validation mAP"].lines[0]
    np.testing.assert_array_equal(score.get_xydata(), [[19, 9.5], [39, 19.5], [59, 29.5], [79, 39.5]])
    assert panels["mean firing rate"].lines[0].get_ydata()[0] == 0.2  # the layers' mean
    assert panels["validation mAP"].get_ylabel() == "validation mAP (%)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SEW-ResNet-18", "S3CE-Net"]


def test_learning_curves_smooths_losses_only_and_keeps_the_raw_line():
    noisy = log(total=np.where(np.arange(80) % 2, 1.0, 3.0))
    loss, rate = training.learning_curves({"m": noisy}, ["total", "learning_rate"], smooth=10).axes
    raw, smooth = loss.lines
    np.testing.assert_array_equal(raw.get_ydata(), noisy["total"])
    expected = [noisy["total"][max(0, i - 5) : i + 5].mean() for i in range(80)]
    np.testing.assert_allclose(smooth.get_ydata(), expected)
    assert len(rate.lines) == 1


def test_learning_curves_draws_a_line_per_seed_with_one_label():
    seeds = pd.concat([log().assign(seed=seed, validation_mAP=seed) for seed in (3, 1)])
    figure = training.learning_curves({"s3ce_net": seeds}, {"validation_mAP": "score (%)"})
    assert sorted(line.get_ydata()[0] for line in figure.axes[0].lines) == [1, 3]
    assert len(figure.legends[0].get_texts()) == 1
    assert figure.axes[0].get_title("left") == "score"


@pytest.mark.parametrize(
    ("logs", "columns", "message"),
    [
        ({}, None, "at least one entry"),
        ({"m": pd.DataFrame({"loss": [1.0]})}, None, r"log of 'm' lacks the columns \['step'\]"),
        ({"m": log()}, ["nothing"], r"no log has a numeric column \['nothing'\]"),
        ({"m": log()[["step"]]}, None, "besides step"),
    ],
)
def test_learning_curves_errors(logs, columns, message):
    with pytest.raises(ValueError, match=message):
        training.learning_curves(logs, columns)


def test_firing_rates_place_layers_in_order_and_mark_dead_zones():
    figure = training.firing_rates({"sew_resnet18": {"stem": 0.2, "layer1": 0.0}, "s3ce_net": {"stem": 1.0, "ssam": 0.1}})
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["stem", "layer1", "ssam"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.2, 0], [0.0, 1]])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[1.0, 0], [0.1, 2]])
    assert [text.get_text() for text in ax.texts] == ["silent", "saturated"]
    zones = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches)
    np.testing.assert_allclose(zones, [(0, training.SILENT), (training.SATURATED, 1)])
    assert "mean 0.100" in figure.legends[0].get_texts()[0].get_text()
    low, middle, high = ax.transData.transform([(0, 0), (0.5, 0), (1, 0)])[:, 0]
    assert middle == pytest.approx((low + high) / 2)  # the angular axis is symmetric


def test_firing_rates_refuse_what_is_no_rate():
    with pytest.raises(ValueError, match="must not be above 1"):
        training.firing_rates({"m": {"stem": 12.0}})
    with pytest.raises(ValueError, match="rates of 'm' must be a dict"):
        training.firing_rates({"m": {}})


def test_last_rates_takes_the_last_measurement_of_each_layer():
    nan = float("nan")
    table = pd.DataFrame({"step": [30, 10, 20], "total": 1.0, "rate/stem": [nan, 0.1, 0.2], "rate/head": [nan, 0.3, 0.4]})
    assert training.last_rates(table) == {"stem": 0.2, "head": 0.4}
    assert training.last_rates(table[["step", "total"]]) == {}
