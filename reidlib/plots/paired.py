"""Frames and events of the same clip, one above the other."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from .events import as_image, event_image, full_scale, over_frame
from .style import BLACK, WIDTH, check_array, check_lengths, fit_pictures, image_axes, new_figure, polarity_legend

ROWS = ("video", "events", "both")
OPACITY = 0.8  # pixels of a clip are large: at full strength nothing of the video would be left


def paired_strip(
    video: Sequence[np.ndarray] | np.ndarray,
    events: ArrayLike,
    *,
    step_ms: float | None = None,
    box: tuple[float, float, float, float] | None = None,
    title: str = "Frames and events of one clip",
    columns: int = 8,
) -> Figure:
    """One column per time step: the video frame, the event frame, and the events laid over the frame.

    video [T, h, w] or [T, h, w, 3], uint8 or float 0..1. events [T, 2, H, W], all steps on one colour scale; another size than the
    video's is stretched to its area. step_ms: milliseconds of a step, for the titles. box: (left, top, right, bottom) in pixels of
    the events, outlined in every picture. Of more than `columns` steps as many are shown, evenly spaced.
    """
    events = check_array("events", events, "T 2 H W", low=0)
    check_lengths(video=len(video), events=len(events))
    T, _, H, W = events.shape
    shown = np.unique(np.linspace(0, T - 1, min(T, columns)).round().astype(int))
    cell = min(WIDTH / len(shown), 1.9 * W / H)
    width, height = max(len(shown) * cell, 5.2), 0.5 + 3 * cell * H / W + 0.4
    figure, axes = new_figure(3, len(shown), width=width, height=height, title=title, layout="compressed")
    limit = full_scale(events)
    for column, t in zip(axes.T, shown, strict=True):
        frame, ink = as_image(f"video frame {t}", video[t]), event_image(events[t], limit)
        for ax, layers in zip(column, ((frame,), (ink,), over_frame(frame, ink, OPACITY)), strict=True):
            image_axes(ax)
            for layer in layers:
                ax.imshow(layer, extent=(0, W, H, 0))
            if box is not None:
                left, top, right, bottom = box
                ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=BLACK, linestyle="--", linewidth=1))
        column[0].set_title(f"step {t + 1}" if step_ms is None else f"{t * step_ms:.0f}–{(t + 1) * step_ms:.0f} ms", fontsize=8.5)
    for ax, text in zip(axes[:, 0], ROWS, strict=True):
        ax.set_ylabel(text, fontsize=8.5)
    polarity_legend(figure)
    return fit_pictures(figure)
