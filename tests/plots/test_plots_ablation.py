"""Figures of ablations read back from their axes."""

import pandas as pd
import pytest

from reidlib.plots import ablation

TABLE = pd.DataFrame(
    [
        ("SSAM", 1.0, -0.5, 2.5, "Parts", "sew_resnet18"),
        ("T = 4", -6.0, -8.0, -4.0, "Steps", "T = 8"),
        ("STFS", 3.0, 1.0, 5.0, "Parts", "sew_resnet18"),
        ("joint", 0.5, -1.0, 2.0, "Forms", "a"),
        ("split", -0.5, -1.5, 1.0, "Forms", "b"),
    ],
    columns=["name", "mean", "low", "high", "group", "reference"],
)


def test_forest_plot_groups_rows_and_draws_their_numbers():
    (ax,) = ablation.forest_plot(TABLE).axes
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[:5] == ["SSAM", "STFS", "T = 4", "joint − a", "split − b"]
    assert labels[5:] == ["Parts (against SEW-ResNet-18)", "Steps (against T = 8)", "Forms"]
    intervals, marks = ax.lines[0:10:2], ax.lines[1:10:2]
    assert [tuple(line.get_xdata()) for line in intervals] == [(-0.5, 2.5), (1, 5), (-8, -4), (-1, 2), (-1.5, 1)]
    assert [mark.get_xdata()[0] for mark in marks] == [1, 3, -6, 0.5, -0.5]
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [True, False, False, True, True]
    assert marks[1].get_color() != marks[2].get_color()
    assert ax.lines[10].get_xdata()[0] == 0
    assert [text.get_text() for text in ax.texts][2] == "−6.0  [−8.0, −4.0]"
    ticks = list(ax.get_yticks())
    assert len(set(ticks)) == len(ticks)
    assert [mark.get_ydata()[0] for mark in marks] == ticks[:5]
    assert "mAP points" in ax.get_xlabel()


def test_forest_plot_refuses_turned_intervals_and_missing_columns():
    with pytest.raises(ValueError, match=r"does not hold for \['STFS'\]"):
        ablation.forest_plot(TABLE.assign(low=[-0.5, -8, 4, -1, -1.5]))
    with pytest.raises(ValueError, match=r"lacks the columns \['group'\]"):
        ablation.forest_plot(TABLE.drop(columns="group"))
    with pytest.raises(ValueError, match="NaN"):
        ablation.forest_plot(TABLE.assign(mean=float("nan")))


def test_spread_plot_shows_every_seed_and_the_mean():
    table = pd.DataFrame({"name": ["b", "b", "s3ce_net"], "seed": [1, 0, 0], "mAP": [52.0, 50.0, 60.0]})
    figure = ablation.spread_plot(table, reference=28)
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "S3CE-Net"]
    assert list(ax.collections[0].get_offsets()[:, 0]) == [50, 52]  # in the order of the seeds
    assert [line.get_xdata()[0] for line in ax.lines] == [51, 60, 28]
    assert [text.get_text() for text in ax.texts] == ["51.0 ± 1.4  (n = 2)", "60.0  (n = 1)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one seed", "mean", "reference 28"]
    assert ax.get_xlabel() == "mAP (%)"
    with pytest.raises(ValueError, match="lacks the columns"):
        ablation.spread_plot(table, value="rank1")
