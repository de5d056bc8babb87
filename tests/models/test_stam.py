"""STAM against a slow reference written from its equations, and PSTA's published size."""

import pytest
import torch
from redrawn import redraw
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from reidlib.efficiency import count_parameters
from reidlib.models import build_model
from reidlib.models.layers.stam import STAM

C, H, W = 16, 3, 2


def make(seed=0, relation="squared") -> STAM:
    torch.manual_seed(seed)
    return redraw(STAM(C, H * W, relation), seed).double().eval()


def clips(B=2, T=4, seed=0) -> Tensor:
    return torch.rand(B, T, C, H, W, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point(block: nn.Sequential, column: Tensor) -> Tensor:
    """1x1 convolution and BN (eval) of one position `[C]`, then whatever follows them (ReLU or nothing)."""
    conv, norm = block[0], block[1]
    y = conv.weight[:, :, 0, 0] @ column
    y = (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    return y.clamp(min=0) if len(block) == 3 else y


def at(x: Tensor, i: int) -> Tensor:
    return x[:, i // W, i % W]


def grid(points: list[Tensor]) -> Tensor:
    return torch.stack(points, 1).view(-1, H, W)


def everywhere(block: nn.Sequential, x: Tensor) -> Tensor:
    return grid([point(block, at(x, i)) for i in range(H * W)])


def product(a: Tensor, b: Tensor) -> Tensor:
    """G[i, j] = a_i . b_j."""
    return torch.stack([torch.stack([at(a, i) @ at(b, j) for j in range(H * W)]) for i in range(H * W)])


def perceptron(block: nn.Sequential, v: Tensor) -> Tensor:
    return block[2].weight @ (block[0].weight @ v + block[0].bias).clamp(min=0) + block[2].bias


def pair_reference(m: STAM, x0: Tensor, x1: Tensor, power: int) -> Tensor:
    """TRA + SRA of two steps, position by position (specification 3.2); power: of TRA, PSTA's is 2."""
    e, x = [everywhere(m.embed[1], everywhere(m.embed[0], s)) for s in (x0, x1)], (x0, x1)
    v = [s.mean((1, 2)) for s in x]
    tra, sra = m.temporal, m.self_relation
    gamma, beta = ([everywhere(block, s) for s in x] for block in (tra.gamma, tra.beta))
    theta = [(tra.theta[0].weight @ s + tra.theta[0].bias).clamp(min=0) for s in v]
    G = [product(gamma[0], beta[1]), product(gamma[1], beta[0])]
    between = within = 0
    for own, other in ((0, 1), (1, 0)):
        related = everywhere(tra.relate, torch.cat((G[own].T, G[other])).view(-1, H, W))
        embedded = everywhere(tra.embeddings, torch.cat((e[own], e[other])))
        a = torch.sigmoid(everywhere(tra.spatial, torch.cat((embedded, related))))
        c = torch.sigmoid(perceptron(tra.channel, torch.cat((theta[own], theta[other]))))
        between = between + c[:, None, None] * a * x[own]
        S = product(everywhere(sra.alpha, x[own]), everywhere(sra.delta, x[own]))
        related = everywhere(sra.relate, torch.cat((S.T, S)).view(-1, H, W))
        s = torch.sigmoid(everywhere(sra.spatial[1:], everywhere(sra.spatial[0], torch.cat((e[own], related)))))
        k = torch.sigmoid(perceptron(sra.channel, v[own]))
        within = within + k[:, None, None] * s * x[own]
    return between.clamp(min=0) ** power + within.clamp(min=0)


@pytest.mark.parametrize("relation, power", [("squared", 2), ("plain", 1)])
def test_stam_equals_its_equations(relation, power):
    module, x = make(relation=relation), clips()
    with torch.no_grad():
        found = module(x)
        merged = torch.stack([torch.stack([pair_reference(module, clip[t], clip[t + 1], power) for t in (0, 2)]) for clip in x])
        expected = module.convolve(merged.flatten(0, 1)).unflatten(0, (2, 2))
    assert found.shape == (2, 2, C, H, W) and found.std() > 0.01
    torch.testing.assert_close(found, expected)


def test_the_two_steps_of_a_pair_are_equals():
    """Swapping them changes nothing; moving one to another pair does."""
    module, x = make(), clips()
    with torch.no_grad():
        found = module(x)
        torch.testing.assert_close(module(x[:, [1, 0, 3, 2]]), found)
        assert not torch.allclose(module(x[:, [0, 2, 1, 3]]), found)


def test_pairs_and_tracklets_do_not_see_each_other():
    module, x, other = make(), clips(), clips(seed=5)
    other[0, 2:] = x[0, 2:]
    with torch.no_grad():
        torch.testing.assert_close(module(other)[0, 1], module(x)[0, 1])
        torch.testing.assert_close(module(x[:1]), module(x)[:1])


def test_channels_must_divide():
    with pytest.raises(ValueError, match=r"12 channels: .* multiple of 8"):
        STAM(12, 6)


def test_an_unknown_relation_is_named():
    with pytest.raises(ValueError, match=r"unknown relation 'cubed'; choose one of squared, plain"):
        STAM(16, 6, "cubed")


PUBLISHED = [((256, 128), 89, 33.78, 37.3), ((256, 128), 625, 35.43, 37.3), ((128, 64), 89, 33.63, 9.31), ((128, 64), 625, 35.28, 9.31)]


@pytest.mark.parametrize("size, classes, millions, giga_macs", PUBLISHED)
def test_psta_has_the_published_size_and_cost(size, classes, millions, giga_macs):
    """Specification 3.2: parameters with 89 and 625 identities, multiply-accumulates of 8 frames."""
    with torch.device("meta"):
        model = build_model("psta", classes, size=size).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            assert model(frames=torch.zeros(1, 8, 3, *size)).shape == (1, 1024)
    parameters = count_parameters(model)
    assert round(parameters / 1e6, 2) == millions
    if size == (256, 128):
        assert round((parameters - 3 * 1025 * classes) / 1e6, 2) == 33.50
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_macs, abs=0.05 if giga_macs > 10 else 0.005)
    assert count_parameters(model.frame_branch.backbone) == 23_508_032 and count_parameters(model.frame_branch.reduce) == 2_099_200
    levels = [count_parameters(level) / 1e6 for level in model.head.pyramid.merges["frames"]]
    assert levels == pytest.approx([2.63 if size == (256, 128) else 2.58] * 3, abs=0.005)
