"""One look for every figure: rcParams, colours, the figure frame, and the checks that all plotting functions share."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

Layout = Literal["constrained", "compressed"]

WIDTH = 8.5  # inches: with 110 dpi a figure is about 935 pixels wide, the text column of a report

# Okabe and Ito (2008), "Color Universal Design": eight colours told apart with every common kind of colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")  # fmt: skip
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)  # yellow is left out: too faint for lines on white
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OFF_COLOUR, ON_COLOUR = BLUE, VERMILION
RIGHT_COLOUR, WRONG_COLOUR = GREEN, VERMILION
GREY = "#767676"  # the lightest grey that is still read as text on white
PALE = "#C8C8C8"

# The same method has the same colour and marker in every figure. Methods that are not named here take what is left, in order.
METHODS = {
    "s3ce_net": ("S3CE-Net", VERMILION, "o"),
    "sew_resnet18": ("SEW-ResNet-18", BLUE, "s"),
    "resnet18_events": ("ResNet-18 (ReLU)", GREEN, "^"),
    "ssam": ("+ SSAM", PURPLE, "D"),
    "stfs": ("+ STFS", ORANGE, "v"),
    "sdcl": ("SDCL", SKY, "P"),
    "psta": ("PSTA", PURPLE, "p"),
    "sdcl_events": ("SDCL, events alone", ORANGE, "h"),
    "mean_count": ("mean event count", BLACK, "X"),
}

STYLE: "dict[RcKeyType, object]" = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # ships with matplotlib and holds the ticks and crosses: the same text on every machine
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.minor.pad": 5.0,  # minor labels (2 and 5 on a log axis) on the line of the major ones
    "ytick.minor.pad": 5.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4D4D4D",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "image.interpolation": "nearest",  # a pixel of an event frame is a count, never a blend of neighbours
    "axes.prop_cycle": cycler(color=PALETTE),
}


class ReportFigure(Figure):
    """A Figure that notebooks show without pyplot, as a PNG with its alternative text (nbconvert writes it into the page's `alt`)."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return {"image/png": base64.b64encode(buffer.getvalue()).decode()}, {"image/png": {"alt": alt_text(self)}}


def use_style() -> None:
    """Sets the rcParams of every figure made afterwards (size, fonts, grid, palette). Call once, at the top of a notebook."""
    mpl.rcParams.update(STYLE)


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = WIDTH,
    height: float = 3.2,
    title: str = "",
    layout: Layout = "constrained",
    **options: Any,
) -> tuple[ReportFigure, np.ndarray]:
    """A figure outside pyplot and its axes as an array [rows, columns]. `options` go to `Figure.subplots`.

    layout: "constrained", or "compressed" for grids of pictures, which closes the gaps that a fixed aspect leaves.
    """
    figure = ReportFigure(figsize=(width, height), layout=layout_engine(layout))
    FigureCanvasAgg(figure)  # text can be measured before the figure is shown
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    if title:
        figure.suptitle(title, x=0.008, ha="left")
    return figure, axes


def layout_engine(layout: Layout, *, below: float = 0.0) -> ConstrainedLayoutEngine:
    """What places the panels of a figure (`layout` as in `new_figure`); below: the share of the figure's height left free at the bottom."""
    compress = {"constrained": False, "compressed": True}[layout]
    return ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.05, rect=(0, below, 1, 1 - below), compress=compress)


def fit_pictures(figure: Figure) -> Figure:
    """Takes the height off that pictures of a fixed aspect leave empty, and returns the figure."""
    figure.draw_without_rendering()
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.axison]
    boxes = [box for ax in shown if (box := ax.get_tightbbox()) is not None]
    boxes += [text.get_window_extent() for text in figure.texts]
    boxes += [legend.get_window_extent() for legend in figure.legends if legend.get_window_extent().y0 < min(box.y0 for box in boxes)]
    height = (max(box.y1 for box in boxes) - min(box.y0 for box in boxes)) / figure.dpi + 0.12
    figure.set_figheight(min(height, figure.get_figheight()))
    return figure


def image_axes(ax: Axes) -> None:
    """Prepares axes for a picture: no ticks, no grid, a thin border so that a white background keeps its edge."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=PALE, linewidth=0.8)


def headline_legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], **options: Any) -> None:
    """One legend for the whole figure in one line: beside the headline where both fit, else below the panels."""
    legend = figure.legend(handles, labels, loc="upper right", ncols=len(handles), borderaxespad=0.2, **options)
    headline = max((text.get_window_extent().x1 for text in figure.texts if text.get_text() == figure.get_suptitle()), default=0)
    if headline > legend.get_window_extent().x0 - 10:
        legend.remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 4), **options)


def polarity_legend(figure: Figure) -> None:
    """The ON / OFF legend of pictures and curves."""
    headline_legend(figure, [Patch(color=ON_COLOUR), Patch(color=OFF_COLOUR)], ["ON (brighter)", "OFF (darker)"], handlelength=1.0)


def trim_labels(axes: np.ndarray, count: int) -> None:
    """In a grid of panels on common axes of which the first `count` are used: hides the rest and all but the outer labels."""
    columns = axes.shape[1]
    for i, ax in enumerate(axes.flat):
        lowest = i + columns >= count
        ax.set_visible(i < count)
        ax.tick_params(labelbottom=lowest)
        if not lowest:
            ax.set_xlabel("")


def log_ticks(axis: Axis, formatter: Formatter | None = None) -> None:
    """Plain numbers (0.5, 20, 3000) on a log axis: at the decades and, where it spans few of them, at 2 and 5 times as well."""
    formatter = formatter or FuncFormatter(lambda value, _: f"{value:g}")
    low, high = axis.get_view_interval()
    axis.set_major_formatter(formatter)
    axis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.set_minor_formatter(formatter if high / low < 300 else NullFormatter())


def method_label(name: str) -> str:
    """The name to print for a method: "s3ce_net" becomes "S3CE-Net"; a name that is not registered is printed as it is."""
    return METHODS[name][0] if name in METHODS else str(name)


def method_styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) per method: fixed for the registered ones, the palette's free entries in order for the others."""
    names = list(dict.fromkeys(names))
    taken = {METHODS[name][1] for name in names if name in METHODS}
    free = [(colour, marker) for colour, marker in zip(PALETTE, MARKERS, strict=True) if colour not in taken] or [(GREY, "o")]
    others = [name for name in names if name not in METHODS]
    styles = {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: METHODS[name][1:] if name in METHODS else styles[name] for name in names}


def alt_text(figure: Figure) -> str:
    """The figure in words: headline, then each panel's title, its axes and the entries of its legend."""
    parts = [figure.get_suptitle()] if figure.get_suptitle() else []
    for ax in figure.axes:
        words = [ax.get_title("left") or ax.get_title("center") or ax.get_title("right")]
        if ax.get_xlabel() and ax.get_ylabel():
            words.append(f"{ax.get_ylabel()} against {ax.get_xlabel()}")
        legend = ax.get_legend()
        if legend is not None:
            words.append("showing " + ", ".join(text.get_text() for text in legend.get_texts()))
        parts.append(": ".join(word for word in words if word))
    return ". ".join(" ".join(part.split()) for part in parts if part) + "."


def check_array(
    name: str, values: ArrayLike, shape: str, *, finite: bool = True, low: float | None = None, high: float | None = None
) -> np.ndarray:
    """`values` as an array of `shape`, or one ValueError.

    shape: axes separated by blanks, a number where the length is fixed, a letter where it is free (but at least 1): "T 2 H W".
    The same letter twice means the same length. `low`, `high`: inclusive limits of the values.
    """
    array = np.asarray(values)
    wanted = shape.split()
    lengths: dict[str, int] = {}
    fits = array.ndim == len(wanted) and all(
        length == (int(axis) if axis.isdigit() else lengths.setdefault(axis, length)) and length > 0
        for axis, length in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have the shape [{', '.join(wanted)}], every axis at least 1 long; got {list(array.shape)}")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite; did a run diverge?")
    if low is not None and np.nanmin(array) < low:
        raise ValueError(f"{name} must not be below {low}, its smallest value is {np.nanmin(array):g}")
    if high is not None and np.nanmax(array) > high:
        raise ValueError(f"{name} must not be above {high}, its largest value is {np.nanmax(array):g}; is it in per cent?")
    return array


def check_columns(name: str, table: object, columns: Iterable[str]) -> pd.DataFrame:
    """`table` if it is a DataFrame with at least one row and all of `columns`, or one ValueError."""
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"{name} must be a pandas DataFrame, got {type(table).__name__}")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lacks the columns {missing}; it has {list(table.columns)}")
    if len(table) == 0:
        raise ValueError(f"{name} has no rows: there is nothing to draw")
    return table


def check_intervals(name: str, table: pd.DataFrame, columns: tuple[str, str, str], *, low: float | None = None) -> None:
    """One ValueError unless the columns (low end, value, high end) of `table` hold finite numbers in that order, none below `low`."""
    numbers = check_array(f"{name}, columns {list(columns)},", table[list(columns)].to_numpy(float), "rows 3", low=low)
    wrong = (np.diff(numbers, axis=1) < 0).any(axis=1)
    if wrong.any():
        raise ValueError(f"{name}: {' <= '.join(columns)} does not hold for {table['name'][wrong].tolist()}")


def check_positive(name: str, values: np.ndarray) -> None:
    """One ValueError where a value cannot stand on a log axis."""
    if (values <= 0).any():
        raise ValueError(f"{name} must be above 0 for a log axis, the smallest is {values.min():g}")


def check_named(name: str, values: object) -> dict:
    """`values` if it is a mapping with at least one entry, or one ValueError."""
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{name} must be a dict with at least one entry (name -> values), got {type(values).__name__} {values!r:.60}")
    return values


def check_lengths(**lengths: int) -> None:
    """One ValueError unless all the named lengths are equal."""
    if len(set(lengths.values())) > 1:
        raise ValueError("lengths differ: " + ", ".join(f"{name} {length}" for name, length in lengths.items()))
