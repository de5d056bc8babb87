"""Summaries of attention and of the firing inside SSAM, against plain counts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from reidlib.analysis.attention_maps import BODY_BANDS, agreement, attention_profile, band_density, ssam_rates, tracklet_attention
from reidlib.models import build_model


class Fixed:
    """A model whose attention is given."""

    def __init__(self, make):
        self.make = make

    def parameters(self):
        yield torch.zeros(1)

    def attention(self, events):
        return self.make(events)


def batches(count=3, steps=4, size=(32, 16), seed=0):
    rng = np.random.default_rng(seed)
    return [{"events": torch.from_numpy(rng.poisson(0.7, (2, steps, 2, *size))).float()} for _ in range(count)]


def small(coupling="factorised", **options):
    torch.manual_seed(0)
    return build_model("s3ce_net", 3, width=8, head_channels=8, neuron={"kind": "if"}, coupling=coupling, **options).eval()


def test_bands_cover_the_body():
    edges = list(BODY_BANDS.values())
    assert edges[0][0] == 0 and edges[-1][1] == 1
    assert all(a[1] == b[0] for a, b in pairwise(edges))


def test_band_density_is_1_everywhere_on_an_even_map_and_weighs_shared_rows():
    bands = {"upper": (0, 0.25), "lower": (0.25, 1)}
    np.testing.assert_allclose(band_density(torch.ones(1, 2, 16, 3), bands), 1, rtol=1e-6)
    one_row = torch.zeros(1, 2, 16, 3)
    one_row[:, :, 2] = 1
    np.testing.assert_allclose(band_density(one_row, bands), [[4, 0]], rtol=1e-6)
    halves = torch.tensor([3.0, 1.0])[None, None, :, None].expand(1, 2, 2, 3)  # "lower" = a third of row 0, two thirds of row 1
    np.testing.assert_allclose(band_density(halves, bands), [[1.5, (3 / 3 + 2 / 3) / 2]], rtol=1e-6)
    assert band_density(torch.zeros(1, 2, 16, 3), bands).isnan().all()


def test_attention_that_copies_the_events_follows_them():
    halves = {"upper": (0, 0.5), "lower": (0.5, 1)}
    sampled = Fixed(lambda events: {"copy": events.sum(2)[:, :, ::2, ::2], "flat": torch.ones(2, 4, 2, 2)})
    profile = attention_profile(sampled, batches(), halves)
    copied = attention_profile(Fixed(lambda events: {"copy": torch.nn.functional.avg_pool2d(events.sum(2), 2)}), batches(), halves)
    np.testing.assert_allclose(copied.follows_events["copy"], 1)
    np.testing.assert_allclose(copied.bands["copy"], copied.bands["events"], rtol=1e-5)
    np.testing.assert_allclose(copied.steps["copy"], copied.steps["events"], rtol=1e-5)
    assert profile.follows_events["copy"].max() < 0.9
    assert np.isnan(profile.follows_events["flat"]).all()
    assert profile.steps["flat"].shape == (6, 4)
    assert "events" not in profile.follows_events
    silent = attention_profile(Fixed(lambda events: {"dead": torch.zeros(2, 4, 2, 2), "flat": torch.ones(2, 4, 2, 2)}), batches())
    assert list(silent.mean_bands()) == ["events", "flat"]
    np.testing.assert_allclose(silent.mean_bands()["flat"], 1, rtol=1e-6)


def test_agreement_is_spearmans_correlation_at_the_second_maps_places():
    rng = np.random.default_rng(0)
    fine, coarse = rng.random((3, 8, 4)), rng.random((3, 4, 2)).round(1)
    reduced = fine.reshape(3, 4, 2, 2, 2).mean((2, 4))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(reduced, coarse, strict=True)]
    np.testing.assert_allclose(agreement(fine, coarse), expected)
    assert np.isnan(agreement(np.ones((1, 2, 2)), coarse[:1])).all()
    maps = tracklet_attention(small(), batches(1)[0]["events"])
    np.testing.assert_allclose(maps["stage4"], small().attention(events=batches(1)[0]["events"])["stage4"].numpy().mean((0, 1)), rtol=1e-6)


def test_profile_of_a_network_is_that_of_its_maps():
    model, given = small(), batches()
    profile = attention_profile(model, given)
    maps = [model.attention(events=batch["events"]) for batch in given]
    for layer in ("stage2", "stage4"):
        expected = np.concatenate([one[layer].numpy().mean((2, 3)) for one in maps])
        np.testing.assert_allclose(profile.steps[layer], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="no attention"):
        attention_profile(small(ssam=()), given)


@pytest.mark.parametrize(("coupling", "parts"), [("factorised", ["spatial", "temporal"]), ("joint", ["joint"])])
def test_rates_inside_ssam_are_plain_means(coupling, parts):
    model, given = small(coupling), batches()
    table = ssam_rates(model, given)
    assert table["part"].tolist() == ["Q", "K", "V", *parts, "output"] * 2
    assert table["channels"].tolist() == [16] * (4 + len(parts)) + [64] * (4 + len(parts))
    seen = []
    block = model.backbone.after["2"]
    handle = block.qkv_neuron.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    for batch in given:
        model(events=batch["events"])
    handle.remove()
    spikes = torch.cat(seen, dim=1)[:, :, 16:32]  # K, [T, B, C, H, W]
    row = table[(table["stage"] == "stage 2") & (table["part"] == "K")].iloc[0]
    assert row["rate"] == pytest.approx(float(spikes.mean()))
    assert row["silent channels"] == int((spikes.sum((0, 1, 3, 4)) == 0).sum())
    assert len(block.qkv_neuron._forward_hooks) == 0


def test_dead_and_saturated_neurons_are_named():
    model = small()
    with torch.no_grad():
        for threshold, bias in (("2", -100.0), ("4", 100.0)):
            model.backbone.after[threshold].qkv_norm.bias.fill_(bias)
    table = ssam_rates(model, batches(1)).set_index(["stage", "part"])
    assert table.loc[("stage 2", "Q"), "verdict"] == "nearly silent"
    assert table.loc[("stage 2", "Q"), "silent channels"] == 16
    assert table.loc[("stage 4", "V"), "verdict"] == "saturated"
    assert table.loc[("stage 4", "V"), "saturated channels"] == 64
    with pytest.raises(ValueError, match="no SSAM"):
        ssam_rates(small(ssam=()), batches(1))
