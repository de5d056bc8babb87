"""The recipe search: its table and its figure."""

import numpy as np
import pandas as pd
import pytest

from reidlib.analysis import recipes
from reidlib.plots.recipes import recipe_plot

TABLE = pd.DataFrame(
    {
        "name": ["lif", "if", "long"],
        "change": ["LIF, decayed input", "IF, wide surrogate", "twice the steps"],
        "data": ["easy", "easy", "hard"],
        "steps": [300, 300, 1600],
        "validation_mAP": [12.0, 40.0, 48.0],
        "training_mAP": [15.0, 80.0, np.nan],
        "firing_low": [0.0, 0.07, 0.06],
        "firing_high": [0.04, 0.19, 0.2],
        "seconds": [60, 60, 600],
    }
)


def test_the_table_comes_best_first_and_absent_is_none(tmp_path):
    path = tmp_path / "search.csv"
    assert recipes.recipe_search(path) is None
    TABLE.to_csv(path, index=False)
    table = recipes.recipe_search(path)
    assert table["name"].tolist() == ["long", "if", "lif"]
    assert recipes.recipe_search(path)["data"].tolist() == ["hard", "easy", "easy"]
    view = recipes.readable(table)
    assert view.loc["if", "firing rates"] == "0.070 to 0.190"
    assert view.loc["long", "minutes"] == 10
    pd.concat([TABLE, TABLE.assign(data="hard", validation_mAP=[90.0, 10.0, 20.0])]).to_csv(path, index=False)
    assert recipes.recipe_search(path)["validation_mAP"].tolist() == [90.0, 48.0, 20.0, 10.0, 40.0, 12.0]  # the latest data first
    assert recipes.readable(TABLE.assign(firing_low=np.nan))["firing rates"].tolist() == ["no spikes"] * 3


def test_a_table_without_its_columns_is_refused(tmp_path):
    path = tmp_path / "search.csv"
    TABLE.drop(columns="change").to_csv(path, index=False)
    with pytest.raises(ValueError, match="missing: change"):
        recipes.recipe_search(path)
    TABLE.iloc[:0].to_csv(path, index=False)
    with pytest.raises(ValueError, match="missing: rows"):
        recipes.recipe_search(path)


def test_the_kept_search_of_the_video_systems_is_read_best_first(tmp_path):
    table = recipes.video_search()
    assert table["validation_mAP"].between(0, 100).all()
    for _, part in table.groupby("row"):
        assert part["validation_mAP"].is_monotonic_decreasing
    view = recipes.readable_video(table)
    assert len(view) == len(table) and "PSTA, degraded training video" in view.index
    assert recipes.video_search(tmp_path / "search.csv") is None
    table.drop(columns="step").to_csv(tmp_path / "search.csv", index=False)
    with pytest.raises(ValueError, match="missing: step"):
        recipes.video_search(tmp_path / "search.csv")


def test_the_figure_draws_each_recipe_best_at_the_top():
    scores, rates = recipe_plot(TABLE).axes
    assert scores.get_yticklabels()[0].get_text() == "twice the steps (1,600 steps)"
    training, validation = scores.lines
    assert list(validation.get_xdata()) == [48, 40, 12]
    assert np.isnan(training.get_xdata()[0]) and list(training.get_xdata()[1:]) == [80, 15]
    spans = [segment[:, 0].tolist() for segment in rates.collections[0].get_segments()]
    assert spans == [[0.06, 0.2], [0.07, 0.19], [0.0, 0.04]]
    with pytest.raises(ValueError, match="lacks the columns"):
        recipe_plot(TABLE.drop(columns="steps"))
