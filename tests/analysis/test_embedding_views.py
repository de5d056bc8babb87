"""Clusters, pairs and neighbours against plain loops and embeddings whose structure is known by construction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from reidlib.analysis import embedding_views as views

PEOPLE, CAMERAS = np.repeat(np.arange(12), 6), np.tile(np.repeat([0, 1], 3), 12)


def made(person: float, camera: float, noise: float = 0.15, seed: int = 0) -> np.ndarray:
    """Unit embeddings [72, 24] with a direction per person and one per camera, as strong as asked."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(14, 24)) / np.sqrt(24)
    vectors = person * axes[PEOPLE] + camera * axes[12 + CAMERAS] + noise * rng.normal(size=(72, 24)) / np.sqrt(24)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=5, max_size=14), seed=st.integers(0, 99))
def test_silhouette_is_the_textbook_one(labels, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(labels), 3))
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    found = views.silhouette(distances, np.array(labels))
    if 2 <= len(set(labels)) < len(labels):
        assert found == pytest.approx(silhouette_score(distances, labels, metric="precomputed"), abs=1e-9)
    else:
        assert np.isnan(found)


def test_silhouette_of_identical_rows_is_zero():
    assert views.silhouette(np.zeros((4, 4)), np.array([0, 0, 1, 1])) == 0


@pytest.mark.parametrize(
    ("person", "camera", "expected"), [(1, 0, (True, False)), (0, 1, (False, True)), (1, 1, (True, True)), (0, 0, (False, False))]
)
def test_clusters_are_found_where_they_were_put(person, camera, expected):
    line = views.cluster_line(made(person, camera), PEOPLE, CAMERAS)
    assert (line["groups by person"], line["groups by camera"]) == expected


def test_shuffles_stay_inside_their_group():
    labels = np.arange(72)
    found = views.shuffled(labels, CAMERAS, np.random.default_rng(0))
    assert not np.array_equal(found, labels)
    for camera in (0, 1):
        np.testing.assert_array_equal(np.sort(found[camera == CAMERAS]), labels[camera == CAMERAS])
    np.testing.assert_array_equal(labels, np.arange(72))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_pairs_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    vectors, people, cameras = rng.normal(size=(9, 4)), rng.integers(0, 3, 9), rng.integers(0, 2, 9)
    expected: dict[str, list[float]] = {}
    for i in range(9):
        for j in range(i + 1, 9):
            person = "same" if people[i] == people[j] else "other"
            camera = "same" if cameras[i] == cameras[j] else "other"
            cosine = vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
            expected.setdefault(f"{person} person, {camera} camera", []).append(cosine)
    found = views.pair_similarities(vectors, people, cameras)
    assert found.keys() == expected.keys()
    for kind, values in found.items():
        np.testing.assert_allclose(values, expected[kind], atol=1e-12)


def test_pairs_without_cameras_have_two_kinds():
    found = views.pair_similarities(made(1, 0), PEOPLE, np.full(72, -1))
    assert {kind: len(values) for kind, values in found.items()} == {"same person": 12 * 15, "other person": 66 * 36}
    table = views.pair_table({"one": found})
    assert table.loc["one", "AUC against other person"] > 0.95


@settings(max_examples=30, deadline=None)
@given(*(st.lists(st.integers(0, 5), min_size=1, max_size=8) for _ in range(2)))
def test_separation_counts_pairs(higher, lower):
    expected = np.mean([(a > b) + 0.5 * (a == b) for a in higher for b in lower])
    assert views.separation(np.array(higher), np.array(lower)) == pytest.approx(expected)


def test_pair_table_tells_a_camera_embedding_from_a_person_embedding():
    pairs = {
        name: views.pair_similarities(made(*strength), PEOPLE, CAMERAS) for name, strength in (("person", (1, 0)), ("camera", (0.2, 1)))
    }
    against = views.pair_table(pairs)["AUC against other person, same camera"]
    assert against["person"] > 0.95
    assert against["camera"] < 0.05


def neighbour_reference(vectors, people, cameras):
    """Plain loops: share of right first matches under another camera, share of nearest strangers under the same camera, chance of it."""
    right, same, chance = [], [], []
    for i in range(len(people)):
        order = sorted((j for j in range(len(people)) if j != i), key=lambda j: -vectors[i] @ vectors[j])
        across = [j for j in order if cameras[j] != cameras[i]]
        strangers = [j for j in order if people[j] != people[i]]
        if any(people[j] == people[i] for j in across):
            right.append(people[across[0]] == people[i])
        same.append(cameras[strangers[0]] == cameras[i])
        chance.append(np.mean(cameras[strangers] == cameras[i]))
    return 100 * np.mean(right), 100 * np.mean(same), 100 * np.mean(chance)


@pytest.mark.parametrize(("person", "camera"), [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_neighbours_equal_plain_loops(person, camera):
    vectors = made(person, camera, noise=0.5)
    line = views.neighbour_line(vectors, PEOPLE, CAMERAS)
    expected = neighbour_reference(vectors, PEOPLE, CAMERAS)
    np.testing.assert_allclose([line["right person"], line["same camera"], line["by chance"]], expected)
    assert line["low"] <= line["same camera"] <= line["high"]


def test_a_person_without_another_camera_is_not_asked_for():
    keep = ~((PEOPLE == 0) & (CAMERAS == 1))
    line = views.neighbour_line(made(1, 0)[keep], PEOPLE[keep], CAMERAS[keep])
    assert line["right person"] == 100


def test_structure_in_words_and_without_cameras():
    table = views.structure_table({"seeing": made(1, 0), "blind": made(0, 1)}, PEOPLE, CAMERAS)
    seeing, blind = views.structure_sentences(table)
    assert "**seeing** groups by person more than chance" in seeing and "by camera no more than chance" in seeing
    assert "**blind** groups by person no more than chance" in blind and "from the same camera in 100 % of cases [100, 100]" in blind
    assert len(views.readable_structure(table)) == 4
    unknown = views.structure_table({"seeing": made(1, 0)}, PEOPLE, np.full(72, -1))
    assert list(views.readable_structure(unknown).index) == ["silhouette by person"]
    assert "camera" not in views.structure_sentences(unknown)[0]


def slow_trustworthiness(vectors, points, k):
    n, penalty = len(vectors), 0
    ranks = np.argsort(np.argsort(np.linalg.norm(vectors[:, None] - vectors[None], axis=2), axis=1), axis=1)  # 0 = the point itself
    near = np.argsort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1 : k + 1]
    for i in range(n):
        penalty += sum(max(0, ranks[i, j] - k) for j in near[i])
    return 1 - penalty * 2 / (n * k * (2 * n - 3 * k - 1))


def test_trustworthiness_is_the_published_one():
    vectors, points = made(1, 0), np.random.default_rng(1).normal(size=(72, 2))
    assert views.trustworthiness(vectors, points) == pytest.approx(slow_trustworthiness(vectors, points, 5))
    assert views.trustworthiness(vectors[:, :2], vectors[:, :2]) == 1


def test_projections_repeat_and_can_be_trusted_where_groups_are_clear():
    vectors = made(1, 0)
    found, again = views.projections(vectors, seed=1), views.projections(vectors, seed=1)
    assert list(found) == ["t-SNE", "UMAP"]
    for name, projection in found.items():
        assert projection.points.shape == (72, 2)
        assert projection.trustworthiness > 0.9
        np.testing.assert_array_equal(projection.points, again[name].points)
    table = views.projection_table({"one": found})
    assert table.loc["one", "UMAP"] == found["UMAP"].trustworthiness
    assert views.projections(vectors[:8])["UMAP"].points.shape == (8, 2)


def test_projections_refuse_too_few_and_broken_embeddings():
    with pytest.raises(ValueError, match="8 embeddings or more"):
        views.projections(np.zeros((7, 3)))
    vectors = made(1, 0)
    vectors[3, 0] = np.nan
    with pytest.raises(ValueError, match="1 embeddings hold NaN"):
        views.projections(vectors)
