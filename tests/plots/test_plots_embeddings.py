"""Figures of embeddings: every point drawn once, identities and cameras told apart."""

import numpy as np
import pytest

from reidlib.plots import embeddings, style

rng = np.random.default_rng(0)
POINTS, PEOPLE, CAMERAS = rng.normal(size=(60, 2)), np.repeat(np.arange(30), 2), np.tile([0, 1], 30)


def drawn(ax):
    return np.concatenate([np.asarray(dots.get_offsets()) for dots in ax.collections if len(dots.get_offsets())])


def test_scatter_draws_every_point_once_in_every_panel():
    figure = embeddings.scatter_2d({"t-SNE": POINTS, "UMAP": -POINTS}, PEOPLE, CAMERAS, trustworthiness={"t-SNE": 0.9531})
    by_person, umap, by_camera, _ = figure.axes
    assert [ax.get_title("left") for ax in figure.axes] == [
        "t-SNE, by identity (trustworthiness 0.953)",
        "UMAP, by identity",
        "t-SNE, by camera (trustworthiness 0.953)",
        "UMAP, by camera",
    ]
    for ax, points in ((by_person, POINTS), (umap, -POINTS), (by_camera, POINTS)):
        np.testing.assert_allclose(np.sort(drawn(ax), axis=0), np.sort(points, axis=0))
    assert [text.get_text() for text in by_person.texts] == [str(i) for i in range(20)]
    assert "10 other identities" in [text.get_text() for text in by_person.get_legend().get_texts()]
    np.testing.assert_allclose(by_camera.collections[1].get_offsets(), POINTS[CAMERAS == 1])


def test_identities_keep_their_colour_over_cameras_and_the_rest_is_grey():
    ax = embeddings.scatter_2d({"UMAP": POINTS}, PEOPLE, CAMERAS, strong=2).axes[0]
    colours = [style.mpl.colors.to_hex(dots.get_facecolors()[0]) for dots in ax.collections]
    assert colours[:2] == [style.PALE.lower()] * 2
    assert colours[2] == colours[3] != colours[4] == colours[5]
    for camera in (0, 1):  # one marker per camera
        np.testing.assert_allclose(ax.collections[2 + camera].get_offsets(), POINTS[(PEOPLE == 0) & (camera == CAMERAS)])
    assert len(ax.collections[2].get_paths()[0]) != len(ax.collections[3].get_paths()[0])
    assert len(set(embeddings.identity_colours(18))) == 18


def test_scatter_without_cameras_and_with_errors():
    ax = embeddings.scatter_2d({"UMAP": POINTS}, PEOPLE, np.full(60, -1)).axes[1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["camera unknown"]
    with pytest.raises(ValueError, match=r"points of 'UMAP' must have the shape \[N, 2\]"):
        embeddings.scatter_2d({"UMAP": np.zeros((60, 3))}, PEOPLE, CAMERAS)
    with pytest.raises(ValueError, match="points 60, identities 59"):
        embeddings.scatter_2d({"UMAP": POINTS}, PEOPLE[1:], CAMERAS)


def test_projection_rows_draw_every_system_twice_per_projection():
    systems = {"s3ce_net": {"t-SNE": POINTS, "UMAP": -POINTS}, "counts": {"t-SNE": 2 * POINTS, "UMAP": POINTS}}
    trust = {"s3ce_net": {"t-SNE": 0.9, "UMAP": 0.8}, "counts": {"t-SNE": 0.7, "UMAP": 0.6}}
    figure = embeddings.projection_rows(systems, PEOPLE, CAMERAS, trustworthiness=trust)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles[:4] == ["t-SNE, by identity", "by camera (trust 0.900)", "UMAP, by identity", "by camera (trust 0.800)"]
    assert [figure.axes[i].get_ylabel() for i in (0, 4)] == ["S3CE-Net", "counts"]
    for ax, points in zip(figure.axes, (POINTS, POINTS, -POINTS, -POINTS, 2 * POINTS, 2 * POINTS, POINTS, POINTS), strict=True):
        np.testing.assert_allclose(np.sort(drawn(ax), axis=0), np.sort(points, axis=0))
    with pytest.raises(ValueError, match="points 60, identities 59"):
        embeddings.projection_rows(systems, PEOPLE[1:], CAMERAS[1:])


def test_pair_similarity_has_a_line_per_kind_and_says_how_many_pairs():
    kinds = {"same person, other camera": rng.uniform(0.5, 1, 300), "other person, same camera": rng.uniform(-1, 0.5, 12)}
    figure = embeddings.pair_similarity({"s3ce_net": kinds, "counts": {"other person, same camera": rng.random(12)}})
    first, second = figure.axes
    labels = [label.get_text() for label in first.get_yticklabels()]
    assert labels == ["same person\nother camera\n(n = 300)", "other person\nsame camera\n(n = 12)"]
    medians = [line for line in first.lines if line.get_color() == "black"]
    assert [line.get_xdata()[0] for line in medians] == pytest.approx([np.median(values) for values in kinds.values()])
    assert len(second.collections) == 1 and len(second.collections[0].get_offsets()) == 12  # too few for a violin: dots
    with pytest.raises(ValueError, match="values that are NaN"):
        embeddings.pair_similarity({"s3ce_net": {"same person": np.array([np.nan])}})
