"""CSP and DAO against loops written from the specification (sections 5.2 and 5.3)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from redrawn import redraw
from torch import Tensor, nn

from reidlib.models.layers.two_scales import CrossScale, DiverseAttention, divergence

M, ALPHA, C, h, w = 2, 3, 4, 3, 2


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(B=2) -> tuple[Tensor, Tensor]:
    return random(B, M, C, 2 * h, 2 * w), random(B, M * ALPHA, C, h, w, seed=1)


def norm(layer: nn.Module, v: Tensor) -> Tensor:
    return (v - layer.running_mean) / (layer.running_var + layer.eps).sqrt() * layer.weight + layer.bias


def make(areas="positions", alpha=ALPHA, size=(h, w)) -> DiverseAttention:
    torch.manual_seed(0)
    return DiverseAttention(C, alpha, size, areas)


def test_the_jth_group_of_channels_reaches_the_jth_small_frame():
    torch.manual_seed(0)
    module, big = CrossScale(C, ALPHA).double(), maps()[0]
    expected = torch.zeros(2, M * ALPHA, C, h, w).double()
    with torch.no_grad():
        for b, m, j, c, y, x in torch.cartesian_prod(*map(torch.arange, (2, M, ALPHA, C, h, w))).tolist():
            total = 0.0
            for source in range(C):
                total += module.spread.weight[j * C + c, source, 0, 0] * big[b, m, source, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max()
            expected[b, m * ALPHA + j, c, y, x] = total
        torch.testing.assert_close(module(big), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 12))
def test_both_sides_of_the_divergence(seed, K, P):
    """(6.4) by its matrix of square roots, and by the Bhattacharyya coefficient."""
    a = (3 * random(2, K, P, seed=seed)).softmax(2)
    matrices, coefficients, pairs = 0.0, 0.0, K * (K - 1) / 2
    for n in range(2):
        for k in range(K):
            for l in range(k + 1, K):
                roots = torch.stack((a[n, k].sqrt(), a[n, l].sqrt()))
                difference = roots @ roots.T - torch.eye(2)
                matrices += difference.square().sum().sqrt().item() / 4
                coefficients += math.sqrt(2) / 4 * sum(math.sqrt(a[n, k, i] * a[n, l, i]) for i in range(P))
    found = divergence(a.log()).item()
    assert found == pytest.approx(matrices / 2 / pairs, rel=1e-6) and found == pytest.approx(coefficients / 2 / pairs, rel=1e-6)


def test_the_ends_of_the_divergence():
    """Alike: sqrt(2) / 4. Apart: 0, with a gradient that is finite."""
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    assert divergence(logits.log_softmax(2)).item() == pytest.approx(math.sqrt(2) / 4)
    apart = torch.tensor([[[300.0, 0.0], [0.0, 300.0]]], requires_grad=True)
    loss = divergence(apart.log_softmax(2))
    loss.backward()
    assert loss < 1e-6 and apart.grad.isfinite().all()


def test_a_fresh_attention_changes_nothing():
    module, (big, small) = make().double(), maps()
    for training in (True, False):
        found = module.train(training)(big, small)
        assert torch.equal(found[0], big) and torch.equal(found[1], small)


def slow_areas(x: Tensor, areas: str) -> Tensor:
    """`[C, H, W]` -> `[C, P]`: all positions, or h stripes of full width."""
    if areas == "positions":
        return x.flatten(1)
    rows = x.shape[1] // h
    return torch.stack([x[:, i * rows : (i + 1) * rows].mean((1, 2)) for i in range(h)], 1)


@pytest.mark.parametrize("areas", ["positions", "stripes"])
def test_diverse_attention_equals_its_equations(areas):
    module, (big, small), seen = redraw(make(areas)).double().eval(), maps(), {}
    P = h * w if areas == "positions" else h
    with torch.no_grad():
        found_big, found_small = module(big, small, seen)
        terms = []
        for b in range(2):
            for m in range(M):
                group = {}
                for k in range(ALPHA + 1):  # 0 is the big frame
                    frame = big[b, m] if k == 0 else small[b, m * ALPHA + k - 1]
                    D = slow_areas(frame, areas)
                    logits = sum(D[c] for c in range(C)) / C
                    if k > 1:
                        one = module.embed[k - 2].weight[0, :, 0] @ D  # [P]
                        logits = norm(module.place[k - 2][1], module.place[k - 2][0].weight @ one)
                    group[k] = logits.softmax(0)
                    vector = sum(group[k][i] * D[:, i] for i in range(D.shape[1]))
                    expected = frame + norm(module.norms[k], vector)[:, None, None]
                    shown = seen["attention_big"][b, m] if k == 0 else seen["attention_small"][b, m * ALPHA + k - 1]
                    torch.testing.assert_close(
                        found_big[b, m] if k == 0 else found_small[b, m * ALPHA + k - 1], expected, rtol=1e-5, atol=1e-6
                    )
                    torch.testing.assert_close(shown.flatten().double(), group[k], rtol=1e-5, atol=1e-6)
                terms += [sum(math.sqrt(group[k][i] * group[l][i]) for i in range(P)) for k, l in ((1, 2), (1, 3), (2, 3))]
    assert seen["divergence"].item() == pytest.approx(math.sqrt(2) / 4 * sum(terms) / len(terms), rel=1e-5)
    assert seen["attention_small"].shape == (2, M * ALPHA, h, w if areas == "positions" else 1)
    assert seen["attention_big"].shape == (2, M, *((2 * h, 2 * w) if areas == "positions" else (h, 1)))


def test_the_first_small_frame_does_not_give_way():
    """Its attention is constant in the divergence: no gradient reaches the first frame, the learned ones have theirs."""
    module, (big, small), seen = redraw(make()).double(), maps(), {}
    small.requires_grad_()
    module(big, small, seen)
    seen["divergence"].backward()
    reached = small.grad.abs().sum((0, 2, 3, 4)).view(M, ALPHA).sum(0)
    assert reached[0] == 0 and reached[1] > 0 and reached[2] > 0


def test_one_small_frame_has_no_pair():
    module, seen = make(alpha=1).double(), {}
    module(random(2, M, C, 2 * h, 2 * w), random(2, M, C, h, w), seen)
    assert set(seen) == {"attention_big", "attention_small"}


def test_unknown_areas():
    with pytest.raises(ValueError, match="unknown areas 'columns'; choose one of positions, stripes"):
        make("columns")
