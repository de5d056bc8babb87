"""VRSTC's rule for hidden thirds by hand, its Non-local block position by position, its published size."""

import math

import pytest
import torch
from redrawn import redraw
from torch.utils.flop_counter import FlopCounterMode

from reidlib.efficiency import count_parameters
from reidlib.models import build_model
from reidlib.models.layers.non_local import NonLocal
from reidlib.models.layers.occlusion import THRESHOLD, occluded, region_scores, region_vectors, third_edges, third_masks
from reidlib.models.vrstc import VRSTC


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def turned(*degrees: float) -> torch.Tensor:
    """Unit vectors of the plane."""
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees], dtype=torch.float64)


def test_the_rule_on_vectors_by_hand():
    """Two frames that differ by an angle lie half of it from their mean; cos 27.1 degrees is 0.890213, cos 27.2 degrees 0.889416."""
    upper, middle = turned(-27.1, 27.1), turned(-27.2, 27.2)
    lower = 7 * turned(30.0, 30.0)  # lengths do not matter where directions agree
    scores = region_scores(torch.stack((upper, middle, lower), 1))
    expected = torch.tensor([[0.890213, 0.889416, 1.0]] * 2, dtype=torch.float64)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
    assert occluded(scores).tolist() == [[False, True, False]] * 2
    assert THRESHOLD == 0.89


def test_one_odd_frame_among_many_is_the_hidden_one():
    """Nine frames ahead and one across: the mean lies atan(1/9) from the nine, cos 0.9939, and cos 0.1104 from the odd one."""
    vectors = turned(*[0.0] * 9, 90.0)[:, None].expand(-1, 3, -1)
    scores = region_scores(vectors)
    torch.testing.assert_close(scores[:9], torch.full((9, 3), 9 / math.sqrt(82), dtype=torch.float64))
    torch.testing.assert_close(scores[9], torch.full((3,), 1 / math.sqrt(82), dtype=torch.float64))
    assert occluded(scores).tolist() == [[False] * 3] * 9 + [[True] * 3]


def test_the_mean_is_of_vectors_not_of_directions():
    """A long vector draws the mean towards itself, (4.8)."""
    scores = region_scores((turned(0.0, 90.0) * torch.tensor([[3.0], [1.0]]))[:, None].expand(-1, 3, -1))
    assert scores[0, 0].item() == pytest.approx(3 / math.sqrt(10)) and scores[1, 0].item() == pytest.approx(1 / math.sqrt(10))


def test_the_threshold_itself_is_visible_and_nothing_is_like_zeros():
    assert occluded(torch.tensor([0.89, 0.8899999], dtype=torch.float64)).tolist() == [False, True]
    assert occluded(torch.tensor([0.5, 0.2]), 0.4).tolist() == [False, True]
    vectors = torch.ones(3, 3, 4)
    vectors[1, 2] = 0
    assert region_scores(vectors)[1].tolist() == pytest.approx([1, 1, 0])
    assert region_scores(torch.rand(1, 3, 5)).tolist()[0] == pytest.approx([1, 1, 1])  # one frame is like itself


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 4)])
def test_scores_of_no_tracklet(shape):
    with pytest.raises(ValueError, match=r"expected \[T, 3, D\]"):
        region_scores(torch.zeros(shape))


@pytest.mark.parametrize("rows, parts", [(6, [(0, 2), (2, 4), (4, 6)]), (16, [(0, 6), (5, 11), (10, 16)]), (2, [(0, 1), (0, 2), (1, 2)])])
def test_region_vectors_are_means_of_thirds(rows, parts):
    maps = drawn(2, 4, 5, rows, 3)
    expected = torch.stack([maps[:, :, :, a:b].mean((3, 4)) for a, b in parts], 2)
    torch.testing.assert_close(region_vectors(maps), expected)


def test_thirds_of_pixels():
    assert third_edges(128) == (0, 43, 85, 128) and third_edges(64) == (0, 21, 43, 64) and third_edges(3) == (0, 1, 2, 3)
    hidden = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])
    masks = third_masks(hidden, 64)
    assert masks.shape == (3, 1, 64, 1) and masks.dtype == torch.bool
    assert masks[:, 0, :, 0].nonzero().tolist() == [[0, y] for y in range(21)] + [[1, y] for y in range(21, 64)]
    with pytest.raises(ValueError, match="2 rows has no three thirds"):
        third_edges(2)


def test_the_non_local_block_position_by_position():
    torch.manual_seed(1)
    block, x, seen = redraw(NonLocal(6)).eval(), drawn(2, 3, 6, 2, 2) - 0.5, {}
    with torch.no_grad():
        found = block(x, seen)
    places = [(t, y, a) for t in range(3) for y in range(2) for a in range(2)]
    theta, phi, g = (part.weight[:, :, 0, 0] for part in (block.theta, block.phi, block.g))
    conv, norm = block.extend
    for n in range(2):
        looked = 0
        for t, y, a in places:
            logits = torch.stack([theta @ x[n, t, :, y, a] @ (phi @ x[n, s, :, v, b]) for s, v, b in places])
            shares = logits.exp() / logits.exp().sum()
            mixed = sum(share * (g @ x[n, s, :, v, b]) for share, (s, v, b) in zip(shares, places, strict=True))
            z = (conv.weight[:, :, 0, 0] @ mixed - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            torch.testing.assert_close(found[n, t, :, y, a], x[n, t, :, y, a] + z)
            looked = looked + shares / len(places)
        torch.testing.assert_close(seen["non_local"][n].flatten(), looked)


def test_at_scale_zero_the_network_begins_as_it_was():
    torch.manual_seed(0)
    block, x = NonLocal(6).train(), drawn(2, 3, 6, 2, 2)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("stages, millions, giga_macs", [((), 23.508, 4.053), ((2,), 24.033, 4.859)])
def test_published_size_and_cost(stages, millions, giga_macs):
    """Specification 1.7: ResNet-50 and its Non-local row at 256 x 128, T = 4; 23.5 M and 4.06 G, 24.0 M and 4.86 G per frame."""
    with torch.device("meta"):
        model = build_model("vrstc", 625, stages=stages).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            assert model(frames=torch.zeros(1, 4, 3, 256, 128)).shape == (1, 2048)
    assert count_parameters(model.trunk) / 1e6 == pytest.approx(millions, abs=0.0005)
    assert counter.get_total_flops() / 2e9 / 4 == pytest.approx(giga_macs, abs=0.0005)


def small(**options) -> VRSTC:
    torch.manual_seed(0)
    return redraw(VRSTC(5, **{"backbone": "resnet18", "width": 4} | options)).eval()


def test_regions_and_logits_are_of_the_embedded_feature():
    """A frame of 48 rows has a map of three: the mean of its regions is the feature."""
    model, frames = small(embedding="feature"), drawn(2, 3, 3, 48, 32)
    with torch.no_grad():
        feature = model(frames=frames)
        torch.testing.assert_close(model.regions(frames).mean((1, 2)), feature)
        torch.testing.assert_close(model.identity_logits(frames), model.neck.classifier(model.neck.norm(feature)))


def test_the_first_step_sees_frames_apart_and_the_last_one_does_not():
    frames = drawn(2, 3, 3, 48, 32)
    other = frames.clone()
    other[:, 1] = 0
    with torch.no_grad():
        for stages, apart in (((), True), ((2,), False)):
            model = small(stages=stages, block_scale=1.0)
            assert torch.allclose(model.regions(frames)[:, 0], model.regions(other)[:, 0], atol=1e-6) == apart
            assert list(model.attention(frames)) == [f"non_local{stage}" for stage in stages]


def test_attention_leaves_a_training_model_as_it_was():
    model = small(stages=(2, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps = model.attention(drawn(2, 3, 3, 64, 32))
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: tuple(value.shape) for name, value in maps.items()} == {"non_local2": (2, 3, 8, 4), "non_local3": (2, 3, 4, 2)}
    assert all(torch.allclose(value.sum((1, 2, 3)), torch.ones(2)) for value in maps.values())


@pytest.mark.parametrize("options, message", [({"metric": "mid"}, "unknown metric 'mid'"), ({"stages": (5,)}, "blocks after stages")])
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_model("vrstc", 5, backbone="resnet18", width=4, **options)
    with pytest.raises(ValueError, match=r"frames .*expected \[B, T, 3, H, W\]"):
        small().regions(torch.zeros(2, 3, 48, 32))
