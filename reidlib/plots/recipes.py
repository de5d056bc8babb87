"""Figure of a recipe search: how well each change learned, and how its layers fired."""

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .style import BLUE, GREY, PALE, VERMILION, check_array, check_columns, headline_legend, new_figure

SILENT = 0.01  # below this rate a layer lets hardly any information or gradient through


def recipe_plot(table: pd.DataFrame, *, title: str = "What was tried") -> Figure:
    """One row per recipe, best at the top: validation mAP (filled) and training mAP (hollow) in percent; the span of the layers' firing
    rates at the right, with the dead zone shaded.

    table: DataFrame with change (label), steps, validation_mAP, training_mAP, firing_low, firing_high; a training mAP or firing rate may be
    NaN where it was not measured.
    """
    check_columns("table", table, ["change", "steps", "validation_mAP", "training_mAP", "firing_low", "firing_high"])
    check_array("column 'validation_mAP'", table["validation_mAP"].to_numpy(float), "rows", low=0, high=100)
    check_array("the firing rates", table[["firing_low", "firing_high"]].to_numpy(float), "rows 2", finite=False, low=0)
    table = table.sort_values("validation_mAP", ascending=False, kind="stable")
    places = np.arange(len(table))
    shared = table["steps"].nunique() == 1  # then the title says it once
    title = f"{title} ({table['steps'].iloc[0]:,} steps each)" if shared else title
    labels = [wrap(row.change if shared else f"{row.change} ({row.steps:,} steps)", 46) for row in table.itertuples()]
    height = 1.2 + max(0.26, 0.17 * max(map(len, labels))) * len(table)
    figure, axes = new_figure(1, 2, height=height, title=title, sharey=True, width_ratios=(3, 2))
    scores, rates = axes[0]
    training, validation = table["training_mAP"].to_numpy(float), table["validation_mAP"].to_numpy(float)
    scores.hlines(places, np.fmin(validation, training), np.fmax(validation, training), color=PALE, linewidth=1.5)
    scores.plot(training, places, "o", color=GREY, markerfacecolor="white", label="its training people")
    scores.plot(validation, places, "o", color=BLUE, label="validation people")
    scores.set(
        yticks=places, yticklabels=["\n".join(lines) for lines in labels], ylim=(len(table) - 0.5, -0.5), xlabel="mAP (%)", xlim=(0, None)
    )
    rates.hlines(places, table["firing_low"], table["firing_high"], color=VERMILION, linewidth=3)
    rates.axvspan(0, SILENT, color="black", alpha=0.1, linewidth=0)
    rates.set(xlabel="firing rates of its layers", xlim=(0, None))
    rates.tick_params(axis="y", length=0)
    headline_legend(figure, *scores.get_legend_handles_labels())
    return figure
