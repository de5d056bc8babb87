"""Occlusion sensitivity against models whose need of every place is known by construction, and against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reidlib.analysis.occlusion import (
    as_shares,
    band_masks,
    band_sensitivity,
    box_masks,
    effective_parts,
    occlusion_map,
    similarity_drops,
    step_masks,
    step_sensitivity,
)
from reidlib.models import build_model


class Picture(nn.Module):
    """Embedding = the mean event frame of some rows and steps, nothing else."""

    modalities = ("events",)

    def __init__(self, rows=slice(None), steps=slice(None)):
        super().__init__()
        self.rows, self.steps, self.anchor = rows, steps, nn.Parameter(torch.zeros(()))
        self.calls: list[int] = []

    def forward(self, events):
        self.calls.append(len(events))
        return events[:, self.steps, :, self.rows].mean(1).flatten(1) + self.anchor


def random_clips(n=2, steps=4, height=16, width=8, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((n, steps, 2, height, width))).float()


def plain_drop(model, clips, mask):
    def embed(batch):
        mean = model(events=batch).detach().numpy().astype(np.float64).mean(0)
        return mean / np.linalg.norm(mean)

    masked = clips.clone()
    for clip in masked:
        for step in range(clip.shape[0]):
            for channel in range(2):
                clip[step, channel] *= mask.expand(clip.shape[0], *clip.shape[2:])[step]
    return 1 - embed(clips) @ embed(masked)


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_drops_equal_a_plain_loop_for_any_batch(batch):
    clips, model = random_clips(), Picture()
    masks = torch.from_numpy(np.random.default_rng(1).random((5, 4, 16, 8)) < 0.5)
    expected = [plain_drop(model, clips, mask) for mask in masks]
    np.testing.assert_allclose(similarity_drops(model, clips, masks, batch), expected, atol=1e-6)
    assert max(model.calls[-3:]) <= max(batch, len(clips))


def test_only_the_rows_that_a_model_reads_are_sensitive():
    clips = random_clips()
    drops = band_sensitivity(Picture(rows=slice(4, 8)), clips, bands=4)
    assert drops[1] == pytest.approx(1)  # nothing is left of the embedding: no direction, similarity 0
    np.testing.assert_allclose(drops[[0, 2, 3]], 0, atol=1e-6)
    heat = occlusion_map(Picture(rows=slice(4, 8)), clips, grid=(4, 2), box=1)
    assert heat.shape == (4, 2)
    assert heat[1].min() > 0.05
    np.testing.assert_allclose(heat[[0, 2, 3]], 0, atol=1e-6)


def test_only_the_steps_that_a_model_reads_are_sensitive():
    drops = step_sensitivity(Picture(steps=slice(2, 3)), random_clips())
    assert drops[2] == pytest.approx(1)
    np.testing.assert_allclose(drops[[0, 1, 3]], 0, atol=1e-6)


def test_a_place_without_events_costs_nothing_and_the_clips_are_untouched():
    clips = random_clips()
    clips[..., :8, :] = 0
    before = clips.clone()
    heat = occlusion_map(Picture(), clips, grid=(4, 4), box=1)
    np.testing.assert_allclose(heat[:2], 0, atol=1e-6)
    assert heat[2:].min() > 0
    assert torch.equal(clips, before)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 7), columns=st.integers(1, 5), box=st.integers(1, 5), extra=st.integers(0, 5))
def test_every_cell_is_covered_equally_often_and_masks_agree_with_the_cells(rows, columns, box, extra):
    box = min(box, rows, columns)
    height, width = rows + extra, columns + 2 * extra
    masks, covers = box_masks((height, width), (rows, columns), box)
    assert (covers.sum(0) == box * box).all()
    assert masks.shape == (len(covers), 1, height, width)
    for mask, cover in zip(masks[:, 0].numpy(), covers, strict=True):
        for y in range(height):
            for x in range(width):
                assert mask[y, x] == (cover[y * rows // height, x * columns // width] == 0)


def test_a_map_is_the_mean_over_the_boxes_that_cover_a_cell():
    clips, model = random_clips(), Picture()
    masks, covers = box_masks((16, 8), (4, 2), 2)
    drops = similarity_drops(model, clips, masks)
    heat = occlusion_map(model, clips, (4, 2), 2)
    assert heat[2, 1] == pytest.approx(np.mean([d for d, cover in zip(drops, covers, strict=True) if cover[2, 1]]))


def test_bands_and_steps_part_the_clip():
    assert ((~band_masks(10, 3)).sum(0) == 1).all()
    assert (~step_masks(5)).flatten(1).float().equal(torch.eye(5))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="20 rows with boxes of 2"):
        box_masks((16, 8), (20, 4), 2)
    with pytest.raises(ValueError, match="17 bands do not fit 16 rows"):
        band_masks(16, 17)
    with pytest.raises(ValueError, match=r"expected \[n, T, 2, H, W\]"):
        similarity_drops(Picture(), random_clips()[0], step_masks(4))


def test_shares_add_up():
    np.testing.assert_allclose(as_shares(np.array([[1.0, 3.0]])), [[25, 75]])
    assert (as_shares(np.zeros((2, 2))) == 0).all()


def test_effective_parts_counts_parts():
    found = effective_parts([[1, 0, 0, 0], [2, 2, 2, 2], [0.5, 0.5, -3, 0], [0, 0, -1, 0]])
    np.testing.assert_allclose(found[:3], [1, 4, 2])
    assert np.isnan(found[3])


@pytest.mark.parametrize("name", ["s3ce_net", "sew_resnet18", "resnet18_events"])
def test_every_event_network_can_be_probed(name):
    torch.manual_seed(0)
    options = {"head_channels": 8, "sampling": {"spatial": 2}} if name == "s3ce_net" else {}
    model = build_model(name, 3, width=8, neuron={"kind": "if"}, **options)
    clips = torch.from_numpy(np.random.default_rng(0).poisson(0.4, (6, 4, 2, 32, 16))).float()
    with pytest.raises(ValueError, match="is the network silent"):
        similarity_drops(model, torch.zeros_like(clips), step_masks(4))
    model.train()
    for _ in range(3):
        model(events=clips)  # statistics of BatchNorm: without them hardly anything fires
    model.eval()
    heat = occlusion_map(model, clips, grid=(4, 2))
    assert heat.shape == (4, 2)
    assert np.isfinite(heat).all()
    assert heat.max() > 0
    np.testing.assert_array_equal(heat, occlusion_map(model, clips, grid=(4, 2)))  # no state is carried over
