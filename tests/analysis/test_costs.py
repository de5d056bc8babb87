"""Costs by stage against the counter's totals, and growth fits on known laws."""

import pandas as pd
import pytest
import torch
from small_experiment import SmallExperiment

from reidlib.analysis.costs import (
    accuracy_table,
    clip_costs,
    cost_tables,
    embedding_parameters,
    energy_ratios,
    growth_exponents,
    latency_table,
    paper_sizes,
    ratio_sentences,
    stage_of,
    training_step_growth,
)
from reidlib.analysis.samples import first_clips
from reidlib.efficiency import operations


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("small"))


def test_stages_have_names():
    named = {
        "backbone.conv": "stem", "backbone.stages.2.0.conv1": "stage 3", "backbone.after.4": "SSAM 4", "backbone.after.2.qkv": "SSAM 2",
        "neck.norm": "head",
    }  # fmt: skip
    assert {layer: stage_of(layer) for layer in named} == named


def test_costs_are_the_mean_over_clips_and_stages_sum_to_them(experiment):
    costs, stages = cost_tables(experiment, ("s3ce_net", "resnet18_events"), clips=3)
    model, clips = experiment.model("s3ce_net"), first_clips(experiment.store, experiment.test_index, experiment.settings.clips, 3)
    totals = operations(model, {"events": clips}).totals
    assert not operations(model, {"events": clips}).table["layer"].str.contains("classifier").any()  # only training needs it
    row = costs.set_index("name").loc["s3ce_net"]
    assert row["synops"] == pytest.approx(totals["acs"] / 3)
    assert row["macs"] == pytest.approx(totals["macs"] / 3)
    assert row["dense"] == pytest.approx(totals["dense"] / 3)
    assert row["energy_uJ"] == pytest.approx(row["macs"] * 4.6e-6 + row["synops"] * 0.9e-6)
    assert 0 < row["stem_share"] < 1
    sums = stages.groupby("name")[["mac_uJ", "ac_uJ"]].sum().sum(axis=1)
    assert sums["s3ce_net"] == pytest.approx(row["energy_uJ"])
    own = stages[stages["name"] == "s3ce_net"]["stage"].tolist()
    assert own == ["stem", "stage 1", "stage 2", "SSAM 2", "stage 3", "stage 4", "SSAM 4"]
    assert own[:2] == ["stem", "stage 1"]
    assert "SSAM 2" not in stages[stages["name"] == "resnet18_events"]["stage"].tolist()


def test_the_twin_has_no_accumulates_and_the_stem_of_a_spiking_net_is_macs(experiment):
    clip = first_clips(experiment.store, experiment.test_index, experiment.settings.clips, 1)
    twin, spiking = (clip_costs(experiment.model(name), clip).set_index("stage") for name in ("resnet18_events", "sew_resnet18"))
    assert twin["acs"].sum() == 0
    assert spiking.loc["stem", "macs"] == spiking.loc["stem", "dense"] == twin.loc["stem", "dense"]
    assert spiking["macs"].drop("stem").sum() == 0


def test_embedding_parameters_leave_the_classifier_out(experiment):
    model = experiment.model("sew_resnet18")
    assert embedding_parameters(model) == sum(p.numel() for name, p in model.named_parameters() if "classifier" not in name)


def test_ratio_to_the_twin():
    costs = pd.DataFrame({"name": ["a", "b", "twin"], "title": ["A", "B", "T"], "energy_uJ": [2.0, 4.0, 10.0]})
    table = energy_ratios(costs, "twin").set_index("name")
    assert table.loc["a", "ratio"] == pytest.approx(0.2)
    assert table["at most 0.2"].tolist() == ["yes", "no", "(the twin itself)"]
    assert '"at most 0.2" holds' in ratio_sentences(table.reset_index(), "a", "twin")[0]
    assert '"at most 0.2" does not hold' in ratio_sentences(table.reset_index(), "b", "twin")[0]
    assert ratio_sentences(table.reset_index(), "b", "twin")[1] == "The others: A 0.200."
    with pytest.raises(ValueError, match="'other' is not among"):
        energy_ratios(costs, "other")


def test_accuracy_stands_beside_the_cost(experiment):
    costs = pd.DataFrame({"name": ["sew_resnet18"], "energy_uJ": [1.0]})
    row = accuracy_table(experiment, costs).iloc[0]
    assert row["mAP"] == pytest.approx(experiment.evaluation("sew_resnet18").mAP.mean)
    assert row["low"] <= row["mAP"] <= row["high"]


def test_latency_has_a_row_per_model_and_batch(experiment):
    clips = first_clips(experiment.store, experiment.test_index, experiment.settings.clips, 3)
    models = {name: experiment.model(name) for name in ("sew_resnet18", "resnet18_events")}
    table = latency_table(models, clips, batches=(1, 3), rounds=2)
    assert len(table) == 4
    assert (table["low_ms"] <= table["latency_ms"]).all() and (table["latency_ms"] <= table["high_ms"]).all()
    big = table[table["setting"] == "batch of 3"].iloc[0]
    assert big["clips_per_s"] == pytest.approx(3e3 / big["latency_ms"])
    with pytest.raises(ValueError, match="a batch of 8 clips"):
        latency_table(models, clips, batches=(8,))


def test_memory_of_a_training_step_grows_linearly_with_steps(experiment):
    growth = training_step_growth(experiment, ("s3ce_net",), (4, 8, 16), batch=4, repeats=1)
    assert growth["steps"].tolist() == [4, 8, 16]
    assert growth["memory_per_T"].iloc[0] == 1
    assert growth_exponents(growth)["memory_mb"].iloc[0] == pytest.approx(1, abs=0.1)
    assert (growth["total_mb"] > growth["memory_mb"]).all()


def test_exponents_of_known_laws():
    steps = pd.Series([8, 16, 32, 64])
    table = growth_exponents(pd.DataFrame({"name": "x", "steps": steps, "seconds": 0.1 * steps, "memory_mb": 3.0 * steps**2}))
    assert table["seconds"].iloc[0] == pytest.approx(1)
    assert table["memory_mb"].iloc[0] == pytest.approx(2)
    with pytest.raises(ValueError, match="at least two"):
        growth_exponents(pd.DataFrame({"name": ["x"], "steps": [8], "seconds": [1.0], "memory_mb": [1.0]}))


def test_published_sizes():
    table = paper_sizes(("sew_resnet18",), width=64, size=(64, 32), steps=2).iloc[0]
    assert table["parameters"] == pytest.approx(11.17e6, rel=1e-3)
    with torch.no_grad():
        assert table["ssam_share"] == 0
