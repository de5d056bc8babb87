"""Cross feature alignment against a slow reference written from its equation, and the other ways of fusion."""

import pytest
import torch
from redrawn import redraw
from torch import Tensor

from reidlib.models.layers.alignment import Alignment, CrossAttention, CrossFusion
from reidlib.models.layers.sampling import sample, sampling_places

N, C, H, W = 2, 8, 4, 3


def pair(seed=0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(N, C, H, W, generator=g), torch.rand(N, C, H, W, generator=g)


def alignment(heads=2, points=3, seed=0) -> Alignment:
    """With biases and a last layer that matter."""
    torch.manual_seed(seed)
    module = Alignment(C, heads, points)
    for conv in (module.value, module.project, module.mlp[0], module.mlp[2]):
        torch.nn.init.normal_(conv.weight, std=0.5)
        torch.nn.init.normal_(conv.bias, std=0.5)
    return module.eval()


def bilinear(x: Tensor, y: float, x0: float) -> Tensor:
    """One place of a map `[C, H, W]` -> `[C]`; positions outside count as zero."""
    total = torch.zeros(len(x))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            total += x[:, i, j] * max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x0 - j))
    return total


def point(conv: torch.nn.Conv2d, column: Tensor) -> Tensor:
    return conv.weight[:, :, 0, 0] @ column + conv.bias


def alignment_reference(module: Alignment, receiver: Tensor, giver: Tensor) -> Tensor:
    """sum_m W_m [sum_i softmax_i(MLP(Q)) W'_m giver(R + dR_i)], place by place."""
    M, I, d = module.heads, module.points, C // module.heads
    out = torch.zeros(N, C, H, W)
    for n in range(N):
        for y in range(H):
            for x in range(W):
                query = receiver[n, :, y, x] * giver[n, :, y, x]
                predicted = point(module.mlp[2], point(module.mlp[0], query).clamp(min=0)).view(M, I, 3)
                out[n, :, y, x] = module.project.bias
                for m in range(M):
                    own = slice(m * d, (m + 1) * d)
                    drawn, scores = torch.zeros(d), predicted[m, :, 0].softmax(0)
                    for i in range(I):
                        dy, dx = predicted[m, i, 1:].tolist()
                        outside = bilinear(torch.ones(1, H, W), y + dy, x + dx)  # the share of the place that lies in the map
                        value = module.value.weight[own, :, 0, 0] @ bilinear(giver[n], y + dy, x + dx) + outside * module.value.bias[own]
                        drawn += scores[i] * value
                    out[n, :, y, x] += module.project.weight[:, own, 0, 0] @ drawn
    return out


@pytest.mark.parametrize("heads, points", [(2, 3), (1, 1), (4, 2)])
def test_alignment_equals_its_equation(heads, points):
    module, (receiver, giver) = alignment(heads, points), pair()
    with torch.no_grad():
        found = module(receiver, giver)
        torch.testing.assert_close(found, alignment_reference(module, receiver, giver), rtol=1e-4, atol=1e-5)
    assert found.std() > 0.01


def test_scores_and_displacements_are_those_of_the_query():
    module, (receiver, giver) = alignment(), pair()
    scores, shifts = module.sampling(receiver, giver)
    assert scores.shape == (N, 2, 3, H, W) and shifts.shape == (N, 2, 3, 2, H, W)
    torch.testing.assert_close(scores.sum(2), torch.ones(N, 2, H, W))
    again = module.sampling(giver, receiver)  # Q is a product
    assert torch.equal(scores, again[0]) and torch.equal(shifts, again[1])


def test_the_heads_begin_by_looking_around():
    torch.manual_seed(0)
    module = Alignment(16, heads=4, points=2)
    scores, shifts = module.sampling(torch.zeros(1, 16, 3, 3), torch.zeros(1, 16, 3, 3))
    expected = torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0]])[:, None] * torch.tensor([0.5, 1.0])[:, None]
    torch.testing.assert_close(shifts[0, ..., 1, 1], expected, rtol=0, atol=1e-6)
    assert (scores == 0.5).all()


@pytest.mark.parametrize("kind", ["attention", "alignment"])
def test_the_exchange_begins_small_but_not_silent(kind):
    torch.manual_seed(0)
    receiver, giver = torch.randn(2, 16, 64, 4, 3).relu()
    drawn = CrossFusion(64, kind).exchanges["e2f"](receiver, giver)
    assert 0.05 < drawn.norm() / receiver.norm() < 0.5


def test_sampling_a_map():
    maps = torch.rand(2, 3, 4, 5)
    still = sampling_places(torch.zeros(2, 2, 2, 4, 5))
    torch.testing.assert_close(sample(maps, still), maps[:, :, None].expand(-1, -1, 2, -1, -1))
    moved = torch.zeros(2, 1, 2, 4, 5)
    moved[:, :, 0] = 1  # one row down
    expected = torch.cat((maps[:, :, 1:], torch.zeros(2, 3, 1, 5)), 2)
    torch.testing.assert_close(sample(maps, sampling_places(moved))[:, :, 0], expected)


def test_attention_is_softmax_over_the_givers_places():
    torch.manual_seed(0)
    module, (receiver, giver) = CrossAttention(C, heads=2).eval(), pair()
    with torch.no_grad():
        found = module(receiver, giver)
        q, k, v = (part.flatten(2) for part in (module.query(receiver), module.key(giver), module.value(giver)))
        heads = []
        for own in (slice(0, 4), slice(4, 8)):
            weights = (q[:, own].mT @ k[:, own] / 2).softmax(2)  # [N, receiver's places, giver's places]
            heads.append(v[:, own] @ weights.mT)
        torch.testing.assert_close(found, module.project(torch.cat(heads, 1).view(N, C, H, W)))


@pytest.mark.parametrize("kind", ["none", "add", "concat", "attention", "alignment"])
@pytest.mark.parametrize("direction", ["e2f", "f2e", "both"])
def test_who_receives_what(kind, direction):
    torch.manual_seed(0)
    module, (frames, events) = redraw(CrossFusion(C, kind, direction, heads=2)).eval(), pair()
    expected = {"frames": frames, "events": events}
    for way, receiver, giver in (("e2f", "frames", "events"), ("f2e", "events", "frames")):
        if kind == "none" or direction not in (way, "both"):
            assert way not in module.exchanges
            continue
        given = {"frames": frames, "events": events}
        if kind == "add":
            expected[receiver] = frames + events
        else:
            drawn = module.exchanges[way](given[receiver], given[giver])
            expected[receiver] = drawn if kind == "concat" else given[receiver] + drawn
    new_frames, new_events = module(frames, events)
    torch.testing.assert_close(new_frames, expected["frames"])
    torch.testing.assert_close(new_events, expected["events"])
    changed = {"none": set(), "e2f": {"frames"}, "f2e": {"events"}, "both": {"frames", "events"}}[direction if kind != "none" else "none"]
    assert {
        name for name, old, new in (("frames", frames, new_frames), ("events", events, new_events)) if not torch.equal(old, new)
    } == changed
    if kind in ("concat", "attention", "alignment"):
        assert set(module.exchanges) == ({direction} if direction != "both" else {"e2f", "f2e"})


def test_options_are_checked():
    with pytest.raises(ValueError, match="unknown fusion 'sum'; choose one of none, concat, add, attention, alignment"):
        CrossFusion(C, "sum")
    with pytest.raises(ValueError, match="unknown direction 'f2f'; choose one of e2f, f2e, both"):
        CrossFusion(C, direction="f2f")
    with pytest.raises(ValueError, match="8 channels do not split into 3 heads"):
        CrossFusion(C, heads=3)
