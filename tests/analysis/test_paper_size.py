"""Sizes at the papers' settings, and what stands beside them."""

import pytest
import torch

from reidlib.analysis.paper_size import CLASSES, beside_published, paper_latency, paper_models, paper_sizes, random_clip
from reidlib.efficiency import operations

SMALL, WIDTH = (64, 32), 16


@pytest.fixture(scope="module")
def small():
    return paper_models(("s3ce_net", "sew_resnet18", "sdcl", "psta"), SMALL, WIDTH)


def test_sizes_of_small_networks(small):
    table = paper_sizes(small, SMALL, WIDTH).set_index("name")
    for name, model in small.items():
        assert table.loc[name, "parameters"] == sum(p.numel() for p in model.parameters())
    assert table["input"].tolist() == ["E", "E", "V+E", "V"] and set(table["height x width"]) == {"64 x 32"}
    assert table.loc["s3ce_net", "dense"] * (1 - table.loc["s3ce_net", "ssam_share"]) == pytest.approx(table.loc["sew_resnet18", "dense"])
    assert small["psta"].head.necks[0].classifier.out_features == CLASSES
    assert beside_published(table.reset_index()) == [
        "Published sizes are for 256 x 128 pixels, width 64 and T = 8: these networks are smaller."
    ]


def test_dense_operations_do_not_depend_on_the_clip(small):
    """Event mappings run where events are, but dense counts every position."""
    empty = paper_sizes({"sdcl": small["sdcl"]}, SMALL, WIDTH)["dense"][0]
    assert operations(small["sdcl"], random_clip(("events", "frames"), SMALL)).totals["dense"] == empty


def test_times_in_turns(small):
    table = paper_latency(small, SMALL, rounds=2)
    assert table["name"].tolist() == list(small) and set(table["setting"]) == {"batch of 1"}
    assert (table["low_ms"] <= table["latency_ms"]).all()


def test_psta_has_its_published_size():
    psta = paper_models(("psta",))
    table = paper_sizes(psta)
    told = beside_published(table)
    assert table["parameters"].tolist() == [33_777_495]
    assert told == [
        "PSTA (frames alone), parameters with 89 classes: 33.78 M here, 33.78 M published: agrees.",
        "PSTA (frames alone), dense multiply-accumulates of 8 frames: 37.3 G here, 37.3 G published: agrees.",
    ]
    changed = beside_published(table.assign(parameters=34_000_000))
    assert changed[0].endswith("34.00 M here, 33.78 M published: does not agree.") and changed[1] == told[1]


def test_weights_and_clips_are_drawn_alike(small):
    again = paper_models(("s3ce_net",), SMALL, WIDTH)["s3ce_net"]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), small["s3ce_net"].parameters(), strict=True))
    clip = random_clip(("events", "frames"), SMALL, rate=0.25)
    assert clip["events"].shape == (1, 8, 2, 64, 32) and clip["frames"].shape == (1, 8, 3, 64, 32)
    assert (clip["events"] != 0).any(2).float().mean() == pytest.approx(0.25, abs=0.02)
