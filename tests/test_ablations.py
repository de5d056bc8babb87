"""Rows and systems: every row in one system, names that lead somewhere, twins."""

import subprocess
import sys
from collections import Counter

import pytest

from reidlib.ablations import AGAINST_OCCLUSION, BASELINE, MAIN, PARTS, ROWS, SYSTEMS, VIDEO_SYSTEMS, row, system_of
from reidlib.ablations.plan import DATASETS, PRESETS, main, plan, trainings
from reidlib.models import MODELS

EVERY = [(system, one) for system in SYSTEMS.values() for one in system.rows if one is not BASELINE]
FIVE = ["ianet", "tclnet", "vrstc", "rfcnet", "bicnet_tks"]


def test_every_row_is_in_one_system_and_has_a_name_and_a_title_of_its_own():
    assert list(SYSTEMS) == [system.name for system in SYSTEMS.values()] == ["s3ce_net", "sdcl", *FIVE]
    for column in ("name", "title"):  # tables are turned by title
        counts = Counter(getattr(one, column) for one in (BASELINE, *(one for _, one in EVERY)))
        assert set(counts.values()) == {1}, counts.most_common(3)
    assert set(ROWS) == {BASELINE.name, *(one.name for _, one in EVERY)} and len(ROWS) == len(EVERY) + 1
    assert all(system_of(one.name) is system and row(one.name) is one for system, one in EVERY)


def test_the_video_systems_share_one_baseline():
    assert [system.name for system in VIDEO_SYSTEMS] == FIVE and set(AGAINST_OCCLUSION) < set(FIVE)
    for system in VIDEO_SYSTEMS:
        assert system.video and system.rows[0] is BASELINE and system.main == (system.name, BASELINE.name)
        assert system.parts[0] == BASELINE.name and row(system.name).reference == BASELINE.name
    assert system_of(BASELINE.name).name == "ianet"  # the first of them
    assert {one.name for one in ROWS.values() if one.completion is not None} >= {"vrstc"} and row("non_local").completion is None


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_a_system_names_rows_of_its_own(system):
    own = [one.name for one in system.rows]
    assert set(system.main) | set(system.parts) <= set(own)
    assert system.main[0] == system.name and system.name in system.parts
    assert row(system.parts[0]).reference == ""  # the baseline, which the others are held against
    assert len(set(system.main)) == len(system.main) and len(set(system.parts)) == len(system.parts)


def test_the_systems_of_the_papers():
    assert (SYSTEMS["s3ce_net"].main, SYSTEMS["s3ce_net"].parts) == (MAIN, PARTS)
    assert [name for name, system in SYSTEMS.items() if not system.video] == ["s3ce_net"]


@pytest.mark.parametrize(("system", "one"), EVERY, ids=[one.name for _, one in EVERY])
def test_a_row_refers_to_rows_that_exist(system, one):
    assert one.model in MODELS
    seen, reference = {one.name}, one.reference
    while reference:  # down to a baseline, never in a circle
        assert reference in {each.name for each in system.rows} and reference not in seen
        seen.add(reference)
        reference = row(reference).reference
    if one.start:
        assert system_of(one.start) is system
        assert row(one.start).start == ""  # a start is trained from fresh weights


def test_rows_are_found_by_name():
    assert row("joint_relu").options == {"coupling": "joint", "neuron": {"kind": "relu"}} and row("joint_relu").start == ""
    assert row("joint_relu").reference == "joint" and row("joint_relu").title == "joint coupling, ReLU twin"
    assert system_of("joint_relu").name == system_of("s3ce_net_relu").name == "s3ce_net"
    assert system_of("mappings2_relu").name == "sdcl"
    for unknown in ("nothing", "nothing_relu", "_relu", "", "joint_relu_relu"):
        for find in (row, system_of):
            with pytest.raises(ValueError, match=f"unknown ablation row '{unknown}'; choose one of resnet18_events"):
                find(unknown)


def test_sdcl_is_trained_from_fresh_weights_on_both_inputs_of_the_clip():
    rows = SYSTEMS["sdcl"].rows
    assert {one.start for one in rows} == {""} and {one.model for one in rows} == {"sdcl", "psta"}
    assert {one.group for one in rows} == {"inputs", "fusion", "spiking", "mappings", "pyramid", "training"}


def test_a_plan_lists_every_training_after_the_one_it_begins_with():
    listed = trainings("study", "walkers", seed=5)
    assert len(set(listed)) == len(listed) and {(name, seed) for name in ROWS for seed in (5, 6, 7)} <= {line[:2] for line in listed}
    expected = {("sew_resnet18", 5, "resnet18_events"), ("resnet18_events", 7, ""), ("joint", 6, "joint_relu"), ("joint_relu", 6, "")}
    assert expected | {("sdcl", 5, "")} <= set(listed)
    done = set()
    for name, seed, start in listed:
        assert not start or (start, seed) in done, name
        done.add((name, seed))


def test_a_method_plans_its_system_alone():
    frames = trainings("study", "walkers", method="sdcl")
    assert frames == trainings("study", "walkers", method="fusion_none")
    assert frames == [(one.name, seed, "") for seed in (0, 1, 2) for one in SYSTEMS["sdcl"].rows]
    events, everything = trainings("study", "walkers", method="s3ce_net"), trainings("study", "walkers")
    five = {line for name in FIVE for line in trainings("study", "walkers", method=name)}
    assert set(events) | set(frames) | five == set(everything) and len(events) + len(frames) + len(five) == len(everything)
    assert everything == trainings("study", "walkers", method="all")
    with pytest.raises(ValueError, match="METHOD 'sdcl' is not a row of preset 'study' of event_reid; choose one of"):
        trainings("study", "event_reid", method="sdcl")


def test_what_is_shown_unasked():
    for preset in PRESETS:
        for dataset, video in DATASETS.items():
            found = plan(preset, dataset)
            assert found.shown == found.asked("") and set(found.shown) <= set(found.rows) and found.asked("all") == tuple(found.rows)
            if not video:
                assert found.shown == ("s3ce_net",)
            elif "occluded" in dataset:
                assert found.shown == AGAINST_OCCLUSION
            else:
                assert found.shown == (("s3ce_net", "sdcl") if preset == "demo" else tuple(SYSTEMS))
    assert plan("study", "mars").asked("tse") == ("tclnet",)


def test_unknown_names_are_answered_with_the_legal_ones():
    with pytest.raises(ValueError, match="unknown preset 'huge'; choose one of tiny, demo, study, paper"):
        plan("huge", "walkers")
    with pytest.raises(ValueError, match="unknown data set 'cifar'; choose one of walkers, walkers_occluded, event_reid"):
        plan("tiny", "cifar")


def test_the_command_line_prints_the_plan_and_loads_no_network(capsys):
    main(["--preset", "study", "--method", "s3ce_net"])
    lines = capsys.readouterr().out.splitlines()
    assert "sew_resnet18 2 resnet18_events s3ce_net" in lines and "resnet18_events 0 - s3ce_net" in lines
    script = "import sys; from reidlib.ablations.plan import main; main([]); sys.exit('torch' in sys.modules)"
    listed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    planned = [f"{name} {seed} {start or '-'} {system_of(name).name}" for name, seed, start in trainings("demo", "walkers")]
    assert listed.returncode == 0 and listed.stdout.splitlines() == planned
