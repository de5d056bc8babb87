"""What is measured of the video systems, against plain loops."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from video_examples import SIZE, Shows, T, labelled_clips, network

from reidlib.analysis import region_measures, video_measures, video_profile
from reidlib.analysis.video_profile import BEST, USUAL, over_clips
from reidlib.models.layers.partition import Partition

PEOPLE = np.array([0, 0, 1, 1, 2, 2])  # of the clips


@pytest.fixture(scope="module")
def dataset() -> list[dict]:
    return labelled_clips()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_area_under_curve_is_counting_pairs(seed):
    rng = np.random.default_rng(seed)
    scores, inside, outside = rng.integers(0, 3, 5) / 2, rng.integers(0, 3, 5), rng.integers(0, 3, 5)
    pairs = [((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2, inside[i] * outside[j]) for i, j in product(range(5), repeat=2)]
    (found,) = video_profile.area_under_curve(scores[None], inside[None].astype(float), outside[None].astype(float))
    total = sum(count for _, count in pairs)
    assert np.isnan(found) if total == 0 else found == pytest.approx(sum(value * count for value, count in pairs) / total)


def test_shares_of_positions_are_counted_pixel_by_pixel(dataset):
    parts = dataset[0]["parts"]
    share, known = video_profile.body_shares(parts, (8, 4))
    cell = parts[1, 2, 16:24, 8:16].numpy()
    assert known[1, 2, 0, 2, 1] == (cell != 255).mean()
    expected = [((cell > 0) & (cell < 255)).mean(), *((cell == k).mean() for k in range(1, 5))]
    np.testing.assert_allclose(share[1, 2, :, 2, 1], expected)
    usual = video_profile.usual_places(dataset)
    labels = torch.cat([item["parts"] for item in dataset]).flatten(0, 1)
    assert usual.shape == (5, *SIZE) and usual[2, 40, 20] == (labels[:, 40, 20] == 2).float().mean() and not usual[:, 3, 3].any()


def test_agreement_compares_with_the_usual_place_and_the_best(dataset):
    parts, usual = dataset[0]["parts"], video_profile.usual_places(dataset)
    share, known = video_profile.body_shares(parts, (8, 4))
    noise = torch.rand(2, T, 8, 4, generator=torch.Generator().manual_seed(0))
    maps = {"upper body": share[:, :, 2] / known[:, :, 0].clamp_min(0.01) + 1, "shoes": noise}
    found = video_profile.agreement(maps, parts, usual, "maps", ", stage 2")
    best = found["upper body, stage 2", BEST]
    np.testing.assert_allclose(found["upper body, stage 2", "maps"], best)
    assert (best > found["upper body, stage 2", USUAL]).all() and (best < 1).all()
    assert (found["shoes, stage 2", "maps"] < found["shoes, stage 2", BEST]).all()
    pixels = [(noise[0, t, y // 8, x // 8].item(), parts[0, t, y, x].item()) for t in range(T) for y, x in np.ndindex(*SIZE)]
    inside = np.array([value for value, label in pixels if label == 4])
    outside = np.array([value for value, label in pixels if label not in (4, 255)])
    mean = ((inside[:, None] > outside).mean() + (inside[:, None] >= outside).mean()) / 2
    assert found["shoes, stage 2", "maps"][0] == pytest.approx(mean, abs=1e-6)


def test_attention_that_is_even_and_attention_that_is_not():
    person = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0, 0, 0, 0]])
    even = video_profile.attention_values(torch.full((2, 4), 0.25), person, "it")
    np.testing.assert_allclose(even["effective share of the positions", "it"], 1)
    np.testing.assert_allclose(even["density on the person", "it"], [1, np.nan])
    one = video_profile.attention_values(torch.tensor([[0, 1.0, 0, 0]]), person[:1], "it")
    assert one["effective share of the positions", "it"] == 0.25 and one["density on the person", "it"] == pytest.approx(0.5 / 0.375)


def test_tables_hold_means_intervals_and_paired_differences(dataset):
    def measure(model, frames, parts, plus):
        sums = frames.sum((1, 2, 3, 4)).numpy()
        return {("sum", "it"): sums, ("sum", "other"): sums + plus, ("nothing", "it"): sums * np.nan}

    profile = over_clips(measure, None, dataset, plus=2.0)
    assert profile.owners.tolist() == [0, 0, 1, 1, 2, 2]
    table = video_profile.measure_table(profile, PEOPLE, 100).set_index(["measure", "of"])
    sums = torch.cat([item["frames"] for item in dataset]).sum((1, 2, 3, 4))
    line = table.loc["sum", "it"]
    assert line["mean"] == pytest.approx(100 * sums.mean().item(), rel=1e-5) and line["low"] < line["mean"] < line["high"]
    assert table.loc[("nothing", "it"), ["mean", "low"]].isna().all() and table.loc[("nothing", "it"), "clips"] == 0
    (change,) = video_profile.difference_table(profile, PEOPLE, "other", "it").to_dict("records")
    assert change["of"] == "other − it" and change["mean"] == change["low"] == change["high"] == pytest.approx(2, abs=1e-3)
    alone = video_profile.measure_table(profile, np.zeros(6, int))
    assert np.isfinite(alone["mean"][0]) and np.isnan(alone["low"][0])
    told = video_profile.headlines(table.reset_index(), "it", "units", "System")
    assert [one["label"] for one in told] == ["System: sum (it)"] and told[0]["unit"] == "units"
    with pytest.raises(ValueError, match="no clips"):
        over_clips(measure, None, [], plus=0)


@pytest.mark.parametrize("regions", [3, 6, 8])
def test_cuts_are_read_from_the_masks_that_they_made(regions):
    plan = Partition(4, (8, 4), regions)
    rng = np.random.default_rng(regions)
    rows = np.sort(np.stack([rng.choice(7, plan.bands - 1, replace=False) for _ in range(6)]), 1)
    cuts = torch.from_numpy(np.concatenate([rows, rng.integers(0, 3, (6, int(any(plan.halved))))], 1))
    masks, _ = plan.regions(cuts)
    extents = torch.tensor(plan.extents)
    found = region_measures.cuts_of(masks.unflatten(0, (2, 3)))
    torch.testing.assert_close(found, ((cuts + 1) / extents).unflatten(0, (2, 3)))


def test_errors_of_cuts_by_hand(dataset):
    """Everybody is cut at a quarter, a half and seven eighths of the height, and in the middle: 16, 32, 56 of 64 rows and column 16."""
    masks, _ = Partition(4, (8, 4), 6).regions(torch.tensor([[1, 3, 6, 1]]).expand(2 * T, -1))
    item, model = dataset[1], Shows(regions2=masks.unflatten(0, (2, T)))
    usual = torch.tensor([0.2, 0.5, 0.9, 0.5])
    found = region_measures.cut_errors(model, item["frames"], item["parts"], usual)
    true = np.array([[9 + t, 30 + 2 * t, 54] for t in range(T)]) / 64
    for k, name in enumerate(region_measures.CUTS):
        np.testing.assert_allclose(
            found[f"{name}, stage 2", "adaptive partition"], np.abs(true[:, k] - [16, 32, 56][k] / 64).mean(), atol=1e-6
        )
        np.testing.assert_allclose(found[f"{name}, stage 2", "usual cut"], np.abs(true[:, k] - (0.25, 0.5, 0.875)[k]).mean(), atol=1e-6)
        rounded = np.round(true[:, k] * 8) / 8
        np.testing.assert_allclose(found[f"{name}, stage 2", BEST], np.abs(true[:, k] - rounded).mean(), atol=1e-6)
    assert found["left | right, stage 2", "adaptive partition"][0] == pytest.approx(abs(0.5 - 15 / 32))  # columns 9 to 20
    cuts = region_measures.usual_cuts(dataset, network("rfcnet"))
    assert cuts.shape == (4,) and cuts[2] == pytest.approx(54 / 64)


def test_covered_features_in_front_of_a_block_and_behind_it(dataset):
    model, frames = network("rfcnet", stages=(2, 3)), dataset[0]["frames"]
    found = region_measures.feature_completion(model, frames)
    assert [key[0] for key in found][::2] == [f"{third} third, stage {s}" for third in ("upper", "middle", "lower") for s in (2, 3)]
    grey = (0.3 - torch.tensor((0.485, 0.456, 0.406))) / torch.tensor((0.229, 0.224, 0.225))
    covered = frames.clone()
    covered[:, 1:3, :, 21:43] = grey[:, None, None]
    maps = []
    with torch.no_grad():
        for clip in (frames, covered):
            x = model.backbone.stem(clip)
            x = model.backbone.stage(1, x)
            front = model.backbone.trunk.layer2(x.flatten(0, 1)).unflatten(0, (2, T))
            maps.append((front, model.backbone.blocks(2, front)))
    for of, then, now in zip(("in front of the block", "behind the block"), *maps, strict=True):
        change, whole = (now - then)[1, 1:3, :, 3:5], then[1, 1:3, :, 3:5]  # thirds of 8 rows: 0, 3, 5, 8
        assert found["middle third, stage 2", of][1] == pytest.approx((change.norm() / whole.norm()).item(), rel=1e-4)
    assert found["middle third, stage 2", "behind the block"][1] != found["middle third, stage 2", "in front of the block"][1]


def windows(extent: int, side: int, partial: bool) -> list[set]:
    starts = [center - side // 2 for center in range(extent)] if partial else range(extent - side + 1)
    return [set(range(max(a, 0), min(a + side, extent))) for a in starts]


@pytest.mark.parametrize(("rows", "side", "partial"), [(4, 1, False), (8, 3, False), (8, 3, True), (5, 2, True)])
def test_what_two_windows_share_by_chance(rows, side, partial):
    found = windows(rows, side, partial)
    mean = np.mean([len(a & b) / len(a) for a, b in product(found, repeat=2)])
    assert video_measures.window_chance((rows, 2), (side, 2), (1, 1), partial) == pytest.approx(mean)
    across = np.mean([len(a & b) / len(a) for a, b in product(windows(6, 3, False), repeat=2)])
    assert video_measures.window_chance((rows, 6), (side, 3), (1, 1), partial) == pytest.approx(mean * across)


def test_blocks_of_learners_are_those_of_their_last_maps(dataset):
    model, frames = network("tclnet"), dataset[0]["frames"]
    found = video_measures.erasing_overlaps(model, frames)
    with torch.no_grad():
        x = model.backbone.stem(frames)
        for stage in (1, 2, 3):
            x = model.backbone.stage(stage, x, {})
        first = x[:, 0::2].flatten(0, 1)  # the frames of the first learner, [n * 2, C, 4, 2]
        strength = model._learner(0, first).norm(dim=1).sum(2)  # by row, [n * 2, 4]
    erased = model.inner_views(frames=frames)["erased"][:, 1::2].flatten(0, 1)[:, :, 0]  # [n * 2, 4]
    shares = [float(erased[i, strength[i].argmax()]) for i in range(4)]
    np.testing.assert_allclose(found["learner 1's strongest block is erased for learner 2", "TCLNet"], np.reshape(shares, (2, 2)).mean(1))
    assert found["strongest blocks of learners 1 and 2", "by chance"].tolist() == [0.25, 0.25]
    assert all(((values >= 0) & (values <= 1)).all() for values in found.values())
    rows = video_measures.erased_rows(model, frames)["rows", "learner 2"]
    np.testing.assert_allclose(rows, erased.unflatten(0, (2, 2)).mean(1))
    with pytest.raises(ValueError, match="nothing to compare"):
        video_measures.erasing_overlaps(network("tclnet", seo=False), frames)


def test_what_is_erased_of_the_person(dataset):
    item = dataset[0]
    erased = torch.zeros(2, T, 4, 2)
    erased[:, 1, 0], erased[:, 3, 2] = 1, 1
    model = Shows(erased=erased)
    model.necks = [None, None]
    found = video_measures.erased_person(model, item["frames"], item["parts"])
    person = ((item["parts"] > 0) & (item["parts"] < 255)).float()[0]
    block = (person[1, :16].mean() + person[3, 32:48].mean()) / 2
    np.testing.assert_allclose(found["share of the person", "erased blocks"], block, rtol=1e-5)
    np.testing.assert_allclose(found["share of the person", "whole frames"], person[[1, 3]].mean(), rtol=1e-5)


def test_what_the_gate_leaves_of_a_frame(dataset):
    erased, correlation = torch.zeros(1, T, 4, 2), torch.zeros(1, T, 4, 2)
    erased[:, 1::2, 0] = 1
    correlation[0, 1, 0, 0] = 100  # all weight on what is erased
    model = Shows(erased=erased, correlation=correlation)
    model.necks = [None, None]
    found = video_measures.gate_left(model, dataset[0]["frames"][:1])
    assert [values.tolist() for values in found.values()] == [pytest.approx([(0 + 0.75) / 2]), [0.75]]


def test_memory_and_non_local_look_at_what_the_models_show(dataset):
    item = dataset[0]
    share = video_profile.body_shares(item["parts"], (8, 4))[0][0, :, 0]  # [T, 8, 4]
    weights = network("tclnet").inner_views(frames=item["frames"])["memory2"][0]  # [T, T, 8, 4]
    found = video_measures.memory_attention(network("tclnet"), item["frames"], item["parts"])
    densities, effective = [], []
    for t in range(T):
        others = [s for s in range(T) if s != t]
        asked = weights[t, others].flatten()
        densities.append(((asked * share[others].flatten()).sum() / share[others].mean()).item())
        effective.append(np.exp(-(asked * asked.log()).sum().item()) / len(asked))
    assert found["density on the person", "TSB, stage 2"][0] == pytest.approx(np.mean(densities), rel=1e-4)
    assert found["effective share of the positions", "TSB, stage 2"][0] == pytest.approx(np.mean(effective), rel=1e-4)
    model = network("vrstc")
    looked = model.attention(item["frames"])["non_local2"][0]
    found = video_measures.non_local_attention(model, item["frames"], item["parts"])
    assert found["density on the person", "Non-local, stage 2"][0] == pytest.approx(
        ((looked * share).sum() / share.mean()).item(), rel=1e-4
    )
    assert len(video_measures.non_local_attention(model, item["frames"])) == 1  # without labels


def test_attention_of_big_and_small_frames(dataset):
    item, model = dataset[0], network("bicnet_tks", alpha=2)  # two groups of three: frames 0 to 3, then 0 and 1 again
    seen = model.inner_views(frames=item["frames"])
    big, small = seen["attention_big3"][0], seen["attention_small3"][0]
    found = video_measures.dao_attention(model, item["frames"], item["parts"])
    share = video_profile.body_shares(item["parts"], (2, 1))[0][0, :, 0]
    densities = [((small[i] * share[t]).sum() / share[t].mean()).item() for i, t in ((1, 2), (3, 1))]  # the second small frames
    assert found["density on the person", "small frame 2"][0] == pytest.approx(np.mean(densities), rel=1e-4)
    effective = [torch.exp(-(one * one.log()).sum()).item() / one.numel() for one in big]
    assert found["effective share of the positions", "big frame"][0] == pytest.approx(np.mean(effective), rel=1e-4)
    overlap = video_measures.dao_overlaps(model, item["frames"])
    assert list(overlap) == [("small frame 1 and frame 2", "same clip")]
    expected = [(small[a] * small[b]).sqrt().sum().item() for a, b in ((0, 1), (2, 3))]
    assert overlap["small frame 1 and frame 2", "same clip"][0] == pytest.approx(np.mean(expected), rel=1e-4)


def test_overlaps_between_people_pass_over_the_same_person():
    attention = np.array([[1, 0], [0.5, 0.5], [0, 1], [1, 0]])
    profile = video_profile.Profile(np.arange(4), {("small frame 1", "attention"): attention})
    found = video_measures.overlaps_between_people(profile, np.array([0, 0, 1, 2])).values["small frame 1", "another person"]
    np.testing.assert_allclose(found, [0, np.sqrt(0.5), 0, 1])  # with clips 2, 2, 3 and 0
    with pytest.raises(ValueError, match="one person alone"):
        video_measures.overlaps_between_people(profile, np.zeros(4))


def test_shares_of_kernels(dataset):
    model = network("bicnet_tks", alpha=3)
    profile = over_clips(video_measures.kernel_shares, model, dataset)
    small, large = profile.values.values()
    np.testing.assert_allclose(small + large, 1, rtol=1e-5)
    seen = model.inner_views(frames=dataset[2]["frames"])["kernels2"]
    np.testing.assert_allclose(small[4:], seen[:, 0], rtol=1e-5)
    table = video_measures.kernel_table(profile)
    assert table["kernel"].tolist() == ["kernel of 3 frames, stage 2", "kernel of 5 frames, stage 2"]
    assert table["mean"].sum() == pytest.approx(100) and table["over clips"][0] == pytest.approx(100 * small.std(0).mean())


def test_a_model_that_shows_nothing_of_the_kind():
    with pytest.raises(ValueError, match="shows no 'parts'; it shows erased, memory2"):
        video_profile.by_stage({"erased": 1, "memory2": 2}, "parts")
