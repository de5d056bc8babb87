"""A run of seconds on a toy set, and the means to interrupt it: shared by the tests of training."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from test_evaluation import HEIGHT, WIDTH, toy_index

import reidlib.training as training
from reidlib.datasets import ClipSettings, validation_split
from reidlib.evaluation import protocols
from reidlib.training import RunSettings, TrainSettings, train

CLIPS = ClipSettings(steps=2, size=(HEIGHT, WIDTH), seconds=0.1)
SCHEDULE = TrainSettings(iterations=24, people=2, clips=2, average=0.9, checkpoint_every=7, validate_every=9)
# random subsets draw from torch's generator in every step, which a resumed run must repeat
OPTIONS = {
    "width": 4,
    "head_channels": 4,
    "depth": (1, 1, 1, 1),
    "ssam": (4,),
    "neuron": {"kind": "if", "alpha": 1.0},
    "sampling": {"spatial": 2, "temporal_form": "random"},
}
RUN = RunSettings("s3ce_net", OPTIONS, CLIPS, SCHEDULE, validation_people=2, seed=3)

INDEX = toy_index(people=8, train=6)
TRAIN_INDEX, HELD_OUT = validation_split(INDEX, 2, seed=0)


def run_training(store, folder: Path, run: RunSettings = RUN, validate: bool = True):
    return train(run, store, TRAIN_INDEX, folder, protocols(HELD_OUT)["query to gallery"] if validate else None)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and its final weights."""

    folder: Path
    weights: dict = field(repr=False)


def same_weights(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def short(**changes) -> RunSettings:
    """A run of a few steps without validation."""
    return replace(RUN, train=replace(SCHEDULE, **{"iterations": 3, "validate_every": 0} | changes))


class Interruption:
    """Stops a run with KeyboardInterrupt before its `after`-th step of this process; counts the steps otherwise."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int | None = None):
        self.steps, original = 0, training._Trainer.one_step

        def one_step(trainer, batch):
            if self.steps == after:
                raise KeyboardInterrupt
            self.steps += 1
            original(trainer, batch)

        patch.setattr(training._Trainer, "one_step", one_step)
