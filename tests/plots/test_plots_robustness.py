"""Figures of degraded video read back from their axes."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from reidlib.plots import robustness
from reidlib.plots.style import METHODS

KINDS = ("motion_blur", "occlusion", "low_light")
TITLES = {"sdcl": "SDCL (frames + events)", "psta": "PSTA (frames alone)", "sdcl_degraded": "SDCL, degraded training video"}


def scores(rows=("sdcl", "psta"), severities=(1, 3, 5), kinds=KINDS, shuffled=True) -> pd.DataFrame:
    """mAP 80 (sdcl), 70, ... on clean video, and a point less for every severity and every kind before."""
    lines = []
    for place, row in enumerate(rows):
        for number, (kind, severity) in enumerate([("clean", 0), *product(kinds, severities)]):
            mean = 80.0 - 10 * place - severity - number
            lines.append({"row": row, "title": TITLES[row], "kind": kind, "severity": severity, "mean": mean, "shuffled": False})
    if shuffled:
        wrong = {"kind": "clean", "severity": 0, "mean": 41.5, "shuffled": True}
        lines.append({"row": rows[0], "title": f"{TITLES[rows[0]]}, events of others"} | wrong)
    table = pd.DataFrame(lines)
    return table.assign(low=table["mean"] - 2, high=table["mean"] + 3)


def test_curves_start_at_clean_video_and_go_down_one_kind_a_panel():
    table = scores()
    figure = robustness.curves(table, reference=6)
    assert [ax.get_title("left") for ax in figure.axes] == ["motion blur", "occlusion", "low light"]
    assert figure.axes[0].get_ylabel() == "mAP (%)" and all(ax.get_xlabel() == "severity" for ax in figure.axes)
    for kind, ax in zip(KINDS, figure.axes, strict=True):
        assert list(ax.get_xticks()) == [0, 1, 3, 5]
        for row in ("sdcl", "psta"):
            own = table[(table["row"] == row) & ~table["shuffled"] & table["kind"].isin(["clean", kind])]
            (line,) = (line for line in ax.lines if line.get_label() == TITLES[row])
            np.testing.assert_array_equal(line.get_xydata(), own[["severity", "mean"]])
            assert (line.get_color(), line.get_marker()) == METHODS[row][1:]
        bands = [band.get_paths()[0].vertices for band in ax.collections]
        assert len(bands) == 2
        for band, row in zip(bands, ("sdcl", "psta"), strict=True):
            own = table[(table["row"] == row) & ~table["shuffled"] & table["kind"].isin(["clean", kind])]
            assert band[:, 1].min() == own["low"].min() and band[:, 1].max() == own["high"].max()
        assert ax.get_ylim()[0] == 0


def test_the_wrong_events_are_a_dotted_level_of_the_systems_colour_in_every_panel():
    figure = robustness.curves(scores(), reference=6)
    for ax in figure.axes:
        dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
        assert [(list(line.get_ydata()), line.get_color()) for line in dotted] == [([41.5, 41.5], METHODS["sdcl"][1])]
        (chance,) = (line for line in ax.lines if line.get_label() == "chance")
        assert list(chance.get_ydata()) == [6, 6]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        TITLES["sdcl"],
        "SDCL (frames + events), events of others",
        TITLES["psta"],
        "chance",
    ]
    plain = robustness.curves(scores(shuffled=False))
    assert not [line for ax in plain.axes for line in ax.lines if line.get_linestyle() in (":", "--")]


def test_order_of_the_lines_does_not_matter():
    table = scores().sample(frac=1, random_state=0)
    figure = robustness.curves(table)
    assert all(list(line.get_xdata()) == [0, 1, 3, 5] for ax in figure.axes for line in ax.lines if line.get_label() in TITLES.values())


def test_rows_without_a_colour_of_their_own_are_told_apart():
    (ax,) = robustness.curves(scores(("sdcl", "psta", "sdcl_degraded"), kinds=("occlusion",))).axes
    colours = [line.get_color() for line in ax.lines if line.get_linestyle() == "-"]
    assert len(set(colours)) == 3


def test_curves_refuse_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="clean video alone: there is no severity"):
        robustness.curves(scores(kinds=()))
    with pytest.raises(ValueError, match=r"lacks the columns \['shuffled'\]"):
        robustness.curves(scores().drop(columns="shuffled"))
    with pytest.raises(ValueError, match="does not hold for"):
        robustness.curves(scores().assign(low=99.0))
    with pytest.raises(ValueError, match="NaN"):
        robustness.curves(scores().assign(high=np.nan))


def pictures(severities=range(6), shape=(24, 12)) -> dict:
    return {kind: {s: np.full(shape, 40 * place + s, np.uint8) for s in severities} for place, kind in enumerate(KINDS)}


@pytest.mark.parametrize("shape", [(24, 12), (24, 12, 3), (10, 40)])
def test_the_grid_shows_every_picture_in_its_place(shape):
    figure = robustness.degradation_grid(pictures(shape=shape))
    axes = np.reshape(figure.axes, (3, 6))
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["motion blur", "occlusion", "low light"]
    assert [ax.get_title("left") for ax in axes[0]] == ["clean", *(f"severity {s}" for s in range(1, 6))]
    assert not any(ax.get_title("left") for ax in axes[1:].flat)
    for (row, column), ax in np.ndenumerate(axes):
        (image,) = ax.images
        assert (np.asarray(image.get_array()) == 40 * row + column).all()
    assert figure.get_suptitle() == "Degraded video"


def test_the_grid_refuses_ragged_and_empty_pictures():
    ragged = pictures() | {"low_light": {0: np.zeros((24, 12), np.uint8)}}
    with pytest.raises(ValueError, match=r"the same severities, at least one; got .*'low_light': \[0\]"):
        robustness.degradation_grid(ragged)
    for empty in ({}, {"occlusion": {}}):
        with pytest.raises(ValueError, match="at least one"):
            robustness.degradation_grid(empty)
