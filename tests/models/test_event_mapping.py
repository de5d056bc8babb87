"""Event deformable mapping against torchvision's deformable convolution and against its definition, and its variants."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from redrawn import redraw
from torch import nn
from torchvision.ops import deform_conv2d

from reidlib.models.layers.event_mapping import EventMapping, convolve_nearest, convolve_shifted, normalise_rows, sum_taps, to_maps, to_rows
from reidlib.models.layers.nearest_events import GRID, TAPS, find_nearest

SHAPE = (3, 7, 6)


def draw(*shape, seed=0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def masked(rate=0.5, seed=0, shape=SHAPE) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate


def mapping(channels=4, **options) -> EventMapping:
    torch.manual_seed(0)
    module = EventMapping(channels, **options)
    if module.shift is not None:
        nn.init.normal_(module.shift.weight, std=0.3)
        nn.init.normal_(module.shift.bias, std=0.5)
    return redraw(module).eval()


def after(module: EventMapping, maps: torch.Tensor) -> torch.Tensor:
    """BN (eval) and ReLU of maps, by the ordinary layer."""
    norm = module.norm
    return F.relu(F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps))


@pytest.mark.parametrize("rate", [0.02, 0.15, 0.5, 1.0])
def test_the_mapping_is_a_deformable_convolution_with_the_papers_offsets(rate):
    """offset_n = nearest_n - centre - grid_n; a tap without an event is sent outside the picture, where there is zero."""
    maps, mask, weight = draw(3, 4, 7, 6), masked(rate), draw(5, 4, 3, 3, seed=1)
    events = find_nearest(mask)
    offsets = (events.displacements() - GRID[:, :, None, None]).nan_to_num(nan=100.0)
    expected = deform_conv2d(maps, offsets.flatten(1, 2), weight, padding=1)
    found = convolve_nearest(to_rows(maps, events.places), weight, events)
    torch.testing.assert_close(to_maps(found, SHAPE, events.places), expected * mask[:, None], rtol=1e-4, atol=1e-4)
    assert found.abs().max() > 0 or rate < 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.integers(1, 9))
def test_the_mapping_equals_its_sum(seed, rate, C):
    """Tap by tap and event by event, from brute-force neighbours."""
    shape = (2, 5, 4)
    mask, maps, weight = masked(rate, seed, shape), draw(2, C, 5, 4, seed=seed), draw(3, C, 3, 3, seed=seed + 1)
    expected = torch.zeros(2, 3, 5, 4)
    for f, y0, x0 in mask.nonzero().tolist():
        places = sorted(
            mask[f].nonzero().tolist(), key=lambda p: (abs(p[0] - y0) + abs(p[1] - x0), (p[0] - y0) ** 2 + (p[1] - x0) ** 2, *p)
        )
        for n, (y, x) in enumerate(places[:TAPS]):
            expected[f, :, y0, x0] += weight[:, :, n // 3, n % 3] @ maps[f, :, y, x]
    events = find_nearest(mask)
    found = convolve_nearest(to_rows(maps, events.places), weight, events)
    torch.testing.assert_close(to_maps(found, shape, events.places), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_compiled_sum_equals_indexing_with_autograd(parts):
    """Single precision takes the kernel, double the plain way; values and gradients agree."""
    events = find_nearest(masked(0.2))
    N = len(events.places)
    cut = [0, N] if parts == 1 else [0, int(events.first[1]), N]
    z, weights = draw(N, TAPS, 3, dtype=torch.float64), draw(N, 3, seed=1, dtype=torch.float64)
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = z.to(dtype).requires_grad_()
        y = torch.cat([sum_taps(leaf[a:b], events.nearest[a:b], a) for a, b in pairwise(cut)])
        (y * weights.to(dtype)).sum().backward()
        results.append((y.detach().double(), leaf.grad.double()))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert results[1][1].abs().max() > 0


def test_gradients_of_the_whole_mapping():
    events = find_nearest(masked(0.4, shape=(2, 3, 3)))
    inputs = (
        draw(len(events.places), 2, dtype=torch.float64).requires_grad_(),
        draw(2, 2, 3, 3, seed=1, dtype=torch.float64).requires_grad_(),
    )
    assert torch.autograd.gradcheck(lambda rows, weight: convolve_nearest(rows, weight, events), inputs)


def test_frames_do_not_see_each_other():
    mask, other = masked(0.4), masked(0.4, seed=5)
    other[1] = mask[1]
    maps, changed = draw(3, 4, 7, 6), draw(3, 4, 7, 6, seed=5)
    changed[1] = maps[1]
    module, results = mapping(), []
    for m, x in ((mask, maps), (other, changed)):
        events = find_nearest(m)
        results.append(to_maps(module(to_rows(x, events.places), events), SHAPE, events.places))
    assert torch.equal(results[0][1], results[1][1]) and not torch.equal(*results)


def test_outside_events_zero_or_the_regular_grid():
    maps, mask = draw(3, 4, 7, 6), masked(0.3)
    events = find_nearest(mask)
    zero, regular = mapping(), mapping(outside="regular")
    regular.load_state_dict(zero.state_dict())
    inside = to_maps(zero(to_rows(maps, events.places), events), SHAPE, events.places)
    everywhere = to_maps(regular(to_rows(maps), events), SHAPE)
    plain = after(regular, F.conv2d(maps, regular.conv.weight, padding=1))
    where = mask[:, None]
    assert torch.equal(inside * ~where, torch.zeros_like(inside)) and inside.max() > 0
    torch.testing.assert_close(everywhere, torch.where(where, inside, plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("outside", ["zero", "regular"])
def test_learned_offsets(outside):
    maps, mask = draw(3, 4, 7, 6), masked(0.3)
    events, module = find_nearest(mask), mapping(offsets="learned", outside=outside)
    where, places = mask[:, None], module.places(events)
    if outside == "zero":
        maps = maps * where
    shifts = module.shift(maps)
    shifts = shifts * where if outside == "regular" else shifts
    expected = after(module, deform_conv2d(maps, shifts, module.conv.weight, padding=1))
    expected = expected * where if outside == "zero" else expected
    found = to_maps(module(to_rows(maps, places), events), SHAPE, places)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_learned_offsets_begin_as_the_regular_grid():
    torch.manual_seed(0)
    module, maps = EventMapping(4, "learned", "regular").eval(), draw(3, 4, 7, 6)
    found = to_maps(module(to_rows(maps), find_nearest(masked())), SHAPE)
    torch.testing.assert_close(found, after(module, F.conv2d(maps, module.conv.weight, padding=1)), rtol=1e-4, atol=1e-5)


def test_shifted_convolution_equals_torchvisions():
    maps, weight = draw(2, 3, 6, 5), draw(4, 3, 3, 3, seed=1)
    shifts = 3 * draw(2, 18, 6, 5, seed=2)  # many of them leave the picture
    torch.testing.assert_close(convolve_shifted(maps, shifts, weight), deform_conv2d(maps, shifts, weight, padding=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offsets", ["nearest", "learned"])
@pytest.mark.parametrize("outside", ["zero", "regular"])
def test_offsets_are_shown_where_they_act(offsets, outside):
    mask = masked(0.3)
    mask[0] = False
    mask[0, :2, 0] = True  # fewer than nine
    events, module = find_nearest(mask), mapping(offsets=offsets, outside=outside)
    rows = to_rows(draw(3, 4, 7, 6), module.places(events))
    shown = module.offsets(rows, events)
    assert shown.shape == (3, TAPS, 2, 7, 6)
    outside_events = shown.permute(0, 3, 4, 1, 2)[~mask]
    assert (outside_events == 0).all() if outside == "regular" else outside_events.isnan().all()
    if offsets == "nearest":
        seen = (shown + GRID[:, :, None, None]).permute(0, 3, 4, 1, 2)
        assert torch.equal(seen[mask].nan_to_num(99), events.displacements().permute(0, 3, 4, 1, 2)[mask].nan_to_num(99))
        assert shown[0, 2:, :, 0, 0].isnan().all() and not shown[0, :2, :, 0, 0].isnan().any()
    else:
        maps = to_maps(rows, SHAPE, module.places(events))
        expected = module.shift(maps).unflatten(1, (TAPS, 2)).permute(0, 3, 4, 1, 2)
        torch.testing.assert_close(shown.permute(0, 3, 4, 1, 2)[mask], expected[mask])


@pytest.mark.parametrize("channels", [4, 8])
@pytest.mark.parametrize("rows", [0, 1, 2, 50])
def test_rows_are_normalised_like_any_batch(channels, rows):
    """Both ways through the layer; where there are no statistics the running ones serve and stay."""
    norm, plain = redraw(nn.BatchNorm1d(channels)).train(), redraw(nn.BatchNorm1d(channels)).train()
    x = draw(rows, channels)
    if rows < 2:
        plain.eval()
    torch.testing.assert_close(normalise_rows(norm, x), plain(x))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)


def test_rows_and_maps_lead_back_to_each_other():
    maps, mask = draw(3, 4, 7, 6), masked()
    places = find_nearest(mask).places
    assert torch.equal(to_maps(to_rows(maps), SHAPE), maps)
    assert torch.equal(to_maps(to_rows(maps, places), SHAPE, places), maps * mask[:, None])


def test_options_are_checked():
    with pytest.raises(ValueError, match="unknown offsets 'random'; choose one of nearest, learned"):
        EventMapping(4, "random")
    with pytest.raises(ValueError, match="unknown outside 'copy'; choose one of zero, regular"):
        EventMapping(4, outside="copy")
