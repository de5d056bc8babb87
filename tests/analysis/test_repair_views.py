"""VRSTC's repair, looked at: what is covered, what is found and how it is completed, against plain loops."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from video_examples import SIZE, network

from reidlib.analysis import repair_views, video_views
from reidlib.completion import CompletionSettings
from reidlib.datasets import walkers
from reidlib.models.layers.occlusion import third_edges
from reidlib.models.stcnet import STCnet


class Video:
    """Grey videos of 12 frames of three stripes that brighten slowly, a stripe's grey being the person's own."""

    cache_key = "made"

    def frames(self, key: str) -> np.ndarray:
        rng = np.random.default_rng(list(key.encode()))
        stripes = np.repeat(rng.integers(40, 200, 3), [21, 22, 21])[:, None]
        return (stripes + np.arange(12)[:, None, None] + rng.integers(0, 5, (12, *SIZE))).astype(np.uint8)


@pytest.fixture(scope="module")
def repairing() -> SimpleNamespace:
    """The networks of a `Repairing` before any training."""
    torch.manual_seed(0)
    completion = CompletionSettings(threshold=0.95, size=(32, 16))
    stcnet = STCnet(4, (32, 16), (2,), critics=()).eval()
    scores = SimpleNamespace(attributes=lambda key: {"scores": np.linspace(0.9, 1, 36).reshape(12, 3).tolist()})
    run = SimpleNamespace(clips=SimpleNamespace(size=SIZE))
    return SimpleNamespace(guider=network("vrstc", stages=()), stcnet=stcnet, completion=completion, run=run, scores=lambda: scores)


def test_a_third_is_covered_for_a_quarter_of_the_frames():
    truth = Video().frames("a")
    probe = repair_views.cover_third(truth, "a")
    assert probe.hidden.sum() == 3 and probe.hidden.any(0).sum() == 1
    (third,) = np.flatnonzero(probe.hidden.any(0))
    rows, frames = slice(*third_edges(SIZE[0])[third : third + 2]), np.flatnonzero(probe.hidden.any(1))
    assert np.ptp(frames) == 2 and len(np.unique(probe.covered[frames, rows])) == 1
    changed = probe.covered != truth
    changed[frames, rows] = False
    assert not changed.any() and probe.truth is truth
    again, other = repair_views.cover_third(truth, "a"), [repair_views.cover_third(truth, key).hidden for key in "bcdef"]
    assert np.array_equal(again.covered, probe.covered) and any(not np.array_equal(one, probe.hidden) for one in other)
    with pytest.raises(ValueError, match="'a' has 1 frames"):
        repair_views.cover_third(truth[:1], "a")


def test_errors_of_completed_thirds_by_hand(repairing):
    index = pd.DataFrame({"key": ["a", "b"], "person": [0, 1]})
    found = repair_views.probe_values(repairing, Video(), index)
    views, probe = repair_views.probe_views(repairing, Video(), "b")
    edges = third_edges(32)
    (third,), chosen = np.flatnonzero(probe.hidden.any(0)), views.chosen
    both = torch.from_numpy(np.stack([probe.truth, probe.covered])).float()  # [2, 12, 64, 32]
    truth, covered = torch.nn.functional.interpolate(both, (32, 16), mode="bilinear", antialias=True)
    hole = (slice(None), slice(edges[third], edges[third + 1]))
    errors = {who: values[1] for (_, who), values in found["completion"].values.items()}
    made = ((views.completion.completed + 1) * 127.5 - truth[chosen][:, None]).abs()[:, :, edges[third] : edges[third + 1]].mean()
    assert errors["STCnet, final"] == pytest.approx(made.item(), rel=1e-4)
    clear = [t for t in range(12) if t not in chosen]
    nearest = [min(clear, key=lambda c, t=t: (abs(c - t), c)) for t in chosen]
    copied = (truth[nearest] - truth[chosen])[hole].abs().mean().item()
    assert errors["copy of the nearest clear frame"] == pytest.approx(copied, rel=1e-3)
    mean = (truth[clear].mean(0, keepdim=True) - truth[chosen])[hole].abs().mean().item()
    assert errors["mean of the clear frames"] == pytest.approx(mean, rel=1e-3)
    assert errors["left covered"] == pytest.approx((covered - truth)[chosen][hole].abs().mean().item(), rel=1e-3)
    fires = views.scores < repairing.completion.threshold
    firing = {key: values[1] for key, values in found["firing"].values.items()}
    assert firing[repair_views.CALLED, "covered thirds"] == fires[probe.hidden].mean()
    assert firing[repair_views.CALLED, "other thirds of the same video"] == fires[~probe.hidden].mean()
    hit, clean = -views.scores[probe.hidden], -views.scores[~probe.hidden]
    assert firing["AUC of the score", "covered thirds against others"] == pytest.approx((hit[:, None] > clean).mean(), abs=1e-6)


def test_rows_of_completed_frames(repairing):
    views, probe = repair_views.probe_views(repairing, Video(), "a")
    rows = video_views.repair_rows(views, probe.truth, steps=2)
    assert list(rows) == [f"frame {views.chosen[0] + 1}", f"frame {views.chosen[2] + 1}"]
    row = rows[f"frame {views.chosen[0] + 1}"]
    mask = views.mask[0, 0, :, 0].numpy()
    picture, hidden = row["frame and\nhidden thirds"]
    assert np.array_equal(hidden[:, 0], mask) and picture.shape == (32, 16, 3)
    assert (row["what STCnet\nis given"][mask] == 0.5).all() and np.array_equal(row["what STCnet\nis given"][~mask], picture[~mask])
    assert np.array_equal(row["truth"][..., 0], probe.truth[views.chosen[0]])
    assert row["looked at\nbefore"].mean() == pytest.approx(1, rel=1e-4)
    assert "truth" not in video_views.repair_rows(views)[f"frame {views.chosen[0] + 1}"]


def test_what_is_called_hidden_by_how_much_of_it_is(repairing):
    index = pd.DataFrame({"key": ["a", "b"], "person": [0, 1]})
    cover = np.zeros((12, 3))
    cover[:6], cover[6:8] = 0.6, 0.2
    found = repair_views.firing_by_cover(repairing, index, {"a": cover, "b": cover * 0}.get)
    fires = np.linspace(0.9, 1, 36).reshape(12, 3) < 0.95
    a, b = np.array(list(found.values.values())).T
    np.testing.assert_allclose(a, [fires[8:].mean(), fires[6:8].mean(), fires[:6].mean()])
    np.testing.assert_allclose(b, [fires.mean(), np.nan, np.nan])
    covered = np.zeros((1, 64, 32), bool)
    covered[0, 15:43, :16] = True
    np.testing.assert_allclose(repair_views.cover_shares(covered), [[6 / 42, 0.5, 0]])
    table = repair_views.found_hidden(repairing, index)
    assert table["hidden"].tolist() == [fires.mean()] * 2 and table["lowest"].tolist() == [0.9, 0.9]


def test_what_stands_before_a_walker(monkeypatch):
    asked = []

    def part_map(settings, *place):
        asked.append((settings, place))
        parts = np.full((2, 64, 32), 3, np.uint8)
        parts[1, 43:, :8] = 255
        return parts

    monkeypatch.setattr(walkers, "settings_of", lambda store, why: f"settings of {store}")
    monkeypatch.setattr(walkers, "part_map", part_map)
    assert repair_views.walkers_cover("it", "p0012/c1/t2").tolist() == [[0, 0, 0], [0, 0, 0.25]]
    assert asked == [("settings of it", (12, 1, 2))]
