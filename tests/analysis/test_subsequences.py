"""Embeddings of parts, against the model's own embedding and plain pooling."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_experiment import SmallExperiment

from reidlib.analysis.occlusion import step_sensitivity
from reidlib.analysis.subsequences import (
    WHOLE,
    evenness_table,
    fitting_sampling,
    part_names,
    stfs_effect,
    subsequence_embeddings,
    subsequence_scores,
    subsequence_table,
)
from reidlib.datasets import ClipDataset
from reidlib.evaluation import embed
from reidlib.models import ReidModel, SamplingSettings


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("small"), seeds=2)


@pytest.mark.parametrize("name", ["s3ce_net", "resnet18_events"])
def test_the_whole_is_the_embedding_of_the_evaluation_and_parts_are_plain_pooling(experiment, name):
    model, index, clips = experiment.model(name), experiment.test_index, experiment.settings.clips
    found = subsequence_embeddings(model, experiment.store, index, clips, SamplingSettings(temporal=2, spatial=2), batch=7)
    np.testing.assert_allclose(found[WHOLE], embed(model, experiment.store, index, clips), atol=1e-5)
    events = ClipDataset(experiment.store, index, clips, train=False)[3]["events"]
    with torch.no_grad():
        last = model.features(events)[-1]  # [T, n, C, h, w]
        pooled = {"band 2 of 2": last[:, :, :, 1:].amax((-2, -1)).mean(0), "every 2nd step from 1": last[::2].amax((-2, -1)).mean(0)}
        for part, feature in pooled.items():
            vectors = model.neck.norm(feature).mean(0)
            np.testing.assert_allclose(found[part][3], vectors / vectors.norm(), atol=1e-5)


def test_networks_without_such_a_map_are_refused(experiment):
    with pytest.raises(ValueError, match=r"S3CE-Net.* not of a ReidModel"):
        subsequence_embeddings(ReidModel(), experiment.store, experiment.test_index, experiment.settings.clips, SamplingSettings())


def test_names_follow_the_order_of_the_sampling():
    names = part_names(SamplingSettings(temporal=2, spatial=3, temporal_form="contiguous", spatial_form="drop"))
    assert names == ["steps, part 1 of 2", "steps, part 2 of 2", "all but band 1 of 3", "all but band 2 of 3", "all but band 3 of 3"]


def test_bands_fit_the_last_map(experiment):
    assert fitting_sampling(experiment).spatial == 2  # 32 rows / 16


def test_scores_tables_and_differences_belong_together(experiment):
    sampling = fitting_sampling(experiment)
    scores = subsequence_scores(experiment, ("ssam", "s3ce_net"), sampling)
    assert len(scores) == 2 * 5
    whole = scores[scores["part"] == WHOLE].iloc[0]
    np.testing.assert_allclose(whole["similarity"], 1, atol=1e-5)
    expected = experiment.average_precisions("ssam", ("query to gallery",)).mean(0)
    np.testing.assert_allclose(whole["average precision"], expected, atol=1e-3)
    table = subsequence_table(scores)
    assert table.index.tolist() == [WHOLE, *part_names(sampling)]
    effect = stfs_effect(experiment, scores, {"s3ce_net": "ssam"})
    for line in effect.to_dict("records"):
        part = line["part"]
        np.testing.assert_allclose(line["mAP"], table.loc[part, ("mAP", "s3ce_net")] - table.loc[part, ("mAP", "ssam")], atol=1e-6)
        assert line["similarity low"] <= line["similarity"] <= line["similarity high"]


def test_evenness_compares_pairs():
    people = np.repeat(np.arange(5), 2)
    values = {"a": np.full(10, 2.0), "b": np.append(np.full(9, 3.0), np.nan)}
    table = evenness_table(values, people, {"b": "a"}).set_index("row")
    assert table.loc["b", "mean"] == 3
    assert table.loc["b", "difference"] == pytest.approx(1)
    assert pd.isna(table.loc["a", "difference"])


def test_occlusion_starts_from_the_embedding_of_the_evaluation(experiment):
    model, index, clips = experiment.model("s3ce_net"), experiment.test_index, experiment.settings.clips
    whole = embed(model, experiment.store, index, clips)
    first = ClipDataset(experiment.store, index, clips, train=False)[0]["events"]
    hidden = first.clone()
    hidden[:, 1] = 0
    with torch.no_grad():
        masked = model(events=hidden).mean(0)
    expected = 1 - whole[0] @ (masked / masked.norm()).numpy()
    assert step_sensitivity(model, first)[1] == pytest.approx(expected, abs=1e-5)
