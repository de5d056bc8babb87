"""Any model trains and embeds on the modalities that it names: frames, events, or both."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_evaluation import HEIGHT, WIDTH, ToyStore
from torch import nn
from toy_training import HELD_OUT, INDEX, TRAIN_INDEX, Interruption, same_weights, short

import reidlib.training as training
from reidlib.datasets import Degradation
from reidlib.evaluation import embed, protocols
from reidlib.models import MODELS, ReidOutput
from reidlib.models.layers.heads import BNNeck, ReidModel
from reidlib.training import train

SCHEDULE = {"iterations": 6, "checkpoint_every": 2}


class Toy(ReidModel):
    """A linear layer on the mean of each modality over time."""

    def __init__(self, num_classes: int, modalities: tuple[str, ...]):
        super().__init__()
        self.modalities = modalities
        channels = {"events": 2, "frames": 3}
        self.layers = nn.ModuleDict({name: nn.Linear(channels[name] * HEIGHT * WIDTH, 8) for name in modalities})
        self.neck = BNNeck(8, num_classes)

    def forward(self, **inputs):
        assert set(inputs) == set(self.modalities)
        feature = sum(layer(inputs[name].mean(1).flatten(1)) for name, layer in self.layers.items())
        if not self.training:
            return self.neck.norm(feature)
        return ReidOutput([feature], [self.neck(feature)[1]])


class VideoStore(ToyStore):
    """The toy set with video: a bright bar at a height that tells the person, and what was read."""

    def __init__(self, index):
        super().__init__(index)
        self.read = set()

    def events(self, key: str):
        self.read.add("events")
        return super().events(key)

    def frames(self, key: str) -> np.ndarray:
        self.read.add("frames")
        person = int(key[1 : key.index("/")])
        video = np.random.default_rng(list(key.encode())).integers(0, 60, (5, HEIGHT, WIDTH)).astype(np.uint8)
        video[:, 3 + 3 * person : 5 + 3 * person] += 120
        return video


@pytest.fixture(params=[("frames",), ("events",), ("events", "frames"), ("frames", "events")], ids="+".join)
def modalities(request, monkeypatch):
    monkeypatch.setitem(MODELS, "toy", lambda num_classes: Toy(num_classes, request.param))
    return request.param


RUN = replace(short(**SCHEDULE), model="toy", options={})


def run(store, folder, settings=RUN):
    return train(settings, store, TRAIN_INDEX, folder, protocols(HELD_OUT)["query to gallery"])


def test_a_model_trains_validates_and_resumes_on_its_modalities(modalities, tmp_path):
    store = VideoStore(INDEX)
    whole = run(store, tmp_path / "whole")
    assert store.read == set(modalities)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interruption(patch, after=3)
        run(store, tmp_path / "stopped")
    resumed = run(store, tmp_path / "stopped")
    assert same_weights(whole.state_dict(), resumed.state_dict())
    table = training.load_history(tmp_path / "whole")
    assert table["validation_mAP"].notna().sum() == 1


def test_a_model_embeds_its_modalities_and_degradation_and_shuffling_reach_what_they_name(modalities):
    store, index = VideoStore(INDEX), INDEX
    torch.manual_seed(0)
    model = Toy(3, modalities).eval()
    plain = embed(model, store, index, RUN.clips)
    assert store.read == set(modalities) and plain.shape == (len(index), 8)
    dark = embed(model, store, index, RUN.clips, degradation=Degradation("low_light", 5))
    mixed = embed(model, store, index, RUN.clips, shuffled=1)
    assert np.allclose(dark, plain, atol=1e-6) == ("frames" not in modalities)
    assert np.allclose(mixed, plain, atol=1e-6) == ("events" not in modalities)


def test_a_frames_model_learns_what_the_frames_tell(monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, "toy", lambda num_classes: Toy(num_classes, ("frames",)))
    store = VideoStore(INDEX)
    clips = replace(RUN.clips, flip=0.0, erase=0.0, shift=0.0)
    settings = replace(short(iterations=60, people=4, learning_rate=1e-2), model="toy", options={}, clips=clips)
    run(store, tmp_path, settings)
    losses = training.load_history(tmp_path)["identity"].dropna()
    assert losses.iloc[0] > 0.8 and losses.iloc[-1] < 0.6
