"""TKS against loops written from the specification (section 5.4)."""

import pytest
import torch
from redrawn import redraw
from torch import Tensor, nn

from reidlib.models.layers.temporal_kernels import TemporalKernels, kernel_sizes

M, ALPHA, C = 2, 2, 4
N = M * (1 + ALPHA)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(h=8, w=4) -> tuple[Tensor, Tensor]:
    return random(2, M, C, 2 * h, 2 * w), random(2, M * ALPHA, C, h, w, seed=1)


def make(**options) -> TemporalKernels:
    torch.manual_seed(0)
    return TemporalKernels(C, **{"reduction": 2} | options)


def norm(layer: nn.Module, v: Tensor) -> Tensor:
    return (v - layer.running_mean) / (layer.running_var + layer.eps).sqrt() * layer.weight + layer.bias


def in_time(big: Tensor, small: Tensor) -> list[Tensor]:
    """Frames of one clip in their order: one big, ALPHA small, one big, ..."""
    return [frame for m in range(M) for frame in (big[m], *small[m * ALPHA : (m + 1) * ALPHA])]


def slow_clip(module: TemporalKernels, big: Tensor, small: Tensor, grid: tuple[int, int], fixed: bool):
    down, across = grid
    frames = in_time(big, small)
    X = torch.zeros(N, C, down, across).double()
    for n, frame in enumerate(frames):
        high, wide = frame.shape[1] // down, frame.shape[2] // across
        for y in range(down):
            for x in range(across):
                X[n, :, y, x] = frame[:, y * high : (y + 1) * high, x * wide : (x + 1) * wide].mean((1, 2))
    Y = []
    for size, convolution in zip(module.sizes, module.convolutions, strict=True):
        out = torch.zeros_like(X)
        for n in range(N):
            for tap in range(3):  # before, at, behind
                source = n + (tap - 1) * (size // 2)
                if 0 <= source < N:
                    out[n] += torch.einsum("dc,cyx->dyx", convolution.weight[:, :, tap, 0], X[source])
        Y.append(out)
    K = len(Y)
    g = torch.full((K, C), 1 / K).double()
    if not fixed and K > 1:
        u = sum(Y).mean((0, 2, 3))
        hidden = norm(module.select[1], module.select[0].weight @ u).clamp(min=0)
        scores = (module.select[3].weight @ hidden).view(K, C)
        g = scores.exp() / scores.exp().sum(0)
    Z = sum(g[i][:, None, None] * Y[i] for i in range(K))
    out = []
    for n, frame in enumerate(frames):
        added = norm(module.norm, Z[n].permute(1, 2, 0)).permute(2, 0, 1)
        high, wide = frame.shape[1] // down, frame.shape[2] // across
        out.append(frame + added.repeat_interleave(high, 1).repeat_interleave(wide, 2))
    return out, g


@pytest.mark.parametrize(
    "options, grid",
    [({}, (2, 1)), ({"kernels": 3, "grid": (4, 2)}, (4, 2)), ({"kernels": (5,)}, (2, 1)), ({"kernels": [3, 7], "fusion": "fixed"}, (2, 1))],
    ids=str,
)
def test_temporal_kernels_equal_their_equations(options, grid):
    module, (big, small), seen = redraw(make(**options)).double().eval(), maps(), {}
    with torch.no_grad():
        found_big, found_small = module(big, small, seen)
        for b in range(2):
            expected, g = slow_clip(module, big[b], small[b], grid, options.get("fusion") == "fixed")
            for found, frame in zip(in_time(found_big[b], found_small[b]), expected, strict=True):
                torch.testing.assert_close(found, frame)
            torch.testing.assert_close(seen["kernels"][b], g)
    assert (found_big - big).abs().max() > 0.05 and (found_small - small).abs().max() > 0.05


def test_fresh_kernels_change_nothing():
    for options in ({}, {"fusion": "fixed"}, {"kernels": 1}):
        module, (big, small) = make(**options).double(), maps()
        for training in (True, False):
            found = module.train(training)(big, small)
            assert torch.equal(found[0], big) and torch.equal(found[1], small)


def test_kernels_reach_as_far_as_they_say():
    """A change in the last frame of six arrives two frames away with sizes up to 5, and no further."""
    module, (big, small) = redraw(make(fusion="fixed")).double().eval(), maps()
    other = small.clone()
    other[:, -1] += 1
    with torch.no_grad():
        before, after = in_time(*(x[0] for x in module(big, small))), in_time(*(x[0] for x in module(big, other)))
    assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [False, False, False, True, True, True]


def test_the_grid_of_the_release_and_of_tiny_maps():
    for (h, w), (down, across) in (((16, 8), (4, 2)), ((4, 2), (1, 1))):
        module, (big, small) = redraw(make()).double().eval(), maps(h, w)
        added = (module(big, small)[1] - small)[0, 0, 0]
        assert len(added[:, 0].detach().unique_consecutive()) <= h and added.shape == (h, w)
        blocks = added.view(down, h // down, across, w // across)
        torch.testing.assert_close(blocks, blocks[:, :1, :, :1].expand_as(blocks))


def test_kernels_are_checked():
    assert kernel_sizes(2) == (3, 5) and kernel_sizes([7]) == (7,)
    for bad in (0, (), (4,), (1,)):
        with pytest.raises(ValueError, match="odd and at least 3"):
            kernel_sizes(bad)
    with pytest.raises(ValueError, match="unknown fusion 'sum'"):
        make(fusion="sum")
