"""Figures of cost: energy against accuracy, energy by stage, growth with the number of steps, latency."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from .style import (
    GREY,
    METHODS,
    ORANGE,
    SKY,
    check_array,
    check_columns,
    check_intervals,
    check_positive,
    log_ticks,
    method_label,
    method_styles,
    new_figure,
)


def energy_vs_accuracy(table: pd.DataFrame, *, title: str = "Energy and accuracy") -> Figure:
    """Each model a disc at its energy (log axis) and mAP, its area the number of parameters, its name beside it, its interval upright.

    table: DataFrame with name, energy_uJ (estimated energy of one clip, microjoule, above 0), mAP, low, high (per cent: score and interval)
    and parameters (number); optionally title, the label of a method that is not registered.
    """
    check_columns("table", table, ["name", "energy_uJ", "mAP", "low", "high", "parameters"])
    numbers = check_array("energy_uJ, mAP and parameters", table[["energy_uJ", "mAP", "parameters"]].to_numpy(float), "rows 3", low=0)
    check_positive("energy_uJ", numbers[:, 0])
    check_intervals("table", table, ("low", "mAP", "high"))
    figure, axes = new_figure(height=4.0, title=title)
    ax, largest = axes[0, 0], numbers[:, 2].max()
    for row, (colour, _) in zip(table.itertuples(), _each(table["name"]), strict=True):
        ax.plot([row.energy_uJ] * 2, [row.low, row.high], color=colour, linewidth=1.4)
        ax.scatter(
            row.energy_uJ, row.mAP, s=40 + 260 * row.parameters / max(largest, 1), color=colour, alpha=0.8, edgecolors="white", zorder=3
        )
    ax.set(
        xscale="log",
        xlabel="estimated energy of one clip (µJ, log axis)",
        ylabel="mAP (%)",
        title="disc area: parameters; bar: interval of the mAP",
    )
    ax.set_xlim(numbers[:, 0].min() / 2, numbers[:, 0].max() * 2)
    ax.margins(y=0.15)
    log_ticks(ax.xaxis)
    texts = [f"{name}\n{_millions(parameters)} parameters" for name, parameters in zip(row_labels(table), table["parameters"], strict=True)]
    label_points(ax, numbers[:, :2], texts)
    return figure


def row_labels(table: pd.DataFrame, column: str = "name") -> list[str]:
    """What the rows are called: registered methods by their label, others by their title where the table has one."""
    titles = table["title"] if "title" in table else table[column]
    return [method_label(name) if name in METHODS else title for name, title in zip(table[column], titles, strict=True)]


def _each(names: Iterable[str]) -> list[tuple[str, str]]:
    """(colour, marker) of every row."""
    styles = method_styles(names)
    return [styles[name] for name in names]


def _millions(parameters: float) -> str:
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"


def label_points(ax: Axes, points: np.ndarray, texts: list[str]) -> None:
    """Writes each text beside its point, at the first place that no earlier text, mark or edge of the axes takes; a thin line leads to it
    where it had to move away. Where every place is taken, the text stands to the right of its point."""
    ax.figure.canvas.figure.draw_without_rendering()  # fixes the layout, so that places in pixels are final
    obstacles = [line.get_window_extent().padded(3) for line in ax.lines]
    obstacles += [Bbox.from_bounds(x, y, 0, 0).padded(12) for x, y in ax.transData.transform(points)]
    inside = ax.get_window_extent()
    places = [(dx, dy) for dy in (0, 18, -18, 36, -36, 54, -54, 72, -72) for dx in (14, -14)]
    for point, text in sorted(zip(points.tolist(), texts, strict=True), key=lambda pair: pair[0][1]):
        for place in places:
            note = _note(ax, point, text, place)
            note.get_window_extent()  # moves the text into place
            box = Text.get_window_extent(note)  # without the line, which starts on the mark
            free = inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1
            if free and not any(box.overlaps(other) for other in obstacles):
                break
            note.remove()
        else:
            note = _note(ax, point, text, places[0])
        obstacles.append(Text.get_window_extent(note))


def _note(ax: Axes, point: tuple[float, float], text: str, place: tuple[int, int]) -> Annotation:
    """`text` beside `point`, `place` points away."""
    lead = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkB": 5} if place[1] else None
    side = "left" if place[0] > 0 else "right"
    return ax.annotate(text, point, place, textcoords="offset points", ha=side, va="center", fontsize=8.5, arrowprops=lead)


def energy_breakdown(table: pd.DataFrame, *, title: str = "Where the energy goes") -> Figure:
    """One panel per model, one stacked bar per stage: multiply-accumulates (MAC) and spike-driven additions (AC), on a common axis.

    table: DataFrame with name (model), stage, mac_uJ and ac_uJ (microjoule of one clip, not negative), optionally title (see
    `energy_vs_accuracy`). Stages keep their order.
    """
    check_columns("table", table, ["name", "stage", "mac_uJ", "ac_uJ"])
    check_array("mac_uJ and ac_uJ of the table", table[["mac_uJ", "ac_uJ"]].to_numpy(float), "rows 2", low=0)
    models = list(table.groupby("name", sort=False))
    stages = list(dict.fromkeys(table["stage"]))
    figure, axes = new_figure(1, len(models), height=1.3 + 0.3 * len(stages), title=title, sharex=True, sharey=True)
    gap = " " if len(models) <= 3 else "\n"  # more panels are too narrow for one line
    for ax, (_, rows) in zip(axes[0], models, strict=True):
        places = [stages.index(stage) for stage in rows["stage"]]
        ax.barh(places, rows["mac_uJ"], color=ORANGE, label="MAC (multiply and add)")
        ax.barh(
            places, rows["ac_uJ"], left=rows["mac_uJ"], color=SKY, hatch="//", edgecolor="white", linewidth=0, label="AC (add on a spike)"
        )
        total = rows["mac_uJ"].sum() + rows["ac_uJ"].sum()
        label = f"{row_labels(rows)[0]}:{gap}{total:.3g} µJ"
        ax.set(title=label, xlabel="energy of one clip (µJ)", ylabel="stage")
        ax.grid(axis="y", visible=False)
        ax.label_outer()
    largest = (table["mac_uJ"] + table["ac_uJ"]).max()
    axes[0, 0].set(xlim=(0, 1.08 * largest or 1), yticks=range(len(stages)), yticklabels=stages, ylim=(len(stages) - 0.5, -0.5))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def scaling_with_steps(
    table: pd.DataFrame,
    *,
    labels: tuple[str, str] = ("time of one clip (s)", "peak memory (MB)"),
    title: str = "Growth with the number of steps T",
) -> Figure:
    """Time and memory against T on log-log axes, with a dashed line of slope 1 (linear growth) through the first point of every model.

    table: DataFrame with steps, seconds, memory_mb (peak, megabytes), all above 0, and optionally name (model). The legend gives the slope
    of the least-squares line through the logarithms: 1 is linear. labels: what the two panels show, with units.
    """
    check_columns("table", table, ["steps", "seconds", "memory_mb"])
    check_positive("steps, seconds and memory_mb", check_array("table", table[["steps", "seconds", "memory_mb"]].to_numpy(float), "rows 3"))
    table = table if "name" in table else table.assign(name="model")
    figure, axes = new_figure(1, 2, height=3.5, title=title)
    for ax, column, label in zip(axes[0], ("seconds", "memory_mb"), labels, strict=True):
        for name, (colour, marker) in method_styles(table["name"]).items():
            rows = table[table["name"] == name].sort_values("steps")
            steps, values = rows["steps"].to_numpy(float), rows[column].to_numpy(float)
            slope = f", slope {np.polyfit(np.log(steps), np.log(values), 1)[0]:.2f}" if len(set(steps)) > 1 else ""
            ax.plot(steps, values[0] * steps / steps[0], color=GREY, linestyle="--", linewidth=1, zorder=1)
            ax.plot(steps, values, color=colour, marker=marker, label=method_label(name) + slope)
        ax.plot([], [], color=GREY, linestyle="--", linewidth=1, label="slope 1 (linear)")
        ticks = sorted(set(table["steps"]))
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="steps T",
            ylabel=label,
            title=label.split(" (")[0],
            xticks=ticks,
            xticklabels=[f"{t:g}" for t in ticks],
        )
        ax.xaxis.set_minor_locator(NullLocator())
        log_ticks(ax.yaxis)
        ax.legend()
    return figure


def latency_bars(table: pd.DataFrame, *, title: str = "Latency") -> Figure:
    """Grouped horizontal bars with their interval: one group per model, one bar per setting.

    table: DataFrame with name (model), latency_ms (median), low_ms, high_ms (interval, for example the quartiles) in milliseconds and
    optionally setting (batch size, device; at most 7) and title (see `energy_vs_accuracy`).
    """
    check_columns("table", table, ["name", "latency_ms", "low_ms", "high_ms"])
    check_intervals("table", table, ("low_ms", "latency_ms", "high_ms"), low=0)
    table = table if "setting" in table else table.assign(setting="")
    names, settings = list(dict.fromkeys(table["name"])), list(dict.fromkeys(table["setting"]))
    figure, axes = new_figure(height=1.1 + 0.25 * len(names) * (len(settings) + 0.6), title=title)
    ax, thick = axes[0, 0], 0.8 / len(settings)
    for i, (setting, (colour, _)) in enumerate(method_styles(settings).items()):
        rows = table[table["setting"] == setting]
        values = rows["latency_ms"].to_numpy(float)
        places = np.array([names.index(name) for name in rows["name"]]) + (i - (len(settings) - 1) / 2) * thick
        errors = np.abs(rows[["low_ms", "high_ms"]].to_numpy(float).T - values)  # [2, rows]
        style = {"ecolor": "black", "capsize": 2, "error_kw": {"linewidth": 1}}
        bars = ax.barh(places, values, height=0.9 * thick, color=colour, alpha=0.85, xerr=errors, label=setting, **style)
        for bar, value, high in zip(bars, values, rows["high_ms"], strict=True):
            ax.annotate(
                f"{value:.3g}", (high, bar.get_y() + bar.get_height() / 2), (5, 0), textcoords="offset points", va="center", fontsize=8
            )
    ax.set(
        yticks=range(len(names)),
        yticklabels=list(dict(zip(table["name"], row_labels(table), strict=True)).values()),
        ylim=(len(names) - 0.5, -0.5),
    )
    ax.set(xlabel="latency (ms; bar: median, line: interval)", ylabel="model")
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    if len(settings) > 1:
        ax.legend(loc="best")
    return figure
