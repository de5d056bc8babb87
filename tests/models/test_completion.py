"""Partition, SRFC, TRFC and the RFC block, each against loops written from the specification (sections 4.2 to 4.6)."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from redrawn import redraw, wake
from torch import Tensor, nn

from reidlib.models.layers.completion import SpatialCompletion, TemporalCompletion
from reidlib.models.layers.partition import COLUMNS, Partition, cut_loss
from reidlib.models.layers.region_block import RegionCompletion, modulated

N, K, C = 6, 3, 4


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def boxes_of(M: int = 2, seed: int = 0) -> Tensor:
    """Boxes of a real partition."""
    torch.manual_seed(seed)
    partition = Partition(C, (16, 8)).double()
    return partition(random(M, C, 16, 8, seed=seed))[1].double()


def norm(layer: nn.Module, v: Tensor) -> Tensor:
    """BatchNorm (eval) of one vector."""
    return (v - layer.running_mean) / (layer.running_var + layer.eps).sqrt() * layer.weight + layer.bias


def embedded(layers: nn.Module, v: Tensor) -> Tensor:
    return v if isinstance(layers, nn.Identity) else norm(layers[1], layers[0].weight @ v).clamp(min=0)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a.norm() * b.norm())


# Partition


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(COLUMNS)), st.integers(4, 9), st.integers(2, 6))
def test_regions_cover_the_map_once_and_none_is_empty(seed, regions, H, W):
    torch.manual_seed(seed)
    partition = Partition(32, (H, W), regions)
    masks, boxes, logits = partition(torch.randn(3, 32, H, W))
    assert masks.shape == (3, regions, H, W) and logits.shape == (3, sum(partition.classes))
    assert torch.equal(masks.sum(1), torch.ones(3, H, W)) and masks.sum((2, 3)).min() >= 1 and not masks.requires_grad
    for mask, box in zip(masks.flatten(0, 1), boxes.flatten(0, 1), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        edges = (rows.min() / H, columns.min() / W, (rows.max() + 1 - rows.min()) / H, (columns.max() + 1 - columns.min()) / W)
        assert box.tolist() == pytest.approx([float(edge) for edge in edges], abs=1e-6)
        assert mask.sum() == (rows.max() + 1 - rows.min()) * (columns.max() + 1 - columns.min())


def test_six_regions_by_hand():
    """Row class r: rows 0 ... r lie above; a later cut gives way to an earlier one; left before right."""
    partition = Partition(32, (8, 4))
    assert partition.classes == [5, 6, 7, 3] and partition.extents == [8, 8, 8, 4]
    logits = torch.full((1, 21), -1.0)
    logits[0, [3, 5 + 1, 11 + 6, 18 + 0]] = 1.0  # rows 3, 1 and 6, column 0
    cuts = partition.decode(logits)
    assert cuts.tolist() == [[3, 4, 6, 0]]
    numbers = (partition.regions(cuts)[0][0] * torch.arange(1, 7)[:, None, None]).sum(0).int().tolist()
    assert numbers == [[1] * 4] * 4 + [[2] * 4] + [[3, 4, 4, 4]] * 2 + [[5, 6, 6, 6]]


def test_a_fixed_partition_is_the_same_for_all():
    partition = Partition(4, (16, 8), adaptive=False)
    masks, boxes, logits = partition(random(2, 4, 16, 8).float())
    assert logits is None and not list(partition.parameters()) and torch.equal(masks[0], masks[1])
    assert boxes[0].tolist() == [
        [i / 4, x, 0.25, w] for i, x, w in ((0, 0, 1), (1, 0, 1), (2, 0, 0.5), (2, 0.5, 0.5), (3, 0, 0.5), (3, 0.5, 0.5))
    ]


def test_the_partition_reads_rows_and_columns():
    torch.manual_seed(0)
    partition = redraw(Partition(64, (8, 4))).double().eval()
    x = random(2, 64, 8, 4)
    with torch.no_grad():
        z = partition.squeeze(x)
        found = partition.logits(x)
        rows = torch.tensor([[z[0, d, y].mean() for y in range(8)] for d in range(2)]).double().flatten()
        columns = torch.tensor([[z[0, d, :, c].mean() for c in range(4)] for d in range(2)]).double().flatten()
    expected = torch.cat((partition.rows.weight @ rows + partition.rows.bias, partition.column.weight @ columns + partition.column.bias))
    torch.testing.assert_close(found[0], expected.detach())


def test_the_loss_of_the_cuts_is_5_11():
    classes, logits = [5, 6, 7, 3], random(3, 21)
    labels = torch.tensor([[4, 0, 2, 1], [1, -100, 6, -100], [0, -100, 3, -100]])
    expected = 0.0
    for cut, start in enumerate((0, 5, 11, 18)):
        terms = [
            math.log(sum(math.exp(logits[m, start + c]) for c in range(classes[cut]))) - logits[m, start + labels[m, cut]].item()
            for m in range(3)
            if labels[m, cut] >= 0
        ]
        expected += sum(terms) / len(terms) / 4
    assert cut_loss(logits, labels, classes).item() == pytest.approx(expected, rel=1e-5)
    assert cut_loss(logits, torch.full((3, 4), -100), classes) == 0


def test_regions_must_fit():
    with pytest.raises(ValueError, match="9 regions: choose one of 3, 4, 5, 6, 7, 8"):
        Partition(8, (16, 8), 9)
    for size in ((3, 8), (4, 1)):
        with pytest.raises(ValueError, match=f"a map of {size[0]} x {size[1]} is too small for 6 regions"):
            Partition(8, size)


# SRFC


def slow_spatial(m: SpatialCompletion, f: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """o and L_a + L_p of one frame, (5.2) to (5.8)."""
    S, loss = torch.zeros(N, K).double(), 0.0
    assigned = {}
    if m.appearance is not None:
        assigned["a"] = torch.stack([(m.appearance.weight @ f[i] + m.appearance.bias).softmax(0) for i in range(N)])
    places = []
    for top, left, height, width in box.tolist():
        places.append((top + height / 2, left + width / 2) if m.places == "centre" else (top, left))
    if m.position is not None:
        rows = []
        for (y, x), (_, _, height, width) in zip(places, box.tolist(), strict=True):
            hidden = norm(m.position[1], m.position[0].weight @ torch.tensor([y, x, height, width]).double()).clamp(min=0)
            rows.append((m.position[3].weight @ hidden + m.position[3].bias).softmax(0))
        assigned["p"] = torch.stack(rows)
    S = sum(assigned.values()) / len(assigned)
    for i in range(N):
        for j in range(N):
            if "a" in assigned:
                loss += (cosine(assigned["a"][i], assigned["a"][j]) - cosine(f[i], f[j])).abs()
            if "p" in assigned:
                ps = 1 - 2 * math.dist(places[i], places[j])
                loss += (cosine(assigned["p"][i], assigned["p"][j]) - ps).abs()
    clusters = []
    for j in range(K):
        total = sum(S[n, j] for n in range(N))
        clusters.append(embedded(m.encoded, sum(S[i, j] / total * f[i] for i in range(N))))
    out = []
    for i in range(N):
        total = sum(S[i, k] for k in range(K))
        out.append(f[i] + embedded(m.decoded, sum(S[i, k] / total * clusters[k] for k in range(K))))
    return torch.stack(out), loss


@pytest.mark.parametrize("assignment", ["both", "appearance", "position"])
@pytest.mark.parametrize("embeddings, places, similarity", [(True, "centre", "sum"), (False, "corner", "mean")])
def test_spatial_completion_equals_its_equations(assignment, embeddings, places, similarity):
    torch.manual_seed(0)
    module = SpatialCompletion(C, K, assignment, embeddings, places, similarity)
    module, f, boxes, seen = redraw(module).double().eval(), random(2, N, C), boxes_of(), {}
    with torch.no_grad():
        found = module(f, boxes, seen)
        expected, losses = zip(*(slow_spatial(module, f[i], boxes[i]) for i in range(2)), strict=True)
    torch.testing.assert_close(found, torch.stack(expected))
    loss = sum(losses) / 2 / (N if similarity == "mean" else 1)
    assert seen["similarity"].item() == pytest.approx(loss.item(), rel=1e-5) and (found - f).abs().max() > 0.05


# TRFC


def test_temporal_completion_equals_its_equations():
    torch.manual_seed(0)
    module, o = TemporalCompletion(C).double(), random(2, 4, N, C)
    expected = torch.zeros_like(o)
    with torch.no_grad():
        for b in range(2):
            for n in range(N):
                for t in range(4):
                    others = [k for k in range(4) if k != t]
                    total = sum(math.exp(o[b, t, n] @ o[b, k, n]) for k in others)
                    v = sum(math.exp(o[b, t, n] @ o[b, k, n]) / total * o[b, k, n] for k in others)
                    g = torch.sigmoid(module.gate.weight[0] @ o[b, t, n] + module.gate.bias[0])
                    expected[b, t, n] = g * o[b, t, n] + (1 - g) * v
        torch.testing.assert_close(module(o), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(module(o[:, :1]), o[:, :1])  # nothing to complete a lone frame from
    assert (expected - o).abs().max() > 0.1


def test_large_features_do_not_overflow():
    module = TemporalCompletion(C)
    with torch.no_grad():
        assert module(1e4 * random(1, 3, 2, C).float()).isfinite().all()


# The block

SIZE, T = (8, 4), 2
FORMS = [
    {},
    {"order": "t-s"},
    {"order": "parallel"},
    {"trfc": False},
    {"srfc": False, "foreground": "modulated"},
    {"foreground": "modulated", "order": "parallel"},
    {"foreground": "none", "adaptive": False, "regions": 4},
    {"regions": 8, "assignment": "position"},
]


def make_block(**options) -> RegionCompletion:
    torch.manual_seed(1)
    return RegionCompletion(8, SIZE, **options)


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_a_fresh_block_changes_nothing(options, training):
    x = random(2, T, 8, *SIZE).float()
    block = make_block(**options).train(training)
    assert torch.equal(block(x), x)
    assert (wake(block)(x) - x).abs().max() > 0.05


def slow_branch(branch: nn.Module, x: Tensor, A: Tensor, regions: Tensor, kind: str, complete) -> Tensor:
    """One clip `[T, C, H, W]`: reduce, pool (5.1), complete `[T, n, c]`, hand back, extend."""
    frames, (H, W) = range(len(x)), SIZE
    pixels = [(y, z) for y in range(H) for z in range(W)]
    if kind == "modulated":
        x = torch.stack([x[t] * (1 + A[t] / A[t].sum()) for t in frames])
    small = torch.zeros(len(x), branch.reduce.out_channels, H, W).double()
    for t in frames:
        for y, z in pixels:
            small[t, :, y, z] = branch.reduce.weight[:, :, 0, 0] @ x[t, :, y, z] + branch.reduce.bias
    vectors = []
    for t in frames:
        for region in regions[t]:
            weight = {p: (A[t][p] if kind == "weighted" else 1.0) for p in pixels if region[p]}
            vectors.append(sum(w * small[(t, slice(None), *p)] for p, w in weight.items()) / sum(weight.values()))
    completed = complete(torch.stack(vectors).unflatten(0, (len(x), -1)))
    out = torch.zeros_like(x)
    for t in frames:
        for y, z in pixels:
            n = int(regions[t, :, y, z].argmax())
            out[t, :, y, z] = norm(branch.extend[1], branch.extend[0].weight[:, :, 0, 0] @ completed[t, n])
    return out


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_the_block_equals_its_equations(options):
    block, x, seen = redraw(make_block(**options)).double().eval(), random(2, T, 8, *SIZE), {}
    kind, order = options.get("foreground", "weighted"), options.get("order", "s-t")
    with torch.no_grad():
        found = block(x, seen)
        clip, regions = x[1], seen["regions"][1]
        A = seen["foreground"][1].sigmoid() if kind != "none" else torch.ones(T, *SIZE)
        boxes = block.partition(clip)[1]
        complete = {"spatial": lambda f: block.spatial(f, boxes), "temporal": lambda o: block.temporal(o[None])[0]}
        out = clip
        for name in {"t-s": ("temporal", "spatial")}.get(order, ("spatial", "temporal")):
            if name in block.branches:
                source = clip if order == "parallel" else out
                out = out + slow_branch(block.branches[name], source, A, regions, kind, complete[name])
    torch.testing.assert_close(found[1], out, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(seen["completed"][1].double(), out.square().sum(1).sqrt(), rtol=1e-4, atol=1e-4)


def test_the_foreground_alone():
    block, x = make_block(srfc=False, trfc=False, foreground="modulated").eval(), random(2, T, 8, *SIZE).float()
    seen = {}
    found, maps = block(x, seen), x.flatten(0, 1)
    A = torch.sigmoid(F.batch_norm(F.conv2d(maps, block.foreground.layers[0].weight), torch.zeros(1), torch.ones(1)))
    expected = maps * (1 + A / A.sum((2, 3), keepdim=True))
    torch.testing.assert_close(found.flatten(0, 1), expected)
    torch.testing.assert_close(modulated(maps, A), expected)
    assert set(seen) == {"foreground", "completed"}


def test_regions_of_frames_do_not_meet_without_trfc():
    block, x = redraw(make_block(trfc=False)).eval(), random(2, 3, 8, *SIZE).float()
    with torch.no_grad():
        torch.testing.assert_close(block(x)[:, 1:2], block(x[:, 1:2]))
        with_time = redraw(make_block()).eval()
        assert not torch.allclose(with_time(x)[:, 1:2], with_time(x[:, 1:2]))


def test_options_are_checked():
    for options, message in (
        ({"order": "s+t"}, r"unknown order 's\+t'"),
        ({"foreground": "all"}, "unknown foreground 'all'"),
        ({"srfc": False, "trfc": False}, "does nothing: choose modulated"),
        ({"assignment": "colour"}, "unknown assignment 'colour'"),
        ({"places": "middle"}, "unknown places 'middle'"),
        ({"similarity": "max"}, "unknown similarity 'max'"),
        ({"clusters": 1}, "1 clusters"),
    ):
        with pytest.raises(ValueError, match=message):
            make_block(**options)
    with pytest.raises(ValueError, match=r"7 channels: .* must be even"):
        RegionCompletion(7, SIZE)
