"""What the notebook on asking shows, against plain loops."""

import numpy as np
import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis import asking, exports
from reidlib.asking import Calibrated, ReIdentifier
from reidlib.exporting import read_embeddings
from reidlib.metrics.verification import equal_error_threshold, error_rates, pairs_across_cameras


def drawn(people: int, seed: int):
    rng = np.random.default_rng(seed)
    person, camera = np.repeat(np.arange(people), 4), np.tile(np.arange(4) % 2, people)
    return pairs_across_cameras(rng.normal(size=(people, 6))[person] + rng.normal(size=(len(person), 6)), person, camera)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return SmallExperiment(tmp_path_factory.mktemp("small"))


@pytest.fixture
def asked(experiment):
    found = ReIdentifier.from_experiment(experiment)
    found.calibrated = Calibrated.on(found.pairs(experiment.test_index))
    return found


def test_rates_of_every_part_at_one_threshold():
    parts = {"validation": drawn(12, 0), "test": drawn(15, 1)}
    threshold = equal_error_threshold(parts["validation"])
    table = asking.rates_table(parts, threshold)
    for name, pairs in parts.items():
        line = table.loc[name]
        assert line["false match"] == pytest.approx(100 * np.mean(pairs.wrong >= threshold))
        assert line["false non-match"] == pytest.approx(100 * np.mean(pairs.right < threshold))
        assert line["false match low"] < line["false match"] < line["false match high"]
        assert (line["people"], line["same"], line["different"]) == (12 + 3 * (name == "test"), len(pairs.right), len(pairs.wrong))
    assert asking.readable_rates(table).shape == (2, 6)


def test_the_curve_passes_through_the_rates_of_its_thresholds():
    pairs = drawn(15, 2)
    curve = asking.detection_curve(pairs, draws=200)
    matches, misses = error_rates(pairs, curve["threshold"])
    np.testing.assert_allclose(curve["false match"], matches)
    np.testing.assert_allclose(curve["false non-match"], misses)
    assert curve["false match"].is_monotonic_decreasing and curve["false non-match"].is_monotonic_increasing
    assert (curve["low"] <= curve["high"]).all() and (curve["low"] < curve["false non-match"]).mean() > 0.5
    assert curve["false match"].max() == 1 and curve["false match"].min() == pytest.approx(1 / len(pairs.wrong))


def test_reliability_against_a_loop():
    pairs = drawn(15, 3)
    calibrated = Calibrated.on(pairs)
    table = asking.reliability(pairs, calibrated, bins=4)
    assert table["pairs"].sum() == len(pairs.scores) and table["predicted"].is_monotonic_increasing
    order = np.argsort(calibrated.calibration.probability(pairs.scores), kind="stable")
    start = 0
    for line in table.itertuples():
        here = order[start : start + line.pairs]
        start += line.pairs
        right, wrong = pairs.same[here].sum() / len(pairs.right), (~pairs.same[here]).sum() / len(pairs.wrong)
        assert line.observed == pytest.approx(right / (right + wrong))
        assert right + wrong == pytest.approx(0.5, abs=0.05)  # a quarter of the weight of both kinds
        assert line.low <= line.observed <= line.high


def test_the_threshold_says_where_it_comes_from(experiment):
    plain = ReIdentifier.from_experiment(experiment)
    test = plain.pairs(experiment.test_index)
    threshold, text = asking.threshold_in_use(plain, test)
    assert threshold == equal_error_threshold(test) and "No people were held out" in text
    plain.calibrated = Calibrated.on(test)
    assert asking.threshold_in_use(plain, test)[0] == plain.calibrated.threshold


def test_three_pairs_are_chosen_by_rule(asked, experiment):
    chosen = asking.three_pairs(asked, experiment.test_index).set_index("rule")
    pairs = asked.pairs(experiment.test_index)
    assert chosen.loc["hardest", "similarity"] == pairs.wrong.max()
    for rule, scores in (("one person", pairs.right), ("two people", pairs.wrong)):
        assert np.sum(scores < chosen.loc[rule, "similarity"]) <= len(scores) / 2 <= np.sum(scores <= chosen.loc[rule, "similarity"])
    assert ((chosen["person a"] == chosen["person b"]) == (chosen.index == "one person")).all()
    cameras = experiment.test_index.set_index("key")["camera"]
    assert (cameras[chosen["a"]].to_numpy() != cameras[chosen["b"]].to_numpy()).all()


def test_pictured_verdicts_say_what_the_model_says(asked, experiment):
    chosen = asking.three_pairs(asked, experiment.test_index)
    for row, line in zip(asking.pictured_verdicts(asked, chosen), chosen.itertuples(), strict=True):
        verdict = asked.same(line.a, line.b)
        assert (row["score"], row["probability"], row["same"]) == (verdict.score, verdict.probability, verdict.same)
        assert row["score"] == pytest.approx(line.similarity) and row["a"][0].sum() > 0
    asked.calibrated = None
    assert all(row["same"] is None and np.isnan(row["probability"]) for row in asking.pictured_verdicts(asked, chosen))


def test_pictures_need_the_store(asked, experiment):
    key = experiment.test_index["key"].iloc[0]
    asked.store = None
    with pytest.raises(ValueError, match="without a store"):
        asking.pictured_verdicts(asked, pd.DataFrame([{"a": key, "b": key}]))
    with pytest.raises(ValueError, match="without a store"):
        asking.pictured_searches(asked, experiment.test_index, [key])


def test_pictured_searches_show_the_other_camera_in_order(asked, experiment):
    queries = experiment.test_index.query("subset == 'query'")["key"].tolist()[:2]
    rows = asking.pictured_searches(asked, experiment.test_index, queries, length=3)
    for key, row in zip(queries, rows, strict=True):
        found = asked.search(key, experiment.test_index.query("subset == 'gallery'"), top=3)
        assert row["distances"].tolist() == pytest.approx((1 - found["similarity"]).tolist())
        assert [text.split(",")[0] for text in row["ids"]] == [f"person {person}" for person in found["person"]]
        assert len(row["gallery"]) == 3 and row["query_id"].endswith(key)


def test_exports_are_written_or_say_why_not(asked, experiment, tmp_path, monkeypatch):
    def missing(name, what):
        raise ModuleNotFoundError(f"{what} needs the package {name!r}")

    monkeypatch.setattr("reidlib.exporting.nir_graph.needed", missing)
    table = exports.write_exports(asked, experiment, experiment.centre, tmp_path).set_index("file")
    assert table.loc["s3ce_net-seed0.nir", "checked"].startswith("not written: writing NIR graphs needs the package 'nir'")
    index, vectors, facts = read_embeddings(tmp_path / "s3ce_net-seed0.parquet")
    np.testing.assert_array_equal(vectors, asked.embed_index(experiment.test_index))
    assert facts["model"] == "s3ce_net" and facts["data"] == experiment.store.cache_key
    assert index["key"].tolist() == experiment.test_index["key"].tolist()
    assert isinstance(table, pd.DataFrame) and not (tmp_path / "s3ce_net-seed0.nir").exists()
