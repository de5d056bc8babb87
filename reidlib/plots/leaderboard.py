"""Figures of leaderboards: our systems by accuracy and cost, and published scores by method, coloured by what the networks see."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .efficiency import label_points, row_labels
from .style import (
    BLUE,
    GREEN,
    GREY,
    PALE,
    VERMILION,
    check_array,
    check_columns,
    check_intervals,
    check_positive,
    headline_legend,
    log_ticks,
    new_figure,
)

#: Colour, marker and words of what a network sees.
INPUTS = {"V": (BLUE, "s", "V: video frames"), "E": (VERMILION, "o", "E: events"), "V+E": (GREEN, "D", "V+E: both")}
#: Column -> axis label, panel title and what one unit of the axis is worth.
_COSTS = {
    "dense": ("multiply-accumulates of one clip (M, log axis)", "operations if nothing were sparse", 1e6),
    "energy_uJ": ("estimated energy of one clip (µJ, log axis)", "energy with this run's spikes", 1.0),
}


def accuracy_and_cost(table: pd.DataFrame, *, chance: float | None = None, title: str = "Accuracy against cost") -> Figure:
    """Two panels with one mAP axis: against dense multiply-accumulates and against estimated energy, both on log axes; a mark per system,
    coloured by its input, with its interval upright and its name beside it. chance: a grey dashed line, percent.

    table: DataFrame with row (name of the system), input (of `INPUTS`), dense and energy_uJ (above 0), mAP, mAP low, mAP high (percent),
    optionally title, the label of a system that is not registered.
    """
    check_columns("table", table, ["row", "input", "dense", "energy_uJ", "mAP", "mAP low", "mAP high"])
    _check_inputs("table", table)
    check_intervals("table", table.assign(name=table["row"]), ("mAP low", "mAP", "mAP high"))
    figure, axes = new_figure(1, 2, height=3.9, title=title, sharey=True)
    for ax, (column, (label, heading, unit)) in zip(axes[0], _COSTS.items(), strict=True):
        costs = check_array(column, table[column].to_numpy(float), "rows", low=0) / unit
        check_positive(column, costs)
        for cost, line in zip(costs, table.to_dict("records"), strict=True):
            colour, marker, _ = INPUTS[line["input"]]
            ax.plot([cost, cost], [line["mAP low"], line["mAP high"]], color=colour, linewidth=1.4)
            ax.plot(cost, line["mAP"], color=colour, marker=marker, markersize=8, markeredgecolor="white", linestyle="none", zorder=3)
        if chance is not None:
            ax.axhline(chance, color=GREY, linestyle="--", linewidth=1, zorder=1)
        ax.set(xscale="log", xlabel=label, xlim=(costs.min() / 5, costs.max() * 4), title=heading)
        log_ticks(ax.xaxis)
    axes[0, 0].set(ylabel="mAP (%)", ylim=(0, 1.08 * table["mAP high"].max()))
    _legend(figure, table, [Line2D([], [], color=GREY, linestyle="--", linewidth=1, label="chance")] if chance is not None else [])
    for ax, (column, (*_, unit)) in zip(axes[0], _COSTS.items(), strict=True):  # last: labels are placed by what is drawn
        points = np.stack((table[column].to_numpy(float) / unit, table["mAP"].to_numpy(float)), 1)
        label_points(ax, points, row_labels(table, "row"))
    return figure


def published_scores(table: pd.DataFrame, *, own: str = "this run", title: str = "Published mAP", label: str = "mAP (%)") -> Figure:
    """A panel per protocol, a line per method, best first: a dot for each published score, coloured by input, hollow where the number is in
    doubt. Lines of the paper `own` get a star.

    table: DataFrame with method, input (of `INPUTS`), protocol, value (percent), doubt (bool) and paper.
    """
    check_columns("table", table, ["method", "input", "protocol", "value", "doubt", "paper"])
    _check_inputs("table", table)
    check_array("value", table["value"].to_numpy(float), "rows", low=0, high=100)
    parts = dict(list(table.groupby("protocol", sort=False)))
    counts = [part["method"].nunique() for part in parts.values()]
    height = 0.9 + 0.19 * sum(counts) + 0.42 * len(parts)
    figure, axes = new_figure(len(parts), 1, height=height, title=title, sharex=True, height_ratios=[count + 0.6 for count in counts])
    for ax, (protocol, part) in zip(axes[:, 0], parts.items(), strict=True):
        _section(ax, part, own)
        ax.set_title(f"protocol: {protocol}")
    axes[-1, 0].set_xlabel(label)
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    extra = []
    if table["doubt"].any():
        extra.append(
            Line2D([], [], color=GREY, marker="o", markerfacecolor="white", markeredgewidth=1.4, linestyle="none", label="in doubt")
        )
    if (table["paper"] == own).any():
        extra.append(Line2D([], [], color=GREY, marker="*", markersize=11, linestyle="none", label=own))
    _legend(figure, table, extra)
    return figure


def _section(ax: Axes, part: pd.DataFrame, own: str) -> None:
    """The methods of one protocol, best first."""
    methods = part.groupby("method")["value"].max().sort_values(ascending=False, kind="stable").index.tolist()
    for place, method in enumerate(methods):
        values = part.loc[part["method"] == method, "value"]
        ax.plot([values.min(), values.max()], [place, place], color=PALE, linewidth=1, zorder=1)
    for line in part.itertuples():
        colour, marker, _ = INPUTS[line.input]
        marker, size = ("*", 11) if line.paper == own else (marker, 6)
        face = "white" if line.doubt else colour
        place = methods.index(line.method)
        ax.plot(
            line.value, place, marker=marker, markersize=size, color=colour, markerfacecolor=face, markeredgewidth=1.4, linestyle="none"
        )
    ax.set(yticks=range(len(methods)), yticklabels=methods, ylim=(len(methods) - 0.4, -0.6))
    ax.tick_params(axis="y", labelsize=8)


def _legend(figure: Figure, table: pd.DataFrame, extra: list[Line2D]) -> None:
    shown = [name for name in INPUTS if name in set(table["input"])]
    handles = [Line2D([], [], color=INPUTS[n][0], marker=INPUTS[n][1], linestyle="none", label=INPUTS[n][2]) for n in shown] + extra
    headline_legend(figure, handles, [str(handle.get_label()) for handle in handles])


def _check_inputs(name: str, table: pd.DataFrame) -> None:
    unknown = sorted(set(table["input"]) - set(INPUTS))
    if unknown:
        raise ValueError(f"{name} has the inputs {unknown}; legal: {', '.join(INPUTS)}")
