"""An experiment of a few random tracklets and untrained models: the same way in as the real one, in no time."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from reidlib.ablations import MAIN, row
from reidlib.config import Preset
from reidlib.datasets import ClipDataset, ClipSettings, Sample, build_store
from reidlib.events import Events
from reidlib.experiment import Experiment
from reidlib.models import build_model
from reidlib.training import TrainSettings

PEOPLE, TRACKLETS = 4, 2
_SIZE = (32, 16)
_EVENTS = {"width": 8, "head_channels": 8, "neuron": {"kind": "if"}}
_FRAMES = {"width": 8, "backbone": "resnet18", "size": _SIZE, "levels": 2}
_MODELS = {
    "sew_resnet18": _EVENTS,
    "resnet18_events": _EVENTS,
    "s3ce_net": _EVENTS | {"ssam": (2, 4), "sampling": {"spatial": 2}},
    "sdcl": _FRAMES | {"neuron": {"kind": "if"}},
    "psta": _FRAMES,
    "resnet_frames": {"backbone": "resnet18", "width": 8},
}
_ROWS = {"s3ce_net": (*MAIN, "ssam", "stfs")}
_VIDEO_ROWS = {"sdcl": ("sdcl", "psta", "sdcl_events", "fusion_none", "psta_degraded", "sdcl_degraded")}


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


def make_filmed(row: dict) -> Sample:
    """The same events with 16 frames: a bright bar at the person's place, the camera's own noise."""
    rng = np.random.default_rng((row["person"], row["camera"], 1))
    video = rng.integers(0, 60, (16, 48, 24)).astype(np.uint8)
    video[:, :, 3 + 4 * row["person"] : 8 + 4 * row["person"]] += 150
    return replace(make(row), frames=video)


class SmallExperiment(Experiment):
    """Models are drawn from their seed instead of being trained; a few batches give BatchNorm its statistics, or nothing would fire.

    video: with frames beside the events, and rows of SDCL beside those of S3CE-Net. method: as of `Experiment`."""

    def __init__(self, folder, seeds: int = 1, video: bool = False, method: str = "", **clips):
        self.output_dir, self.seed, self.video = folder, 0, video
        self.dataset = self.preset = "small"
        self.data = self.gait = ""
        settings = replace(ClipSettings(steps=4, size=_SIZE, seconds=0.25), **clips)
        known = _ROWS | (_VIDEO_ROWS if video else {})
        self.settings = Preset(known, seeds, tuple(known), "small", "small", {}, _MODELS, settings, TrainSettings())
        self.method = method and self.check_trained(method, "METHOD")

    @cached_property
    def store(self):
        return build_store(self.output_dir / "small.h5", rows(), make_filmed if self.video else make, {"code": 1}, workers=1).load()

    def model(self, name, seed=None):
        run = self.run_settings(name, seed)
        torch.manual_seed(run.seed)
        model = build_model(row(name).model, PEOPLE, **run.options).train()
        clips = ClipDataset(self.store, self.test_index, run.clips, train=False, modalities=model.modalities)
        first = {name: torch.stack([clips[i][name][0] for i in range(len(clips))]) for name in model.modalities}
        with torch.no_grad():
            for _ in range(3):
                model(**first)
        return model.eval()
