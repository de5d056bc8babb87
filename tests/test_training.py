"""Training: repeatable from its seed, interruptible at any step with the same result, and honest about what it finds on disk."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from test_evaluation import HEIGHT, WIDTH, ToyStore, toy_index

import reidlib.training as training
from reidlib.datasets import ClipSettings, validation_split
from reidlib.evaluation import protocols
from reidlib.losses import ReidLoss
from reidlib.training import RunSettings, TrainSettings, finished, learning_rate, load_history, train

ROOT = Path(__file__).resolve().parent.parent
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


@pytest.fixture(autouse=True)
def plain_cpu(monkeypatch):
    """One thread on the CPU, where sums are taken in the same order every time."""
    before, fabric = torch.get_num_threads(), training.Fabric
    torch.set_num_threads(1)
    monkeypatch.setattr(training, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store() -> ToyStore:
    return ToyStore(INDEX)


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


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory) -> Run:
    """The uninterrupted run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    fabric = training.Fabric
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))
        model = run_training(store, folder)
    torch.set_num_threads(threads)
    return Run(folder, {name: value.clone() for name, value in model.state_dict().items()})


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


def test_same_seed_same_bytes(store, whole, tmp_path):
    torch.manual_seed(99)  # whatever was drawn before does not matter
    torch.rand(5)
    model = run_training(store, tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()
    assert same_weights(model.state_dict(), whole.weights)


def test_another_seed_another_result(store, whole, tmp_path):
    run_training(store, tmp_path, replace(RUN, seed=4))
    assert (tmp_path / "metrics.csv").read_bytes() != (whole.folder / "metrics.csv").read_bytes()


def test_a_finished_run_leaves_the_agreed_files(whole):
    assert sorted(path.name for path in whole.folder.iterdir()) == ["metrics.csv", "model.pt", "settings.json"]
    assert same_weights(torch.load(whole.folder / "model.pt", weights_only=True), whole.weights)


def test_history_has_one_row_per_ten_steps_and_per_validation(whole):
    table = load_history(whole.folder)
    losses, scores = table[table["total"].notna()], table[table["validation_mAP"].notna()]
    assert losses["step"].tolist() == [10, 20, 24]
    assert scores["step"].tolist() == [9, 18, 24]
    assert scores["validation_mAP"].between(0, 100).all()
    assert {"learning_rate", "identity", "triplet"} <= set(losses) and losses[["identity", "triplet"]].notna().all().all()
    rates = [name for name in table if name.startswith("rate/")]
    assert rates and scores[rates].notna().all().all() and scores[rates].stack().between(0, 1).all()
    expected = [learning_rate(step - 1, SCHEDULE) for step in (10, 20, 24)]
    assert losses["learning_rate"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("every, expected", [(10, [10, 20, 24]), (8, [8, 16, 24])])
def test_validation_may_fall_on_any_step(store, tmp_path, every, expected):
    """Also on those that are logged, and on the last one, which is validated once."""
    run = replace(RUN, train=replace(SCHEDULE, validate_every=every))
    run_training(store, tmp_path, run)
    table = load_history(tmp_path)
    assert table.loc[table["validation_mAP"].notna(), "step"].tolist() == expected


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
sys.path.insert(0, sys.argv[1])
import test_training as this
torch.set_num_threads(1)
slowly = this.training._Trainer.one_step
def one_step(trainer, batch):
    time.sleep(0.1)
    slowly(trainer, batch)
this.training._Trainer.one_step = one_step
this.run_training(this.ToyStore(this.INDEX), this.Path(sys.argv[2]))
"""


def _logged_steps(folder: Path) -> int:
    """Last step in the metrics on disk; they are written with every checkpoint."""
    lines = (folder / "metrics.csv").read_text().split() if (folder / "metrics.csv").exists() else []
    return int(lines[-1].split(",")[0]) if len(lines) > 1 else 0


def test_a_killed_run_resumes_to_the_same_result(store, whole, tmp_path):
    """SIGKILL from outside, at whatever step, write or validation it happens to be once ten steps have reached the disk."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "tests"), str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
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


def test_a_learning_rate_out_of_bounds_ends_in_the_named_error(store, tmp_path):
    run = short(iterations=60, learning_rate=1e30, warmup=0.0, optimizer="sgd")
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        run_training(store, tmp_path, run, validate=False)


def test_loss_falls_and_the_training_set_is_learned(store, tmp_path):
    """A run without regularisation fits four people's blobs."""
    clips = replace(CLIPS, flip=0.0, erase=0.0, shift=0.0, drop=0.0)
    schedule = TrainSettings(iterations=60, people=4, clips=2, learning_rate=1e-2, loss=ReidLoss(label_smoothing=0.0, triplet_weight=0.5))
    options = {"width": 4, "depth": (1, 1, 1, 1), "neuron": {"kind": "if", "alpha": 1.0}}
    run = RunSettings("sew_resnet18", options, clips, schedule)
    model = run_training(store, tmp_path, run, validate=False)
    table = load_history(tmp_path)
    assert table["identity"].iloc[0] > 0.9 and table["identity"].iloc[-1] < 0.35, table
    part = INDEX[INDEX["person"].isin(TRAIN_INDEX["person"])].reset_index(drop=True)
    part["subset"] = ["query" if camera == 0 else "gallery" for camera in part["camera"]]
    vectors = training.embed(model, store, part, clips)
    assert training.rank_protocol(vectors, protocols(part)["query to gallery"]).mAP > 0.9


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


def test_the_kept_model_is_the_average_of_the_weights(store, tmp_path):
    """With decay a, w_avg <- a w_avg + (1 - a) w after every step, the first step's weights being the start."""
    run, seen = short(iterations=4, average=0.6), []
    original = training._Trainer.one_step
    with pytest.MonkeyPatch.context() as patch:

        def one_step(trainer, batch):
            original(trainer, batch)
            seen.append(trainer.plain_model.backbone.conv.weight.detach().clone())

        patch.setattr(training._Trainer, "one_step", one_step)
        model = run_training(store, tmp_path, run, validate=False)
    average = seen[0]
    for weight in seen[1:]:
        average = 0.6 * average + 0.4 * weight
    torch.testing.assert_close(model.backbone.conv.weight.detach(), average, rtol=1e-5, atol=1e-7)


def test_gradient_norm_is_limited(store, tmp_path):
    """With plain SGD without momentum's past, one step moves the weights by at most rate times the limit."""
    moved = {}
    for limit in (0.0, 1e-3):
        run = short(iterations=1, optimizer="sgd", weight_decay=0.0, average=0.0, warmup=0.0, learning_rate=1.0, clip_norm=limit)
        torch.manual_seed(run.seed)
        start = training.build_model(run.model, TRAIN_INDEX["person"].nunique(), **run.options)
        model = run_training(store, tmp_path / str(limit), run, validate=False)
        pairs = zip(start.parameters(), model.parameters(), strict=True)
        moved[limit] = math.sqrt(sum(float((a - b).detach().square().sum()) for a, b in pairs))
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-2) and moved[0.0] > 0.01


@pytest.mark.parametrize("validate", [True, False])
def test_a_run_without_checkpoints_still_ends_in_files(store, tmp_path, validate):
    run_training(store, tmp_path, short(checkpoint_every=0), validate)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "model.pt", "settings.json"]
    table = load_history(tmp_path)
    assert table["step"].tolist() == [3, 3] if validate else [3]


def test_mixed_precision_runs(store, tmp_path):
    model = run_training(store, tmp_path, short(precision="bf16-mixed"), validate=False)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def test_people_of_the_held_out_part_are_not_trained_on(store):
    assert not set(TRAIN_INDEX["person"]) & set(HELD_OUT["person"]) and set(HELD_OUT["subset"]) == {"query", "gallery"}


def test_too_few_people_are_named(store, tmp_path):
    with pytest.raises(ValueError, match="9 different people: the index has 4"):
        run_training(store, tmp_path, short(people=9), validate=False)
    with pytest.raises(ValueError, match="1 training identities"):
        train(short(), store, TRAIN_INDEX[TRAIN_INDEX["person"] == TRAIN_INDEX["person"].iloc[0]], tmp_path)


def test_cosine_schedule_points():
    s = TrainSettings(iterations=100, learning_rate=1.0, warmup=0.1)
    assert learning_rate(0, s) == pytest.approx(0.1) and learning_rate(4, s) == pytest.approx(0.5)
    assert learning_rate(9, s) == pytest.approx(1.0) == learning_rate(10, s)
    assert learning_rate(55, s) == pytest.approx(0.5)  # halfway down
    assert learning_rate(99, s) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    falling = [learning_rate(step, s) for step in range(10, 100)]
    assert falling == sorted(falling, reverse=True) and min(falling) > 0


def test_step_schedule_points():
    s = TrainSettings(iterations=100, learning_rate=1.0, warmup=0.0, schedule="steps")
    assert [learning_rate(step, s) for step in (0, 59, 60, 79, 80, 99)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    warm = replace(s, warmup=0.2)  # the remaining 80 steps are divided
    assert [learning_rate(step, warm) for step in (19, 20, 67, 68, 83, 84)] == [1.0, 1.0, 1.0, 0.1, 0.1, 0.01]


@given(st.integers(1, 400), st.floats(0, 0.99), st.sampled_from(["cosine", "steps"]))
def test_the_rate_stays_between_zero_and_its_peak(iterations, warmup, schedule):
    s = TrainSettings(iterations=iterations, learning_rate=2.0, warmup=warmup, schedule=schedule)
    assert all(0 < learning_rate(step, s) <= 2.0 for step in range(iterations))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"iterations": 0}, "iterations 0"),
        ({"people": 1}, r"people 1 \(at least 2\)"),
        ({"clips": 0}, "clips 0"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'; choose adamw, adam or sgd"),
        ({"schedule": "linear"}, "unknown schedule 'linear'; choose cosine or steps"),
        ({"warmup": 1.0}, "warmup 1.0"),
        ({"warmup": -0.1}, "warmup -0.1"),
        ({"average": 1.0}, "average 1.0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**options)


def test_settings_as_plain_data():
    plain = RUN.with_data("key")
    assert plain["data"] == "key" and plain["clips"]["size"] == [HEIGHT, WIDTH] and plain["train"]["loss"]["margin"] == 0.3
    assert plain == RUN.with_data("key") != RUN.with_data("other")


def test_a_history_that_is_not_there_or_still_empty_is_named(store, tmp_path):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Interruption(patch, after=1)
        run_training(store, tmp_path / "early", short(checkpoint_every=1), validate=False)
    with pytest.raises(FileNotFoundError, match=r"no training history at .*early"):
        load_history(tmp_path / "early")
    with pytest.raises(FileNotFoundError, match=r"no training history at .*metrics.csv"):
        load_history(tmp_path)


def test_history_round_trip_keeps_the_table(whole):
    table = load_history(whole.folder)
    assert isinstance(table, pd.DataFrame) and table.columns[0] == "step" and len(table) == 6
