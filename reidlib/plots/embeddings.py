"""Figures of embedding spaces: two-dimensional projections by identity and by camera, similarities of pairs."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from .style import (
    GREEN,
    GREY,
    MARKERS,
    PALE,
    PALETTE,
    VERMILION,
    WIDTH,
    check_array,
    check_lengths,
    check_named,
    headline_legend,
    method_label,
    new_figure,
)


def identity_colours(count: int) -> list[tuple[float, float, float]]:
    """`count` colours: six hues of the palette, then the same darkened and lightened; repeated after 18 (labels tell them apart)."""
    hues = [np.array(to_rgb(colour)) for colour in PALETTE[:6]]
    shades = [*hues, *(0.55 * hue for hue in hues), *(0.55 * hue + 0.45 for hue in hues)]
    return [tuple(shades[i % len(shades)]) for i in range(count)]


def scatter_2d(
    projections: Mapping[str, ArrayLike],
    identities: ArrayLike,
    cameras: ArrayLike,
    *,
    trustworthiness: Mapping[str, float] | None = None,
    strong: int = 20,
    title: str = "Embeddings in two dimensions",
) -> Figure:
    """One column per projection; upper row coloured by identity, lower row by camera. Markers are cameras in both.

    projections: dict name ("t-SNE", "UMAP") -> points [N, 2]. identities, cameras: [N] integers (camera -1: unknown). trustworthiness: dict
    name -> number 0..1, printed in the panel's title: only it, never coordinates or the size of gaps, says how far to believe the picture.
    strong: so many identities (the first in sorted order) have a colour and, at their most central tracklet, their number; others are grey.
    """
    check_named("projections", projections)
    identities, cameras = check_array("identities", identities, "N"), check_array("cameras", cameras, "N")
    shown = np.unique(identities)[:strong]
    figure, axes = new_figure(2, len(projections), width=max(4.8, min(WIDTH, 4.25 * len(projections))), height=7.4, title=title)
    for (upper, lower), (name, points) in zip(axes.T, projections.items(), strict=True):
        points = check_array(f"points of {name!r}", points, "N 2")
        check_lengths(points=len(points), identities=len(identities), cameras=len(cameras))
        trust = f" (trustworthiness {trustworthiness[name]:.3f})" if trustworthiness and name in trustworthiness else ""
        _by_identity(upper, points, identities, cameras, shown)
        upper.set_title(f"{name}, by identity{trust}")
        _by_camera(lower, points, cameras)
        lower.set_title(f"{name}, by camera{trust}")
        for ax in (upper, lower):
            ax.set(xlabel=f"{name} 1 (no unit)", ylabel=f"{name} 2 (no unit)", xticks=[], yticks=[])
    below = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.07), "handletextpad": 0.1, "columnspacing": 1.2}
    axes[1, 0].legend(ncols=4, **below)
    rest = len(np.unique(identities)) - len(shown)
    handles = [Line2D([], [], linestyle="", marker="o", color=PALE, label=f"{rest} other identities")] if rest else []
    handles += [Line2D([], [], linestyle="", marker=_marker(i), color=GREY, label=_camera(c)) for i, c in enumerate(np.unique(cameras))]
    axes[0, 0].legend(handles=handles, ncols=4, **below)
    return figure


def projection_rows(
    systems: Mapping[str, Mapping[str, ArrayLike]],
    identities: ArrayLike,
    cameras: ArrayLike,
    *,
    trustworthiness: Mapping[str, Mapping[str, float]] | None = None,
    strong: int = 12,
    title: str = "The same tracklets in several embeddings",
) -> Figure:
    """One row per system; per projection one panel by identity and one by camera. For a glance at several; `scatter_2d` has the numbers
    of the people.

    systems: dict system -> dict projection name -> points [N, 2], the same projections for each. trustworthiness: dict system -> dict
    projection name -> number 0..1. identities, cameras, strong: as in `scatter_2d`.
    """
    check_named("systems", systems)
    identities, cameras = check_array("identities", identities, "N"), check_array("cameras", cameras, "N")
    names = list(check_named("projections", next(iter(systems.values()))))
    shown = np.unique(identities)[:strong]
    width, height = max(4.8, min(WIDTH, 4.25 * len(names))), 0.6 + 2.3 * len(systems)
    figure, axes = new_figure(len(systems), 2 * len(names), width=width, height=height, title=title)
    for line, (system, projections) in zip(axes, systems.items(), strict=True):
        for i, name in enumerate(names):
            points = check_array(f"{name} of {system!r}", projections[name], "N 2")
            check_lengths(points=len(points), identities=len(identities), cameras=len(cameras))
            by_identity, by_camera = line[2 * i : 2 * i + 2]
            _by_identity(by_identity, points, identities, cameras, shown, size=12, numbers=False)
            _by_camera(by_camera, points, cameras, size=10)
            trust = f"trust {trustworthiness[system][name]:.3f}" if trustworthiness else ""
            by_identity.set_title(f"{name}, by identity", fontsize=9)
            by_camera.set_title(f"by camera{f' ({trust})' if trust else ''}", fontsize=9)
        line[0].set_ylabel(method_label(system), weight="bold")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    headline_legend(figure, *axes[0, 1].get_legend_handles_labels(), handletextpad=0.1)
    return figure


def pair_similarity(systems: Mapping[str, Mapping[str, np.ndarray]], *, title: str = "Cosine similarity of pairs of tracklets") -> Figure:
    """One panel per system, one line per kind of pair: the distribution as a violin (from 20 pairs on), the quartiles as a box, the range
    from the 5th to the 95th percentile as whiskers. Green: the same person, red-orange: another one.

    systems: dict system -> dict kind -> similarities [n]; a kind that begins with "same person" is a right pair. The similarities of two
    systems have no common scale: compare the kinds within a panel.
    """
    check_named("systems", systems)
    kinds = list(dict.fromkeys(kind for name, by_kind in systems.items() for kind in check_named(f"pairs of {name!r}", by_kind)))
    figure, axes = new_figure(1, len(systems), height=1.15 + 0.45 * len(kinds), title=title, sharey=True)
    for ax, (name, by_kind) in zip(axes[0], systems.items(), strict=True):
        for place, kind in enumerate(kinds):
            if kind in by_kind:
                values = check_array(f"{kind!r} of {name!r}", by_kind[kind], "n")
                _violin(ax, values, place, GREEN if kind.startswith("same person") else VERMILION)
        counts = next(iter(systems.values()))
        labels = [f"{kind.replace(', ', chr(10))}\n(n = {len(counts[kind]):,})" if kind in counts else kind for kind in kinds]
        ax.set(
            yticks=range(len(kinds)),
            yticklabels=labels,
            ylim=(len(kinds) - 0.4, -0.6),
            xlabel="cosine similarity",
            title=method_label(name),
        )
        ax.grid(axis="y", visible=False)
    return figure


def _violin(ax: Axes, values: np.ndarray, place: int, colour: str) -> None:
    if len(np.unique(values)) >= 20:
        parts = ax.violinplot(values, positions=[place], orientation="horizontal", widths=0.8, showextrema=False)
        body = parts["bodies"][0]  # type: ignore[index]  # the stubs know no list among the parts
        body.set(facecolor=colour, alpha=0.3, linewidth=0)
    else:
        ax.scatter(values, np.full(len(values), place), color=colour, s=12, alpha=0.5, linewidths=0)
    line = {"color": colour, "linewidth": 1.3}
    ax.boxplot(
        values,
        positions=[place],
        orientation="horizontal",
        widths=0.3,
        whis=(5, 95),
        showfliers=False,
        manage_ticks=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": "black", "linewidth": 1.6},
    )


def _marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def _camera(camera: int) -> str:
    return "camera unknown" if camera < 0 else f"camera {camera}"


def _by_identity(
    ax: Axes,
    points: np.ndarray,
    identities: np.ndarray,
    cameras: np.ndarray,
    shown: np.ndarray,
    size: float = 24,
    numbers: bool = True,
) -> None:
    """The identities not shown in grey below, the shown ones in colour, with their number where wanted."""
    for i, camera in enumerate(np.unique(cameras)):
        rest = (cameras == camera) & ~np.isin(identities, shown)
        ax.scatter(points[rest, 0], points[rest, 1], color=PALE, marker=_marker(i), s=0.6 * size, linewidths=0)
    for colour, person in zip(identity_colours(len(shown)), shown, strict=True):
        for i, camera in enumerate(np.unique(cameras)):
            here = (cameras == camera) & (identities == person)
            ax.scatter(points[here, 0], points[here, 1], color=[colour], marker=_marker(i), s=size, linewidths=0.4, edgecolors="white")
    if not numbers:
        return
    for colour, person in zip(identity_colours(len(shown)), shown, strict=True):
        mine = points[identities == person]
        place = mine[np.linalg.norm(mine - np.median(mine, axis=0), axis=1).argmin()]
        outline = [withStroke(linewidth=2.5, foreground="white")]
        ax.text(
            place[0],
            place[1],
            str(person),
            color=tuple(0.7 * np.array(colour)),
            weight="bold",
            ha="center",
            va="center",
            fontsize=8,
            path_effects=outline,
        )


def _by_camera(ax: Axes, points: np.ndarray, cameras: np.ndarray, size: float = 20) -> None:
    """Cameras by colour and marker: clusters of one camera would mean that the model sees the camera, not the person."""
    for i, camera in enumerate(np.unique(cameras)):
        colour = PALETTE[i % len(PALETTE)]
        x, y = points[cameras == camera].T
        ax.scatter(x, y, color=colour, marker=_marker(i), s=size, alpha=0.75, linewidths=0, label=_camera(camera))
