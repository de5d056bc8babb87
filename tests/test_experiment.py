"""The notebooks' way in: presets, caching of trained rows and embeddings, seeds, and the command line."""

import copy
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch

from reidlib.ablations import MAIN, PARTS, ROWS, row
from reidlib.config import DATASETS, PRESETS, preset
from reidlib.experiment import Experiment
from reidlib.models import build_model, spiking_layers
from reidlib.training import copy_weights


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("experiment")
    patch = pytest.MonkeyPatch()
    patch.setenv("REIDLIB_DATA", str(folder / "data"))
    yield Experiment("walkers", "tiny", 0, folder / "runs")
    patch.undo()


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_row_of_every_preset_builds_its_model(name, dataset):
    found = preset(name, dataset)
    assert found.name == name and set(found.rows) <= set(ROWS) and set(MAIN) | set(PARTS) <= set(found.rows)
    for each in found.rows:
        run = found.run(each, seed=3)
        assert run.seed == 3 and run.model == row(each).model
        if name != "paper":  # those would fetch ImageNet weights
            build_model(run.model, 5, **run.options)


def test_a_row_changes_one_thing_of_its_reference():
    study = preset("study", "walkers")
    reference = asdict(study.run("s3ce_net", 0))
    for name in ROWS:
        if ROWS[name].group in ("coupling", "sampling", "steps"):
            changed = asdict(study.run(name, 0))
            differing = {(part, key) for part in ("options", "clips", "train") for key in changed[part] | reference[part]
                         if changed[part].get(key) != reference[part].get(key)}  # fmt: skip
            assert len(differing) == 1, (name, differing)


def test_the_study_has_three_seeds_and_every_row():
    study, demo = preset("study", "walkers"), preset("demo", "walkers")
    assert study.seeds >= 3 and set(study.rows) == set(ROWS)
    assert demo.run("s3ce_net", 0) == study.run("s3ce_net", 0)  # so that the demo lands near the study's mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("walkers", "huge"), "unknown preset 'huge'; choose one of tiny, demo"),
        (("mars", "tiny"), "unknown data set 'mars'; choose one of walkers, event_reid"),
    ],
)
def test_unknown_names_are_refused_with_the_legal_ones(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Experiment(*arguments, 0, tmp_path)
    with pytest.raises(ValueError, match="unknown ablation row 'nothing'; choose one of resnet18_events"):
        row("nothing")


def test_recorded_gaits_are_for_walkers_only(tmp_path):
    with pytest.raises(ValueError, match="GAIT drives the built-in walkers only"):
        Experiment("event_reid", "tiny", 0, tmp_path, gait=str(tmp_path))


def test_a_trained_row_is_found_again_and_its_embeddings_are_the_models_own(tiny):
    first = tiny.embeddings("sew_resnet18")
    model_file = tiny.folder("sew_resnet18") / "model.pt"
    written = model_file.stat().st_mtime_ns
    again = Experiment("walkers", "tiny", 0, tiny.output_dir)
    np.testing.assert_array_equal(again.embeddings("sew_resnet18"), first)
    (tiny.folder("sew_resnet18") / "embeddings.npz").unlink()
    np.testing.assert_allclose(again.embeddings("sew_resnet18"), first, atol=1e-6)
    assert model_file.stat().st_mtime_ns == written
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


def test_another_seed_is_another_run(tiny):
    assert tiny.folder("sew_resnet18", 1) != tiny.folder("sew_resnet18", 0)
    assert not np.allclose(tiny.embeddings("sew_resnet18", 1), tiny.embeddings("sew_resnet18", 0), atol=1e-3)


def test_test_people_are_never_trained_on(tiny):
    train = set(tiny.train_index["person"])
    held_out = set(tiny.validation.index["person"])
    test = set(tiny.test_index["person"])
    assert train and held_out and test
    assert not train & test and not train & held_out and not held_out & test


def test_paired_scores_line_up_with_their_people(tiny):
    scores, people = tiny.average_precisions("counts"), tiny.query_people()
    assert scores.shape == (len(tiny.seeds), len(people))
    assert np.nanmin(scores) >= 0 and np.nanmax(scores) <= 100
    assert scores.mean() > 0


def test_every_seed_draws_its_own_people_and_shares_nothing_else(tiny):
    other = tiny.at(1)
    assert tiny.at(None) is tiny.at(0) is tiny and tiny.at(1) is other and other.at(0).seed == 0
    assert other.store.cache_key != tiny.store.cache_key and other.store.settings["seed"] == 1
    assert other.folder("stfs") == tiny.folder("stfs", 1) and other.run_settings("stfs") == tiny.run_settings("stfs", 1)
    for name, protocol in tiny.protocols.items():  # query i of one draw stands beside query i of another
        for column in ("person", "camera", "subset"):
            assert (protocol.index[column] == other.protocols[name].index[column]).all()
    assert not np.array_equal(tiny.embeddings("counts", 1), tiny.embeddings("counts"))
    np.testing.assert_array_equal(tiny.embeddings("counts", 1), other.embeddings("counts"))
    assert tiny.evaluation("counts", seed=1).mAP == other.evaluation("counts").mAP


def test_a_real_set_is_the_same_for_every_seed(tiny):
    real = copy.copy(tiny)
    real.dataset, real._others = "event_reid", {}
    assert real.at(5).store is tiny.store and real.at(5).seed == 5


def test_unknown_protocol(tiny):
    with pytest.raises(ValueError, match="unknown protocol 'sideways'; this set has query to gallery"):
        tiny.evaluation("counts", "sideways")


def test_command_line_lists_the_trainings():
    listed = subprocess.run(
        [sys.executable, "-m", "reidlib.experiment", "rows", "--preset", "study", "--seed", "5"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(listed) == len(set(listed)) and {f"{name} {seed}" for name in ROWS for seed in (5, 6, 7)} <= {
        line.rpartition(" ")[0] for line in listed
    }
    for expected in ("sew_resnet18 5 resnet18_events", "resnet18_events 7 -", "joint 6 joint_relu", "joint_relu 6 -"):
        assert expected in listed
    done = {"-"}
    for line in listed:  # what another begins with comes before it
        name, seed, start = line.split()
        assert start == "-" or f"{start} {seed}" in done, line
        done.add(f"{name} {seed}")


def test_a_spiking_row_begins_with_itself_in_relu():
    study = preset("study", "walkers")
    for name in study.rows:
        run = study.run(name, 1)
        if run.start is None:
            assert name == "fresh_baseline" or run.options.get("neuron", {}).get("kind") == "relu" or run.model == "resnet18_events"
            continue
        assert (run.start.seed, run.start.start) == (1, None)
        if row(name).group in ("sampling", "steps", "length"):  # the same network as another row's, and its very start
            assert run.start == study.run(run.model, 1).start
        else:
            assert (run.start.clips, run.start.train) == (run.clips, run.train)
        torch.manual_seed(0)
        spiking, twin = (build_model(one.model, 5, **one.options) for one in (run, run.start))
        assert not spiking_layers(twin) and len(spiking_layers(spiking)) >= 17
        copy_weights(twin, spiking)  # every tensor finds its place, and none is left over
        assert spiking.state_dict().keys() == twin.state_dict().keys()


def test_rows_are_found_by_name():
    assert row("joint_relu").options == {"coupling": "joint", "neuron": {"kind": "relu"}} and row("joint_relu").start == ""
    for unknown in ("nothing", "nothing_relu", "_relu"):
        with pytest.raises(ValueError, match=f"unknown ablation row '{unknown}'; choose one of resnet18_events"):
            row(unknown)
