"""Presets: every row builds, changes one thing of its reference, and takes its model's training."""

from dataclasses import asdict, replace

import pytest
import torch

from reidlib.ablations import BASELINE, ROWS, SYSTEMS, VIDEO_SYSTEMS, row, system_of
from reidlib.ablations.plan import DATASETS, PRESETS, SPLITS
from reidlib.completion import CompletionSettings
from reidlib.config import preset
from reidlib.datasets import VIDEO_SETS
from reidlib.datasets.video_events import ConversionSettings
from reidlib.models import build_model, spiking_layers
from reidlib.training import copy_weights


@pytest.mark.parametrize("dataset", ("walkers", "event_reid"))  # the video sets have the rows and models of the walkers, see below
@pytest.mark.parametrize("name", PRESETS)
def test_every_row_of_every_preset_builds_its_model(name, dataset):
    found = preset(name, dataset)
    assert (found.name, found.dataset) == (name, dataset) and found.all_rows
    for each in found.all_rows:
        run = found.run(each, seed=3)
        assert run.seed == 3 and run.model == row(each).model
        fetched = {"pretrained": False} if run.options.get("pretrained") else {}
        with torch.device("meta"):  # shapes alone: the paper's networks are large
            model = build_model(run.model, 5, **run.options | fetched)
        assert set(model.modalities) <= ({"events", "frames"} if system_of(each).video else {"events"})


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", PRESETS)
def test_rows_stand_under_their_system(name, dataset):
    found = preset(name, dataset)
    assert list(found.rows) == [system.name for system in SYSTEMS.values() if DATASETS[dataset] or not system.video]
    for system, names in found.rows.items():
        assert {system_of(each).name for each in names if each != BASELINE.name} == {system} and len(set(names)) == len(names)
        assert set(SYSTEMS[system].main) <= set(names)  # every report shows them
    assert found.all_rows == tuple(dict.fromkeys(each for names in found.rows.values() for each in names))
    assert {row(each).model for each in found.all_rows} <= set(found.models)


@pytest.mark.parametrize("name", PRESETS)
def test_video_sets_share_one_entry_that_their_options_allow(name):
    found = {dataset: preset(name, dataset) for dataset in VIDEO_SETS}
    for dataset in SPLITS:  # all splits are stored, and seeds count through them
        assert found[dataset].data == found["mars"].data | {"split": None}
        assert found[dataset].seeds == (10 if found["mars"].seeds > 1 else 1)
    shared = {"dataset": "", "shown": (), "data": found["mars"].data, "seeds": found["mars"].seeds}
    assert len({repr(replace(each, **shared)) for each in found.values()}) == 1
    mars = found["mars"]
    conversion = ConversionSettings(**mars.data)
    assert mars.clips.seconds * conversion.fps == 32
    assert (conversion.height, conversion.width) == ((256, 128) if name == "paper" else (128, 64))
    walkers = preset(name, "walkers")
    assert (mars.rows, mars.models, mars.train) == (walkers.rows, walkers.models, walkers.train)
    assert mars.validation_people in (0, 2, 20)


def differing(one, other) -> set[tuple[str, str]]:
    """(part, field) of all that differs between two runs' settings."""
    a, b = asdict(one), asdict(other)
    return {(part, key) for part in ("options", "clips", "train") for key in a[part] | b[part] if a[part].get(key) != b[part].get(key)}


def test_a_row_of_s3ce_net_changes_one_thing_of_its_reference():
    study = preset("study", "walkers")
    for name in study.rows["s3ce_net"]:
        if ROWS[name].group in ("coupling", "sampling", "steps"):
            assert len(differing(study.run(name, 0), study.run("s3ce_net", 0))) == 1, name


def test_a_row_of_sdcl_changes_one_thing_of_its_reference():
    study, found = preset("study", "walkers"), {}
    for name in study.rows["sdcl"]:
        one, reference = study.run(name, 0), row(name).reference
        if reference and study.run(reference, 0).model == one.model:
            found[name] = differing(one, study.run(reference, 0))
    double = {"attention_e2f", "attention_f2e"}  # of Table 2: a way to exchange, and its direction
    assert {name: len(changes) for name, changes in found.items()} == {name: 1 + (name in double) for name in found}
    assert len(found) == len(study.rows["sdcl"]) - 3  # all but PSTA, and those that are another network than their reference
    fields = {key for changes in found.values() for _, key in changes}
    assert fields == {"modalities", "fusion", "direction", "spiking", "mappings", "offsets", "outside", "pyramid", "relation", "degrade"}


def test_a_row_of_a_video_system_changes_its_network_and_nothing_else():
    study = preset("study", "walkers")
    for system in VIDEO_SYSTEMS:
        for name in study.rows[system.name]:
            run, own = study.run(name, 0), study.run(system.name, 0)
            assert (run.clips, run.start) == (own.clips, None)
            if name != BASELINE.name:  # TCLNet's margin is another
                assert run.model == system.name and run.train == own.train
                if name != system.name:
                    assert differing(run, own) or row(name).completion != row(system.name).completion, name
    assert study.run("tclnet", 0).train.loss.margin == 0.4 and study.run(BASELINE.name, 0).train.loss.margin == 0.3
    tiny = preset("tiny", "walkers")
    assert {tiny.run(name, 0).clips.size for system in VIDEO_SYSTEMS for name in system.main} == {(64, 32)}


def test_how_video_is_completed():
    study, demo = preset("study", "walkers"), preset("demo", "walkers")
    found = study.completed("stcnet_spatial", 3)
    assert found.seed == 3 and found.options == study.completed("vrstc", 3).options | {"temporal": False, "critics": ()}
    assert replace(found, options={}) == replace(study.completed("vrstc", 3), options={})
    assert demo.completed("vrstc", 0) == replace(study.completed("vrstc", 0), iterations=300)
    assert preset("paper", "walkers").completed("vrstc", 0) == CompletionSettings()
    with pytest.raises(ValueError, match="row 'sdcl' sees the video as it is"):
        study.completed("sdcl", 0)


def test_the_rows_on_degraded_video_differ_from_the_clean_ones_in_that_alone():
    study = preset("study", "walkers")
    for name in ("sdcl", "psta"):
        clean, degraded = study.run(name, 0), study.run(f"{name}_degraded", 0)
        assert differing(clean, degraded) == {("clips", "degrade")} and clean.clips.degrade == 0 < degraded.clips.degrade
    assert study.run("sdcl_degraded", 0).clips == study.run("psta_degraded", 0).clips


def test_the_study_has_three_seeds_and_every_row():
    study, demo = preset("study", "walkers"), preset("demo", "walkers")
    assert study.seeds >= 3 and set(study.all_rows) == set(ROWS)
    for name in demo.rows["s3ce_net"]:
        assert demo.run(name, 0) == study.run(name, 0)  # so that the demo lands near the study's mean
    for name in demo.rows["sdcl"]:
        assert differing(demo.run(name, 0), study.run(name, 0)) <= {("train", "iterations")}  # at most it ends earlier
    assert set(preset("study", "event_reid").all_rows) == {one.name for one in SYSTEMS["s3ce_net"].rows}


def test_a_models_training_is_changed_for_that_model_alone():
    plain = replace(preset("study", "walkers"), trains={})
    found = replace(plain, trains={"sdcl": {"iterations": 7, "learning_rate": 0.5}, "resnet18_events": {"iterations": 11}})
    for name in found.all_rows:
        run, before = found.run(name, 0), plain.run(name, 0)
        if run.model == "sdcl":
            assert run.train == replace(before.train, iterations=7, learning_rate=0.5)
        elif run.model == "resnet18_events":
            assert run.train == replace(before.train, iterations=11)
        else:
            assert run.train == before.train
        assert (run.options, run.clips) == (before.options, before.clips)
    assert found.run("sew_resnet18", 0).start.train.iterations == 11  # its start is trained as that network is
    twice = replace(plain, trains={"sew_resnet18": {"iterations": 7}})
    assert twice.run("long_baseline", 0).train.iterations == 14


def test_options_of_a_row_change_single_fields_of_its_model():
    study = preset("study", "walkers")
    assert study.run("stfs_spatial", 0).options["sampling"] == {**study.models["s3ce_net"].get("sampling", {}), "temporal": 0}
    relu = study.run("s3ce_net_relu", 0).options["neuron"]
    assert relu == study.models["s3ce_net"]["neuron"] | {"kind": "relu"}
    assert study.run("sdcl", 0).options == study.models["sdcl"]


def test_a_spiking_row_begins_with_itself_in_relu():
    study = preset("study", "walkers")
    for name in study.rows["s3ce_net"]:
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


def test_a_row_changes_single_fields_of_the_loss():
    study = preset("study", "walkers")
    own, cosine, video = (study.run(name, 0).train.loss for name in ("s3ce_net", "triplet_cosine", "sdcl"))
    assert own.distance == "euclidean" and cosine == replace(own, distance="cosine") == video
    assert study.run("triplet_neck", 0).start.train.loss == cosine  # its own twin too


@pytest.mark.parametrize("name", PRESETS)
def test_a_triplet_before_the_neck_of_spike_counts_is_euclidean(name):
    """A cosine triplet there stands still: in every preset, for all three event networks and for them alone."""
    chosen = preset(name, "walkers")
    for one in ("s3ce_net", "sew_resnet18", "resnet18_events"):
        assert chosen.run(one, 0).train.loss == replace(chosen.run("sdcl", 0).train.loss, distance="euclidean")
