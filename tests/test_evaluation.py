"""Embeddings of tracklets, the ways a test part is asked, and the numbers, against plain loops; on a small set held in memory."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from reidlib.datasets import ClipDataset, ClipSettings, make_index
from reidlib.datasets.clips import clip_edges
from reidlib.datasets.tracklets import JOINED
from reidlib.evaluation import Protocol, count_embeddings, embed, evaluate, protocols, rank_protocol
from reidlib.events import Events, event_frames, scale_counts
from reidlib.metrics import bootstrap_interval, cosine_distances, rank
from reidlib.models import build_model

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEIGHT = 16, 32
CLIPS = ClipSettings(steps=2, size=(HEIGHT, WIDTH), seconds=0.1)


class ToyStore:
    """The part of a `TrackletStore` that training and evaluation use, in memory: every person is a blob at a place of its own."""

    cache_key = "toy"

    def __init__(self, index: pd.DataFrame, count: int = 300):
        self.index = index
        self._events = {row.key: _blob(row.person, number, row.duration, count) for number, row in enumerate(index.itertuples())}

    def events(self, key: str) -> Events:
        return self._events[key]

    def interval(self, key: str) -> tuple[int, int]:
        duration = self.index.set_index("key")["duration"][key]
        return 0, round(duration * 1e6)


def _blob(person: int, number: int, seconds: float, count: int) -> Events:
    rng = np.random.default_rng((person, number))
    column, row = 4 + 4 * (person % 3), 5 + 6 * (person % 4)
    x = np.clip(np.round(rng.normal(column, 1.5, count)), 0, WIDTH - 1).astype(np.uint16)
    y = np.clip(np.round(rng.normal(row, 2.0, count)), 0, HEIGHT - 1).astype(np.uint16)
    t = np.sort(rng.integers(0, round(seconds * 1e6), count)).astype(np.int64)
    return Events(x, y, t, (rng.random(count) < 0.3 + 0.1 * (person % 5)).astype(np.uint8), WIDTH, HEIGHT)


def toy_index(people=6, train=3, cameras=2, tracklets=2, known=True) -> pd.DataFrame:
    """The first `train` people train; of the others camera 0 is the query. Durations differ, so that clip counts do."""
    rows = []
    for person in range(people):
        for camera in range(cameras):
            for t in range(tracklets):
                subset = "train" if person < train else "query" if camera == 0 else "gallery"
                key = f"p{person}/c{camera}/t{t}"
                row = {"key": key, "dataset": "toy", "split": 0, "subset": subset, "person": person, "camera": camera if known else -1}
                row |= {"frames": 0, "duration": 0.1 + 0.13 * ((person + t) % 3), "events": 300}
                rows.append(row | {"width": WIDTH, "height": HEIGHT, "source": "toy"})
    return make_index(rows)


@pytest.fixture(scope="module")
def store() -> ToyStore:
    return ToyStore(toy_index())


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    net = build_model("sew_resnet18", 3, width=4, neuron={"kind": "if"})
    with torch.no_grad():
        for _ in range(10):  # BatchNorm statistics of something
            net(events=3 * torch.rand(8, 2, 2, HEIGHT, WIDTH))
    return net.eval()


def clip_reference(store: ToyStore, key: str) -> list[np.ndarray]:
    events, (start, stop) = store.events(key), store.interval(key)
    edges = clip_edges(start, stop, CLIPS.seconds)
    return [scale_counts(event_frames(events, CLIPS.steps, a, b, CLIPS.size), CLIPS.scale) for a, b in pairwise(edges)]


def test_embed_is_the_mean_of_a_tracklets_clips(store, model):
    index = store.index
    found = embed(model, store, index, CLIPS)
    assert found.shape == (len(index), 32) and found.dtype == np.float32
    counts = set()
    for row, key in enumerate(index["key"]):
        clips = clip_reference(store, key)
        counts.add(len(clips))
        vectors = []
        for clip in clips:
            with torch.no_grad():
                vector = model(events=torch.from_numpy(clip)[None])[0].numpy().astype(np.float64)
            vectors.append(vector)
        mean = np.mean(vectors, axis=0)
        np.testing.assert_allclose(found[row], mean / np.linalg.norm(mean), atol=1e-6)
    assert len(counts) > 1
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_embed_does_not_depend_on_the_batch(store, model, batch):
    np.testing.assert_allclose(embed(model, store, store.index, CLIPS, batch=batch), embed(model, store, store.index, CLIPS), atol=1e-6)


def test_embed_does_not_depend_on_the_other_rows_or_on_the_models_mode(store, model):
    whole = embed(model, store, store.index, CLIPS)
    chosen = store.index.iloc[[9, 2, 17]].reset_index(drop=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    np.testing.assert_allclose(embed(model, store, chosen, CLIPS), whole[[9, 2, 17]], atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_a_model_can_be_trained_after_it_has_embedded(store, model):
    """Tensors made in inference mode must not stay behind in the neurons."""
    embed(model, store, store.index.head(2), CLIPS)
    output = model.train()(events=torch.rand(4, 2, 2, HEIGHT, WIDTH))
    output.logits[0].sum().backward()
    assert model.backbone.conv.weight.grad is not None


def test_count_embeddings_against_a_loop(store):
    found = count_embeddings(store, store.index, CLIPS)
    assert found.shape == (len(store.index), 2 * HEIGHT * WIDTH)
    for row in (0, 4, 11):
        key = store.index["key"][row]
        events, (start, stop) = store.events(key), store.interval(key)
        clips = len(clip_edges(start, stop, CLIPS.seconds)) - 1
        counts = np.zeros((2, HEIGHT, WIDTH))
        np.add.at(counts, (events.p.astype(int), events.y.astype(int), events.x.astype(int)), 1)
        vector = np.log1p(counts / (clips * CLIPS.steps)).ravel()
        np.testing.assert_allclose(found[row], vector / np.linalg.norm(vector), atol=1e-6)


def test_embedding_of_a_silent_tracklet_is_finite():
    index = toy_index(people=2, train=2, cameras=1, tracklets=1)
    quiet = ToyStore(index)
    quiet._events[index["key"][0]] = Events.empty(WIDTH, HEIGHT)
    assert np.isfinite(count_embeddings(quiet, index, CLIPS)).all()


def test_protocols_with_cameras():
    index = toy_index()
    found = protocols(index)
    assert list(found) == ["query to gallery", "gallery to query", "all cameras"]
    assert all(name == protocol.name for name, protocol in found.items())
    for protocol in found.values():
        assert set(protocol.index["subset"]) == {"query", "gallery"} and len(protocol.index) == 12
        assert protocol.index.index.tolist() == list(range(12))
    forward, back, everything = found.values()
    assert set(forward.index["subset"][forward.queries]) == {"query"} and set(forward.index["subset"][forward.gallery]) == {"gallery"}
    assert back.queries.tolist() == forward.gallery.tolist() and back.gallery.tolist() == forward.queries.tolist()
    assert everything.queries.tolist() == everything.gallery.tolist() == list(range(12))
    assert len(index) == 24  # the caller's table is left alone


def test_protocols_without_cameras():
    """Nothing tells a query from itself then, so all-against-all has no meaning."""
    found = protocols(toy_index(known=False))
    assert "all cameras" not in found and "query to gallery" in found
    assert len(found["query to gallery"].queries) == 6


def test_gallery_people_without_a_query_are_not_asked_back():
    index = toy_index()
    index = index[~((index["person"] == 5) & (index["subset"] == "query"))]
    assert "gallery to query" not in protocols(index)


def test_queries_that_join_the_gallery_are_asked_and_searched():
    index = toy_index()
    index["subset"] = index["subset"].where(index["subset"] != "query", JOINED)
    found = protocols(index)
    assert list(found) == ["query to gallery"]  # every query is searched already: there is no other direction
    protocol = found["query to gallery"]
    assert set(protocol.index["camera"][protocol.queries]) == {0} and protocol.gallery.tolist() == list(range(12))
    vectors = random_embeddings(12)
    everything = protocols(toy_index())["all cameras"]
    expected = rank_protocol(vectors, everything).average_precision[protocol.queries]
    np.testing.assert_array_equal(rank_protocol(vectors, protocol).average_precision, expected)


def test_splits_are_not_mixed():
    index = pd.concat([toy_index(), toy_index().assign(split=1)], ignore_index=True)
    with pytest.raises(ValueError, match="the index holds 2 splits, each a test of its own"):
        protocols(index)


def random_embeddings(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def average_precision_reference(distances, matches, ignored) -> float:
    order = [entry for entry in np.argsort(distances, kind="stable") if not ignored[entry]]
    hits, precisions = 0, []
    for place, entry in enumerate(order, start=1):
        if matches[entry]:
            hits += 1
            precisions.append(hits / place)
    return float(np.mean(precisions)) if precisions else float("nan")


@pytest.mark.parametrize("name", ["query to gallery", "gallery to query", "all cameras"])
def test_ranking_of_a_protocol_against_a_loop(name):
    protocol = protocols(toy_index())[name]
    vectors = random_embeddings(len(protocol.index))
    ranking = rank_protocol(vectors, protocol)
    people, cameras = protocol.index["person"].to_numpy(), protocol.index["camera"].to_numpy()
    for place, query in enumerate(protocol.queries):
        same = people[protocol.gallery] == people[query]
        ignored = same & (cameras[protocol.gallery] == cameras[query])
        distances = 1 - vectors[protocol.gallery].astype(np.float64) @ vectors[query].astype(np.float64)
        expected = average_precision_reference(distances, same, ignored)
        assert ranking.average_precision[place] == pytest.approx(expected, abs=1e-9)


def test_without_cameras_nothing_is_ignored():
    protocol = protocols(toy_index(known=False))["query to gallery"]
    vectors = random_embeddings(len(protocol.index))
    people = protocol.index["person"].to_numpy()
    plain = rank(cosine_distances(vectors[protocol.queries], vectors[protocol.gallery]), people[protocol.queries], people[protocol.gallery])
    np.testing.assert_array_equal(rank_protocol(vectors, protocol).average_precision, plain.average_precision)


def test_evaluate_gives_the_numbers_of_rank_in_percent():
    protocol = protocols(toy_index())["query to gallery"]
    vectors = random_embeddings(len(protocol.index), seed=3)
    q, g = protocol.queries, protocol.gallery
    people, cameras = protocol.index["person"].to_numpy(), protocol.index["camera"].to_numpy()
    ranking = rank(cosine_distances(vectors[q], vectors[g]), people[q], people[g], cameras[q], cameras[g])
    found = evaluate(vectors, protocol, seed=4)
    assert found.mAP.mean == pytest.approx(100 * ranking.mAP) and found.mINP == pytest.approx(100 * ranking.mINP)
    assert found.rank1.mean == pytest.approx(100 * ranking.cmc[0])
    interval = bootstrap_interval(100 * ranking.average_precision, groups=people[q], seed=4)
    assert found.mAP == interval and found.people.tolist() == people[q].tolist()
    summary = found.summary()
    assert summary["mAP"] == found.mAP.mean and summary["mAP low"] == interval.low and summary["mAP high"] == interval.high
    assert summary["Rank-1"] == pytest.approx(100 * ranking.cmc[0]) and summary["Rank-5"] == pytest.approx(100 * ranking.cmc[4])
    assert summary["Rank-10"] == pytest.approx(100 * ranking.cmc[-1]) == 100  # the gallery has 6 entries
    assert summary["queries"] == 6 and 0 < summary["mAP low"] <= summary["mAP"] <= summary["mAP high"] <= 100
    assert all(type(value) in (int, float) for value in summary.values())  # plain numbers, for JSON
    assert evaluate(vectors, protocol, seed=4).mAP == found.mAP


def test_perfect_embeddings_score_100_in_every_protocol():
    for protocol in protocols(toy_index()).values():
        vectors = np.eye(6, dtype=np.float32)[protocol.index["person"].to_numpy()]
        found = evaluate(vectors, protocol)
        assert found.mAP.mean == found.rank1.mean == found.mINP == 100


def test_queries_without_a_match_are_left_out_of_the_means():
    index = toy_index()
    lonely = index[~((index["person"] == 5) & (index["subset"] == "gallery"))]
    protocol = protocols(lonely)["query to gallery"]
    vectors = np.eye(6, dtype=np.float32)[protocol.index["person"].to_numpy()]
    found = evaluate(vectors, protocol)
    assert found.mAP.mean == 100 and found.mAP.excluded == 2 and found.ranking.excluded.tolist() == [4, 5]


def test_one_embedding_per_row_is_needed(store, model):
    protocol = Protocol("short", toy_index(), np.array([0]), np.array([1, 23]))
    with pytest.raises((IndexError, ValueError)):
        rank_protocol(random_embeddings(5), protocol)


def test_eval_dataset_and_embed_agree_on_rows(store):
    """`row` of the clips is the position in the index that was handed over, whatever its own labels are."""
    part = store.index[store.index["subset"] == "query"]  # not renumbered
    dataset = ClipDataset(store, part, CLIPS, train=False)
    assert [dataset[i]["row"] for i in range(len(part))] == list(range(len(part)))
