"""Figures: arrays in, matplotlib figures out. Knows nothing of torch, data sets or models.

    from reidlib import plots
    plots.use_style()
    plots.events.event_frame_strip(frames)      # the last line of a cell: the returned Figure shows itself, once

Every function returns a `matplotlib.figure.Figure` that pyplot does not manage (nothing to close, nothing shown twice). It has a headline,
axis labels with units and a legend where there is more than one kind of mark; arrays of a wrong shape are refused with one `ValueError`.
`alt_text(figure)` puts a figure into words for readers who cannot see it.
"""

from . import (
    ablation,
    asking,
    attention,
    efficiency,
    embeddings,
    events,
    inner,
    leaderboard,
    paired,
    ranking,
    recipes,
    robustness,
    style,
    training,
    video,
)
from .style import alt_text, use_style

__all__ = [
    "ablation",
    "alt_text",
    "asking",
    "attention",
    "efficiency",
    "embeddings",
    "events",
    "inner",
    "leaderboard",
    "paired",
    "ranking",
    "recipes",
    "robustness",
    "style",
    "training",
    "use_style",
    "video",
]
