"""A model that answers: embeddings are those of `evaluation.embed`, verdicts and searches those of plain loops."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from paired import PairedStore
from test_evaluation import CLIPS, ToyStore, toy_index
from torch import nn

from reidlib import events
from reidlib.asking import Calibrated, OneRecording, ReIdentifier, load_run
from reidlib.datasets import ClipSettings, Sample, validation_split
from reidlib.evaluation import embed
from reidlib.events import Events
from reidlib.models import build_model
from reidlib.training import RunSettings, TrainSettings, train

pytestmark = pytest.mark.usefixtures("one_thread")

INDEX = toy_index(people=7, train=5)


class Picture(nn.Module):
    """The mean picture of a clip, as it is: no training needed to tell the toy people apart."""

    def __init__(self, *modalities: str):
        super().__init__()
        self.modalities, self.scale = modalities, nn.Parameter(torch.ones(1))

    def forward(self, **clips):
        return self.scale * torch.cat([clips[name].mean(1).flatten(1) for name in self.modalities], 1)


@pytest.fixture(scope="module")
def store() -> ToyStore:
    return ToyStore(INDEX)


@pytest.fixture
def asked(store) -> ReIdentifier:
    found = ReIdentifier(Picture("events"), CLIPS, store, name="toy")
    found.calibrated = Calibrated.on(found.pairs(INDEX[INDEX["subset"] == "train"]))
    return found


@pytest.fixture(scope="module")
def run_folder(store, tmp_path_factory):
    """A finished run of three steps with two people held out."""
    folder = tmp_path_factory.mktemp("runs") / "sew-seed3"
    schedule = TrainSettings(iterations=3, people=2, clips=2)
    options = {"width": 4, "depth": (1, 1, 1, 1), "neuron": {"kind": "if", "alpha": 1.0}}
    run = RunSettings("sew_resnet18", options, CLIPS, schedule, validation_people=2, seed=3)
    train(run, store, validation_split(INDEX, 2, seed=0)[0], folder)
    return folder


def test_embeddings_of_tracklets_are_those_of_evaluation(asked, store):
    expected = embed(asked.model, store, INDEX, CLIPS)
    np.testing.assert_array_equal(asked.embed_index(INDEX), expected)
    alone = ReIdentifier(asked.model, CLIPS, store)
    for row in (0, 9, 20):
        np.testing.assert_allclose(alone.embed(INDEX["key"][row]), expected[row], atol=1e-6)
    shuffled = INDEX.iloc[[3, 0, 3, 7]]
    np.testing.assert_allclose(alone.embed_index(shuffled), expected[[3, 0, 3, 7]], atol=1e-6)


def test_a_recording_in_memory_is_embedded_like_a_tracklet(asked, store):
    row = INDEX.iloc[5]
    sample = Sample(store.events(row["key"]), duration=row["duration"])
    np.testing.assert_allclose(asked.embed(sample), asked.embed(row["key"]), atol=1e-6)
    assert np.linalg.norm(asked.embed(sample.events)) == pytest.approx(1, abs=1e-6)


def test_a_file_is_embedded_like_its_events(asked, store, tmp_path):
    recording = store.events(INDEX["key"][2])
    events.write(recording, tmp_path / "one.npz")
    expected = asked.embed(recording)
    np.testing.assert_array_equal(asked.embed(tmp_path / "one.npz"), expected)
    np.testing.assert_array_equal(asked.embed(str(tmp_path / "one.npz")), expected)


def test_a_run_answers_like_the_model_that_was_trained(store, run_folder):
    asked = ReIdentifier.from_run(run_folder, store)
    state = torch.load(run_folder / "model.pt", weights_only=True)
    model = build_model("sew_resnet18", 3, width=4, depth=(1, 1, 1, 1), neuron={"kind": "if", "alpha": 1.0})
    model.load_state_dict(state)
    np.testing.assert_array_equal(asked.embed_index(INDEX), embed(model, store, INDEX, CLIPS))
    held_out = validation_split(INDEX, 2, seed=0)[1]
    assert set(asked.calibrated.pairs.first) == set(held_out["person"]) and not asked.model.training
    assert asked.name == "sew-seed3"
    alone = ReIdentifier.from_run(run_folder)
    recording = store.events(INDEX["key"][0])
    np.testing.assert_array_equal(alone.embed(recording), asked.embed(recording))


def test_a_verdict_is_symmetric_and_follows_the_threshold(asked):
    keys = INDEX["key"].tolist()
    pairs = [(keys[i], keys[j]) for i in (0, 13, 22) for j in (1, 6, 23)]
    for a, b in pairs:
        verdict = asked.same(a, b)
        assert verdict == asked.same(b, a)
        assert verdict.score == pytest.approx(float(asked.embed(a).astype(float) @ asked.embed(b).astype(float)))
        assert verdict.same == (verdict.score >= verdict.threshold)
    verdicts = sorted((asked.same(a, b) for a, b in pairs), key=lambda verdict: verdict.score)
    probabilities = [verdict.probability for verdict in verdicts]
    assert probabilities == sorted(probabilities) and probabilities[0] < probabilities[-1]
    assert asked.same(*pairs[0], prior=0.01).probability < asked.same(*pairs[0]).probability


def test_error_rates_of_the_threshold_against_a_loop(asked, store):
    part = INDEX[INDEX["subset"] == "train"].reset_index(drop=True)
    vectors = embed(asked.model, store, part, CLIPS).astype(float)
    errors = {True: [], False: []}
    for i in range(len(part)):
        for j in range(i + 1, len(part)):
            if part["camera"][i] != part["camera"][j]:
                same = part["person"][i] == part["person"][j]
                errors[bool(same)].append((vectors[i] @ vectors[j] >= asked.calibrated.threshold) != same)
    verdict = asked.same(part["key"][0], part["key"][2])
    assert verdict.false_match_rate.mean == pytest.approx(np.mean(errors[False]))
    assert verdict.false_non_match_rate.mean == pytest.approx(np.mean(errors[True]))


def test_a_wanted_false_match_rate_is_kept(asked):
    pairs = asked.calibrated.pairs
    strict, loose = (Calibrated.on(pairs, false_match_rate=rate) for rate in (0.02, 0.3))
    assert strict.false_match_rate.mean <= 0.02 < loose.false_match_rate.mean <= 0.3 and strict.threshold > loose.threshold
    with pytest.raises(ValueError, match=r"false match rate 0\.001 is asked for; 80 pairs"):
        Calibrated.on(pairs, false_match_rate=0.001)


def test_search_sorts_by_similarity_and_leaves_the_query_out(asked):
    query = INDEX["key"][21]
    found = asked.search(query, INDEX, top=len(INDEX))
    assert list(found.columns) == ["rank", "key", "person", "camera", "similarity", "probability"]
    others = [key for key in INDEX["key"] if key != query]
    score = {key: asked.embed(key).astype(float) @ asked.embed(query).astype(float) for key in others}
    assert found["key"].tolist() == sorted(others, key=lambda key: -score[key])
    assert found["similarity"].tolist() == pytest.approx(sorted(score.values(), reverse=True))
    assert found["rank"].tolist() == list(range(1, len(INDEX)))
    assert found["probability"].is_monotonic_decreasing
    assert found["person"].tolist() == INDEX.set_index("key").loc[found["key"], "person"].tolist()
    assert asked.search(query, INDEX, top=3)["key"].tolist() == found["key"].tolist()[:3]
    gallery = INDEX[INDEX["subset"] == "gallery"]
    assert set(asked.search(query, top=100)["key"]) == set(gallery["key"])
    keys = gallery["key"].tolist()[::-1]
    assert set(asked.search(query, keys, top=100)["key"]) == set(keys)


def test_equal_entries_keep_the_order_of_the_gallery(asked, store):
    one, other = store.events(INDEX["key"][1]), store.events(INDEX["key"][18])
    gallery = {"b": one, "z": other, "a": one, "c": one}
    found = asked.search(one, gallery)
    assert found["key"].tolist() == ["b", "a", "c", "z"] and (found[["person", "camera"]] == -1).all(axis=None)


def test_without_held_out_people_nothing_is_promised(store):
    asked = ReIdentifier(Picture("events"), CLIPS, store, name="plain")
    with pytest.raises(ValueError, match="plain cannot say how sure it is: no people were held out"):
        asked.same(INDEX["key"][0], INDEX["key"][1])
    assert asked.search(INDEX["key"][0])["probability"].isna().all()


def filmed(*modalities: str) -> tuple[ReIdentifier, PairedStore]:
    store = PairedStore()
    return ReIdentifier(Picture(*modalities), ClipSettings(steps=3, size=(40, 24), seconds=0.2), store, name="filmed"), store


@pytest.mark.parametrize("modalities", [("frames",), ("events", "frames")])
def test_frames_are_embedded_like_a_tracklets(modalities):
    asked, store = filmed(*modalities)
    key = store.index["key"][4]
    film = Sample(store.events(key), store.frames(key), store.attributes(key), duration=store.interval(key)[1] / 1e6)
    np.testing.assert_allclose(asked.embed(film), asked.embed(key), atol=1e-6)


def test_frames_alone_need_their_rate():
    asked, store = filmed("frames")
    video = store.frames(store.index["key"][0])
    vector = asked.embed(video, fps=20)
    times = [50_000 * i for i in range(len(video))]
    expected = asked.embed(Sample(Events.empty(24, 40), video, {"frame_times": times}, duration=0.6))
    np.testing.assert_array_equal(vector, expected)
    for fps in (None, 0, -3):
        with pytest.raises(ValueError, match="need fps"):
            asked.embed(video, fps=fps)
    with pytest.raises(ValueError, match="uint8"):
        asked.embed(video / 255, fps=20)
    with pytest.raises(ValueError, match="belongs to frames"):
        asked.embed(store.events(store.index["key"][0]), fps=20)


def test_what_the_model_does_not_take_is_refused(asked):
    video = np.zeros((4, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="toy takes events, but events are missing: it was given frames"):
        asked.embed(video, fps=10)
    with pytest.raises(ValueError, match="an empty recording"):
        asked.embed(Events.empty(16, 32))
    both, store = filmed("events", "frames")
    with pytest.raises(ValueError, match="frames are missing: it was given events"):
        both.embed(store.events(store.index["key"][0]))
    with pytest.raises(TypeError, match="cannot embed a float"):
        asked.embed(0.5)


def test_unknown_keys_and_empty_files_are_named(asked, tmp_path):
    with pytest.raises(KeyError, match="'nobody' is neither a tracklet of the store"):
        asked.embed("nobody")
    with pytest.raises(KeyError, match="nobody"):
        asked.search(INDEX["key"][0], ["nobody"])
    (tmp_path / "empty.npz").touch()
    with pytest.raises(ValueError, match="holds no events"):
        asked.embed(tmp_path / "empty.npz")
    alone = ReIdentifier(asked.model, CLIPS)
    with pytest.raises(KeyError, match="without a store"):
        alone.embed(INDEX["key"][0])
    with pytest.raises(ValueError, match="without a store"):
        alone.search(asked.store.events(INDEX["key"][0]))
    with pytest.raises(KeyError, match="without a store"):
        alone.search(asked.store.events(INDEX["key"][0]), ["a"])
    with pytest.raises(ValueError, match="without a store"):
        alone.search(asked.store.events(INDEX["key"][0]), [])


def test_a_search_needs_somebody_to_find(asked):
    with pytest.raises(ValueError, match="gallery is empty"):
        asked.search(INDEX["key"][0], {})
    with pytest.raises(ValueError, match="gallery is empty"):
        asked.search(INDEX["key"][0], [INDEX["key"][0]])
    with pytest.raises(ValueError, match="top = 0"):
        asked.search(INDEX["key"][0], top=0)


def test_a_folder_without_a_finished_model_is_named(run_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model.pt and settings.json missing: has this row been trained"):
        load_run(tmp_path)
    (tmp_path / "checkpoint.pt").touch()
    (tmp_path / "settings.json").write_text((run_folder / "settings.json").read_text())
    with pytest.raises(FileNotFoundError, match="interrupted"):
        load_run(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read as a run"):
        load_run(tmp_path)


def test_settings_of_another_model_do_not_load(run_folder, tmp_path):
    settings = json.loads((run_folder / "settings.json").read_text())
    (tmp_path / "model.pt").write_bytes((run_folder / "model.pt").read_bytes())
    for change in ({"options": {"width": 8}}, {"model": "psta"}):
        (tmp_path / "settings.json").write_text(json.dumps(settings | change))
        with pytest.raises(ValueError, match="cannot be read as a run"):
            load_run(tmp_path)


def test_a_store_with_other_data_is_refused(run_folder, store):
    other = ToyStore(INDEX)
    other.cache_key = "other"
    with pytest.raises(ValueError, match="was trained on data toy, this store holds other"):
        ReIdentifier.from_run(run_folder, other)


def test_a_recording_stands_where_it_was_filmed(store):
    recording = store.events(INDEX["key"][0])
    later = replace(recording, t=recording.t + 5_000_000)
    assert OneRecording(Sample(later)).interval("") == (int(later.t[0]), int(later.t[-1]) + 1)
    asked = ReIdentifier(Picture("events"), CLIPS)
    np.testing.assert_array_equal(asked.embed(later), asked.embed(recording))
