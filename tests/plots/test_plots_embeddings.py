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
