"""What occluders cost: losses by hand, the same tracklets on both sides, and the page."""

import numpy as np
import pandas as pd
import pytest

from reidlib.analysis import hidden

PEOPLE = np.repeat(np.arange(8), 2)
CLEAR = {"resnet_frames": 80.0, "rfcnet": 84.0, "vrstc": 80.0}
HIDDEN = {"resnet_frames": 60.0, "rfcnet": 74.0, "vrstc": 60.0}


class Scored:
    """An experiment of which only the scores are known: those of `levels`, a query's own offset, which both sets share, and a seed's."""

    def __init__(self, dataset: str, levels: dict, keys: str = "abc"):
        self.dataset, self.levels, self.preset, self.seeds, self.seed = dataset, levels, "study", [0, 1, 2], 0
        self.rows, self.test_index = tuple(levels), pd.DataFrame({"key": list(keys)})

    def at(self, seed):
        return self

    def average_precisions(self, name):
        offset = np.random.default_rng(0).normal(0, 5, len(PEOPLE))
        return np.stack([self.levels[name] + offset + seed for seed in self.seeds])

    def query_people(self):
        return PEOPLE

    def is_trained(self, name, seed):
        return not (name == "vrstc" and self.dataset == "untrained")


def test_losses_by_hand():
    table = hidden.loss_table(Scored("walkers", CLEAR), Scored("walkers_occluded", HIDDEN), tuple(CLEAR)).set_index("row")
    assert table["loss"].round(9).to_dict() == {"resnet_frames": 20.0, "rfcnet": 10.0, "vrstc": 20.0}
    assert np.isnan(table.loc["resnet_frames", "low"])
    rfcnet = table.loc["rfcnet"]
    assert rfcnet[["less than the baseline", "low", "high"]].tolist() == pytest.approx([10, 10, 10]) and rfcnet["same_sign"] == 3
    assert table.loc["vrstc", "less than the baseline"] == pytest.approx(0)
    said = hidden.sentences(table.reset_index())
    assert len(said) == 2 and "RFCnet (SRFC, TRFC) loses less than ResNet on frames" in said[0] and "**yes**, +10.0 points" in said[0]
    assert "**not told**" in said[1]


def test_only_the_same_tracklets_are_compared():
    with pytest.raises(ValueError, match="walkers and walkers_occluded hold other test tracklets at seed 0"):
        hidden.loss_table(Scored("walkers", CLEAR), Scored("walkers_occluded", HIDDEN, keys="abd"), tuple(CLEAR))
    with pytest.raises(ValueError, match="the baseline 'resnet_frames' is not among the rows rfcnet"):
        hidden.loss_table(Scored("walkers", CLEAR), Scored("walkers_occluded", HIDDEN), ("rfcnet",))


def test_the_page_holds_what_is_trained_on_both_sets(tmp_path, monkeypatch):
    made = {"hardware": {"cpu": "x", "cores": 2}, "commit": "abc"}
    monkeypatch.setattr(hidden, "provenance", lambda: made)
    names = hidden.publish(Scored("untrained", CLEAR), Scored("walkers_occluded", HIDDEN), tmp_path)
    assert names == ("resnet_frames", "rfcnet")
    assert pd.read_csv(tmp_path / "losses.csv")["row"].tolist() == list(names)
    page = (tmp_path / "README.md").read_text()
    assert "RFCnet (SRFC, TRFC)" in page and "VRSTC" not in page and "seeds 0, 1, 2" in page and "+10.0 points [+10.0, +10.0]" in page
