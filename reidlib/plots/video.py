"""Figures of the inside of the video systems: maps beside true parts, outlined areas, hidden thirds, measured claims."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .inner import map_grid
from .style import (
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PALE,
    PALETTE,
    PURPLE,
    VERMILION,
    check_array,
    check_columns,
    check_lengths,
    check_named,
    headline_legend,
    layout_engine,
    new_figure,
)

Cell = np.ndarray | tuple[np.ndarray, np.ndarray]  # of `view_grid`
LABELS = {
    0: ("background", PALE),
    1: ("head", ORANGE),
    2: ("upper body", BLUE),
    3: ("lower body", GREEN),
    4: ("shoes", PURPLE),
    255: ("unknown", "white"),
}
THIRDS = ("upper", "middle", "lower")
OUTLINE = VERMILION
LINE = 0.28  # inches, of a legend's line


def label_image(labels: ArrayLike) -> np.ndarray:
    """Whole numbers [H, W] of body parts (a key of `LABELS`) as RGB [H, W, 3] in 0..1."""
    labels = check_array("labels", labels, "H W")
    unknown = sorted(set(np.unique(labels).tolist()) - set(LABELS))
    if unknown:
        raise ValueError(f"labels hold {unknown}, legal are {list(LABELS)}")
    image = np.zeros((*labels.shape, 3))
    for number, (_, colour) in LABELS.items():
        image[labels == number] = to_rgb(colour)
    return image


def borders(areas: ArrayLike) -> np.ndarray:
    """Lines around the areas of equal value in [h, w], 0 being no area: [n, 2, 2], (x, y) of both ends, the map being 1 wide and 1 high."""
    areas = check_array("areas", areas, "h w")
    h, w = areas.shape
    padded = np.pad(areas, 1)
    y, x = np.nonzero(padded[:-1, 1:-1] != padded[1:, 1:-1])
    across = np.stack([np.stack([x, y], 1), np.stack([x + 1, y], 1)], 1)
    v, u = np.nonzero(padded[1:-1, :-1] != padded[1:-1, 1:])
    down = np.stack([np.stack([u, v], 1), np.stack([u, v + 1], 1)], 1)
    return np.concatenate([across, down]) / np.array([w, h])


def view_grid(rows: Mapping[str, Mapping[str, Cell]], *, unit: str = "1 = even", title: str = "Inside") -> Figure:
    """`plots.inner.map_grid` with two more kinds of cells: whole numbers [H, W], the labels of body parts in colours that the legend
    names; and a pair (picture [H, W, 3], whole numbers [h, w]), the picture with the outlines of the areas that differ (0: no area).
    """
    check_named("rows", rows)
    plain = {label: {name: _plain(cell) for name, cell in cells.items()} for label, cells in rows.items()}
    figure = map_grid(plain, unit=unit, title=title)
    cells = [cell for row in rows.values() for cell in row.values()]
    for ax, cell in zip(figure.axes, cells, strict=False):  # the last axes hold colour bars
        if isinstance(cell, tuple):
            height, width = np.shape(cell[0])[:2]
            lines = borders(cell[1]) * np.array([width, height])
            for colour, thick in (("white", 3.2), (OUTLINE, 1.8)):  # all of the light edge first, or it would cut the lines at corners
                ax.add_collection(LineCollection(lines, colors=colour, linewidths=thick, capstyle="projecting", clip_on=False))
    seen = {number for cell in cells if _is_labels(cell) for number in np.unique(cell).tolist()}
    if seen:
        _name_labels(figure, [LABELS[number] for number in sorted(seen)])
    return figure


def _name_labels(figure: Figure, named: list[tuple[str, str]]) -> None:
    """A legend in a line of its own, above the text below the colour bars."""
    height = figure.get_figheight() + LINE
    figure.set_figheight(height)
    figure.set_layout_engine(layout_engine("compressed", below=LINE / height))
    patches = [Patch(facecolor=colour, edgecolor=GREY, linewidth=0.6) for _, colour in named]
    figure.legend(
        patches,
        [name for name, _ in named],
        loc="lower center",
        bbox_to_anchor=(0.5, LINE / height),
        ncols=len(named),
        borderaxespad=0.2,
        handlelength=1.0,
        columnspacing=1.2,
    )


def _plain(cell: Cell) -> np.ndarray:
    if isinstance(cell, tuple):
        return cell[0]
    return label_image(cell) if _is_labels(cell) else cell


def _is_labels(cell: Cell) -> bool:
    return not isinstance(cell, tuple) and np.ndim(cell) == 2 and np.issubdtype(np.asarray(cell).dtype, np.integer)


def third_scores(
    scores: ArrayLike, threshold: float, *, hidden: ArrayLike | None = None, title: str = "How much each third looks like itself"
) -> Figure:
    """One line per third over the frames of a tracklet, dashed the threshold, below which a third is called hidden.

    scores [T, 3] (cosine). hidden: bool [T, 3], where it is known: shaded spans in the colour of the third."""
    scores = check_array("scores", scores, "T 3", low=-1.001, high=1.001)
    figure, axes = new_figure(height=3.2, title=title)
    ax, frames = axes[0, 0], np.arange(1, len(scores) + 1)
    for i, (name, colour) in enumerate(zip(THIRDS, (BLUE, ORANGE, GREEN), strict=True)):
        ax.plot(frames, scores[:, i], color=colour, marker=MARKERS[i], markersize=4, label=f"{name} third")
        for t in [] if hidden is None else np.flatnonzero(np.asarray(hidden)[:, i]):
            ax.axvspan(t + 0.5, t + 1.5, color=colour, alpha=0.18, linewidth=0)
    ax.axhline(threshold, color=GREY, linestyle="--", linewidth=1.2, label=f"threshold {threshold:g}")
    ax.set(xlabel="frame" + ("" if hidden is None else " (shaded: really covered)"), ylabel="cosine with the\ntracklet's mean (no unit)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    headline_legend(figure, *ax.get_legend_handles_labels())
    return figure


def interval_dots(
    table: pd.DataFrame,
    *,
    unit: str,
    reference: float | None = None,
    reference_label: str = "chance",
    title: str = "Measured",
) -> Figure:
    """A line per measure with a mark and its interval for each of what is compared; the numbers at the right where one thing is.

    table: DataFrame with measure, of, mean, low, high in `unit`; a mark without an interval where low and high are NaN. reference: where
    the dashed upright line stands."""
    check_columns("table", table, ["measure", "of", "mean", "low", "high"])
    table = table[np.isfinite(table["mean"])]
    measures, compared = list(dict.fromkeys(table["measure"])), list(dict.fromkeys(table["of"]))
    if not measures:
        raise ValueError("table has no mean that is a number: there is nothing to draw")
    figure, axes = new_figure(height=1.3 + len(measures) * (0.16 + 0.17 * len(compared)), title=title)
    ax = axes[0, 0]
    for i, of in enumerate(compared):
        part = table[table["of"] == of]
        places = np.array([measures.index(one) for one in part["measure"]]) + 0.6 * ((i + 0.5) / len(compared) - 0.5)
        ends = part[["low", "high"]].to_numpy(float)
        error = np.nan_to_num(np.abs(ends - part["mean"].to_numpy(float)[:, None])).T
        style = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}
        ax.errorbar(part["mean"], places, xerr=error, linestyle="none", capsize=3, label=of, **style)
    if reference is not None:
        ax.axvline(reference, color=GREY, linestyle="--", linewidth=1.2, label=reference_label)
    ax.set(yticks=range(len(measures)), yticklabels=measures, ylim=(len(measures) - 0.5, -0.5), xlabel=unit)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(labels) > 4 else 4)
    return figure


def kernel_channels(shares: Mapping[str, np.ndarray], *, title: str = "What the kernels get, channel by channel") -> Figure:
    """One line per kernel over the channels, ordered by the first kernel's mean, and a band that holds 90 % of the clips.

    shares: kernel -> [clips, C], from 0 to 1."""
    check_named("shares", dict(shares))
    table = {name: check_array(f"shares of {name!r}", one, "clips C", low=0, high=1 + 1e-4) for name, one in shares.items()}
    check_lengths(**{name: one.shape[1] for name, one in table.items()})
    order = np.argsort(next(iter(table.values())).mean(0), kind="stable")
    figure, axes = new_figure(height=3.2, title=title)
    ax, channels = axes[0, 0], np.arange(1, len(order) + 1)
    for i, (name, one) in enumerate(table.items()):
        colour = PALETTE[i % len(PALETTE)]
        ax.plot(channels, one.mean(0)[order], color=colour, marker=MARKERS[i % len(MARKERS)], markersize=4, label=name)
        ax.fill_between(channels, *np.quantile(one, (0.05, 0.95), axis=0)[:, order], color=colour, alpha=0.2, linewidth=0)
    ax.axhline(1 / len(table), color=GREY, linestyle="--", linewidth=1.2, label="no choice")
    ax.set(xlabel="channel (ordered)", ylabel="share of the kernel\n(band: 90 % of the clips)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    headline_legend(figure, *ax.get_legend_handles_labels())
    return figure
