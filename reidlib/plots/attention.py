"""Figures of where a model looks: attention maps over events and time, occlusion sensitivity, body bands."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .events import event_image, full_scale
from .style import (
    GREY,
    WIDTH,
    check_array,
    check_lengths,
    check_named,
    fit_pictures,
    headline_legend,
    image_axes,
    method_label,
    method_styles,
    new_figure,
)

HEAT = "viridis"


def _ink(frame: np.ndarray, limit: float) -> np.ndarray:
    """White ink whose opacity is the number of events: RGBA [H, W, 4] of an event frame [2, H, W]."""
    strength = np.clip(frame.sum(axis=0) / limit, 0, 1) ** 0.6
    return np.concatenate([np.ones((*strength.shape, 3)), 0.5 * strength[..., None]], axis=2)  # the colour below stays readable


def attention_over_events(
    frames: ArrayLike, maps: Mapping[str, ArrayLike], *, columns: int = 8, title: str = "Attention over the event frames"
) -> Figure:
    """First row the events of each step, then one row per layer: its attention in colour, the events in white on top, a colour bar.

    frames [T, 2, H, W]; maps: dict layer -> [T, h, w] attention of each step, any resolution (stretched to the frame, not smoothed). A
    layer's colours are common to its steps (a map that is the same everywhere is dark). More than `columns` steps: that many, evenly
    spaced from the first to the last.
    """
    frames = check_array("frames", frames, "T 2 H W", low=0)
    check_named("maps", maps)
    layers = {name: check_array(f"map of {name!r}", values, "T h w") for name, values in maps.items()}
    for name, values in layers.items():
        check_lengths(**{"steps of the frames": len(frames), f"steps of the map {name!r}": len(values)})
    steps = np.unique(np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int))
    height, width = frames.shape[2:]
    cell = min(WIDTH / (len(steps) + 0.8), 1.9 * width / height)
    size = {"width": max(5, cell * (len(steps) + 0.8)), "height": 0.5 + (len(maps) + 1) * (cell * height / width + 0.1)}
    ratios = [1] * len(steps) + [0.12]  # the last column holds the colour bars, so that the pictures of all rows stay in line
    figure, axes = new_figure(len(maps) + 1, len(steps) + 1, title=title, layout="compressed", width_ratios=ratios, **size)
    bars, axes = axes[:, -1], axes[:, :-1]
    bars[0].set_axis_off()
    limit, area = full_scale(frames), (0, width, height, 0)
    for column, step in enumerate(steps):
        axes[0, column].imshow(event_image(frames[step], limit))
        axes[0, column].set_title(f"step {step + 1}", fontsize=8.5)
    for line, bar, values in zip(axes[1:], bars[1:], layers.values(), strict=True):
        low, high = values.min(), values.max() if values.max() > values.min() else values.min() + 0.01
        for ax, step in zip(line, steps, strict=True):
            heat = ax.imshow(values[step], extent=area, cmap=HEAT, vmin=low, vmax=high)
            ax.imshow(_ink(frames[step], limit), extent=area)
        figure.colorbar(heat, cax=bar, label="attention", ticks=MaxNLocator(4))
    for ax in axes.flat:
        image_axes(ax)
    for ax, text in zip(axes[:, 0], ("events", *maps), strict=True):
        ax.set_ylabel(text, fontsize=8.5)
    return fit_pictures(figure)


def attention_over_time(
    energy: Mapping[str, ArrayLike],
    *,
    events: ArrayLike | None = None,
    label: str = "mean attention (no unit)",
    title: str = "Attention over time",
) -> Figure:
    """One line per layer (or method) over the steps, dotted line at its mean; with `events`, a second panel of events per step beside it.

    energy: dict layer -> [T] attention of the step, summed or averaged over the map (say which in `label`). events: [T] event counts.
    """
    check_named("energy", energy)
    lines = {name: check_array(f"energy of {name!r}", values, "T") for name, values in energy.items()}
    counts = None if events is None else check_array("events", events, "T", low=0)
    check_lengths(**{name: len(values) for name, values in lines.items()}, **({} if counts is None else {"events": len(counts)}))
    rows = 1 if counts is None else 2
    ratios = (2, 1)[:rows]
    figure, axes = new_figure(rows, 1, height=2.0 + 1.2 * rows, title=title, sharex=True, height_ratios=ratios)
    for name, (colour, marker) in method_styles(lines).items():
        values = lines[name]
        axes[0, 0].plot(np.arange(1, len(values) + 1), values, color=colour, marker=marker, label=method_label(name))
        axes[0, 0].axhline(values.mean(), color=colour, linestyle=":", linewidth=1)
    axes[0, 0].set(ylabel=label, title="dotted: mean over the steps")
    if not any(values.any() for values in lines.values()):
        axes[0, 0].set_ylim(-0.001, 0.01)  # nothing there: a line at the bottom
    headline_legend(figure, *axes[0, 0].get_legend_handles_labels())
    if counts is not None:
        axes[1, 0].bar(np.arange(1, len(counts) + 1), counts, color=GREY, width=0.6)
        axes[1, 0].set(ylabel="events per step", title="events, for comparison")
    axes[-1, 0].set_xlabel("step")
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def sensitivity_map(
    event_frames: ArrayLike,
    maps: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    unit: str = "drop in similarity",
    title: str = "Occlusion sensitivity",
) -> Figure:
    """Events above, and below how much hiding each place changes the result: purple means that the model needs the place, green that
    it does better without.

    event_frames [2, H, W] and maps [h, w] for one clip, or [N, 2, H, W] and [N, h, w] for several, on one common scale with white at 0.
    titles: N texts, by default "clip 1", ...
    """
    single = np.ndim(maps) == 2
    frames = check_array("event_frames", np.asarray(event_frames)[None] if single else event_frames, "N 2 H W", low=0)
    maps = check_array("maps", np.asarray(maps)[None] if single else maps, "N h w")
    if titles is None:
        titles = [f"clip {i + 1}" for i in range(len(maps))]
    check_lengths(event_frames=len(frames), maps=len(maps), titles=len(titles))
    height, width = frames.shape[2:]
    cell = min(WIDTH / (len(maps) + 0.6), 2.4 * width / height)
    size = {"width": max(4.5, cell * (len(maps) + 0.8)), "height": 0.7 + 2 * cell * height / width}
    figure, axes = new_figure(2, len(maps) + 1, title=title, layout="compressed", width_ratios=[1] * len(maps) + [0.1], **size)
    bars, axes = axes[:, -1], axes[:, :-1]
    bars[0].set_axis_off()
    peak = max(float(np.abs(maps).max()), 1e-12)
    for (upper, lower), frame, values, text in zip(axes.T, frames, maps, titles, strict=True):
        upper.imshow(event_image(frame))
        upper.set_title(text, fontsize=8.5)
        heat = lower.imshow(values, extent=(0, width, height, 0), cmap="PRGn_r", norm=TwoSlopeNorm(0, -peak, peak))
        ink = _ink(frame, full_scale(frame))
        ink[..., :3], ink[..., 3] = 0, 0.45 * ink[..., 3]
        lower.imshow(ink, extent=(0, width, height, 0))
        image_axes(upper)
        image_axes(lower)
    figure.colorbar(heat, cax=bars[1], label=unit)
    if maps.min() >= 0:
        bars[1].set_ylim(0, peak)
    for ax, text in zip(axes[:, 0], ("events", "sensitivity"), strict=True):
        ax.set_ylabel(text)
    return fit_pictures(figure)


def band_profile(
    values: Mapping[str, ArrayLike],
    *,
    quantity: str = "attention (share)",
    event_frame: ArrayLike | None = None,
    bands: Mapping[str, tuple[float, float]] | None = None,
    even: float = 0.0,
    title: str = "Profile over body bands",
) -> Figure:
    """One group of bars per horizontal band of the body, head at the top; with an event frame [2, H, W], its bands at the left.

    values: dict method or setting -> [bands] numbers from top to bottom, in `quantity` (name and unit, the axis label).
    bands: dict name -> (start, stop) as shares of the height, where they are not equal ones. even: where the bars' upright line stands.
    """
    check_named("values", values)
    rows = {name: check_array(f"values of {name!r}", numbers, "bands") for name, numbers in values.items()}
    check_lengths(**{name: len(numbers) for name, numbers in rows.items()})
    count, panels = len(next(iter(rows.values()))), 1 if event_frame is None else 2
    if bands is not None:
        check_lengths(values=count, bands=len(bands))
    edges = [stop for _, stop in bands.values()] if bands else [(band + 1) / count for band in range(count)]
    height = max(3.2, 0.9 + count * 0.16 * (len(rows) + 1.5))
    figure, axes = new_figure(1, panels, height=height, title=title, width_ratios=None if event_frame is None else (1, 3))
    ax, thick = axes[0, -1], 0.8 / len(rows)
    for i, (name, (colour, _)) in enumerate(method_styles(rows).items()):
        places = np.arange(1, count + 1) + (i - (len(rows) - 1) / 2) * thick
        ax.barh(places, rows[name], height=0.9 * thick, color=colour, label=method_label(name))
    ax.set(xlabel=quantity, ylabel="band" if bands else "band (1 = top)", yticks=range(1, count + 1), ylim=(count + 0.5, 0.5))
    if bands:
        ax.set_yticklabels(list(bands))
    ax.axvline(even, color="black", linewidth=0.8)
    headline_legend(figure, *ax.get_legend_handles_labels())
    if event_frame is not None:
        image = event_image(event_frame)
        image_axes(axes[0, 0])
        axes[0, 0].imshow(image)
        axes[0, 0].set_title("bands")
        for edge in edges[:-1]:
            axes[0, 0].axhline(edge * image.shape[0] - 0.5, color="black", linestyle=":", linewidth=1)
    return figure
