"""How embeddings lie: projections to the plane and how far to trust them, similarities of pairs, clusters by person and by camera.

Rows are unit vectors, so Euclidean distance and cosine distance give the same order; every function works on the rows as they are.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reidlib.metrics import bootstrap_interval

NEIGHBOURS = 5  # of trustworthiness
PAIRS = ("same person, same camera", "same person, other camera", "other person, same camera", "other person, other camera")
SHUFFLES = 100


@dataclass(frozen=True)
class Projection:
    """points [N, 2]; trustworthiness 0..1 of their nearest neighbours."""

    points: np.ndarray
    trustworthiness: float


def projections(vectors: np.ndarray, seed: int = 0) -> dict[str, Projection]:
    """t-SNE and UMAP of the rows of `vectors` [N, D], the same for the same seed. ValueError for fewer than 8 rows or NaN."""
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) < 8:
        raise ValueError(f"a projection needs 8 embeddings or more, [N, D]; got {list(vectors.shape)}")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{int((~np.isfinite(vectors)).any(axis=1).sum())} embeddings hold NaN or infinity; did the training diverge?")
    found = {"t-SNE": _tsne(vectors, seed), "UMAP": _umap(vectors, seed)}
    return {name: Projection(points, trustworthiness(vectors, points)) for name, points in found.items()}


def _tsne(vectors: np.ndarray, seed: int) -> np.ndarray:
    """van der Maaten and Hinton, JMLR 2008; perplexity 30, less for few points."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    with threadpool_limits(1):  # sums over threads come in any order, and t-SNE amplifies the last digit
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)


def _umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    """McInnes, Healy and Melville, 2018; 15 neighbours, fewer for few points; starts from the principal components, as t-SNE here."""
    from umap import UMAP  # compiles for some seconds

    return UMAP(n_neighbors=min(15, len(vectors) // 2), random_state=seed, n_jobs=1, init="pca").fit_transform(vectors)


def trustworthiness(vectors: np.ndarray, points: np.ndarray, neighbours: int = NEIGHBOURS) -> float:
    """Venna and Kaski 2006: 1 where the `neighbours` nearest points of every point are near in the embedding, less where strangers, far
    away in the embedding, were drawn side by side."""
    from sklearn.manifold import trustworthiness as measured

    return float(measured(vectors, points, n_neighbors=min(neighbours, (len(vectors) - 1) // 2)))


def projection_table(found: dict[str, dict[str, Projection]]) -> pd.DataFrame:
    """Trustworthiness, one line per system, one column per projection."""
    lines = {name: {kind: projection.trustworthiness for kind, projection in kinds.items()} for name, kinds in found.items()}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("embedding")


def pair_similarities(vectors: np.ndarray, people: np.ndarray, cameras: np.ndarray) -> dict[str, np.ndarray]:
    """Cosine similarity of every unordered pair of rows, by kind (`PAIRS`); kinds without a pair are left out.

    cameras: -1 = unknown, for all: then there are the kinds "same person" and "other person"."""
    people, cameras = np.asarray(people), np.asarray(cameras)
    first, second = np.triu_indices(len(people), 1)
    values = np.clip(_cosines(vectors), -1, 1)[first, second]
    person = np.where(people[first] == people[second], "same person", "other person")
    if (cameras == -1).all():
        return {kind: values[person == kind] for kind in ("same person", "other person") if (person == kind).any()}
    camera = np.where(cameras[first] == cameras[second], ", same camera", ", other camera")
    kinds = np.char.add(person, camera)
    return {kind: values[kinds == kind] for kind in PAIRS if (kinds == kind).any()}


def _cosines(vectors: np.ndarray) -> np.ndarray:
    unit = np.asarray(vectors, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T  # [N, N]


def separation(higher: np.ndarray, lower: np.ndarray) -> float:
    """Probability that a value of `higher` exceeds one of `lower`, ties counting half (area under the ROC curve); 0.5 = not told apart."""
    values = np.sort(lower)
    below = np.searchsorted(values, higher, "left") + np.searchsorted(values, higher, "right")
    return float(below.mean() / (2 * len(lower)))


def pair_table(similarities: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """Per system: mean similarity of each kind of pair, and how well a right pair across cameras is told from either kind of wrong pair."""
    lines = {}
    for name, kinds in similarities.items():
        lines[name] = {kind: float(values.mean()) for kind, values in kinds.items()}
        right = kinds.get(PAIRS[1], kinds.get("same person"))
        wrong = {kind: kinds[kind] for kind in (*PAIRS[2:], "other person") if kind in kinds}
        if right is not None:
            lines[name] |= {f"AUC against {kind}": separation(right, values) for kind, values in wrong.items()}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("embedding")


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette (Rousseeuw 1987) of the rows with `labels` [N] at `distances` [N, N]: towards 1 where rows lie nearer to their own
    label than to any other, 0 where that makes no difference, negative where another label is nearer. NaN with one label, or where every
    row has a label of its own."""
    names, codes = np.unique(labels, return_inverse=True)
    if not 2 <= len(names) < len(labels):
        return np.nan
    member = np.eye(len(names))[codes]  # [N, labels]
    size = member.sum(0)
    total = distances @ member  # [N, labels]
    rows = np.arange(len(codes))
    own = total[rows, codes] / np.maximum(size[codes] - 1, 1)
    mean = total / size
    mean[rows, codes] = np.inf
    other = mean.min(axis=1)
    worst = np.maximum(own, other)
    values = np.where((size[codes] > 1) & (worst > 0), (other - own) / np.where(worst > 0, worst, 1), 0.0)
    return float(values.mean())


def shuffled(labels: np.ndarray, within: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`labels` in random order inside every group of `within`."""
    found = np.array(labels)
    for group in np.unique(within):
        rows = np.flatnonzero(within == group)
        found[rows] = found[rng.permutation(rows)]
    return found


def cluster_line(vectors: np.ndarray, people: np.ndarray, cameras: np.ndarray, seed: int = 0) -> dict:
    """Does an embedding group the tracklets by person or by camera?

    For both: the silhouette on cosine distance, the highest of all but 2.5 % of `SHUFFLES` shuffles of the labels (persons within their
    camera, cameras within their person) as "by chance", and whether the silhouette lies above it."""
    people, cameras = np.asarray(people), np.asarray(cameras)
    distances = np.clip(1 - _cosines(vectors), 0, 2)
    np.fill_diagonal(distances, 0)
    line: dict[str, float | bool] = {}
    for name, labels, within in (("person", people, cameras), ("camera", cameras, people)):
        rng = np.random.default_rng((seed, name == "camera"))
        value = silhouette(distances, labels)
        chance = [silhouette(distances, shuffled(labels, within, rng)) for _ in range(SHUFFLES)]
        limit = float(np.quantile(chance, 0.975)) if np.isfinite(value) else np.nan
        line |= {f"{name} silhouette": value, f"{name}, by chance below": limit, f"groups by {name}": bool(value > limit)}
    return line


def neighbour_line(vectors: np.ndarray, people: np.ndarray, cameras: np.ndarray, seed: int = 0) -> dict:
    """Who is the nearest neighbour? Shares in percent with 95 % intervals over people.

    "right person": the nearest tracklet of another camera shows the same person. "same camera": the nearest tracklet *of another
    person* comes from the same camera; "by chance": the share of such tracklets, which a model that looks past the camera stays near.
    NaN without cameras."""
    people, cameras = np.asarray(people), np.asarray(cameras)
    if len(np.unique(cameras)) < 2:
        return dict.fromkeys(("right person", "same camera", "low", "high", "by chance"), np.nan)
    cosines, same_person, same_camera = _cosines(vectors), people[:, None] == people[None], cameras[:, None] == cameras[None]
    rows = np.arange(len(people))
    nearest = np.where(same_camera, -np.inf, cosines).argmax(axis=1)
    asked = (same_person & ~same_camera).any(axis=1)  # the others have nobody to find
    stranger = np.where(same_person, -np.inf, cosines).argmax(axis=1)
    drawn = bootstrap_interval(100 * same_camera[rows, stranger], groups=people, seed=seed)
    expected = (same_camera & ~same_person).sum(axis=1) / np.maximum((~same_person).sum(axis=1), 1)
    right = same_person[rows, nearest][asked]
    return {
        "right person": 100 * float(right.mean()) if asked.any() else np.nan,
        "same camera": drawn.mean,
        "low": drawn.low,
        "high": drawn.high,
        "by chance": 100 * float(expected.mean()),
    }


def structure_table(embeddings: dict[str, np.ndarray], people: np.ndarray, cameras: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """`cluster_line` and `neighbour_line`, one line per system."""
    lines = {
        name: cluster_line(vectors, people, cameras, seed) | neighbour_line(vectors, people, cameras, seed)
        for name, vectors in embeddings.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("embedding")


def readable_structure(table: pd.DataFrame) -> pd.DataFrame:
    """`structure_table` for reading: one line per question, one column per system."""
    lines: dict[str, dict[str, str]] = {}
    for name, line in table.iterrows():
        cells = {
            f"silhouette by {what}": f"{line[f'{what} silhouette']:+.3f} (by chance below {line[f'{what}, by chance below']:+.3f})"
            for what in ("person", "camera")
            if np.isfinite(line[f"{what} silhouette"])
        }
        if np.isfinite(line["same camera"]):
            interval = f"{line['same camera']:.1f} [{line['low']:.1f}, {line['high']:.1f}], by chance {line['by chance']:.1f}"
            cells |= {
                "nearest under another camera is the right person (%)": f"{line['right person']:.1f}",
                "nearest other person is under the same camera (%)": interval,
            }
        lines[name] = {question: answer.replace("-", "−") for question, answer in cells.items()}
    return pd.DataFrame(lines).rename_axis("question")


def structure_sentences(table: pd.DataFrame) -> list[str]:
    """What `structure_table` says of each system, in words."""
    sentences = []
    for name, line in table.iterrows():
        known = [what for what in ("person", "camera") if np.isfinite(line[f"{what} silhouette"])]
        text = f"**{name}** " + " and ".join(_groups(line, what) for what in known) + "."
        if np.isfinite(line["same camera"]):
            text += (
                f" The nearest other person comes from the same camera in {line['same camera']:.0f} % of cases "
                f"[{line['low']:.0f}, {line['high']:.0f}]; {line['by chance']:.0f} % would be chance."
            )
        sentences.append(text)
    return sentences


def _groups(line: pd.Series, what: str) -> str:
    more = "more than" if line[f"groups by {what}"] else "no more than"
    value, limit = (f"{line[name]:+.2f}".replace("-", "−") for name in (f"{what} silhouette", f"{what}, by chance below"))
    return f"groups by {what} {more} chance does (silhouette {value}, by chance below {limit})"
