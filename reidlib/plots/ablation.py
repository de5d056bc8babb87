"""Figures of ablations: paired differences with intervals, and the spread over seeds."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .style import BLUE, GREEN, GREY, VERMILION, check_array, check_columns, check_intervals, headline_legend, method_label, new_figure


def forest_plot(table: pd.DataFrame, *, unit: str = "mAP points", title: str = "What each part changes (paired differences)") -> Figure:
    """One row per comparison: mean difference with its interval around a zero line, the numbers at the right.

    table: DataFrame with name, mean, low, high (the difference and its interval, in `unit`), group (heading; a group's rows stand together)
    and reference (what the row is compared with, printed in the heading or, where it differs within a group, in the row). A filled mark,
    blue for better and red-orange for worse, has an interval without 0; a hollow grey one does not tell.
    """
    check_columns("table", table, ["name", "mean", "low", "high", "group", "reference"])
    check_intervals("table", table, ("low", "mean", "high"))
    places, labels, headings = _places(table)
    figure, axes = new_figure(height=1.2 + 0.27 * (places[-1] + 1), title=title)
    ax = axes[0, 0]
    for place, row in zip(places, table.sort_values("group", kind="stable", key=_order(table)).itertuples(), strict=True):
        clear = row.low > 0 or row.high < 0
        colour = GREY if not clear else BLUE if row.mean > 0 else VERMILION
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(row.mean, place, marker="o", color=colour, markerfacecolor=colour if clear else "white", markeredgewidth=1.5, markersize=7)
        text = f"{row.mean:+.1f}  [{row.low:+.1f}, {row.high:+.1f}]".replace("-", "−")
        ax.text(1.02, place, text, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
    ax.axvline(0, color="black", linewidth=1)
    ax.set(yticks=places + list(headings), yticklabels=labels + list(headings.values()), ylim=(places[-1] + 0.6, -0.6))
    for text in ax.get_yticklabels()[len(places) :]:
        text.set(weight="bold", va="center")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel=f"difference ({unit}); filled: the interval leaves out 0", ylabel="")
    return figure


def _order(table: pd.DataFrame) -> Callable[[pd.Series], pd.Series]:
    """Sort key: groups in order of first appearance."""
    position = {group: i for i, group in enumerate(dict.fromkeys(table["group"]))}
    return lambda groups: groups.map(position)


def _places(table: pd.DataFrame) -> tuple[list[int], list[str], dict[int, str]]:
    """Vertical place and label of every row (grouped), and the headings by their place."""
    places: list[int] = []
    labels: list[str] = []
    headings: dict[int, str] = {}
    place = 0
    for group, rows in table.groupby("group", sort=False):
        references = [method_label(reference) for reference in rows["reference"]]
        common = len(set(references)) == 1
        headings[place] = f"{group} (against {references[0]})" if common else str(group)
        for name, reference in zip(rows["name"], references, strict=True):
            place += 1
            places.append(place)
            labels.append(method_label(name) if common else f"{method_label(name)} − {reference}")
        place += 1
    return places, labels, headings


def spread_plot(
    table: pd.DataFrame,
    *,
    value: str = "mAP",
    unit: str = "%",
    reference: float | None = None,
    reference_label: str = "reference",
    title: str = "Spread over seeds",
) -> Figure:
    """One row per variant: a dot per seed and a bar at the mean; mean, standard deviation and number of seeds at the right.

    table: DataFrame with name, seed and the column `value` (in `unit`); rows keep the order of first appearance. reference: a value drawn
    as a dashed line (chance, or a published number), called `reference_label` in the legend.
    """
    check_columns("table", table, ["name", "seed", value])
    check_array(f"column {value!r}", table[value].to_numpy(float), "rows")
    groups = list(table.groupby("name", sort=False))
    figure, axes = new_figure(height=1.1 + 0.36 * len(groups), title=title)
    ax = axes[0, 0]
    for place, (_, rows) in enumerate(groups):
        values = rows.sort_values("seed")[value].to_numpy(float)
        ax.scatter(
            values,
            place + np.linspace(-0.13, 0.13, len(values)),
            color=BLUE,
            s=26,
            alpha=0.8,
            linewidths=0,
            zorder=3,
            label="one seed" if place == 0 else None,
        )
        ax.plot([values.mean()] * 2, [place - 0.32, place + 0.32], color=VERMILION, linewidth=2.4, label="mean" if place == 0 else None)
        spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
        ax.text(
            1.02, place, f"{values.mean():.1f}{spread}  (n = {len(values)})", transform=ax.get_yaxis_transform(), va="center", fontsize=8.5
        )
    if reference is not None:
        ax.axvline(reference, color=GREEN, linestyle="--", linewidth=1.4, label=f"{reference_label} {reference:g}")
    ax.set(yticks=range(len(groups)), yticklabels=[method_label(name) for name, _ in groups], ylim=(len(groups) - 0.5, -0.5))
    ax.set(xlabel=f"{value} ({unit})", ylabel="variant")
    headline_legend(figure, *ax.get_legend_handles_labels())
    return figure
