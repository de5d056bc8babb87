"""SEO against slow references (specification, sections 2.2 and 2.5)."""

from math import exp

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from redrawn import redraw
from torch import Tensor

from reidlib.models.layers.erasing import SaliencyErasing, block_mask

M, C, D, H, W = 3, 6, 5, 5, 4


def make(seed=0, **options) -> SaliencyErasing:
    torch.manual_seed(seed)
    seo = redraw(SaliencyErasing(C, D, **options), seed).eval()
    torch.nn.init.normal_(seo.correlate.weight, std=0.3)
    return seo


def maps(seed=0) -> Tensor:
    return torch.randn(M, C, H, W, generator=torch.Generator().manual_seed(seed))


def features(count: int) -> list[Tensor]:
    return list(torch.rand(count, M, D, generator=torch.Generator().manual_seed(9)))


def scores(height: int, width: int, seed: int) -> Tensor:
    return torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed))


def best_window(score: Tensor, size, strides) -> tuple[int, int]:
    """Upper left corner of the best window that lies inside."""
    corners = [(y, x) for y in range(0, len(score) - size[0] + 1, strides[0]) for x in range(0, score.shape[1] - size[1] + 1, strides[1])]
    return max(corners, key=lambda at: score[at[0] : at[0] + size[0], at[1] : at[1] + size[1]].sum().item())


@given(st.data())
def test_the_best_whole_window_is_erased(data):
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 6))
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    strides = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    score = scores(height, width, data.draw(st.integers(0, 99)))
    for mask, values in zip(block_mask(score, size, strides), score, strict=True):
        y, x = best_window(values, size, strides)
        expected = torch.ones(height, width)
        expected[y : y + size[0], x : x + size[1]] = 0
        assert torch.equal(mask, expected)


def test_three_rows_of_the_published_map_go_whatever_the_scores():
    """Of the release's sixteen windows the outer two hang over the border, and negative scores favour them."""
    score = torch.eye(16)[:, :, None].expand(16, 16, 8)
    assert ((1 - block_mask(score, (3, 8))).sum((1, 2)) == 24).all()
    erased = 1 - block_mask(score, (3, 8), partial=True)
    assert erased.sum((1, 2)).tolist() == [16, 16] + [24] * 14  # the first of equal windows
    low = torch.full((1, 16, 8), -1.0)
    assert torch.equal(1 - block_mask(low, (3, 8))[0, :, 0], (torch.arange(16) < 3).float())
    assert torch.equal(1 - block_mask(low, (3, 8), partial=True)[0, :, 0], (torch.arange(16) < 2).float())


@pytest.mark.parametrize("height", [2, 3, 4, 5])
def test_the_released_windows_have_every_row_as_their_centre(height):
    for values in scores(16, 8, height):
        rows = values.mean(1).tolist()
        sums = [sum(rows[y] for y in range(c - height // 2, c - height // 2 + height) if 0 <= y < 16) for c in range(16)]
        centre = sums.index(max(sums))
        first = centre - height // 2
        expected = torch.tensor([0.0 if first <= y < first + height else 1.0 for y in range(16)])
        found = block_mask(values[None], (height, 8), partial=True)[0]
        assert torch.equal(found, expected[:, None].expand(16, 8))


def erased_reference(seo: SaliencyErasing, x: Tensor, known: list[Tensor], size) -> Tensor:
    """One map `[C, H, W]`, position by position, as the text has it; without the factor of the "rescaled" reading."""
    product, kept = torch.ones(H, W), torch.ones(H, W)
    for f in known:
        R = torch.tensor([[float(x[:, y, z] @ (seo.correlate.weight @ f)) for z in range(W)] for y in range(H)])
        y, z = best_window(R, size, (1, 1))
        kept[y : y + size[0], z : z + size[1]] = 0
        product = product * R
    gate = product.exp() / product.exp().sum() * kept
    return x * gate


@pytest.mark.parametrize("learner", [1, 2, 3])
@pytest.mark.parametrize("reading, factor", [("rescaled", H * W), ("printed", 1)])
def test_maps_are_gated_as_in_the_text(learner, reading, factor):
    seo, x, known = make(erased=(2, 3), reading=reading), maps(), features(learner)
    with torch.no_grad():
        found = seo(x, known)
        expected = torch.stack([factor * erased_reference(seo, x[i], [f[i] for f in known], (2, 3)) for i in range(M)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.abs().max() > 0.01


@pytest.mark.parametrize("learner", [0, 1, 2])
def test_the_released_form(learner):
    """R / sqrt(C), the mask alone on the maps, and what the softmax over the kept positions gathers is added; the first frame too."""
    seo, x, known = make(reading="released", erased=(3, W)), maps(), features(learner)
    norm = seo.describe[1]
    with torch.no_grad():
        found = seo(x, known)
        for i in range(M):
            product, kept = torch.ones(H, W), torch.ones(H, W)
            for f in known:
                R = torch.einsum("cyx,c->yx", x[i], seo.correlate.weight @ f[i]) / C**0.5
                kept, product = kept * block_mask(R[None], (3, W), partial=True)[0], product * R
            places = [(y, z) for y in range(H) for z in range(W) if kept[y, z]]
            weights = [exp(product[at].item()) for at in places]
            o = sum(weight / sum(weights) * x[i, :, y, z] for weight, (y, z) in zip(weights, places, strict=True))
            o = seo.describe[0].weight[:, :, 0, 0] @ o
            o = (o - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            torch.testing.assert_close(found[i], x[i] * kept + o[:, None, None], rtol=1e-5, atol=1e-5)


def test_the_first_frame_is_left_alone():
    x = maps()
    for reading in ("rescaled", "printed"):
        assert torch.equal(make(reading=reading)(x, []), x)
    assert torch.equal(SaliencyErasing(C, D, reading="released").train()(x, []), x)


def test_even_correlations_leave_the_scale_alone():
    seo, x = make(), maps()
    torch.nn.init.zeros_(seo.correlate.weight)
    with torch.no_grad():
        found = seo(x, features(1))
    expected = x.clone()
    expected[:, :, 0] = 0  # one row of five, the first of equal windows
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reading, detached", [("rescaled", False), ("printed", False), ("released", True)])
def test_gradients_of_the_softmax(reading, detached):
    """It is there for the correlation to learn; only the release keeps it from the earlier learners."""
    seo, (f,) = make(reading=reading), features(1)
    f.requires_grad_()
    seo(maps(), [f]).square().sum().backward()
    assert seo.correlate.weight.grad.abs().max() > 0
    assert (f.grad is None) == detached


def test_what_is_shown():
    seo, x, (f, g), seen = make(erased=(2, 3)), maps(), features(2), {}
    seo(x, [f, g], seen)
    R = [seo.correlation(x, known) for known in (f, g)]
    torch.testing.assert_close(seen["correlation"], R[0] * R[1])
    assert torch.equal(seen["erased"], 1 - block_mask(R[0], (2, 3)) * block_mask(R[1], (2, 3)))
    seo(x, [], seen)
    assert not seen["erased"].any() and (seen["correlation"] == 1).all()


def test_the_share_that_is_erased_scales_with_the_map():
    sizes = [SaliencyErasing(C, D).block_size(*size) for size in ((16, 8), (8, 4), (4, 2), (2, 1))]
    assert sizes == [(3, 8), (2, 4), (1, 2), (1, 1)]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"erased": (6, 4)}, r"erased=\(6, 4\) positions of a map of 5 x 4: the block must be smaller than the map"),
        ({"erased": (3, 8)}, r"erased=\(3, 8\) positions of a map of 5 x 4.*erased=None scales"),
        ({"erased": (5, 4)}, "smaller than the map"),
        ({"erased": (3, 2), "reading": "released"}, "erases whole rows, 4 positions wide"),
    ],
)
def test_blocks_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)(maps(), features(1))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reading": "code"}, r"unknown reading 'code'; choose one of rescaled, printed, released"),
        ({"erased": (0, 4)}, r"erased \(0, 4\) .* must be positive"),
        ({"strides": (1, 0)}, r"strides \(1, 0\) must be positive"),
        ({"strides": (2, 1), "reading": "released"}, r"strides \(2, 1\): the released reading"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        SaliencyErasing(C, D, **options)
