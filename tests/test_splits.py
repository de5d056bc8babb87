"""Sets with ten splits: every seed takes its own, from one store, and scores are means over all of them."""

import json

import numpy as np
import pytest
import replicas

from reidlib.experiment import Experiment


@pytest.fixture(scope="module")
def prid(tmp_path_factory):
    """An experiment on a replica of PRID-2011, and the split file's people."""
    folder = tmp_path_factory.mktemp("splits")
    (root := folder / "prid").mkdir()
    replicas.prid2011(root)
    people = [[int(name[-4:]) for name in split["test"]] for split in json.loads((root / "splits_prid2011.json").read_text())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REIDLIB_DATA", str(folder / "data"))
        yield Experiment("prid2011", "study", 0, folder / "runs", data=str(root)), people


def test_seeds_count_through_the_splits(prid):
    experiment, people = prid
    assert experiment.seeds == list(range(10)) and experiment.redrawn and not experiment.generated
    for seed in experiment.seeds:
        here = experiment.at(seed)
        assert sorted(here.test_index["person"].unique()) == sorted(people[seed])
        assert not set(here.train_index["person"]) & set(people[seed]) and set(here.index["split"]) == {seed}
    assert len({experiment.at(seed).store.cache_key for seed in experiment.seeds}) == 1  # converted once
    assert Experiment("prid2011", "study", 12, experiment.output_dir, data=experiment.data).index["split"].unique() == [2]
    assert Experiment("prid2011", "demo", 3, experiment.output_dir).seeds == [3]


def test_scores_are_kept_per_split(prid):
    experiment, people = prid
    precisions = experiment.average_precisions("counts", ("query to gallery",))
    assert precisions.shape == (10, 3)
    each = [experiment.evaluation("counts", seed=seed) for seed in experiment.seeds]
    np.testing.assert_allclose(precisions.mean(1), [one.mAP.mean for one in each])
    assert [sorted(one.people) for one in each] == [sorted(split) for split in people]


def test_other_public_sets_have_one_split_for_all_seeds():
    mars = Experiment("mars", "study", 0, "runs")
    assert mars.seeds == [0, 1, 2] and not mars.redrawn and "split" not in mars.settings.data
