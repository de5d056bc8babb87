"""Settings in words, what a row changes, and firing rates by layer."""

from dataclasses import replace

import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.ablations import ROWS
from reidlib.analysis import runs
from reidlib.analysis.comparison import reference_of
from reidlib.config import preset
from reidlib.models import build_model, spiking_layers


class Trained(SmallExperiment):
    """Its people are trained on as well, and it has a history."""

    @property
    def train_index(self):
        return self.test_index

    validation = None

    def history(self, name, seed=None):
        row = {"step": 10, "total": 2.0 + (seed or 0), "rate/a": 0.1, "rate/b": 0.3}
        return pd.DataFrame([row, row])


class Study(Trained):
    """The small data at the settings of the `study` preset: every row."""

    def __init__(self, folder):
        super().__init__(folder)
        self.settings = preset("study", "walkers")


def test_every_row_of_s3ce_net_changes_one_thing(tmp_path):
    study = Study(tmp_path)
    table = runs.changes_table(study, study.settings.rows["s3ce_net"]).set_index("row")
    assert table.loc["sew_resnet18", "change"] == "–"
    for both in ("s3ce_net", "long_s3ce"):
        assert [change.split(":")[0] for change in table.loc[both, "change"].split("; ")] == ["SSAM", "STFS"]
    one = table.drop(index=["sew_resnet18", "s3ce_net", "resnet18_events", "s3ce_net_relu", "long_s3ce"])["change"]
    assert {name: change.count("→") for name, change in one.items()} == dict.fromkeys(one.index, 1)
    assert table.loc["causal", "change"].endswith(", causal")
    assert table.loc["steps16", "change"] == "time steps T: 8 → 16"
    for twin in ("resnet18_events", "s3ce_net_relu"):
        neurons, start = table.loc[twin, "change"].split("; ")  # a twin cannot start from itself
        assert neurons.endswith("→ ReLU") and start == "starting weights: its ReLU twin → fresh"
    assert table.loc["fresh_baseline", "change"] == "starting weights: its ReLU twin → fresh"
    assert table.loc["stfs_spatial", "change"] == "STFS: 2 strided subsets of the steps + 4 bands, weight 1 → 4 bands, weight 1"


def test_a_row_without_change_says_so(tmp_path):
    experiment = Trained(tmp_path)  # T = 4 already
    table = runs.changes_table(experiment, ("steps4", "joint")).set_index("row")
    assert table.loc["steps4", "change"] == "nothing"
    assert table.loc["joint", "compared with"] == ROWS[reference_of("joint")].title


def test_settings_are_split_into_common_and_different(tmp_path):
    common, differs = runs.settings_tables(Trained(tmp_path, seeds=2), ("s3ce_net", "sew_resnet18", "resnet18_events"))
    told = common.set_index("setting")["value"]
    assert told["people trained on"] == "4 (16 tracklets)"
    assert told["people held out for validation"] == "none"
    assert told["seeds"] == "0, 1"
    assert told["event frame (height × width)"] == "32 × 16"
    rows = differs.set_index("setting")
    assert sorted(rows.index) == ["SSAM", "STFS", "neurons", "parameters", "starting weights"]
    assert rows.loc["neurons", "ReLU twin"] == "ReLU"
    assert rows.loc["SSAM", "spiking baseline"] == "none"
    assert rows.loc["parameters", "spiking baseline"] == rows.loc["parameters", "ReLU twin"]


def test_the_sampler_is_told_with_the_numbers_of_the_run(tmp_path):
    experiment = Trained(tmp_path)
    train = experiment.run_settings("s3ce_net").train
    sentence = runs.sampler_sentence(experiment, "s3ce_net")
    assert f"{train.people} different people × {train.clips} clips" in sentence
    assert f"drawn about {train.iterations * train.people / 4:,.0f} times" in sentence


def test_the_log_joins_the_seeds_and_drops_repeated_rows(tmp_path):
    log = runs.training_log(Trained(tmp_path, seeds=2), "s3ce_net")
    assert log["seed"].tolist() == [0, 1]
    assert log["total"].tolist() == [2, 3]


def test_every_spiking_layer_has_a_rate_and_a_name_in_words(tmp_path):
    experiment = Trained(tmp_path)
    rates = runs.layer_rates(experiment, "s3ce_net", tracklets=4)
    layers = spiking_layers(experiment.model("s3ce_net"))
    assert len(rates) == len(layers)
    assert not [label for label in rates if "." in label]
    assert all(0 <= rate <= 1 for rate in rates.values())
    order = list(rates)
    assert order[0] == "stem"
    assert order.index("stage 2, block 2, neuron 2") < order.index("SSAM 2, Q, K, V") < order.index("stage 3, block 1, neuron 1")
    assert runs.layer_rates(experiment, "resnet18_events") == {}


def test_unknown_layers_keep_their_name():
    model = build_model("sew_resnet18", 3, width=8)
    assert all(runs.layer_label(name) != name for name in spiking_layers(model))
    assert runs.layer_label("head.spikes") == "head.spikes"


@pytest.mark.parametrize("name", ["s3ce_net", "stfs_random"])
def test_options_without_a_line_of_their_own_are_listed(tmp_path, name):
    experiment = Trained(tmp_path)
    models = experiment.settings.models
    changed = models | {"s3ce_net": models["s3ce_net"] | {"pooling": "mean"}}
    experiment.settings = replace(experiment.settings, models=changed)
    assert runs.describe_run(experiment, name)[("model", "pooling")] == "mean"
