"""Figures of events: frames, samples, rates, space-time slices, polarity, simulated beside real.

Event frames are count (or scaled count) images [2, H, W], channel 0 OFF, channel 1 ON, as `reidlib.events.event_frames` makes them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import ArrayLike

from .style import (
    GREY,
    MARKERS,
    OFF_COLOUR,
    ON_COLOUR,
    PALETTE,
    WIDTH,
    check_array,
    check_lengths,
    check_named,
    fit_pictures,
    headline_legend,
    image_axes,
    log_ticks,
    new_figure,
    polarity_legend,
    trim_labels,
)

POLARITIES = ((1, "ON (brighter)", ON_COLOUR, "-"), (0, "OFF (darker)", OFF_COLOUR, "--"))


def event_image(frame: ArrayLike, limit: float | None = None) -> np.ndarray:
    """Colours one event frame [2, H, W]: white where nothing happened, red-orange for ON, blue for OFF, dark where both.

    limit: the count at full colour; by default the 99th percentile of the non-zero counts. Returns float RGB [H, W, 3] in 0..1.
    """
    frame = check_array("event frame", frame, "2 H W", low=0).astype(np.float64)
    strength = np.clip(frame / (limit or full_scale(frame)), 0, 1) ** 0.6  # [2, H, W]; a single event stays visible beside busy pixels
    off, on = (
        1 - amount[..., None] * (1 - np.array(to_rgb(colour))) for amount, colour in zip(strength, (OFF_COLOUR, ON_COLOUR), strict=True)
    )
    return off * on  # [H, W, 3]; inks multiply


def full_scale(frames: np.ndarray) -> float:
    """The value drawn at full colour: 99th percentile of the non-zero values, 1 for silent frames."""
    busy = frames[frames > 0]
    return float(np.percentile(busy, 99)) if busy.size else 1.0


def as_image(name: str, image: ArrayLike) -> np.ndarray:
    """A grey image [H, W], a colour image [H, W, 3] or an event frame [2, H, W] as something `imshow` draws in full range.

    uint8 and float images are taken as they are (0..255 and 0..1); grey becomes RGB. Anything else: one ValueError.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] == 2 and image.shape[2] != 3:
        return event_image(image)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)  # [H, W, 3]
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"{name} must be a grey image [H, W], a colour image [H, W, 3] or an event frame [2, H, W]; got {list(image.shape)}"
        )
    return image if image.dtype == np.uint8 else np.clip(image.astype(np.float64), 0, 1)


def event_frame_strip(
    frames: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    step_ms: float | None = None,
    title: str = "Event frames",
    columns: int = 8,
) -> Figure:
    """One picture per time step, `columns` to a row, all on one colour scale.

    frames [T, 2, H, W]. titles: T texts; by default "step 1", ... or, with step_ms (duration of a step in milliseconds), the time window.
    """
    frames = check_array("frames", frames, "T 2 H W", low=0)
    steps, _, height, width = frames.shape
    if titles is None:
        titles = [f"step {i + 1}" if step_ms is None else f"{i * step_ms:.0f}–{(i + 1) * step_ms:.0f} ms" for i in range(steps)]
    check_lengths(frames=steps, titles=len(titles))
    columns = max(1, min(columns, steps))
    rows = -(-steps // columns)
    cell = min(WIDTH / columns, 2.0 * width / height)
    figure, axes = new_figure(
        rows, columns, width=max(columns * cell, 5.2), height=0.5 + rows * (cell * height / width + 0.2), title=title, layout="compressed"
    )
    limit = full_scale(frames)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, frame, text in zip(axes.flat, frames, titles, strict=False):
        ax.set_axis_on()
        image_axes(ax)
        ax.imshow(event_image(frame, limit))
        ax.set_title(text, fontsize=8.5)
    polarity_legend(figure)
    return fit_pictures(figure)


def sample_grid(
    samples: Sequence[tuple[str, ArrayLike | None, ArrayLike]], columns: int, *, title: str = "Samples: video and events"
) -> Figure:
    """A grid of samples, rows = people, columns = cameras; each cell shows the video frame (where there is one) beside the events.

    samples: list of (cell title, video frame [h, w] or [h, w, 3] or None, event frame [2, H, W]), row after row, `columns` to a row.
    Each event frame has its own colour scale. Raises ValueError where the list does not fill whole rows.
    """
    if columns < 1 or len(samples) == 0 or len(samples) % columns:
        raise ValueError(f"samples must fill rows of {columns} cells: got {len(samples)} samples (leave none out, row after row)")
    cells = []
    for text, video, frame in samples:
        image = event_image(frame)
        cells.append((text, None if video is None else as_image(f"video frame of {text!r}", video), image))
    pictures = 1 if all(video is None for _, video, _ in cells) else 2
    rows, aspect = len(samples) // columns, cells[0][2].shape[0] / cells[0][2].shape[1]
    cell = min(WIDTH / (columns * pictures), 1.9 / aspect)
    size = {"width": max(cell * columns * pictures, 5.2), "height": 0.45 + rows * (cell * aspect + 0.28), "layout": "compressed"}
    figure, axes = new_figure(rows, columns * pictures, title=title, **size)
    for index, (text, video, image) in enumerate(cells):
        row, column = divmod(index, columns)
        pair = axes[row, column * pictures : (column + 1) * pictures]
        for ax, picture in zip(pair, (video, image)[-pictures:], strict=True):
            image_axes(ax)
            if picture is None:
                ax.text(0.5, 0.5, "no video", ha="center", va="center", color=GREY, transform=ax.transAxes)
            else:
                ax.imshow(picture)
        pair[0].set_title(text, fontsize=8.5)
    polarity_legend(figure)
    return fit_pictures(figure)


def event_rate(counts: Mapping[str, ArrayLike], bin_seconds: float, *, title: str = "Event rate over time") -> Figure:
    """ON and OFF events per second over time, one panel per tracklet on common axes; the stride shows as a ripple.

    counts: dict tracklet name -> [n, 2] events per bin (column 0 OFF, 1 ON). bin_seconds: width of a bin in seconds.
    """
    check_named("counts", counts)
    if not bin_seconds > 0:
        raise ValueError(f"bin_seconds must be positive, got {bin_seconds}")
    tables = {name: check_array(f"counts of {name!r}", table, "n 2", low=0) for name, table in counts.items()}
    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    figure, axes = new_figure(rows, columns, height=0.8 + 1.7 * rows, title=title, sharex=True, sharey=True)
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        centres = (np.arange(len(table)) + 0.5) * bin_seconds
        for channel, label, colour, line in POLARITIES:
            ax.plot(centres, table[:, channel] / bin_seconds, color=colour, linestyle=line, linewidth=1.4, label=label)
        ax.set(xlabel="time (s)", ylabel="events per second", title=name)
        ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes[0, 0].set_ylim(bottom=0)  # once all curves are in: it ends the automatic scale of the axes that share it
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    trim_labels(axes, len(tables))
    headline_legend(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


def space_time(
    x: ArrayLike,
    y: ArrayLike,
    t: ArrayLike,
    p: ArrayLike,
    *,
    height: int,
    rows: tuple[int, int] | None = None,
    max_points: int = 8_000,
    title: str = "",
) -> Figure:
    """Events as points in x-time and y-time. In the x-time panel the two legs cross once a step: the gait is a braid.

    x, y pixels, t microseconds, p 0 (OFF) or 1 (ON), all [n]; height: pixels of the sensor (y grows downward).
    rows: (first, last) row, half open, kept in the x-time panel and shaded in the other; default the lower third, the legs.
    More than max_points events are thinned to every k-th, and the headline says so.
    """
    x, y, t, p = (check_array(name, values, "n") for name, values in (("x", x), ("y", y), ("t", t), ("p", p)))
    check_lengths(x=len(x), y=len(y), t=len(t), p=len(p))
    first, last = rows or (2 * height // 3, height)
    if not 0 <= first < last <= height:
        raise ValueError(f"rows must lie within 0..{height} with the first before the last, got {(first, last)}")
    keep = -(-len(t) // max_points)
    x, y, p, milliseconds = x[::keep], y[::keep], p[::keep], (t[::keep] - t[0]) / 1000
    heading = title or "Events in space and time"
    figure, axes = new_figure(1, 2, height=3.4, title=heading + (f" (1 event in {keep} shown)" if keep > 1 else ""), sharex=True)
    legs = (y >= first) & (y < last)
    dots = {"s": 2.5, "linewidths": 0, "alpha": 0.7}
    for channel, label, colour, _ in POLARITIES:
        kind = p == channel
        axes[0, 0].scatter(milliseconds[kind & legs], x[kind & legs], color=colour, label=label, **dots)
        axes[0, 1].scatter(milliseconds[kind], y[kind], color=colour, label=label, **dots)
    axes[0, 1].axhspan(first, last, color="#000000", alpha=0.06, linewidth=0)
    axes[0, 0].set(xlabel="time (ms)", ylabel="x (pixels)", title=f"x over time, rows {first} to {last - 1}")
    axes[0, 1].set(xlabel="time (ms)", ylabel="y (pixels, downward)", title="y over time (shaded: the rows on the left)", ylim=(height, 0))
    headline_legend(figure, *axes[0, 1].get_legend_handles_labels(), markerscale=4, handletextpad=0.1)
    return figure


def simulated_vs_real(records: Sequence[dict], *, title: str = "Simulated and real events side by side") -> Figure:
    """Pictures above, event rates below, one column per record; rates relative to their own mean, so that only the shape compares.

    records: list of dicts with title (str), kind ("simulated" or "real"), frame [2, H, W] event counts, counts [n, 2] events per bin
    (column 0 OFF, 1 ON) and bin_seconds (width of a bin, seconds). Each column's title gives the mean rate and the share of ON events.
    """
    if len(records) == 0:
        raise ValueError("records is empty: there is nothing to compare")
    for record in records:
        missing = [key for key in ("title", "kind", "frame", "counts", "bin_seconds") if key not in record]
        if missing or record["kind"] not in ("simulated", "real"):
            raise ValueError(f"a record needs title, kind ('simulated' or 'real'), frame, counts, bin_seconds; got {sorted(record)}")
    figure, axes = new_figure(2, len(records), height=4.6, title=title, height_ratios=(2, 1), width=max(4.5, min(9, 2.2 * len(records))))
    for (top, bottom), record in zip(axes.T, records, strict=True):
        counts = check_array(f"counts of {record['title']!r}", record["counts"], "n 2", low=0)
        seconds, total = len(counts) * record["bin_seconds"], max(counts.sum(), 1)
        image = event_image(record["frame"])
        image_axes(top)
        top.imshow(image, extent=(0, image.shape[1] / image.shape[0], 0, 1))  # one height for all sensors
        share = 100 * counts[:, 1].sum() / total
        top.set_title(
            f"{record['kind']}: {record['title']}\n{EngFormatter(sep=' ', places=0)(total / seconds)} events/s, {share:.0f} % ON",
            fontsize=8.5,
        )
        times = (np.arange(len(counts)) + 0.5) * record["bin_seconds"]
        for channel, label, colour, line in POLARITIES:
            bottom.plot(times, counts[:, channel] / (total / (2 * len(counts))), color=colour, linestyle=line, linewidth=1.3, label=label)
        bottom.set(xlabel="time (s)", ylabel="rate / mean")
    for ax in axes[1, 1:]:
        ax.sharey(axes[1, 0])
        ax.tick_params(labelleft=False)
        ax.set_ylabel("")
    highest = max(line.get_ydata().max() for ax in axes[1] for line in ax.lines)
    axes[1, 0].set_ylim(0, 1.05 * highest or 1)
    polarity_legend(figure)
    return figure


def rate_histogram(rates: Mapping[str, ArrayLike], *, title: str = "Events per second, by camera") -> Figure:
    """Histogram of tracklets over their mean event rate (log axis), one outline per camera, dashed line at each median.

    rates: dict camera name -> [n] mean events per second of its tracklets. Silent tracklets (rate 0) have no place on a log axis: the
    legend counts them.
    """
    check_named("rates", rates)
    values = {name: check_array(f"rates of {name!r}", rate, "n", low=0) for name, rate in rates.items()}
    positive = np.concatenate([rate[rate > 0] for rate in values.values()])
    if positive.size == 0:
        raise ValueError("every rate is 0: all tracklets are silent, was the event threshold too high?")
    low, high = positive.min(), positive.max()
    bins = np.geomspace(low * 0.95, high * 1.05, 25)
    figure, axes = new_figure(height=3.2, title=title)
    ax = axes[0, 0]
    for i, (name, rate) in enumerate(values.items()):
        colour, busy = PALETTE[i % len(PALETTE)], rate[rate > 0]
        silent = f", {len(rate) - len(busy)} silent" if len(busy) < len(rate) else ""
        ax.hist(
            busy,
            bins=bins,
            histtype="stepfilled",
            facecolor=(*to_rgb(colour), 0.2),
            edgecolor=colour,
            linewidth=1.6,
            label=f"{name} (n = {len(rate)}{silent})",
        )
        if len(busy):
            ax.axvline(np.median(busy), color=colour, linestyle="--", linewidth=1.2)
    ax.set(xscale="log", xlabel="mean event rate of a tracklet (events per second; dashed: median)", ylabel="tracklets")
    log_ticks(ax.xaxis, EngFormatter(sep=" "))
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return figure


def polarity_balance(on_fractions: Mapping[str, ArrayLike], *, title: str = "Share of ON events, by camera") -> Figure:
    """One dot per tracklet, a bar at each camera's mean, a dashed line at balance (0.5).

    on_fractions: dict camera name -> [n] ON events / all events, 0..1; NaN marks a silent tracklet, which the row's label counts.
    """
    check_named("on_fractions", on_fractions)
    figure, axes = new_figure(height=0.95 + 0.5 * len(on_fractions), title=title)
    ax, labels = axes[0, 0], []
    for row, (name, values) in enumerate(on_fractions.items()):
        values = check_array(f"on_fractions of {name!r}", values, "n", finite=False, low=0, high=1)
        known = values[~np.isnan(values)]
        jitter = 0.22 * (np.modf(np.arange(len(known)) * 0.618034)[0] * 2 - 1)  # golden-ratio spread: even and the same every time
        ax.scatter(
            known, row + jitter, s=16, color=PALETTE[row % len(PALETTE)], marker=MARKERS[row % len(MARKERS)], alpha=0.6, linewidths=0
        )
        if len(known):
            ax.plot([known.mean()] * 2, [row - 0.36, row + 0.36], color="black", linewidth=2, label="mean" if row == 0 else None)
        silent = f", {len(values) - len(known)} silent" if len(known) < len(values) else ""
        labels.append(f"{name}\n(n = {len(values)}{silent})")
    ax.axvline(0.5, color=GREY, linestyle="--", linewidth=1.2, label="balance")
    ax.set(
        yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.45, -0.55), xlabel="ON events / all events", ylabel="camera"
    )
    ax.grid(axis="y", visible=False)
    headline_legend(figure, *ax.get_legend_handles_labels())
    return figure


def events_over_frame(frame: ArrayLike, event_frame: ArrayLike, *, title: str = "Events over the video frame") -> Figure:
    """Video, events, and the events laid over the video, to judge whether they lie on the moving outlines.

    frame: [h, w] or [h, w, 3], uint8 or float 0..1. event_frame: [2, H, W]; another resolution is stretched to the frame's area.
    """
    video, events = as_image("frame", frame), event_image(event_frame)
    height, width = video.shape[:2]
    figure, axes = new_figure(1, 3, width=max(5.5, min(WIDTH, 9.6 * width / height)), height=3.9, title=title, layout="compressed")
    extent = (0, width, height, 0)
    for ax, text, layers in zip(axes[0], ("video", "events", "both"), ((video,), (events,), over_frame(video, events)), strict=True):
        image_axes(ax)
        ax.set_title(text)
        for layer in layers:
            ax.imshow(layer, extent=extent)
    polarity_legend(figure)
    return fit_pictures(figure)


def over_frame(video: np.ndarray, events: np.ndarray, opacity: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """(lightened grey backdrop [h, w, 3], overlay [H, W, 4]) of a picture [h, w, 3] and an `event_image` [H, W, 3], to be drawn one on
    the other. opacity: of a pixel at full colour; above 1, weaker ones cover the video too."""
    strength = 1 - events.min(axis=2, keepdims=True)  # [H, W, 1] ink
    colour = 1 - (1 - events) / np.maximum(strength, 1e-9)  # the pure ink, so that pale counts do not whiten the video
    overlay = np.concatenate([np.clip(colour, 0, 1), np.clip(strength * opacity, 0, 1)], axis=2)  # [H, W, 4]
    grey = np.asarray(video, dtype=np.float64).mean(axis=2) / (255 if video.dtype == np.uint8 else 1)
    return np.repeat(0.35 + 0.6 * grey[..., None], 3, axis=2), overlay  # lightened, so that both inks show
