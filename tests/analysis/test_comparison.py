"""Paired differences, their words, and the table of scores."""

import numpy as np
import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis import comparison
from reidlib.metrics import paired_difference
from reidlib.plots.ablation import forest_plot


class Answers:
    """Stands in for an experiment: average precisions [seeds, queries] per row."""

    def __init__(self, scores: dict, people):
        self.scores, self.people = {name: np.array(values, float) for name, values in scores.items()}, np.array(people)

    def average_precisions(self, name, protocols=None):
        return self.scores[name]

    def query_people(self, protocols=None):
        return self.people


PEOPLE = np.repeat(np.arange(20), 3)


def answers(**shifts):
    base = np.random.default_rng(0).uniform(20, 60, (3, 60))
    noise = np.random.default_rng(1).normal(0, 0.5, (3, 60))
    return Answers({"sew_resnet18": base} | {name: base + shift + noise for name, shift in shifts.items()}, PEOPLE)


def test_paired_is_the_difference_of_seed_means_with_an_interval_over_people():
    experiment = Answers({"ssam": [[60, 40, 50, 50], [62, 44, 50, 48]], "sew_resnet18": [[50, 50, 50, 50], [50, 50, 50, 50]]}, [0, 0, 1, 1])
    line = comparison.paired(experiment, "ssam", "sew_resnet18")
    assert line["difference"] == pytest.approx(np.mean([11, -8, 0, -1]))
    assert line["seed_spread"] == pytest.approx(np.std([0, 1], ddof=1))
    assert (line["same_sign"], line["seeds"], line["queries"]) == (1, 2, 4)  # seed 0: no difference at all
    expected = paired_difference([11, -8, 0, -1], [0, 0, 0, 0], groups=[0, 0, 1, 1])
    assert (line["low"], line["high"]) == pytest.approx((expected.low, expected.high))


def test_queries_without_a_match_are_left_out_of_a_pair():
    experiment = Answers({"ssam": [[10, np.nan, 30]], "sew_resnet18": [[0, np.nan, 10]]}, [0, 1, 2])
    line = comparison.paired(experiment, "ssam", "sew_resnet18")
    assert (line["difference"], line["queries"]) == (15, 2)
    assert np.isnan(line["seed_spread"])


def test_references_are_one_change_away():
    assert comparison.reference_of("sew_resnet18") is None
    assert {name: comparison.reference_of(name) for name in ("ssam", "stfs", "s3ce_net", "resnet18_events")} == dict.fromkeys(
        ("ssam", "stfs", "s3ce_net", "resnet18_events"), "sew_resnet18"
    )
    assert {comparison.reference_of(name) for name in ("joint", "steps4", "stfs_drop")} == {"s3ce_net"}


def test_difference_table_needs_the_reference_beside_the_row():
    experiment = answers(ssam=3, joint=1)
    table = comparison.difference_table(experiment, ("sew_resnet18", "ssam", "joint"))  # joint's reference, s3ce_net, was not trained
    assert table["row"].tolist() == ["ssam"]
    with pytest.raises(ValueError, match="nothing to compare"):
        comparison.difference_table(experiment, ("sew_resnet18", "joint"))


def test_verdicts_name_what_is_told_from_zero_and_what_is_not():
    experiment = answers(ssam=3, stfs=-2, resnet18_events=0)
    table = comparison.difference_table(experiment, ("sew_resnet18", "ssam", "stfs", "resnet18_events"))
    better, worse, unclear, count = comparison.verdicts(table)
    assert better.startswith("+ SSAM is better than spiking baseline by 3.0 points [+2.") and better.endswith("in 3 of 3 seeds.")
    assert worse.startswith("+ STFS is worse than spiking baseline by 2.0 points [−2.")
    assert unclear.startswith("Not told from zero: ReLU twin against spiking baseline")
    assert count.startswith("2 of 3 intervals leave out zero")


def test_readable_and_forest_show_the_same_numbers():
    table = comparison.difference_table(answers(ssam=3, stfs=-2), ("sew_resnet18", "ssam", "stfs"))
    view = comparison.readable(table)
    assert view.index.names == ["group", "title", "reference"]
    (ax,) = forest_plot(comparison.forest_table(table)).axes
    drawn = [text.get_text().replace("  ", " ") for text in ax.texts]
    assert drawn == view["difference (mAP points)"].tolist()
    assert view["seeds of that sign"].tolist() == ["3 of 3", "3 of 3"]
    assert "seeds of that sign" not in comparison.readable(table.assign(seeds=1))


def test_score_table_and_mean_over_seeds(tmp_path):
    experiment = SmallExperiment(tmp_path, seeds=2)
    scores = comparison.score_table(experiment, ("counts", "sew_resnet18"))
    assert len(scores) == (1 + 2) * 3  # counts once, the row per seed; three protocols
    means = comparison.mean_over_seeds(scores).set_index(["row", "protocol"])
    two = scores[(scores["row"] == "sew_resnet18") & (scores["protocol"] == "all cameras")]["mAP"]
    assert means.loc[("sew_resnet18", "all cameras"), "mAP"] == pytest.approx(two.mean())
    assert means.loc[("sew_resnet18", "all cameras"), "mAP_spread"] == pytest.approx(two.std())
    assert pd.isna(means.loc[("counts", "all cameras"), "mAP_spread"])
    assert means.loc[("counts", "query to gallery"), "title"] == "raw event counts"
