"""The fused CPU kernel against SpikingJelly's own nodes and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron, surrogate

from reidlib.models import record_firing_rates
from reidlib.models.layers import fused_neuron
from reidlib.models.layers.spiking import IFNode, LIFNode, NeuronSettings, reset_state, spiking_layers


def peer(own: torch.nn.Module) -> torch.nn.Module:
    """SpikingJelly's own node with the settings of ours, in the same step mode."""
    shared = {
        "v_threshold": own.v_threshold,
        "v_reset": own.v_reset,
        "surrogate_function": surrogate.ATan(own.surrogate_function.alpha),
        "detach_reset": own.detach_reset,
        "step_mode": own.step_mode,
    }
    if isinstance(own, LIFNode):
        return neuron.LIFNode(own.tau, own.decay_input, **shared)
    return neuron.IFNode(**shared)


def potentials(x: np.ndarray, s: NeuronSettings) -> np.ndarray:
    """Potentials before the reset, step by step in double precision: H[t] = keep * V[t-1] + gain * X[t]."""
    keep, gain = (1.0, 1.0) if s.kind == "if" else (1 - 1 / s.tau, 1 / s.tau if s.decay_input else 1.0)
    v, found = np.zeros(x.shape[1:]), []
    for current in x.astype(np.float64):
        h = keep * v + gain * current
        fired = h >= s.threshold
        v = np.where(fired, h - s.threshold if s.soft_reset else 0.0, h)
        found.append(h)
    return np.stack(found)


def clear_of_threshold(x: torch.Tensor, s: NeuronSettings) -> bool:
    """No potential so close to the threshold that float32 rounding could decide whether it fires."""
    return bool((np.abs(potentials(x.numpy(), s) - s.threshold) > 1e-4).all())


SETTINGS = st.builds(
    NeuronSettings,
    kind=st.sampled_from(["lif", "if"]),
    tau=st.floats(1.125, 8.0, width=32),
    threshold=st.sampled_from([1.0, 0.5, 1.7]),
    soft_reset=st.booleans(),
    decay_input=st.booleans(),
    alpha=st.floats(0.5, 6.0, width=32),
    detach_reset=st.booleans(),
)
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def draw_input(steps: int, shape: tuple[int, ...], seed: int, scale: float = 1.5) -> torch.Tensor:
    return 0.3 + scale * torch.randn(steps, *shape, generator=torch.Generator().manual_seed(seed))


def run_with_gradient(node, x: torch.Tensor, weights: torch.Tensor):
    x = x.clone().requires_grad_()
    spikes = node(x)
    (spikes * weights).sum().backward()
    return spikes.detach(), x.grad, node.v.detach()


@settings(max_examples=80, deadline=None)
@given(s=SETTINGS, steps=st.integers(1, 9), shape=SHAPES, seed=st.integers(0, 2**20))
def test_equals_spikingjelly_in_spikes_potential_and_gradient(s, steps, shape, seed):
    x = draw_input(steps, shape, seed)
    assume(clear_of_threshold(x, s))
    own = s.build()
    weights = draw_input(steps, shape, seed + 1)
    spikes, grad, last = run_with_gradient(own, x, weights)
    expected_spikes, expected_grad, expected_last = run_with_gradient(peer(own), x, weights)
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(last, expected_last, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(s=SETTINGS, steps=st.integers(1, 6), seed=st.integers(0, 2**20))
def test_state_continues_as_spikingjellys_does(s, steps, seed):
    x = draw_input(3 * steps, (2, 5), seed)
    assume(clear_of_threshold(x, s))
    own = s.build()
    other = peer(own)
    for part in x.split(steps):
        assert torch.equal(own(part), other(part))
        torch.testing.assert_close(own.v, other.v, rtol=1e-5, atol=1e-5)
    reset_state(own)
    whole = own(x)
    reset_state(own)
    assert torch.equal(torch.cat([own(part) for part in x.split(steps)]), whole)


@settings(max_examples=25, deadline=None)
@given(s=SETTINGS, steps=st.integers(1, 6), seed=st.integers(0, 2**20))
def test_single_steps_in_a_loop_equal_many_steps_at_once(s, steps, seed):
    x = draw_input(steps, (3, 2), seed)
    assume(clear_of_threshold(x, s))
    own, looped = s.build(), s.build()
    functional.set_step_mode(looped, "s")
    assert torch.equal(own(x), torch.stack([looped(current) for current in x]))
    torch.testing.assert_close(own.v, looped.v, rtol=1e-5, atol=1e-5)


def test_lif_by_hand():
    """tau 2, decaying input, hard reset: H = (V + X) / 2. X = 1, 1.5, 2, 0 -> H = 0.5, 1 (fires), 1 (fires), 0."""
    node = NeuronSettings(tau=2.0).build()
    x = torch.tensor([1.0, 1.5, 2.0, 0.0]).view(4, 1)
    assert node(x).flatten().tolist() == [0, 1, 1, 0]
    assert node.v.tolist() == [0.0]


def test_lif_without_input_decay_and_soft_reset_by_hand():
    """tau 4: H = 0.75 V + X. X = 0.8, 0.8, 0 -> H = 0.8; 1.4 (fires, V = 0.4); 0.3."""
    node = NeuronSettings(tau=4.0, decay_input=False, soft_reset=True).build()
    spikes = node(torch.tensor([[0.8], [0.8], [0.0]]))
    assert spikes.flatten().tolist() == [0, 1, 0]
    assert float(node.v) == pytest.approx(0.3)


def test_gradient_by_hand():
    """IF, hard reset, detached, alpha 2: the surrogate of potential H is 1 / (1 + (pi (H - 1))^2); a spike cuts the way back.

    X = 0.5, 0.25, 1 -> H = 0.5, 0.75, 1.75 (fires). With loss = 1*S1 + 10*S2 + 100*S3 the gradient of X1 collects all three terms,
    and nothing flows back through a step that fired."""
    node = NeuronSettings(kind="if").build()
    x = torch.tensor([[0.5], [0.25], [1.0], [0.2]], requires_grad=True)
    spikes = node(x)
    assert spikes.flatten().tolist() == [0, 0, 1, 0]
    (spikes * torch.tensor([[1.0], [10.0], [100.0], [1000.0]])).sum().backward()
    slope = [1 / (1 + (math.pi * (h - 1)) ** 2) for h in (0.5, 0.75, 1.75, 0.2)]
    third, fourth = 100 * slope[2], 1000 * slope[3]
    expected = [slope[0] + 10 * slope[1] + third, 10 * slope[1] + third, third, fourth]
    assert x.grad.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_fires_at_exactly_the_threshold():
    assert NeuronSettings(kind="if").build()(torch.ones(1, 1)).item() == 1


@pytest.mark.parametrize("kind", ["lif", "if"])
def test_non_contiguous_input_and_gradient(kind):
    s = NeuronSettings(kind=kind, detach_reset=False)
    x = draw_input(3, (4, 5), seed=2)
    strided = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided.is_contiguous() and torch.equal(strided, x)
    weights = torch.ones(1).expand(3, 4, 5)  # its gradient arrives with stride 0
    for one, two in zip(run_with_gradient(s.build(), x, weights), run_with_gradient(s.build(), strided, weights), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("kind", ["lif", "if"])
def test_input_is_left_alone_and_output_is_its_own(kind):
    x = draw_input(4, (6,), seed=0)
    before = x.clone()
    node = NeuronSettings(kind=kind).build()
    spikes = node(x)
    assert torch.equal(x, before) and spikes.data_ptr() != x.data_ptr()
    assert set(spikes.unique().tolist()) == {0.0, 1.0}


class Recorder:
    """Stands in for the fused kernel's `apply` and counts its calls."""

    def __init__(self, monkeypatch):
        self.calls, original = 0, fused_neuron.FusedNeuron.apply

        def apply(*arguments):
            self.calls += 1
            return original(*arguments)

        monkeypatch.setattr(fused_neuron.FusedNeuron, "apply", apply)


def test_float32_uses_the_kernel_and_what_it_does_not_cover_goes_spikingjellys_way(monkeypatch):
    recorder = Recorder(monkeypatch)
    s, x = NeuronSettings(), draw_input(3, (2, 3), seed=1)
    node = s.build()
    node(x)
    assert recorder.calls == 1
    node(x)  # state carried over: the kernel starts from rest only
    assert recorder.calls == 1
    for special in (s.build(), s.build()):
        special.surrogate_function = surrogate.Sigmoid()
        special(x)
    stored = s.build()
    stored.store_v_seq = True
    stored(x)
    assert recorder.calls == 1 and stored.v_seq.shape == x.shape


@pytest.mark.parametrize("kind", ["lif", "if"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_fall_back(monkeypatch, kind, dtype):
    recorder = Recorder(monkeypatch)
    node = NeuronSettings(kind=kind, alpha=1.0).build()
    x = draw_input(4, (2, 3), seed=3).to(dtype)
    weights = torch.ones_like(x)
    spikes, grad, _ = run_with_gradient(node, x, weights)
    expected_spikes, expected_grad, _ = run_with_gradient(peer(node), x, weights)
    assert recorder.calls == 0 and spikes.dtype == dtype
    assert torch.equal(spikes, expected_spikes) and torch.equal(grad, expected_grad)


def test_a_gradient_check_of_the_fallback_is_possible_in_double_precision():
    """Away from the threshold the number of spikes is locally constant: the true derivative is 0, the surrogate's is not."""
    x = torch.full((2, 1), 0.3, dtype=torch.float64, requires_grad=True)
    NeuronSettings(kind="if").build()(x).sum().backward()
    assert (x.grad > 0).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "quadratic"}, "quadratic.*lif, if"),
        ({"tau": 1.0}, "tau = 1.0"),
        ({"threshold": 0.0}, "threshold 0.0"),
        ({"alpha": -1.0}, "alpha -1.0"),
        ({"kind": "ilif", "levels": 0}, "levels 0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NeuronSettings(**options)


@pytest.mark.parametrize("kind, kinds", [("lif", LIFNode), ("if", IFNode), ("plif", neuron.ParametricLIFNode), ("ilif", neuron.ILIFNode)])
def test_every_kind_is_built_as_asked(kind, kinds):
    node = NeuronSettings(kind=kind, threshold=0.7).build()
    assert isinstance(node, kinds) and node.step_mode == "m" and node.v_threshold == 0.7
    out = node(draw_input(3, (2, 4), seed=5, scale=4.0))
    assert out.shape == (3, 2, 4) and torch.equal(out, out.round())  # whole numbers of spikes
    assert (out.max() > 1) == (kind == "ilif")


def test_whole_numbers_are_as_good_as_floats_in_settings():
    """Settings come from JSON and presets, where 2.0 is easily written 2."""
    whole = NeuronSettings(kind="lif", tau=2, threshold=1, alpha=2).build()
    x = draw_input(4, (5,), seed=0)
    assert torch.equal(whole(x), NeuronSettings(kind="lif", tau=2.0, threshold=1.0, alpha=2.0).build()(x))


def test_relu_is_no_spiking_layer():
    twin = torch.nn.Sequential(NeuronSettings(kind="relu").build(), NeuronSettings(kind="if").build())
    assert list(spiking_layers(twin)) == ["1"]


def test_firing_rates_are_means_over_calls_and_the_hooks_go():
    net = torch.nn.Sequential(NeuronSettings(kind="if").build())
    quarter = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    full = torch.full((1, 4), 2.0)

    def run():
        for x in (quarter, full):
            reset_state(net)
            net(x)

    assert record_firing_rates(net, run) == {"0": pytest.approx((0.25 + 1) / 2)}
    assert not net[0]._forward_hooks
    with pytest.raises(RuntimeError, match="inside"):
        record_firing_rates(net, _fail)
    assert not net[0]._forward_hooks
    assert record_firing_rates(net, lambda: None) == {}  # nothing ran


def _fail():
    raise RuntimeError("inside")


def test_a_second_derivative_is_refused_and_not_wrong():
    x = torch.rand(3, 4, requires_grad=True)
    spikes = NeuronSettings().build()(3 * x)
    (first,) = torch.autograd.grad((spikes * x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
