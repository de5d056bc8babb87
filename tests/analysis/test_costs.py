"""Costs by stage against the counter's totals, and growth fits on known laws."""

import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis.costs import (
    accuracy_table,
    clip_costs,
    cost_tables,
    embedding_parameters,
    energy_ratios,
    growth_exponents,
    input_name,
    latency_table,
    ratio_sentences,
    shown_rows,
    stage_of,
    training_step_growth,
)
from reidlib.analysis.samples import first_inputs
from reidlib.efficiency import operations


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("filmed"), video=True)


def inputs_of(experiment, model, count):
    return first_inputs(experiment.store, experiment.test_index, experiment.settings.clips, count, model.modalities)


def test_stages_have_names():
    named = {
        "backbone.conv": "stem", "backbone.stages.2.0.conv1": "stage 3", "backbone.after.4": "SSAM 4", "backbone.after.2.qkv": "SSAM 2",
        "neck.norm": "head", "event_branch.spiking.0.0": "spiking layers", "event_branch.mappings.2": "event mappings",
        "event_branch.encoder.4.0": "event encoder", "frame_branch.reduce.0": "frame branch", "fusion.exchanges.e2f.mlp.0": "exchange",
        "head.pyramid.merges.joint.0.embed.0.0": "pyramid", "head.necks.0.norm": "head", "backbone.layer1.0.conv1": "frame branch",
        "backbone.conv1": "frame branch", "backbone.trunk.conv1": "stem", "trunk.trunk.layer3.0.conv1": "stage 3",
        "backbone.after.2.0.reduce": "block 2", "trunk.after.3.1.theta": "block 3", "later.0.conv1": "stage 4", "seo.correlate": "SEO",
        "csp.1.expand": "CSP 1", "dao.3.places.0": "DAO 3", "tks.2.kernels.1": "TKS 2", "necks.1.norm": "head",
    }  # fmt: skip
    assert {layer: stage_of(layer) for layer in named} == named


def test_inputs_are_named_as_in_the_published_tables():
    assert [input_name(taken) for taken in (("events",), ("frames",), ("events", "frames"))] == ["E", "V", "V+E"]


def test_main_rows_and_parts_are_shown_as_far_as_they_are_trained(experiment, filmed):
    assert shown_rows(experiment) == ("s3ce_net", "sew_resnet18", "resnet18_events", "ssam", "stfs")
    assert shown_rows(filmed) == (*shown_rows(experiment)[:3], "sdcl", "psta", "sdcl_events", "ssam", "stfs", "fusion_none")


def test_costs_are_the_mean_over_clips_and_stages_sum_to_them(experiment):
    costs, stages = cost_tables(experiment, ("s3ce_net", "resnet18_events"), clips=3)
    model = experiment.model("s3ce_net")
    clips = inputs_of(experiment, model, 3)
    totals = operations(model, clips).totals
    assert not operations(model, clips).table["layer"].str.contains("classifier").any()  # only training needs it
    row = costs.set_index("name").loc["s3ce_net"]
    assert row["synops"] == pytest.approx(totals["acs"] / 3)
    assert row["macs"] == pytest.approx(totals["macs"] / 3)
    assert row["dense"] == pytest.approx(totals["dense"] / 3)
    assert row["energy_uJ"] == pytest.approx(row["macs"] * 4.6e-6 + row["synops"] * 0.9e-6)
    assert row["mac_share"] == pytest.approx(row["macs"] * 4.6e-6 / row["energy_uJ"])
    assert row["activity"] == pytest.approx(row["synops"] / (row["dense"] - row["macs"])) and row["input"] == "E"
    twin = costs.set_index("name").loc["resnet18_events"]
    assert twin["mac_share"] == pytest.approx(1) and pd.isna(twin["activity"])
    sums = stages.groupby("name")[["mac_uJ", "ac_uJ"]].sum().sum(axis=1)
    assert sums["s3ce_net"] == pytest.approx(row["energy_uJ"])
    own = stages[stages["name"] == "s3ce_net"]["stage"].tolist()
    assert own == ["stem", "stage 1", "stage 2", "SSAM 2", "stage 3", "stage 4", "SSAM 4"]
    assert own[:2] == ["stem", "stage 1"]
    assert "SSAM 2" not in stages[stages["name"] == "resnet18_events"]["stage"].tolist()


def test_the_twin_has_no_accumulates_and_the_stem_of_a_spiking_net_is_macs(experiment):
    clip = inputs_of(experiment, experiment.model("sew_resnet18"), 1)
    twin, spiking = (clip_costs(experiment.model(name), clip).set_index("stage") for name in ("resnet18_events", "sew_resnet18"))
    assert twin["acs"].sum() == 0
    assert spiking.loc["stem", "macs"] == spiking.loc["stem", "dense"] == twin.loc["stem", "dense"]
    assert spiking["macs"].drop("stem").sum() == 0


def test_what_spikes_and_what_multiplies_in_sdcl(filmed):
    model = filmed.model("sdcl")
    clip = inputs_of(filmed, model, 1)
    stages, table = clip_costs(model, clip).set_index("stage"), operations(model, clip).table.set_index("layer")
    assert stages.index.tolist() == ["spiking layers", "event mappings", "event encoder", "frame branch", "exchange", "pyramid"]
    spiking = table[table["operand"] != "real"]  # the first spiking layer sees scaled counts, the later mappings real numbers
    assert spiking.index.tolist() == ["event_branch.spiking.1.0", "event_branch.mappings.0"] and (spiking["acs"] > 0).all()
    assert stages["driven"].sum() == spiking["dense"].sum() and stages["acs"].sum() == spiking["acs"].sum()
    T, places, width = 4, 32 * 16, 4
    with_events = int((clip["events"] != 0).any(2).sum())
    assert table.loc["event_branch.mappings.0", "dense"] == T * places * 9 * width**2
    assert table.loc["event_branch.mappings.1", "macs"] == with_events * 9 * width**2
    frames = clip_costs(filmed.model("psta"), {"frames": clip["frames"]}).set_index("stage")
    assert frames.index.tolist() == ["frame branch", "pyramid"] and frames["acs"].sum() == 0
    assert frames.loc["frame branch", "macs"] == stages.loc["frame branch", "macs"]


def test_rows_of_all_inputs_stand_in_one_table(filmed):
    costs, stages = cost_tables(filmed, ("s3ce_net", "sdcl", "psta", "sdcl_events"), clips=2)
    assert costs["input"].tolist() == ["E", "V+E", "V", "E"]
    sums = stages.groupby("name", sort=False)[["mac_uJ", "ac_uJ"]].sum().sum(axis=1)
    assert sums.to_numpy() == pytest.approx(costs["energy_uJ"].to_numpy())
    assert costs["activity"].isna().tolist() == [False, False, True, False]


def test_embedding_parameters_leave_the_classifiers_out(experiment, filmed):
    for model in (experiment.model("sew_resnet18"), filmed.model("sdcl"), filmed.model("psta")):
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
    models = {name: experiment.model(name) for name in ("sew_resnet18", "resnet18_events")}
    clips = inputs_of(experiment, models["sew_resnet18"], 3)
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


def test_each_model_is_timed_on_what_it_takes(filmed):
    models = {name: filmed.model(name) for name in ("sdcl", "psta")}
    table = latency_table(models, inputs_of(filmed, models["sdcl"], 2), batches=(2,), rounds=1, repeats=1, warmup=(0, 0))
    assert table["name"].tolist() == ["sdcl", "psta"] and (table["latency_ms"] > 0).all()


def test_growth_of_networks_with_frames(filmed):
    growth = training_step_growth(filmed, ("sdcl", "psta"), (4, 8), batch=4, repeats=1)
    assert growth["steps"].tolist() == [4, 8, 4, 8]
    assert ((growth["memory_per_T"] > 0.6) & (growth["memory_per_T"] < 1.3)).all()


def test_exponents_of_known_laws():
    steps = pd.Series([8, 16, 32, 64])
    table = growth_exponents(pd.DataFrame({"name": "x", "steps": steps, "seconds": 0.1 * steps, "memory_mb": 3.0 * steps**2}))
    assert table["seconds"].iloc[0] == pytest.approx(1)
    assert table["memory_mb"].iloc[0] == pytest.approx(2)
    with pytest.raises(ValueError, match="at least two"):
        growth_exponents(pd.DataFrame({"name": ["x"], "steps": [8], "seconds": [1.0], "memory_mb": [1.0]}))
