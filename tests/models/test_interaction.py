"""STIA, CIA and IA against slow references written from their equations (specification, sections 1.2, 1.3 and 1.6)."""

from math import exp

import pytest
import torch
from redrawn import redraw
from torch import Tensor, nn

from reidlib.models.layers.interaction import CIA, STIA, InteractionAggregation
from reidlib.models.layers.interaction_image import ImageInteraction, location_map

B, T, N, C, H, W = 2, 3, 4, 8, 3, 2


def make(kind=STIA, seed=0, **options) -> nn.Module:
    torch.manual_seed(seed)
    return redraw(kind(C, **options), seed).eval()


def clips(B=B, T=T, seed=0) -> Tensor:
    return torch.rand(B, T, C, H, W, generator=torch.Generator().manual_seed(seed))


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


def normalised(norm: nn.Module, vector: Tensor) -> Tensor:
    """BatchNorm of a vector of channels, at test time."""
    return (vector - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


def part_vectors(m: STIA, clip: Tensor) -> list[list[Tensor]]:
    """(2.8), (2.9) and the reduction, position by position: g p_tn."""
    conv, norm = m.attend[0].weight[:, :, 0, 0], m.attend[1]
    found = []
    for frame in clip:
        places = [(y, x) for y in range(H) for x in range(W)]
        maps = {at: torch.sigmoid(normalised(norm, conv @ frame[:, at[0], at[1]])) for at in places}
        sums = [sum(maps[at][n] * frame[:, at[0], at[1]] for at in places) for n in range(len(conv))]
        areas = [sum(maps[at][n] for at in places) if m.part_pooling == "mean" else 1 for n in range(len(conv))]
        found.append([m.reduce.weight @ (total / area) for total, area in zip(sums, areas, strict=True)])
    return found


def relation(net: nn.Module, a: Tensor, b: Tensor, u: Tensor) -> Tensor:
    """(2.1), (2.2)."""
    weight = torch.cat((net.differ.weight[0], net.context.weight[0]))
    return normalised(net.norm, (weight @ torch.cat(((a - b).abs(), u)))[None])[0]


def relation_row(m: STIA, p: list[list[Tensor]], u: Tensor, t: int, n: int) -> dict[tuple[int, int], float]:
    """(2.3), (2.4): weights of the neighbours (frame, part) of part n in frame t."""
    nets = dict(m.relate.items())
    scores = {}
    if m.relations in ("both", "spatial"):
        net = nets.get("spatial", nets.get("shared"))
        scores |= {(t, k): relation(net, p[t][n], p[t][k], u).item() for k in range(len(p[0])) if k != n}
    if m.relations in ("both", "temporal"):
        net = nets.get("temporal", nets.get("shared"))
        scores |= {(s, n): relation(net, p[t][n], p[s][n], u).item() for s in range(len(p)) if s != t}
    total = sum(exp(score) for score in scores.values())
    return {place: exp(score) / total for place, score in scores.items()}


def stia_reference(m: STIA, clip: Tensor) -> Tensor:
    p, u = part_vectors(m, clip), m.reduce.weight @ clip.mean((0, 2, 3))
    found = []
    for t, frame in enumerate(clip):
        updated = []
        for n in range(len(p[t])):
            gathered = sum((weight * p[s][k] for (s, k), weight in relation_row(m, p, u, t, n).items()), torch.zeros(C // 2))
            updated.append(normalised(m.update[1], m.update[0].weight @ torch.cat((p[t][n], gathered))).clamp(min=0))
        E = normalised(m.output[1], m.output[0].weight @ torch.cat((sum(updated) / len(updated), u)))
        found.append(frame + E[:, None, None])
    return torch.stack(found)


FORMS = [
    {},
    {"relations": "spatial"},
    {"relations": "temporal"},
    {"shared_relations": True, "part_pooling": "sum"},
    {"parts": 1},
    {"parts": 3, "part_pooling": "sum"},
]


@pytest.mark.parametrize("steps", [T, 1])
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_stia_equals_its_equations(options, steps):
    """One frame alone included, where temporal relations have no neighbours."""
    m, x = make(**options), clips(T=steps)
    with torch.no_grad():
        found = m(x)
        same(found, torch.stack([stia_reference(m, clip) for clip in x]))
    assert (found - x).std() > 0.1


@pytest.mark.parametrize("relations, neighbours", [("both", N + T - 2), ("spatial", N - 1), ("temporal", T - 1)])
def test_rows_of_the_relation_map(relations, neighbours):
    m = make(relations=relations)
    with torch.no_grad():
        R = m.relation_map(torch.rand(B, T * N, C // 2), torch.rand(B, C // 2), T)
    assert R.shape == (B, T * N, T * N) and ((R > 0).sum(-1) == neighbours).all()
    torch.testing.assert_close(R.sum(-1), torch.ones(B, T * N))
    i, j = torch.nonzero(R[0], as_tuple=True)
    assert ((i // N == j // N) ^ (i % N == j % N)).all()


def test_a_node_without_neighbours_has_an_empty_row():
    with torch.no_grad():
        assert not make(relations="temporal").relation_map(torch.rand(B, N, C // 2), torch.rand(B, C // 2), 1).any()


def test_the_order_of_frames_and_of_clips_means_nothing_to_stia():
    m, x = make(), clips()
    with torch.no_grad():
        same(m(x.flip(1)), m(x).flip(1))
        same(m(x[:1]), m(x)[:1])


def test_part_logits_are_shown():
    m, x, seen = make(), clips(), {}
    with torch.no_grad():
        m(x, seen)
        conv, norm = m.attend[0].weight[:, :, 0, 0], m.attend[1]
        same(seen["parts"][1, 2, :, 2, 1], normalised(norm, conv @ x[1, 2, :, 2, 1]))
    assert set(seen) == {"parts"} and seen["parts"].shape == (B, T, N, H, W)


def channel_mixture(maps: Tensor) -> Tensor:
    """(2.11), (2.12): rows `[R, P]`, one at a time."""
    rows = []
    for f in maps:
        weights = [exp((f @ g).item()) for g in maps]
        rows.append(sum(weight / sum(weights) * g for weight, g in zip(weights, maps, strict=True)))
    return torch.stack(rows)


def test_cia_equals_its_equations():
    m, x = make(CIA), clips()
    with torch.no_grad():
        found = m(x)
        for clip, out in zip(x, found, strict=True):
            mixed = channel_mixture(clip.flatten(2).flatten(0, 1)).view_as(clip)
            for t, y, z in ((0, 0, 0), (1, 2, 1), (2, 1, 0)):
                E = normalised(m.output[1], m.output[0].weight[:, :, 0, 0] @ mixed[t, :, y, z])
                same(out[t, :, y, z], clip[t, :, y, z] + E)


def test_cia_keeps_single_precision_under_autocast():
    """Logits in the thousands: rounded to bfloat16 they would mix other channels."""
    m, x = CIA(C).eval(), 8 * clips() + 30
    m.output = nn.Identity()
    with torch.no_grad():
        expected = m.residual(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = m.residual(x)
        rounded = x.bfloat16().flatten(3).flatten(1, 2)
        rough = ((rounded @ rounded.mT).float().softmax(-1) @ rounded.float()).view_as(x)
    torch.testing.assert_close(found, expected)
    assert (rough - expected).abs().max() > 0.05


@pytest.mark.parametrize("order", ["cia-stia", "stia-cia", "parallel"])
def test_orders_of_the_two(order):
    m, x, seen = make(InteractionAggregation, order=order), clips(), {}
    with torch.no_grad():
        found = m(x, seen)
        expected = {"cia-stia": m.stia(m.cia(x)), "stia-cia": m.cia(m.stia(x)), "parallel": m.stia(x) + m.cia(x) - x}[order]
    same(found, expected)
    assert set(seen) == {"parts"}
    others = [make(InteractionAggregation, order=other)(x) for other in ("cia-stia", "stia-cia", "parallel") if other != order]
    assert all((other - found).abs().max() > 1e-2 for other in others)


@pytest.mark.parametrize("height, width, alpha", [(32, 16, (20, 10)), (16, 8, (10, 5)), (3, 2, (1.875, 1.25))])
def test_location_map(height, width, alpha):
    found = location_map(height, width)
    places = [(y, x) for y in range(height) for x in range(width)]
    torch.testing.assert_close(found.sum(1), torch.ones(height * width))
    for i in (0, len(places) // 2, len(places) - 1):
        y, x = places[i]
        row = [exp(-((y - v) ** 2 / (2 * alpha[0] ** 2) + (x - h) ** 2 / (2 * alpha[1] ** 2))) for v, h in places]
        torch.testing.assert_close(found[i], torch.tensor(row) / sum(row))


def test_the_block_of_pictures_equals_its_equations():
    m, x = make(ImageInteraction), 3 * clips()
    near = location_map(H, W)
    with torch.no_grad():
        found = m(x)
        for b in range(B):
            maps = x[b, 1].flatten(1)  # [C, HW]
            alike = torch.stack([torch.tensor([(maps[:, i] @ maps[:, j] / C**0.5).exp() for j in range(H * W)]) for i in range(H * W)])
            alike = alike / alike.sum(1, keepdim=True)
            weights = (alike * near).exp() / (alike * near).exp().sum(1, keepdim=True)
            gathered = torch.stack([sum(weights[i, j] * maps[:, j] for j in range(H * W)) for i in range(H * W)])
            after = maps + torch.stack([normalised(m.spatial_norm, row) for row in gathered], 1)
            after = after + torch.stack([normalised(m.channel_norm, row) for row in channel_mixture(after).T], 1)
            torch.testing.assert_close(found[b, 1], after.view(C, H, W), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [STIA, CIA, InteractionAggregation, ImageInteraction])
@pytest.mark.parametrize("training", [True, False])
def test_blocks_change_nothing_at_first(kind, training):
    x = clips()
    assert torch.equal(kind(C).train(training)(x), x)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"relations": "all"}, r"unknown relations 'all'; choose one of both, spatial, temporal"),
        ({"part_pooling": "max"}, r"unknown part_pooling 'max'; choose mean or sum"),
        ({"parts": 0}, r"0 body parts: .* at least 1"),
        ({"channels": 7}, r"7 channels: .* must be even"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        STIA(**{"channels": C} | options)


def test_an_unknown_order_is_named():
    with pytest.raises(ValueError, match=r"unknown order 'both'; choose one of cia-stia, stia-cia, parallel"):
        InteractionAggregation(C, order="both")
