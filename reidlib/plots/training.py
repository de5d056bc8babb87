"""Figures of training: learning curves and firing rates."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import check_array, check_columns, check_named, headline_legend, method_label, method_styles, new_figure, trim_labels

LOSSES = {"total": "total loss", "identity": "identity loss", "triplet": "triplet loss", "stfs": "STFS loss", "loss": "total loss"}
LABELS = LOSSES | {
    "learning_rate": "learning rate",
    "validation_mAP": "validation mAP (%)",
    "validation_rank1": "validation Rank-1 (%)",
    "firing_rate": "mean firing rate (spikes / neuron / step)",
}
NO_PANEL = ("step", "seed", "epoch", "seconds")
SILENT, SATURATED = 0.01, 0.99  # outside these rates a layer carries next to nothing, and its surrogate gradients next to none


def learning_curves(
    logs: Mapping[str, pd.DataFrame],
    columns: Mapping[str, str] | Sequence[str] | None = None,
    *,
    smooth: int = 5,
    title: str = "Learning curves",
) -> Figure:
    """One panel per logged quantity, one line per method, over the optimisation steps.

    logs: dict method -> DataFrame with a column "step", any of `columns`, and optionally "seed" (then one line per seed): the `metrics.csv`
    of a run. A cell may be NaN where a quantity was not measured at that step (validation scores are drawn as dots joined by lines).
    Columns "rate/<layer>" get one panel together, "firing_rate", their mean over the layers.
    columns: dict column -> axis label, or a list of columns; by default every numeric column, known ones with units. Quantities are drawn
    as they are logged: give percentages where the label says %. smooth: window (rows) of the centred moving mean drawn over the raw line of
    the losses (names in `LOSSES` or containing "loss") with at least 4 windows of values; 1 draws the raw line alone.
    """
    check_named("logs", logs)
    for name, log in logs.items():
        check_columns(f"log of {name!r}", log, ["step"])
    logs = {name: _with_mean_rate(log) for name, log in logs.items()}
    panels = _panels(logs, columns)
    width = min(3, len(panels))
    rows = -(-len(panels) // width)
    figure, axes = new_figure(rows, width, height=0.8 + 2.1 * rows, title=title, sharex=True)
    styles = method_styles(logs)
    for ax, (column, label) in zip(axes.flat, panels.items(), strict=False):
        for name, log in logs.items():
            if column in log:
                _draw_curve(ax, log, column, smooth, styles[name], method_label(name))
        short, _, unit = label.removesuffix(")").partition(" (")
        ax.set(xlabel="step", title=short, ylabel=label if len(label) < 24 or not unit else unit)
    trim_labels(axes, len(panels))
    handles = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    headline_legend(figure, list(handles.values()), list(handles))
    return figure


def _with_mean_rate(log: pd.DataFrame) -> pd.DataFrame:
    """The log with the mean of its columns "rate/<layer>" in their place, named "firing_rate"."""
    rates = [column for column in log.columns if column.startswith("rate/")]
    return log.drop(columns=rates).assign(firing_rate=log[rates].mean(axis=1)) if rates else log


def last_rates(log: pd.DataFrame) -> dict[str, float]:
    """Layer -> firing rate at the last step of `log` (a DataFrame as in `learning_curves`) that measured it; empty without such columns."""
    check_columns("log", log, ["step"])
    measured = log.sort_values("step").filter(regex="^rate/").dropna(how="all")
    return {} if measured.empty else {column.removeprefix("rate/"): float(rate) for column, rate in measured.ffill().iloc[-1].items()}


def _panels(logs: Mapping[str, pd.DataFrame], columns: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Column -> axis label of the panels, in the order of the columns."""
    known = dict.fromkeys(column for log in logs.values() for column in log.select_dtypes("number").columns)
    if columns is None:
        columns = [column for column in known if column not in NO_PANEL]
    labels = dict(columns) if isinstance(columns, Mapping) else {column: LABELS.get(column, column) for column in columns}
    missing = [column for column in labels if column not in known]
    if missing or not labels:
        raise ValueError(f"no log has a numeric column {missing or 'besides step'}; the logs have {list(known)}")
    return labels


def _draw_curve(ax: Axes, log: pd.DataFrame, column: str, smooth: int, style: tuple[str, str], label: str) -> None:
    """One line per seed of `log`: smoothed over raw for losses, dots for quantities measured now and then."""
    colour, marker = style
    runs = [run for _, run in log.groupby("seed")] if "seed" in log else [log]
    for i, run in enumerate(runs):
        run = run.loc[run[column].notna(), ["step", column]].sort_values("step")
        named = label if i == 0 else None
        if (column in LOSSES or "loss" in column) and smooth > 1 and len(run) >= 4 * smooth:
            ax.plot(run["step"], run[column], color=colour, linewidth=0.7, alpha=0.25)
            ax.plot(run["step"], run[column].rolling(smooth, center=True, min_periods=1).mean(), linewidth=1.6, color=colour, label=named)
        else:
            dot = marker if len(run) <= 40 else ""
            ax.plot(run["step"], run[column], marker=dot, markersize=4, linewidth=1.4, color=colour, label=named)


def firing_rates(rates: Mapping[str, Mapping[str, float]], *, title: str = "Firing rate of every spiking layer") -> Figure:
    """One row per layer (input at the top), one mark per method, on an angular axis that opens both ends; the dead zones are shaded.

    rates: dict method -> dict layer name -> mean spikes per neuron and step, 0..1. Layers keep the order of first appearance; a method may
    lack some. Shaded: below 0.01 a layer is nearly silent, above 0.99 it fires always; both let hardly any information or gradient through.
    """
    check_named("rates", rates)
    layers = list(dict.fromkeys(layer for name, method in rates.items() for layer in check_named(f"rates of {name!r}", method)))
    figure, axes = new_figure(height=1.35 + 0.24 * len(layers), title=title)
    ax = axes[0, 0]
    for name, (colour, marker) in method_styles(rates).items():
        values = check_array(f"rates of {name!r}", list(rates[name].values()), "layers", low=0, high=1)
        place = [layers.index(layer) for layer in rates[name]]
        label = f"{method_label(name)} (mean {values.mean():.3f})"
        ax.plot(values, place, color=colour, marker=marker, linestyle="-", linewidth=0.8, alpha=0.9, clip_on=False, label=label)
    ax.set_xscale("function", functions=(lambda r: np.arcsin(np.sqrt(np.clip(r, 0, 1))), lambda a: np.sin(np.clip(a, 0, np.pi / 2)) ** 2))
    for low, high, text, side in ((0, SILENT, "silent", "left"), (SATURATED, 1, "saturated", "right")):
        ax.axvspan(low, high, color="#000000", alpha=0.1, linewidth=0)
        ax.text((low, high)[side == "right"], 1.01, text, transform=ax.get_xaxis_transform(), ha=side, va="bottom", fontsize=8.5)
    ticks = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1)
    ax.set(
        xlim=(0, 1),
        xticks=ticks,
        xticklabels=[f"{tick:g}" for tick in ticks],
        xlabel="firing rate (spikes / neuron / step)",
        ylabel="layer",
    )
    ax.set(yticks=range(len(layers)), yticklabels=layers, ylim=(len(layers) - 0.4, -0.6))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(rates)))
    return figure
