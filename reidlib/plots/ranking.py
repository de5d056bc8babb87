"""Figures of retrieval: ranked lists, CMC curves, distances of matching and other pairs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .events import as_image
from .style import (
    GREEN,
    GREY,
    RIGHT_COLOUR,
    VERMILION,
    WIDTH,
    WRONG_COLOUR,
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

RIGHT, WRONG = "✓", "✗"


def ranked_lists(rows: Sequence[dict], *, title: str = "Ranked lists (✓ same person, ✗ another)") -> Figure:
    """One row per query: the query, then its gallery from rank 1; right matches in a solid green frame with a tick, wrong ones in a dashed
    red-orange frame with a cross.

    rows: list of dicts with query (image), query_id, gallery (list of K images), correct (K bools), ids (K), distances (K), K the same in
    all rows. Images: [H, W], [H, W, 3] (uint8 or float 0..1) or event frames [2, H, W], or a tuple of such pictures of one size, drawn
    side by side (a video frame and its events).
    """
    if len(rows) == 0:
        raise ValueError("rows is empty: no query to show")
    for row in rows:
        missing = [key for key in ("query", "query_id", "gallery", "correct", "ids", "distances") if key not in row]
        if missing:
            raise ValueError(f"a row of ranked_lists lacks {missing}; it has {sorted(row)}")
        check_lengths(
            first_row=len(rows[0]["gallery"]),
            gallery=len(row["gallery"]),
            correct=len(row["correct"]),
            ids=len(row["ids"]),
            distances=len(row["distances"]),
        )
    columns = len(rows[0]["gallery"]) + 1
    if columns == 1:
        raise ValueError("gallery is empty: no ranked image to show")
    first = side_by_side("query", rows[0]["query"])
    aspect = first.shape[0] / first.shape[1]
    cell = min(WIDTH / columns, 1.7 / aspect)
    height = 0.5 + len(rows) * (cell * aspect + 0.5)
    figure, axes = new_figure(len(rows), columns, width=max(4.5, cell * columns), height=height, title=title, layout="compressed")
    for line, row in zip(axes, rows, strict=True):
        line[0].imshow(side_by_side("query", row["query"]))
        image_axes(line[0])
        line[0].set_title("query", fontsize=9, weight="bold")
        line[0].set_xlabel(row["query_id"], fontsize=7.5, labelpad=3)
        for rank, ax in enumerate(line[1:]):
            ax.imshow(side_by_side(f"gallery image {rank}", row["gallery"][rank]))
            _frame(ax, rank + 1, row["ids"][rank], row["distances"][rank], bool(row["correct"][rank]))
    return fit_pictures(figure)


def side_by_side(name: str, pictures: np.ndarray | tuple[np.ndarray, ...]) -> np.ndarray:
    """One picture as `as_image` gives it; a tuple of pictures of one height beside each other, RGB floats 0..1 with a thin grey line
    between."""
    if not isinstance(pictures, tuple):
        return as_image(name, pictures)
    images = [as_image(name, picture) for picture in pictures]
    images = [image / 255 if image.dtype == np.uint8 else image for image in images]
    check_lengths(**{f"height_{i}": image.shape[0] for i, image in enumerate(images)})
    line = np.full((images[0].shape[0], 1, 3), 0.6)
    return np.concatenate([part for image in images for part in (line, image)][1:], axis=1)


def _frame(ax: Axes, rank: int, person: object, distance: float, right: bool) -> None:
    """Frames one gallery image and writes rank, verdict, person and distance."""
    image_axes(ax)
    colour = RIGHT_COLOUR if right else WRONG_COLOUR
    for spine in ax.spines.values():
        spine.set(color=colour, linewidth=2.6, linestyle="-" if right else (0, (3, 1.5)))
    ax.set_title(f"{rank} {RIGHT if right else WRONG}", color=colour, fontsize=9, weight="bold")
    ax.set_xlabel(f"{person}\nd = {distance:.2f}", fontsize=7.5, labelpad=3)


def cmc_curves(
    curves: Mapping[str, np.ndarray],
    *,
    max_rank: int = 20,
    intervals: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    title: str = "Cumulative match characteristic",
) -> Figure:
    """Share of queries with a right match among the first k, for k = 1..max_rank; the legend gives Rank-1.

    curves: dict method -> [K] fractions 0..1, entry k - 1 for rank k, as `Ranking.cmc`. intervals: dict method -> (low [K], high [K]),
    fractions, drawn as a band.
    """
    check_named("curves", curves)
    figure, axes = new_figure(height=3.6, title=title)
    ax = axes[0, 0]
    for name, (colour, marker) in method_styles(curves).items():
        cmc = 100 * check_array(f"curve of {name!r}", curves[name], "K", low=0, high=1)[:max_rank]
        ranks = np.arange(1, len(cmc) + 1)
        if intervals and name in intervals:
            low, high = (100 * check_array(f"interval of {name!r}", edge, "K", low=0, high=1)[:max_rank] for edge in intervals[name])
            check_lengths(curve=len(cmc), low=len(low), high=len(high))
            ax.fill_between(ranks, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(
            ranks, cmc, color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=f"{method_label(name)}: Rank-1 {cmc[0]:.1f} %"
        )
    ax.set(xlabel="rank k", ylabel="queries matched within rank k (%)", ylim=(0, 103))
    longest = min(max_rank, max(len(curve) for curve in curves.values()))
    every = 1 if longest <= 10 else 5 if longest <= 50 else 10
    ax.set_xticks(sorted({1, *range(every, longest + 1, every)}))
    if len(curves) > 4:  # a legend inside would lie on the curves
        headline_legend(figure, *ax.get_legend_handles_labels())
    else:
        ax.legend(loc="lower right")
    return figure


def distance_histogram(
    positive: ArrayLike, negative: ArrayLike, *, threshold: float | None = None, title: str = "Distances of pairs"
) -> Figure:
    """Densities of the distances between clips of one person (positive [n]) and of different people (negative [m]).

    threshold: distance at or below which two clips are called the same person; drawn with the share of either kind that it accepts.
    """
    positive, negative = check_array("positive", positive, "n"), check_array("negative", negative, "m")
    bins = np.linspace(min(positive.min(), negative.min()), max(positive.max(), negative.max()) + 1e-9, 51)
    figure, axes = new_figure(height=3.2, title=title)
    ax = axes[0, 0]
    kinds = ((negative, "different people", VERMILION, "--"), (positive, "same person", GREEN, "-"))
    for values, text, colour, line in kinds:
        label = f"{text} (n = {len(values):,})"
        ax.hist(values, bins=bins, density=True, histtype="stepfilled", color=colour, alpha=0.25, linewidth=0)
        ax.hist(values, bins=bins, density=True, histtype="step", color=colour, linestyle=line, linewidth=1.6, label=label)
    if threshold is not None:
        accepted = [100 * np.mean(values <= threshold) for values, *_ in kinds]
        text = f"threshold {threshold:.3g}: accepts {accepted[1]:.0f} % of same,\n{accepted[0]:.1f} % of different"
        ax.axvline(threshold, color=GREY, linewidth=1.5, linestyle=":", label=text)
    ax.set(xlabel="distance (no unit)", ylabel="density")
    ax.legend()
    return figure
