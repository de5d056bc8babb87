"""An experiment of a few random tracklets and untrained models: the same way in as the real one, in no time."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from reidlib.ablations import row
from reidlib.config import Preset
from reidlib.datasets import ClipDataset, ClipSettings, Sample, build_store
from reidlib.events import Events
from reidlib.experiment import Experiment
from reidlib.models import build_model
from reidlib.training import TrainSettings

PEOPLE, TRACKLETS = 4, 2
_MODEL = {"width": 8, "head_channels": 8, "neuron": {"kind": "if"}}
_OWN = {"s3ce_net": {"ssam": (2, 4), "sampling": {"spatial": 2}}}


def rows() -> list[dict]:
    return [
        {"key": f"p{p}/c{c}/t{t}", "dataset": "small", "split": 0, "subset": subset, "person": p, "camera": c, "source": "test"}
        for p in range(PEOPLE)
        for c, subset in enumerate(("query", "gallery"))
        for t in range(TRACKLETS)
    ]


def make(row: dict) -> Sample:
    """Half a second of events scattered about a place that is the person's own."""
    rng, count = np.random.default_rng((row["person"], row["camera"])), 1500
    x = np.clip(rng.normal(5 + 4 * row["person"], 3, count), 0, 23).astype(np.uint16)
    y = rng.integers(0, 48, count).astype(np.uint16)
    t = np.sort(rng.integers(0, 500_000, count)).astype(np.int64)
    return Sample(Events(x, y, t, rng.integers(0, 2, count).astype(np.uint8), width=24, height=48))


class SmallExperiment(Experiment):
    """Models are drawn from their seed instead of being trained; a few batches give BatchNorm its statistics, or nothing would fire."""

    def __init__(self, folder, seeds: int = 1, **clips):
        self.output_dir, self.seed = folder, 0
        self.dataset = self.preset = "small"
        self.data = self.gait = ""
        settings = replace(ClipSettings(steps=4, size=(32, 16), seconds=0.25), **clips)
        self.settings = Preset("small", "small", {}, _MODEL, settings, TrainSettings(), own=_OWN, seeds=seeds)

    @cached_property
    def store(self):
        return build_store(self.output_dir / "small.h5", rows(), make, {"code": 1}, workers=1).load()

    def model(self, name, seed=None):
        run = self.run_settings(name, seed)
        torch.manual_seed(run.seed)
        model = build_model(row(name).model, PEOPLE, **run.options).train()
        clips = ClipDataset(self.store, self.test_index, run.clips, train=False)
        with torch.no_grad():
            for _ in range(3):
                model(events=torch.stack([clips[i]["events"][0] for i in range(len(clips))]))
        return model.eval()
