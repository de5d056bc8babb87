"""Labels of body parts reach the networks that learn them, at training time alone; where there are none, that is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_evaluation import HEIGHT, WIDTH
from test_paired_training import VideoStore
from toy_training import INDEX, TRAIN_INDEX, short

from reidlib.datasets import ClipSettings
from reidlib.evaluation import embed
from reidlib.training import load_history, train

SIZE = (64, 32)
OPTIONS = {"ianet": {}, "tclnet": {"ia": (2,)}, "rfcnet": {"size": SIZE}}


class Labels:
    """Every pixel of the toy set is a part; `shift` makes another companion."""

    def __init__(self, shift: int = 0):
        self.shift, self.cache_key = shift, f"labels {shift}"

    def frames(self, key: str) -> np.ndarray:
        rows = np.arange(HEIGHT)[:, None] * 5 // HEIGHT
        return np.broadcast_to((rows + self.shift) % 5, (5, HEIGHT, WIDTH)).astype(np.uint8)


def run(name: str):
    options = {"backbone": "resnet18", "width": 4} | OPTIONS.get(name, {})
    return replace(
        short(iterations=2), model=name, options=options, clips=ClipSettings(steps=2, size=SIZE, seconds=0.1), validation_people=0
    )


@pytest.fixture
def store() -> VideoStore:
    return VideoStore(INDEX)


@pytest.mark.parametrize("name", OPTIONS)
def test_labels_change_what_a_supervised_network_learns(name, store, tmp_path):
    found = {}
    for shift in (0, 2):
        folder = tmp_path / str(shift)
        found[shift] = train(run(name), store, TRAIN_INDEX, folder, parts=Labels(shift))
        assert {"parts"} & set(load_history(folder)) or {"cuts", "foreground"} <= set(load_history(folder))
    same = [torch.equal(a, b) for a, b in zip(found[0].state_dict().values(), found[2].state_dict().values(), strict=True)]
    assert not all(same)
    assert embed(found[0], store, INDEX, run(name).clips).shape[0] == len(INDEX)  # the test needs no labels


@pytest.mark.parametrize("name", OPTIONS)
def test_without_labels_the_losses_are_off_and_that_is_said(name, store, tmp_path, capsys):
    train(run(name), store, TRAIN_INDEX, tmp_path / "run")
    assert "run: nobody knows the parts of the body in this set" in capsys.readouterr().out
    assert not {"parts", "cuts", "foreground"} & set(load_history(tmp_path / "run"))


def test_a_network_that_learns_no_parts_is_not_bothered(store, tmp_path, capsys):
    for name, options in (("vrstc", {}), ("tclnet", {}), ("ianet", {"block": "cia"}), ("ianet", {"part_weight": 0.0})):
        one = run(name)
        kept = {key: value for key, value in one.options.items() if key != "ia"}
        train(replace(one, options=kept | options), store, TRAIN_INDEX, tmp_path / f"{name}{options}", parts=Labels())
    assert "nobody knows" not in capsys.readouterr().out


def test_other_labels_make_another_run(store, tmp_path):
    first = train(run("ianet"), store, TRAIN_INDEX, tmp_path, parts=Labels(0)).state_dict()
    again = train(run("ianet"), store, TRAIN_INDEX, tmp_path, parts=Labels(0)).state_dict()
    other = train(run("ianet"), store, TRAIN_INDEX, tmp_path, parts=Labels(2)).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
