"""Training: repeatable from its seed, and honest about what it finds."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_evaluation import HEIGHT, WIDTH
from toy_training import CLIPS, HELD_OUT, INDEX, RUN, SCHEDULE, TRAIN_INDEX, Interruption, run_training, same_weights, short

import reidlib.training as training
from reidlib.evaluation import protocols
from reidlib.losses import ReidLoss
from reidlib.training import RunSettings, TrainSettings, learning_rate, load_history, train


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
