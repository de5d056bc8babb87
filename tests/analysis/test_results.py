"""Scores with intervals, chance, re-ranking and pairs, on a small experiment."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis import results
from reidlib.evaluation import Protocol, protocols
from reidlib.metrics import cosine_distances, rerank


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("small"), seeds=2)


@pytest.fixture(scope="module")
def found(experiment):
    return results.rankings(experiment, ("sew_resnet18",), reranked=("sew_resnet18",))


def test_chance_is_the_mean_over_all_orders_of_the_gallery():
    index = pd.DataFrame({"split": 0, "subset": ["query", *["gallery"] * 5], "person": [1, 1, 2, 1, 3, 1], "camera": [0, 1, 1, 1, 1, 0]})
    protocol = protocols(index)["query to gallery"]
    wrong = []
    for order in permutations([1, 0, 1, 0]):  # the fifth entry shows the query's person under the query's camera: ignored
        ranks = np.flatnonzero(order) + 1
        wrong.append(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)]))
    assert results.chance_ranking(protocol).mAP == pytest.approx(np.mean(wrong))


def test_rankings_hold_every_system_protocol_and_seed(found, experiment):
    assert list(found) == ["chance", "counts", "sew_resnet18", "sew_resnet18+re-ranked"]
    assert {name: {key: len(seeds) for key, seeds in by.items()} for name, by in found.items()} == {
        "chance": dict.fromkeys(experiment.protocols, 1),
        "counts": dict.fromkeys(experiment.protocols, 1),
        "sew_resnet18": dict.fromkeys(experiment.protocols, 2),
        "sew_resnet18+re-ranked": dict.fromkeys(("query to gallery", "gallery to query"), 2),
    }


def test_reranked_rows_are_ranked_by_reranked_distances(found, experiment):
    protocol, vectors = experiment.protocols["gallery to query"], experiment.embeddings("sew_resnet18", 1)
    distances = rerank(vectors[protocol.queries], vectors[protocol.gallery])
    people = protocol.index["person"].to_numpy()
    expected = results.rank(distances, people[protocol.queries], people[protocol.gallery])  # one camera each: nothing to ignore
    assert found["sew_resnet18+re-ranked"]["gallery to query"][1].mAP == pytest.approx(expected.mAP)


def test_result_table_averages_seeds_and_brackets_the_mean(found, experiment):
    table = results.result_table(experiment, found)
    value = results.value_of(table, "sew_resnet18", "all cameras", "mINP")
    seeds = [experiment.evaluation("sew_resnet18", "all cameras", seed).mINP for seed in experiment.seeds]
    assert value["value"] == pytest.approx(np.mean(seeds))
    assert value["low"] <= value["value"] <= value["high"]
    assert np.isnan(results.value_of(table, "chance")["low"])
    assert len(table) == (4 + 4 + 3) * len(results.METRICS)
    with pytest.raises(ValueError, match="0 results"):
        results.value_of(table, "stfs")


def test_wide_keeps_the_order_and_leaves_out_what_is_not_there(found, experiment):
    view = results.wide(results.result_table(experiment, found))
    assert list(view.columns) == list(results.METRICS)
    assert view.loc["query to gallery"].index.tolist() == [
        "chance level",
        "raw event counts",
        "spiking baseline",
        "spiking baseline, re-ranked",
    ]
    assert "spiking baseline, re-ranked" not in view.loc["all cameras"].index
    assert "[" not in view.loc[("all cameras", "chance level"), "mAP"]


def test_interval_text():
    assert results.interval_text(51.23, 48, 54.4) == "51.2 [48.0, 54.4]"
    assert results.interval_text(-1.25, -3, 0.5, sign=True) == "−1.2 [−3.0, +0.5]"
    assert results.interval_text(7) == "7.0"


def test_score_view_has_chance_first_and_no_spread_for_one_seed():
    means = pd.DataFrame({"title": ["a", "b"], "protocol": ["p", "p"], "mAP": [50.04, 40.0], "mAP_spread": [1.26, np.nan]})
    view = results.score_view(means, {"p": 6.05})
    assert view["p, mAP (%)"].to_dict() == {"chance level": "6.0", "a": "50.0 ± 1.3", "b": "40.0"}


def test_pairs_leave_out_the_tracklet_itself_and_the_same_camera():
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    index = pd.DataFrame({"person": [1, 1, 1, 2], "camera": [0, 0, 1, 1]})
    everything = np.arange(4)
    d = cosine_distances(vectors, vectors)
    same, different = results.pair_distances(vectors, Protocol("all", index, everything, everything))
    assert sorted(same) == pytest.approx(sorted([d[0, 2], d[1, 2], d[2, 0], d[2, 1]]))
    assert sorted(different) == pytest.approx(sorted([d[0, 3], d[1, 3], d[2, 3], d[3, 0], d[3, 1], d[3, 2]]))
    same, _ = results.pair_distances(vectors, Protocol("all", index.assign(camera=-1), everything, everything))
    assert len(same) == 6  # without cameras only the tracklet itself is left out


def test_cmc_interval_holds_the_curve(found, experiment):
    ranking = found["sew_resnet18"]["query to gallery"][0]
    low, high = results.cmc_with_interval(ranking, experiment.query_people(("query to gallery",)), ranks=5)
    assert len(low) == len(high) == 5
    assert (low <= ranking.cmc[:5] + 1e-9).all() and (ranking.cmc[:5] <= high + 1e-9).all()


def test_notes_tell_a_small_test_and_a_missing_validation_part(experiment):
    assert results.size_note(experiment).startswith("8 queries of 4 people prove that the path")
    assert "no validation part" in results.validation_note(experiment)
    assert results.validated_threshold(experiment, "sew_resnet18") is None
