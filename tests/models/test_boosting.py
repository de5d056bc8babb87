"""TSB against a hand-computed example and a slow reference (specification, sections 2.3 and 2.5)."""

from math import exp, log, sqrt

import pytest
import torch
from redrawn import redraw
from torch import Tensor

from reidlib.models.layers.boosting import SaliencyBoosting

B, T, C, H, W = 2, 3, 4, 3, 2


def make(seed=0, **options) -> SaliencyBoosting:
    torch.manual_seed(seed)
    return redraw(SaliencyBoosting(C, **options), seed).eval()


def clips(T=T, seed=0) -> Tensor:
    return torch.rand(B, T, C, H, W, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    """Two frames, two channels, two positions. Frame 0's mean is (1, 0); frame 1 holds (3, 0), cosine 1, and (0, 5), cosine 0. With
    temperature ln 4 they weigh 4/5 and 1/5: o = (12/5, 1). Both of frame 0's positions are (1, 0), so o = (1, 0) for frame 1."""
    x = torch.tensor([[[[[1.0, 1.0]], [[0.0, 0.0]]], [[[3.0, 0.0]], [[0.0, 5.0]]]]])
    block, seen = SaliencyBoosting(2, temperature=log(4)).eval(), {}
    block.norm.weight.data = torch.tensor([1.0, 2.0])
    block.norm.eps = 1e-12
    with torch.no_grad():
        found = block(x, seen)
    expected = torch.tensor([[[[[3.4, 3.4]], [[2.0, 2.0]]], [[[4.0, 1.0]], [[0.0, 5.0]]]]])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(seen["memory"], torch.tensor([[[[[0.0, 0.0]], [[0.8, 0.2]]], [[[0.5, 0.5]], [[0.0, 0.0]]]]]))


def unit(v: Tensor) -> Tensor:
    return v / sqrt((v @ v).item())


def key(frame: Tensor, y: int, x: int, released: bool) -> Tensor:
    if not released:
        return frame[:, y, x]
    inside = [frame[:, v, h] for v in (y - 1, y) for h in (x - 1, x) if v >= 0 and h >= 0]
    return sum(inside) / 4


def reference(block: SaliencyBoosting, clip: Tensor, released: bool) -> Tensor:
    found, norm = [], block.norm
    for t, frame in enumerate(clip):
        places = [(s, y, x) for s in range(len(clip)) if s != t for y in range(H) for x in range(W)]
        q = unit(frame.mean((1, 2)))
        weights = [exp(5 * (q @ unit(key(clip[s], y, x, released))).item()) for s, y, x in places]
        o = sum(weight / sum(weights) * clip[s, :, y, x] for weight, (s, y, x) in zip(weights, places, strict=True))
        o = block.project.weight[:, :, 0, 0] @ o if released else o
        o = (o - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        found.append(frame + o[:, None, None])
    return torch.stack(found)


@pytest.mark.parametrize("reading", ["text", "released"])
@pytest.mark.parametrize("steps", [T, 2])
def test_it_equals_its_equations(reading, steps):
    block, x = make(reading=reading), clips(steps)
    with torch.no_grad():
        found = block(x)
        expected = torch.stack([reference(block, clip, reading == "released") for clip in x])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_looks_at_other_frames_only_and_sums_to_one():
    seen = {}
    make()(clips(), seen)
    memory = seen["memory"]
    assert memory.shape == (B, T, T, H, W)
    torch.testing.assert_close(memory.sum((2, 3, 4)), torch.ones(B, T))
    assert all((memory[:, t, s] > 0).all() == (t != s) and memory[:, t, s].any() == (t != s) for t in range(T) for s in range(T))


@pytest.mark.parametrize("reading", ["text", "released"])
def test_it_changes_nothing_at_first_nor_a_frame_alone(reading):
    x = clips()
    assert torch.equal(SaliencyBoosting(C, reading=reading).train()(x), x)
    assert torch.equal(make(reading=reading)(x[:, :1]), x[:, :1])


def test_an_unknown_reading_is_named():
    with pytest.raises(ValueError, match=r"unknown reading 'code'; choose one of text, released"):
        SaliencyBoosting(C, reading="code")
