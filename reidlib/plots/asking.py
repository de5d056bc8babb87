"""Figures of verification: scores of pairs, error tradeoff, reliability of probabilities, verdicts with pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .ranking import side_by_side
from .style import (
    GREEN,
    GREY,
    MARKERS,
    PALETTE,
    RIGHT_COLOUR,
    VERMILION,
    WIDTH,
    WRONG_COLOUR,
    check_array,
    check_columns,
    check_lengths,
    check_named,
    fit_pictures,
    headline_legend,
    image_axes,
    log_ticks,
    new_figure,
)


def score_distributions(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], threshold: float, *, title: str = "Similarity of pairs across cameras"
) -> Figure:
    """One panel per part: densities of the cosine similarity of pairs of one person (green, solid) and of different people (red-orange,
    dashed), and the threshold, from which on a pair is called the same person; the panel's title says how often that is wrong.

    parts: dict part ("validation", "test") -> (scores of one person [n], of different people [m])."""
    check_named("parts", parts)
    every = [check_array(f"scores of {name!r}", scores, "n") for name, pair in parts.items() for scores in pair]
    bins = np.linspace(min(map(np.min, every)), max(map(np.max, every)) + 1e-9, 41)
    figure, axes = new_figure(1, len(parts), height=3.3, title=title, sharex=True)
    for ax, (name, (right, wrong)) in zip(axes[0], parts.items(), strict=True):
        for scores, text, colour, line in ((wrong, "different people", VERMILION, "--"), (right, "one person", GREEN, "-")):
            ax.hist(scores, bins=bins, density=True, histtype="stepfilled", color=colour, alpha=0.25, linewidth=0)
            ax.hist(scores, bins=bins, density=True, histtype="step", color=colour, linestyle=line, linewidth=1.6, label=text)
        ax.axvline(threshold, color=GREY, linewidth=1.5, linestyle=":", label=f"threshold {threshold:.3f}")
        missed, matched = 100 * np.mean(np.asarray(right) < threshold), 100 * np.mean(np.asarray(wrong) >= threshold)
        ax.set(xlabel="cosine similarity (no unit)", ylabel="density" if ax is axes[0, 0] else "")
        ax.set_title(f"{name}: {matched:.1f} % false matches ({len(wrong):,}),\n{missed:.1f} % false non-matches ({len(right):,})")
    headline_legend(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


def error_tradeoff(
    curves: Mapping[str, pd.DataFrame], points: Mapping[str, tuple[float, float]] | None = None, *, title: str = "Detection error tradeoff"
) -> Figure:
    """False non-match rate against false match rate (log axis), in percent, one curve with a 95 % band per part.

    curves: dict part -> table with the columns "false match", "false non-match", "low", "high", fractions (`detection_curve`).
    points: dict part -> (false match, false non-match), fractions: where the threshold in use stands; a rate of 0 is drawn at the left
    border. The dotted line joins equal errors."""
    check_named("curves", curves)
    figure, axes = new_figure(height=3.9, width=6.4, title=title)
    ax = axes[0, 0]
    least = 100.0
    for i, (name, table) in enumerate(curves.items()):
        check_columns(f"curve of {name!r}", table, ("false match", "false non-match", "low", "high"))
        columns = ("false match", "false non-match", "low", "high")
        x, y, low, high = (100 * check_array(f"{column} of {name!r}", table[column], "K", low=0, high=1) for column in columns)
        shown = x > 0
        least = min(least, float(x[shown].min(initial=100)))
        ax.fill_between(x[shown], low[shown], high[shown], color=PALETTE[i], alpha=0.15, linewidth=0)
        ax.plot(x[shown], y[shown], color=PALETTE[i], linestyle=("-", "--", "-.")[i % 3], label=name)
    for i, name in enumerate(curves):
        if points and name in points:
            used_x, used_y = (100 * float(value) for value in points[name])
            ax.plot(
                max(used_x, least),
                used_y,
                MARKERS[i],
                color=PALETTE[i],
                markersize=8,
                markeredgecolor="white",
                label=f"{name}, at the threshold",
            )
    equal = np.geomspace(least, 100, 50)
    ax.plot(equal, equal, ":", color=GREY, linewidth=1.2, label="equal errors")
    ax.set(xscale="log", xlim=(least * 0.95, 105), ylim=(-2, 102), xlabel="false match rate (%)", ylabel="false non-match rate (%)")
    log_ticks(ax.xaxis)
    ax.legend(loc="lower left")
    return figure


def reliability(tables: Mapping[str, pd.DataFrame], *, title: str = "Calibrated probability of one person") -> Figure:
    """Observed share of pairs of one person against the predicted probability, in percent, with 95 % intervals; on the diagonal a
    probability means what it says.

    tables: dict part -> table with the columns "predicted", "observed", "low", "high", fractions, and "pairs" (`reliability`)."""
    check_named("tables", tables)
    figure, axes = new_figure(height=4.0, width=5.2, title=title)
    ax = axes[0, 0]
    ax.plot([0, 100], [0, 100], ":", color=GREY, linewidth=1.2, label="as predicted")
    for i, (name, table) in enumerate(tables.items()):
        columns = ("low", "observed", "high", "predicted", "pairs")
        check_columns(f"reliability of {name!r}", table, columns)
        low, observed, high, predicted = (100 * check_array(c, table[c], "n", low=0, high=1) for c in columns[:4])
        spread = np.maximum([observed - low, high - observed], 0)
        ax.errorbar(
            predicted, observed, spread, fmt=MARKERS[i], linestyle="-", color=PALETTE[i], linewidth=1.3, elinewidth=1, capsize=2, label=name
        )
    percent = FuncFormatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_major_formatter(percent)
    ax.set(xlim=(-3, 103), ylim=(-3, 103), xlabel="predicted probability (%)", ylabel="pairs of one person (%)", aspect="equal")
    ax.legend(loc="upper left")
    return figure


def verdicts(rows: Sequence[dict], *, title: str = "Are these two the same person?") -> Figure:
    """Pairs of tracklets side by side, one pair per column, with what the model says of them; a right answer in a solid green frame with a
    tick, a wrong one in a dashed red-orange frame with a cross.

    rows: list of dicts with a, b (images as in `ranked_lists`), rule, people (two ids), score, probability (NaN: not known), same (bool;
    None: no threshold, then the frame is grey)."""
    if len(rows) == 0:
        raise ValueError("rows is empty: no pair to show")
    pictures = [[side_by_side(f"picture {side}", row[side]) for side in "ab"] for row in rows]
    aspect = max(picture.shape[0] / picture.shape[1] for pair in pictures for picture in pair)
    cell = min(WIDTH / (2 * len(rows)), 2.2 / aspect)
    figure, axes = new_figure(
        1, 2 * len(rows), width=max(5.0, 2 * cell * len(rows)), height=1.1 + cell * aspect, title=title, layout="compressed"
    )
    for i, (row, pair) in enumerate(zip(rows, pictures, strict=True)):
        check_lengths(people=len(row["people"]), pictures=2)
        truth = row["people"][0] == row["people"][1]
        right = None if row["same"] is None else bool(row["same"]) == truth
        colour = GREY if right is None else RIGHT_COLOUR if right else WRONG_COLOUR
        for ax, picture, person in zip(axes[0, 2 * i : 2 * i + 2], pair, row["people"], strict=True):
            ax.imshow(picture)
            image_axes(ax)
            ax.set_xlabel(f"person {person}", fontsize=8, labelpad=3)
            for spine in ax.spines.values():
                spine.set(color=colour, linewidth=2.2, linestyle="--" if right is False else "-")
        axes[0, 2 * i].set_title(_answer(row, right), fontsize=8.5, color="black")
    return fit_pictures(figure)


def _answer(row: dict, right: bool | None) -> str:
    said = "" if right is None else f"{'✓' if right else '✗'} says {'same' if row['same'] else 'different'}"
    chance = "" if np.isnan(row["probability"]) else f", {100 * row['probability']:.0f} %"
    return f"{row['rule']}\n{said}{chance}\nsimilarity {row['score']:.3f}"
