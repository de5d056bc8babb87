"""A run may be stopped at any step, by any means, and ends with the same result; nothing else passes for its result."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from test_evaluation import HEIGHT, WIDTH, ToyStore
from toy_training import CLIPS, INDEX, Interruption, run_training, same_weights, short

from reidlib.checkpoints import finished
from reidlib.losses import ReidLoss

TESTS = Path(__file__).resolve().parent.parent


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # shrinking would take minutes
@example(stops=[14])  # right at a checkpoint
@given(stops=st.lists(st.integers(0, 23), min_size=1, max_size=3))
def test_an_interrupted_run_resumes_to_the_same_result(store, whole, tmp_path_factory, stops):
    """Stopped at random, again and again, each time after so many steps of its own."""
    resumed = tmp_path_factory.mktemp("resumed")
    for after in stops:
        with pytest.MonkeyPatch.context() as patch:
            Interruption(patch, after)
            try:
                run_training(store, resumed)
            except KeyboardInterrupt:
                assert not (resumed / "model.pt").exists()
    model = run_training(store, resumed)
    assert same_weights(model.state_dict(), whole.weights)
    for name in ("metrics.csv", "settings.json"):
        assert (resumed / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_resumed_run_does_only_the_steps_that_are_missing(store, tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interruption(patch, after=16)
        run_training(store, tmp_path)
    counter = Interruption(monkeypatch)
    run_training(store, tmp_path)
    assert counter.steps == 24 - 14  # the last checkpoint was at step 14


SCRIPT = """
import sys, time
import torch
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/training"]
import toy_training as this
torch.set_num_threads(1)
slowly = this.training._Trainer.one_step
def one_step(trainer, batch):
    time.sleep(0.1)
    slowly(trainer, batch)
this.training._Trainer.one_step = one_step
from test_evaluation import ToyStore
this.run_training(ToyStore(this.INDEX), this.Path(sys.argv[2]))
"""


def _logged_steps(folder: Path) -> int:
    """Last step in the metrics on disk; they are written with every checkpoint."""
    lines = (folder / "metrics.csv").read_text().split() if (folder / "metrics.csv").exists() else []
    return int(lines[-1].split(",")[0]) if len(lines) > 1 else 0


def test_a_killed_run_resumes_to_the_same_result(store, whole, tmp_path):
    """SIGKILL from outside, at whatever step, write or validation it happens to be once ten steps have reached the disk."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", SCRIPT, str(TESTS), str(tmp_path)]
    process = subprocess.Popen(command, cwd=TESTS.parent, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while _logged_steps(tmp_path) < 10 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.4))
    finally:
        process.kill()
        status = process.wait()
    assert status == -signal.SIGKILL, "the run ended before it could be killed"
    assert (tmp_path / "checkpoint.pt").exists() and not (tmp_path / "model.pt").exists()
    model = run_training(store, tmp_path)
    assert same_weights(model.state_dict(), whole.weights)
    assert (tmp_path / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()


def test_a_finished_run_is_loaded_and_not_trained_again(store, whole, monkeypatch):
    before = {path.name: path.stat().st_mtime_ns for path in whole.folder.iterdir()}
    counter = Interruption(monkeypatch)
    model = run_training(store, whole.folder)
    assert counter.steps == 0 and not model.training and same_weights(model.state_dict(), whole.weights)
    assert before == {path.name: path.stat().st_mtime_ns for path in whole.folder.iterdir()}
    events = torch.rand(2, 2, 2, HEIGHT, WIDTH)
    with torch.inference_mode():
        assert torch.equal(model(events=events), model(events=events))


@pytest.mark.parametrize("change", ["seed", "rate", "data", "clips"])
def test_changed_settings_train_anew(store, tmp_path, monkeypatch, change):
    run_training(store, tmp_path, short(), validate=False)
    other, changed = short(), store
    if change == "seed":
        other = replace(other, seed=5)
    elif change == "rate":
        other = short(learning_rate=1e-3)
    elif change == "clips":
        other = replace(other, clips=replace(CLIPS, flip=0.0))
    else:
        changed = ToyStore(INDEX)
        changed.cache_key = "other"
    assert not finished(tmp_path, other.with_data(changed.cache_key))
    counter = Interruption(monkeypatch)
    run_training(changed, tmp_path, other, validate=False)
    assert counter.steps == 3 and finished(tmp_path, other.with_data(changed.cache_key))


def test_a_checkpoint_of_other_settings_is_not_continued(store, tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interruption(patch, after=2)
        run_training(store, tmp_path, short(checkpoint_every=1), validate=False)
    counter = Interruption(monkeypatch)
    run_training(store, tmp_path, short(checkpoint_every=1, learning_rate=1e-3), validate=False)
    assert counter.steps == 3


def test_the_model_of_earlier_settings_never_passes_for_that_of_an_interrupted_run(store, tmp_path):
    """Finish with one set of settings, start with another, stop after a checkpoint, start again: the new run must be finished."""
    run_training(store, tmp_path / "run", short(), validate=False)
    other = short(checkpoint_every=1, learning_rate=1e-3)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interruption(patch, after=2)
        run_training(store, tmp_path / "run", other, validate=False)
    assert not finished(tmp_path / "run", other.with_data(store.cache_key))
    model = run_training(store, tmp_path / "run", other, validate=False)
    expected = run_training(store, tmp_path / "fresh", other, validate=False)
    assert same_weights(model.state_dict(), expected.state_dict())


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(store, whole, tmp_path):
    """Step 10 breaks: the error names the step, the checkpoint of step 7 stays good and leads to the usual result."""
    original = ReidLoss.__call__
    calls = []

    def broken(self, output, labels):
        calls.append(1)
        terms = original(self, output, labels)
        return terms | {"total": terms["total"] * float("nan")} if len(calls) == 11 else terms

    message = r"loss is nan at step 10 .*lower the learning rate"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(FloatingPointError, match=message):
        patch.setattr(ReidLoss, "__call__", broken)
        run_training(store, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 7 and not (tmp_path / "model.pt").exists()
    assert all(value.isfinite().all() for value in state["model"].values())
    assert same_weights(run_training(store, tmp_path).state_dict(), whole.weights)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("average", [0.0, 0.5])
def test_every_optimizer_resumes(store, tmp_path, optimizer, average):
    run = short(iterations=4, optimizer=optimizer, average=average, checkpoint_every=3, clip_norm=1.0, schedule="steps")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interruption(patch, after=3)
        run_training(store, tmp_path / "a", run, validate=False)
    resumed = run_training(store, tmp_path / "a", run, validate=False)
    straight = run_training(store, tmp_path / "b", run, validate=False)
    assert same_weights(resumed.state_dict(), straight.state_dict())
