"""Figures of degraded video: accuracy against severity, and what the degradations look like."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .events import as_image
from .style import (
    GREY,
    WIDTH,
    check_columns,
    check_intervals,
    check_named,
    fit_pictures,
    headline_legend,
    image_axes,
    method_styles,
    new_figure,
)

KINDS = {"motion_blur": "motion blur", "occlusion": "occlusion", "low_light": "low light"}


def curves(scores: pd.DataFrame, *, reference: float | None = None, title: str = "mAP under degraded video") -> Figure:
    """One panel per kind of degradation: mAP against severity (0: clean), a line per system with its interval as a band.

    scores: DataFrame with row, title, kind ("clean" or a kind), severity, mean, low, high (percent), shuffled (a dotted line at the
    level of clean video: the system with the events of other people). reference: a grey dashed line, called chance.
    """
    check_columns("scores", scores, ["row", "title", "kind", "severity", "mean", "low", "high", "shuffled"])
    check_intervals("scores", scores.assign(name=scores["title"]), ("low", "mean", "high"), low=0)
    kinds = [kind for kind in dict.fromkeys(scores["kind"]) if kind != "clean"]
    if not kinds:
        raise ValueError("scores hold clean video alone: there is no severity to draw against")
    figure, axes = new_figure(1, len(kinds), height=3.4, title=title, sharey=True)
    styles = method_styles(dict.fromkeys(scores.loc[~scores["shuffled"], "row"]))
    for ax, kind in zip(axes.flat, kinds, strict=True):
        for row, part in scores[scores["kind"].isin(("clean", kind))].groupby("row", sort=False):
            _draw(ax, part, styles.get(row, (GREY, "o")))
        if reference is not None:
            ax.axhline(reference, color=GREY, linestyle="--", linewidth=1, label="chance")
        ax.set(title=KINDS.get(kind, kind), xlabel="severity", xticks=sorted({0, *scores.loc[scores["kind"] == kind, "severity"]}))
    axes[0, 0].set_ylim(bottom=0)  # now that all is drawn: the panels share their scale
    axes[0, 0].set_ylabel("mAP (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    headline_legend(figure, handles, labels)
    return figure


def _draw(ax: Axes, part: pd.DataFrame, style: tuple[str, str]) -> None:
    """One system in one panel."""
    colour, marker = style
    own = part[~part["shuffled"]].sort_values("severity")
    ax.plot(own["severity"], own["mean"], color=colour, marker=marker, label=own["title"].iloc[0] if len(own) else None)
    ax.fill_between(own["severity"], own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
    wrong = part[part["shuffled"] & (part["kind"] == "clean")]
    for line in wrong.itertuples():
        ax.axhline(line.mean, color=colour, linestyle=":", linewidth=1.5, label=line.title)


def degradation_grid(pictures: Mapping[str, Mapping[float, ArrayLike]], *, title: str = "Degraded video") -> Figure:
    """A row per kind, a column per severity: one video frame under each.

    pictures: dict kind -> dict severity -> frame [h, w] or [h, w, 3]; every kind has the same severities.
    """
    severities = list(next(iter(check_named("pictures", pictures).values())))
    if not severities or any(list(row) != severities for row in pictures.values()):
        given = {kind: list(row) for kind, row in pictures.items()}
        raise ValueError(f"every kind needs the same severities, at least one; got {given}")
    first = np.asarray(pictures[next(iter(pictures))][severities[0]])
    aspect = first.shape[0] / first.shape[1]
    cell = min(WIDTH / len(severities), 1.7 / aspect)
    size = {"width": max(cell * len(severities), 5.2), "height": 0.5 + len(pictures) * (cell * aspect + 0.2), "layout": "compressed"}
    figure, axes = new_figure(len(pictures), len(severities), title=title, **size)
    for line, (kind, row) in zip(axes, pictures.items(), strict=True):
        for ax, (severity, frame) in zip(line, row.items(), strict=True):
            image_axes(ax)
            ax.imshow(as_image(f"{kind} {severity}", frame))
            if ax in axes[0]:
                ax.set_title(f"severity {severity}" if severity else "clean", fontsize=8.5)
        line[0].set_ylabel(KINDS.get(kind, kind), fontsize=8.5)
    return fit_pictures(figure)
