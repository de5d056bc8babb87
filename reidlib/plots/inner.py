"""Figures of the inside of SDCL: maps layer by layer, activity over depth, the events that an event chooses, where the alignment looks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .attention import HEAT
from .events import as_image, event_image, full_scale
from .style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PALETTE,
    PURPLE,
    VERMILION,
    WIDTH,
    check_array,
    check_columns,
    check_intervals,
    check_lengths,
    check_named,
    fit_pictures,
    headline_legend,
    image_axes,
    new_figure,
    polarity_legend,
)

MEASURES = {  # of `activity_by_depth`: label, colour, marker and its size
    "reached": ("positions with events that a spike can reach", BLACK, "D", 9),
    "with events": ("positions with events", VERMILION, "o", 5),
    "whole picture": ("whole picture", BLUE, "s", 5),
    "channels": ("channels at positions with events", GREEN, "^", 6),
}
HEADS = (*PALETTE, GREY)
LETTERS = "ABCDEFGH"  # of enlarged parts


def map_grid(
    rows: Mapping[str, Mapping[str, ArrayLike]], *, unit: str = "mean |activation|", title: str = "Maps, layer by layer"
) -> Figure:
    """A grid of pictures and maps, one colour scale and one colour bar per column of maps.

    rows: dict row label -> dict column label -> a map [h, w] (colours), a colour image [H, W, 3] or an event frame [2, H, W] (as they
    are); the same columns in every row. Maps of any resolution are stretched to the size of the first picture, not smoothed.
    """
    columns = list(next(iter(check_named("rows", rows).values())))
    for label, cells in rows.items():
        if list(cells) != columns:
            raise ValueError(f"row {label!r} has the columns {list(cells)}, the first row has {columns}")
    table = {name: [np.asarray(cells[name]) for cells in rows.values()] for name in columns}
    height, width = _picture_size(table)
    cell = min((WIDTH - 0.5) / len(columns), 1.9 * width / height)
    figure, axes = new_figure(
        len(rows) + 1,
        len(columns),
        width=max(5, cell * len(columns) + 0.5),
        height=1.3 + len(rows) * (cell * height / width + 0.08),
        title=title,
        layout="compressed",
        height_ratios=[1] * len(rows) + [0.06],
    )
    for place, (name, column) in enumerate(table.items()):
        _draw_column(figure, axes[:, place], name, column, (0, width, height, 0))
    for ax, label in zip(axes[:-1, 0], rows, strict=True):
        ax.set_ylabel(label, fontsize=8.5)
    figure.supxlabel(f"colour bars: {unit}", fontsize=8.5)
    return fit_pictures(figure)


def _picture_size(table: dict[str, list[np.ndarray]]) -> tuple[int, int]:
    """(height, width) of the first column that holds pictures, else of the first map."""
    first = next((cells[0] for cells in table.values() if cells[0].ndim == 3), next(iter(table.values()))[0])
    return first.shape[-2:] if first.shape[0] == 2 and first.ndim == 3 else first.shape[:2]


def _draw_column(figure: Figure, axes: np.ndarray, name: str, cells: list[np.ndarray], area: tuple[float, float, float, float]) -> None:
    """One column of `map_grid`: its pictures, or its maps with their colour bar in the last axes."""
    axes[0].set_title(name if "\n" in name else name.replace(" ", "\n", 1), fontsize=8.5)
    *panels, bar = axes
    for ax in panels:
        image_axes(ax)
    if cells[0].ndim == 3:
        bar.set_axis_off()
        limit = full_scale(np.stack(cells)) if cells[0].shape[0] == 2 else None
        for ax, cell in zip(panels, cells, strict=True):
            ax.imshow(event_image(cell, limit) if limit else as_image(name, cell), extent=area)
        return
    maps = [check_array(f"map {name!r}", cell, "h w") for cell in cells]
    high = max(float(values.max()) for values in maps) or 0.01
    for ax, values in zip(panels, maps, strict=True):
        heat = ax.imshow(values, extent=area, cmap=HEAT, vmin=0, vmax=high)
    figure.colorbar(heat, cax=bar, orientation="horizontal", ticks=[0, high], format=lambda value, _: f"{value:.2g}")
    bar.tick_params(labelsize=7.5)
    low, top = bar.get_xticklabels()
    low.set_horizontalalignment("left")
    top.set_horizontalalignment("right")


def activity_by_depth(tables: Mapping[str, pd.DataFrame], *, title: str = "Activity over depth") -> Figure:
    """Shares over the layers of a network, with intervals: positions at the left, channels at the right; a line of panels per network.

    tables: dict network -> DataFrame with layer, measure (a key of `MEASURES`), mean, low, high (percent), layers from input to output.
    """
    check_named("tables", tables)
    figure, axes = new_figure(len(tables), 2, height=1.2 + 2.7 * len(tables), title=title, sharey=True, width_ratios=(5, 4))
    for line, (network, table) in zip(axes, tables.items(), strict=True):
        check_columns(f"table of {network!r}", table, ["layer", "measure", "mean", "low", "high"])
        check_intervals(f"table of {network!r}", table.assign(name=table["layer"]), ("low", "mean", "high"), low=0)
        for measure, (label, colour, marker, size) in MEASURES.items():
            part = table[table["measure"] == measure]
            ax = line[1 if measure == "channels" else 0]
            error = np.abs(part[["low", "high"]].to_numpy().T - part["mean"].to_numpy())
            style = {"color": colour, "marker": marker, "markersize": size}
            if measure == "reached":  # lies on the line of spikes at first
                style |= {"linestyle": ":", "markerfacecolor": "white"}
            ax.errorbar(part["layer"], part["mean"], error, capsize=3, label=label, **style)
        for ax, what in zip(line, ("positions", "channels"), strict=True):
            ax.set(title=f"{network}: active {what}", ylim=(-3, 105))
            names = [text.get_text() for text in ax.get_xticklabels()]
            if len(names) > 6:  # too many to stand side by side
                ax.set_xticks(ax.get_xticks(), names, rotation=40, ha="right", rotation_mode="anchor")
            else:
                ax.set_xticks(ax.get_xticks(), [name.replace(" ", "\n") for name in names])
        line[0].set_ylabel("share (%)")
    handles = [ax.get_legend_handles_labels() for ax in axes[0]]
    figure.legend(handles[0][0] + handles[1][0], handles[0][1] + handles[1][1], loc="outside lower center", ncols=2)
    return figure


def chosen_events(
    frame: ArrayLike,
    centres: Sequence[tuple[str, tuple[int, int], ArrayLike, int]],
    *,
    title: str = "The nine events that a position sees",
) -> Figure:
    """The event frame with a box around each centre, then each box enlarged: arrows from the centre to its nine nearest events.

    frame [2, H, W]. centres: list of (text, (y, x), chosen [9, 2] of (y, x) nearest first, Manhattan distance of the ninth).
    """
    frame = check_array("frame", frame, "2 H W", low=0)
    if not 0 < len(centres) <= len(LETTERS):
        raise ValueError(f"centres must be 1 to {len(LETTERS)} positions, got {len(centres)}")
    image = event_image(frame)
    columns = 1 + -(-len(centres) // 2)
    figure = new_figure(1, 1, height=5.4, title=title)[0]
    figure.axes[0].remove()
    grid = figure.add_gridspec(2, columns, width_ratios=[1.15] + [1] * (columns - 1))
    whole = figure.add_subplot(grid[:, 0])
    image_axes(whole)
    whole.imshow(image)
    whole.set_title("event frame")
    for number, (text, centre, chosen, distance) in enumerate(centres):
        chosen = check_array(f"chosen of {text!r}", chosen, "9 2")
        reach = max(3, int(np.abs(chosen - centre).max()) + 1)
        y, x = centre
        left, top = max(x - reach, 0) - 0.5, max(y - reach, 0) - 0.5
        right, bottom = min(x + reach + 1, frame.shape[2]) - 0.5, min(y + reach + 1, frame.shape[1]) - 0.5
        whole.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="black", linewidth=1.3))
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        whole.annotate(LETTERS[number], (left, top), (4, -4), textcoords="offset points", va="top", weight="bold", fontsize=9, bbox=paper)
        ax = figure.add_subplot(grid[number % 2, 1 + number // 2])
        _zoomed(ax, image, centre, chosen, reach)
        ax.set_title(f"{LETTERS[number]}  {text}: ninth at {distance} pixels", fontsize=8.5)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    polarity_legend(figure)
    return figure


def _zoomed(ax: Axes, image: np.ndarray, centre: tuple[int, int], chosen: np.ndarray, reach: int) -> None:
    """Pixels around a centre with arrows to the chosen events, numbered by rank."""
    y, x = centre
    image_axes(ax)
    ax.imshow(0.45 + 0.55 * image, vmin=0, vmax=1)  # paler, so that arrows stand out
    ax.set(xlim=(x - reach - 0.5, x + reach + 0.5), ylim=(y + reach + 0.5, y - reach - 0.5))
    ax.set_facecolor("#E4E4E4")  # beyond the picture
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1, "shrinkA": 3, "shrinkB": 3}
    for rank, (to_y, to_x) in enumerate(chosen[1:], start=2):
        halo = [withStroke(linewidth=2, foreground="white")]
        ax.annotate(str(rank), (to_x, to_y), (3, 3), textcoords="offset points", fontsize=7.5, path_effects=halo, zorder=4)
        ax.annotate("", (to_x, to_y), (x, y), arrowprops=arrow)
    ax.plot(chosen[1:, 1], chosen[1:, 0], "o", color="black", markersize=3, label="chosen event (number: its rank, the kernel's tap)")
    ax.plot(x, y, "D", color="black", markersize=6, label="centre, itself the first")


def distance_histogram(counts: ArrayLike, *, title: str = "Distance to the ninth nearest event") -> Figure:
    """Bars of the share of positions with events by the Manhattan distance to their ninth nearest event, in pixels; the line at the
    right of the bars is the tail that was cut, where there is one.

    counts [D]: positions at each distance, 0 first. Bars end where 99.5 % of the positions lie; the last one holds all that are farther.
    """
    counts = check_array("counts", counts, "D", low=0).astype(float)
    if not counts.sum():
        raise ValueError("counts are all 0: no frame has nine events")
    shares = 100 * counts / counts.sum()
    last = min(int(np.searchsorted(shares.cumsum(), 99.5)) + 1, len(shares) - 1)
    places = np.arange(2, last + 1)
    heights = np.append(shares[2:last], shares[last:].sum())
    figure, axes = new_figure(height=3.0, title=title)
    ax = axes[0, 0]
    ax.bar(places, heights, color=BLUE, width=0.7)
    labels = [f"{place}" for place in places]
    if shares[last + 1 :].any():
        labels[-1] += " or more"
    ax.set_xticks(places, labels)
    if len(places) > 14:
        for text in ax.get_xticklabels()[1:-1:2]:
            text.set_visible(False)
    ax.set(
        xlabel="Manhattan distance to the ninth nearest event (pixels)",
        ylabel="positions with events (%)",
    )
    return figure


def sampling_points(rows: Sequence[Sequence[dict]], *, title: str = "Where the alignment looks") -> Figure:
    """For some positions of the map, the places that are sampled: a colour per head, the area of a point is its score.

    rows: list of lists of dicts with title, picture (image [H, W, 3] or event frame [2, H, W], what is sampled), size (h, w) of the
    map, place (y, x) of the position, points [heads, points, 2] (y, x; in positions of the map) and scores [heads, points].
    """
    if not rows or not all(rows):
        raise ValueError("rows is empty: there is no position to show")
    columns = max(map(len, rows))
    image = as_image("picture", rows[0][0]["picture"])
    cell = min(WIDTH / columns, 3.3 * image.shape[1] / image.shape[0])
    height = 1.2 + len(rows) * (cell * image.shape[0] / image.shape[1] + 0.35)
    figure, axes = new_figure(len(rows), columns, width=max(6.5, cell * columns), height=height, title=title, layout="compressed")
    for ax in axes.flat:
        ax.set_axis_off()
    heads, area = 0, _common_area([panel for panels in rows for panel in panels])
    for line, panels in zip(axes, rows, strict=True):
        for ax, panel in zip(line, panels, strict=False):
            ax.set_axis_on()
            heads = max(heads, _draw_samples(ax, panel))
            ax.set(xlim=area[:2], ylim=area[2:])
    dots = [Line2D([], [], linestyle="none", marker="o", color=HEADS[i % len(HEADS)]) for i in range(heads)]
    square = Rectangle((0, 0), 1, 1, fill=False, edgecolor="black", linewidth=2)
    labels = ["the receiving position", *(f"head {i + 1}" for i in range(heads))]
    figure.legend([square, *dots], labels, loc="outside lower center", ncols=5)
    return fit_pictures(figure)


def _common_area(panels: list[dict]) -> tuple[float, float, float, float]:
    """left, right, bottom, top that hold every map and every point."""
    low = np.min([np.min(panel["points"], axis=(0, 1)) - 0.2 for panel in panels] + [(-0.6, -0.6)], axis=0)
    high = np.max(
        [np.max(panel["points"], axis=(0, 1)) + 0.2 for panel in panels] + [np.subtract(panel["size"], 0.4) for panel in panels], axis=0
    )
    return low[1], high[1], high[0], low[0]


def _draw_samples(ax: Axes, panel: dict) -> int:
    """One panel of `sampling_points`; returns the number of heads."""
    points = check_array(f"points of {panel['title']!r}", panel["points"], "heads points 2")
    scores = check_array(f"scores of {panel['title']!r}", panel["scores"], "heads points", low=0)
    check_lengths(points=points.shape[0], scores=scores.shape[0])
    image, (h, w), (y, x) = as_image("picture", panel["picture"]), panel["size"], panel["place"]
    pale = 0.4 + 0.6 * (image / 255 if image.dtype == np.uint8 else image)
    image_axes(ax)
    ax.imshow(pale, extent=(-0.5, w - 0.5, h - 0.5, -0.5), aspect=(image.shape[0] / h) / (image.shape[1] / w))
    ax.hlines(np.arange(h + 1) - 0.5, -0.5, w - 0.5, color=GREY, linewidth=0.6)
    ax.vlines(np.arange(w + 1) - 0.5, -0.5, h - 0.5, color=GREY, linewidth=0.6)
    ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2))
    for head, (places, weights) in enumerate(zip(points, scores, strict=True)):
        ax.scatter(places[:, 1], places[:, 0], s=110 * weights, color=HEADS[head % len(HEADS)], edgecolor="white", linewidth=0.6, zorder=3)
    ax.set_title(panel["title"], fontsize=8.5)
    return len(points)


def sampling_distance(table: pd.DataFrame, *, start: float | None = None, title: str = "How far the heads look") -> Figure:
    """Mean distance of each head's sampling points, a mark with its interval per head and direction; dashed: before training.

    table: DataFrame with direction, head, mean, low, high (positions of the map).
    """
    check_columns("table", table, ["direction", "head", "mean", "low", "high"])
    check_intervals("table", table.assign(name=table["head"]), ("low", "mean", "high"), low=0)
    figure, axes = new_figure(height=3.4, title=title)
    ax = axes[0, 0]
    groups = list(table.groupby("direction", sort=False))
    for i, (direction, part) in enumerate(groups):
        error = np.abs(part[["low", "high"]].to_numpy().T - part["mean"].to_numpy())
        places = part["head"] + 0.16 * (i - (len(groups) - 1) / 2)
        style = {"color": (PURPLE, ORANGE)[i % 2], "marker": MARKERS[i % len(MARKERS)]}
        ax.errorbar(places, part["mean"], error, linestyle="none", capsize=3, label=direction, **style)
    if start is not None:
        ax.axhline(start, color=GREY, linestyle="--", linewidth=1.2, label="before training")
    ax.set(xlabel="head", ylabel="mean distance\n(positions of the map)", ylim=(0, 1.08 * max(table["high"].max(), start or 0)))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    headline_legend(figure, *ax.get_legend_handles_labels())
    return figure
