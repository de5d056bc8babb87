"""Rules that choose tracklets."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from small_experiment import SmallExperiment

from reidlib.analysis.samples import events_per_step, first_clips, first_inputs, spread_rows, tracklet_clips, typical_queries
from reidlib.datasets import ClipDataset


def evaluation(precision, first):
    ranking = SimpleNamespace(average_precision=np.array(precision, float), hits=np.array(first, float)[:, None])
    index = pd.DataFrame({"key": [f"k{i}" for i in range(20)], "person": np.arange(20) // 2})
    return SimpleNamespace(ranking=ranking), SimpleNamespace(index=index, queries=np.arange(3, 3 + len(precision)))


def test_median_right_and_worst_are_what_they_say():
    table = typical_queries(*evaluation([0.5, 0.1, np.nan, 0.9, 0.3, 0.8], [0, 0, 0, 1, 0, 1])).set_index("rule")
    assert table.loc["median", "average precision (%)"] == 50
    assert table.loc["right", "average precision (%)"] == 90
    assert table.loc["worst", "average precision (%)"] == 10
    assert table.loc["right", "Rank-1 (%)"] == 100
    assert table["row"].tolist() == [3, 6, 4]
    assert table["key"].tolist() == ["k3", "k6", "k4"]


def test_no_query_is_taken_twice_and_few_queries_make_few_rows():
    table = typical_queries(*evaluation([0.5, 0.5], [1, 1]))
    assert table["rule"].tolist() == ["median", "right"]
    assert len(set(table["row"])) == 2
    assert typical_queries(*evaluation([0.2, 0.4, 0.3], [0, 0, 0]))["average precision (%)"].tolist() == [30, 40, 20]  # none is right: best


def test_spread_rows_are_even_and_never_repeat():
    index = pd.DataFrame({"key": list(range(10))})
    assert spread_rows(index, 4)["key"].tolist() == [0, 3, 6, 9]
    assert len(spread_rows(index, 50)) == 10
    with pytest.raises(ValueError, match="count = 0"):
        spread_rows(index, 0)


def test_clips_are_those_of_the_evaluation(tmp_path):
    experiment = SmallExperiment(tmp_path)
    clips = tracklet_clips(experiment.store, experiment.test_index, experiment.settings.clips)
    dataset = ClipDataset(experiment.store, experiment.test_index, experiment.settings.clips, train=False)
    assert all(torch.equal(clips[i], dataset[i]["events"]) for i in range(len(dataset)))
    assert clips[0].shape == (2, 4, 2, 32, 16)
    counts = events_per_step(experiment.store, experiment.test_index, experiment.settings.clips)
    assert counts.shape == (4,)
    assert counts.sum() == pytest.approx(1500 / 2)  # two clips share the events of a tracklet
    first = first_clips(experiment.store, experiment.test_index, experiment.settings.clips, 20)
    assert first.shape == (20, 4, 2, 32, 16)
    assert torch.equal(first[0], clips[0][0]) and torch.equal(first[16], clips[0][0])


def test_frames_and_events_of_the_same_clips(tmp_path):
    experiment = SmallExperiment(tmp_path, video=True)
    asked = (experiment.store, experiment.test_index, experiment.settings.clips)
    dataset = ClipDataset(*asked, train=False, modalities=("events", "frames"))
    assert all(torch.equal(clip, dataset[i]["frames"]) for i, clip in enumerate(tracklet_clips(*asked, "frames")))
    inputs = first_inputs(*asked, 20, ("frames", "events"))
    assert list(inputs) == ["frames", "events"] and inputs["frames"].shape == (20, 4, 3, 32, 16)
    assert torch.equal(inputs["events"], first_clips(*asked, 20))
    assert list(first_inputs(*asked, 1, ("events",))) == ["events"]
