"""Figures of embedding spaces: two-dimensional projections by identity and by camera."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from .style import GREY, MARKERS, PALE, PALETTE, WIDTH, check_array, check_lengths, check_named, new_figure


def identity_colours(count: int) -> list[tuple[float, float, float]]:
    """`count` colours: six hues of the palette, then the same darkened and lightened; repeated after 18 (labels tell them apart)."""
    hues = [np.array(to_rgb(colour)) for colour in PALETTE[:6]]
    shades = [*hues, *(0.55 * hue for hue in hues), *(0.55 * hue + 0.45 for hue in hues)]
    return [tuple(shades[i % len(shades)]) for i in range(count)]


def scatter_2d(
    projections, identities, cameras, *, trustworthiness=None, strong: int = 20, title: str = "Embeddings in two dimensions"
) -> Figure:
    """One column per projection; upper row coloured by identity, lower row by camera. Markers are cameras in both.

    projections: dict name ("t-SNE", "UMAP") -> points [N, 2]. identities, cameras: [N] integers (camera -1: unknown). trustworthiness: dict
    name -> number 0..1, printed in the panel's title: only it, never coordinates or the size of gaps, says how far to believe the picture.
    strong: so many identities (the first in sorted order) have a colour and their number at their median point; the others are grey.
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
    axes[1, 0].legend(loc="best")
    rest = len(np.unique(identities)) - len(shown)
    handles = [Line2D([], [], linestyle="", marker="o", color=PALE, label=f"{rest} other identities")] if rest else []
    handles += [Line2D([], [], linestyle="", marker=_marker(i), color=GREY, label=_camera(c)) for i, c in enumerate(np.unique(cameras))]
    axes[0, 0].legend(handles=handles, loc="best")
    return figure


def _marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def _camera(camera: int) -> str:
    return "camera unknown" if camera < 0 else f"camera {camera}"


def _by_identity(ax, points: np.ndarray, identities: np.ndarray, cameras: np.ndarray, shown: np.ndarray) -> None:
    """The identities not shown in grey below, the shown ones in colour with their number."""
    for i, camera in enumerate(np.unique(cameras)):
        rest = (cameras == camera) & ~np.isin(identities, shown)
        ax.scatter(*points[rest].T, color=PALE, marker=_marker(i), s=14, linewidths=0)
    for colour, person in zip(identity_colours(len(shown)), shown, strict=True):
        for i, camera in enumerate(np.unique(cameras)):
            here = (cameras == camera) & (identities == person)
            ax.scatter(*points[here].T, color=[colour], marker=_marker(i), s=24, linewidths=0.4, edgecolors="white")
    for colour, person in zip(identity_colours(len(shown)), shown, strict=True):
        place = np.median(points[identities == person], axis=0)
        outline = [withStroke(linewidth=2.5, foreground="white")]
        ax.text(
            *place,
            str(person),
            color=tuple(0.7 * np.array(colour)),
            weight="bold",
            ha="center",
            va="center",
            fontsize=8,
            path_effects=outline,
        )


def _by_camera(ax, points: np.ndarray, cameras: np.ndarray) -> None:
    """Cameras by colour and marker: clusters of one camera would mean that the model sees the camera, not the person."""
    for i, camera in enumerate(np.unique(cameras)):
        colour = PALETTE[i % len(PALETTE)]
        ax.scatter(*points[cameras == camera].T, color=colour, marker=_marker(i), s=20, alpha=0.75, linewidths=0, label=_camera(camera))
