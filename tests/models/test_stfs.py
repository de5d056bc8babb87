"""STFS: subsets of steps and bands of rows against loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.models import SamplingSettings
from reidlib.models.s3ce_net import sample_subsequences, spatial_bands, temporal_subsets


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.data(), st.sampled_from(["strided", "contiguous", "random"]))
def test_temporal_subsets_partition_the_steps(steps, data, form):
    parts = data.draw(st.integers(1, steps))
    subsets = temporal_subsets(steps, parts, form)
    assert len(subsets) == parts and sorted(torch.cat(subsets).tolist()) == list(range(steps))
    sizes = [len(subset) for subset in subsets]
    assert max(sizes) - min(sizes) <= 1
    assert all(torch.equal(subset, subset.sort().values) for subset in subsets)
    if form == "strided":
        assert all(set(subset.diff().tolist()) <= {parts} and int(subset[0]) == i for i, subset in enumerate(subsets))
    if form == "contiguous":
        assert torch.cat(subsets).tolist() == list(range(steps))


def test_random_subsets_differ_from_draw_to_draw_and_repeat_with_the_seed():
    torch.manual_seed(1)
    first = [temporal_subsets(12, 2, "random")[0].tolist() for _ in range(5)]
    torch.manual_seed(1)
    assert first == [temporal_subsets(12, 2, "random")[0].tolist() for _ in range(5)]
    assert len({tuple(one) for one in first}) > 1


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.data())
def test_bands_partition_the_rows_and_drop_is_the_complement(height, data):
    parts = data.draw(st.integers(2, height))
    bands, rest = spatial_bands(height, parts, "band"), spatial_bands(height, parts, "drop")
    assert torch.cat(bands).tolist() == list(range(height)) and len(bands) == len(rest) == parts
    assert max(map(len, bands)) - min(map(len, bands)) <= 1
    for band, others in zip(bands, rest, strict=True):
        assert others.tolist() == sorted(set(range(height)) - set(band.tolist()))


def test_more_parts_than_there_is_to_split():
    with pytest.raises(ValueError, match=r"5 temporal subsequences.*the clip has 4"):
        temporal_subsets(4, 5, "strided")
    with pytest.raises(ValueError, match=r"3 bands.*2 rows"):
        spatial_bands(2, 3, "band")
    with pytest.raises(ValueError, match=r"1 bands.*4 rows"):
        spatial_bands(4, 1, "drop")


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("temporal_form, spatial_form", [("strided", "band"), ("contiguous", "drop")])
def test_sampled_features_against_loops(pooling, temporal_form, spatial_form):
    T, B, C, H, W = 5, 2, 3, 6, 2
    x = torch.rand(T, B, C, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = SamplingSettings(2, 3, temporal_form, spatial_form)
    found = sample_subsequences(x, s, pooling)
    steps = [[0, 2, 4], [1, 3]] if temporal_form == "strided" else [[0, 1, 2], [3, 4]]
    rows = [[0, 1], [2, 3], [4, 5]] if spatial_form == "band" else [[2, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 3]]
    wanted = [(some, range(H)) for some in steps] + [(range(T), some) for some in rows]
    assert len(found) == len(wanted) == 5
    for feature, (some_steps, some_rows) in zip(found, wanted, strict=True):
        for b in range(B):
            for c in range(C):
                sums = 0.0
                for t in some_steps:
                    places = [float(x[t, b, c, row, column]) for row in some_rows for column in range(W)]
                    sums += max(places) if pooling == "max" else sum(places) / len(places)
                assert float(feature[b, c]) == pytest.approx(sums / len(some_steps), abs=1e-12)


def test_one_part_of_all_is_the_global_feature():
    x = torch.rand(4, 2, 3, 4, 2)
    features = sample_subsequences(x, SamplingSettings(1, 1), "max")
    assert len(features) == 2
    for feature in features:
        torch.testing.assert_close(feature, x.amax((-1, -2)).mean(0))


@pytest.mark.parametrize("part", ["temporal", "spatial"])
def test_either_half_of_stfs_can_be_left_out(part):
    counts = {"temporal": 2, "spatial": 4} | {part: 0}
    assert len(sample_subsequences(torch.rand(4, 2, 3, 4, 2), SamplingSettings(**counts), "max")) == sum(counts.values())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temporal": -1}, "must not be negative"),
        ({"weight": -0.1}, "must not be negative"),
        ({"temporal_form": "shuffled"}, "'shuffled'; choose one of strided"),
        ({"spatial_form": "column"}, "'column'; choose one of band"),
    ],
)
def test_bad_sampling_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SamplingSettings(**options)
