"""Figures of the inside of SDCL read back from their axes."""

import numpy as np
import pandas as pd
import pytest

from reidlib.plots import inner

rng = np.random.default_rng(0)
FRAME, EVENTS, MAP = rng.random((16, 8, 3)), rng.poisson(0.5, (2, 16, 8)).astype(float), rng.random((4, 2))
CHOSEN = np.array([(5, 3), (5, 4), (4, 3), (6, 3), (5, 2), (4, 4), (8, 3), (5, 7), (12, 3)])


def rows() -> dict:
    return {
        "clean": {"frame": FRAME, "events": EVENTS, "map 1": MAP, "two\nlines here": np.zeros((1, 1))},
        "blur": {"frame": FRAME, "events": 2 * EVENTS, "map 1": 3 * MAP, "two\nlines here": np.zeros((1, 1))},
    }


def test_map_grid_has_one_scale_per_column():
    figure = inner.map_grid(rows(), title="t")
    axes = np.array(figure.axes).reshape(3, 4)
    assert [ax.get_title("left") for ax in axes[0]] == ["frame", "events", "map\n1", "two\nlines here"]
    assert [ax.get_ylabel() for ax in axes[:2, 0]] == ["clean", "blur"]
    for ax, values in zip(axes[:2, 2], (MAP, 3 * MAP), strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), values)
        assert ax.images[0].get_clim() == (0, 3 * MAP.max()) and ax.images[0].get_extent() == [0, 8, 16, 0]
    np.testing.assert_allclose(axes[0, 0].images[0].get_array(), FRAME)
    assert axes[0, 3].images[0].norm(0.0) == 0  # a flat map is dark
    assert [text.get_text() for text in axes[2, 2].get_xticklabels()] == ["0", f"{3 * MAP.max():.2g}"]
    assert (axes[0, 1].images[0].get_array() >= axes[1, 1].images[0].get_array() - 1e-9).all()  # one scale: more events, more ink


def test_map_grid_refuses_rows_that_do_not_match():
    other = rows()
    del other["blur"]["events"]
    with pytest.raises(ValueError, match=r"row 'blur' has the columns \['frame', 'map 1'"):
        inner.map_grid(other)
    with pytest.raises(ValueError, match="at least one entry"):
        inner.map_grid({})
    other = rows()
    other["blur"]["map 1"] = MAP * np.nan
    with pytest.raises(ValueError, match="map 'map 1' holds 8 values that are NaN"):
        inner.map_grid(other)


def activity(layers=("input", "spiking 1", "mapping 1")) -> pd.DataFrame:
    lines = [(layer, measure, 40.0 + i, 38.0 + i, 43.0 + i) for measure in inner.MEASURES for i, layer in enumerate(layers)]
    return pd.DataFrame(lines, columns=["layer", "measure", "mean", "low", "high"])


def test_activity_has_a_line_of_panels_per_network():
    figure = inner.activity_by_depth({"one": activity(), "two": activity(("input", "spiking 1"))})
    assert [ax.get_title("left") for ax in figure.axes] == [
        f"{name}: active {what}" for name in ("one", "two") for what in ("positions", "channels")
    ]
    positions, channels = (ax.containers for ax in figure.axes[:2])
    assert [part.get_label() for part in channels] == ["channels at positions with events"] and len(positions) == 3
    assert [line.get_ydata().tolist() for line in (positions[0][0], channels[0][0])] == [[40, 41, 42]] * 2
    ends = [segment[:, 1].tolist() for segment in positions[0][2][0].get_segments()]
    assert ends == [[38, 43], [39, 44], [40, 45]]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["input", "spiking\n1", "mapping\n1"]
    assert len(figure.legends[0].get_texts()) == 4
    with pytest.raises(ValueError, match="lacks the columns"):
        inner.activity_by_depth({"one": activity().drop(columns="low")})


def test_arrows_lead_from_the_centre_to_the_chosen():
    figure = inner.chosen_events(EVENTS, [("median", (5, 3), CHOSEN, 7), ("edge", (0, 0), CHOSEN - (5, 3), 7)])
    whole, first, second = figure.axes
    assert first.get_title("left") == "A  median: ninth at 7 pixels" and second.get_title("left").startswith("B  edge")
    arrows = [text for text in first.texts if text.arrow_patch is not None]
    assert [text.xy for text in arrows] == [(x, y) for y, x in CHOSEN[1:]] and {text.get_position() for text in arrows} == {(3, 5)}
    assert [text.get_text() for text in first.texts if text.arrow_patch is None] == [str(n) for n in range(2, 10)]
    assert first.get_xlim() == (-5.5, 11.5) and first.get_ylim() == (13.5, -3.5)  # 8 pixels each way: the farthest and one more
    boxes = [(*box.get_xy(), box.get_width(), box.get_height()) for box in whole.patches]
    assert boxes == [(-0.5, -0.5, 8, 14), (-0.5, -0.5, 8, 9)]  # what of them lies in the picture
    with pytest.raises(ValueError, match=r"chosen of 'x' must have the shape \[9, 2\]"):
        inner.chosen_events(EVENTS, [("x", (5, 3), CHOSEN[:8], 7)])
    with pytest.raises(ValueError, match="1 to 8 positions, got 0"):
        inner.chosen_events(EVENTS, [])


def test_the_histogram_gathers_its_tail():
    counts = np.zeros(40, int)
    counts[[2, 3, 6, 20, 39]] = 500, 300, 195, 3, 2
    (ax,) = inner.distance_histogram(counts).axes
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    assert heights == pytest.approx({2: 50, 3: 30, 4: 0, 5: 0, 6: 19.5, 7: 0.5})
    assert ax.get_xticklabels()[-1].get_text() == "7 or more"
    (ax,) = inner.distance_histogram(np.array([0, 0, 3, 1])).axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "3"]
    with pytest.raises(ValueError, match="counts are all 0"):
        inner.distance_histogram(np.zeros(5))


def panel(**changes) -> dict:
    points, scores = rng.random((3, 4, 2)), np.full((3, 4), 0.25)
    return {"title": "p", "picture": EVENTS, "size": (4, 2), "place": (1, 0), "points": points, "scores": scores} | changes


def test_sampling_points_share_one_area_that_holds_them_all():
    far = panel(points=np.full((3, 4, 2), 6.0), picture=FRAME)
    figure = inner.sampling_points([[panel(), far], [panel(scores=np.array([[0.1, 0.2, 0.3, 0.4]] * 3))]])
    used = [ax for ax in figure.axes if ax.axison]
    assert len(used) == 3 and {(*ax.get_xlim(), *ax.get_ylim()) for ax in used} == {(-0.6, 6.2, 6.2, -0.6)}
    heads = used[2].collections[-3:]
    assert len({tuple(head.get_facecolor()[0]) for head in heads}) == 3
    assert heads[0].get_sizes().tolist() == pytest.approx([11, 22, 33, 44])
    np.testing.assert_allclose(used[1].collections[-1].get_offsets(), 6)
    (square,) = used[0].patches
    assert (square.get_xy(), square.get_width()) == ((-0.5, 0.5), 1)
    assert used[0].images[0].get_extent() == [-0.5, 1.5, 3.5, -0.5] and used[0].get_aspect() == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["the receiving position", "head 1", "head 2", "head 3"]


def test_sampling_points_refuse_what_does_not_match():
    with pytest.raises(ValueError, match="points 3, scores 2"):
        inner.sampling_points([[panel(scores=np.ones((2, 4)))]])
    with pytest.raises(ValueError, match="rows is empty"):
        inner.sampling_points([[]])


def test_sampling_distances_stand_side_by_side():
    lines = [(direction, head, 0.5 + head / 10, 0.4, 1.5) for direction in ("there", "back") for head in (1, 2)]
    table = pd.DataFrame(lines, columns=["direction", "head", "mean", "low", "high"])
    (ax,) = inner.sampling_distance(table, start=0.625).axes
    there, back = (part[0] for part in ax.containers)
    assert there.get_xdata().tolist() == [0.92, 1.92] and back.get_xdata().tolist() == [1.08, 2.08]
    assert there.get_ydata().tolist() == pytest.approx([0.6, 0.7])
    assert ax.get_ylim() == pytest.approx((0, 1.62)) and 0.625 in [line.get_ydata()[0] for line in ax.lines]
    assert len(inner.sampling_distance(table).axes[0].lines) < len(ax.lines)
