"""SSAM against a slow reference written from its equations, and the orders of linear attention against each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from redrawn import redraw, spikes
from spikingjelly.activation_based.functional import reset_net, set_step_mode
from torch import nn

from reidlib.models import NeuronSettings, record_firing_rates
from reidlib.models.s3ce_net import SSAM, causal_attention, linear_attention

IF = NeuronSettings(kind="if")
CASES = [(coupling, causal) for coupling in ("factorised", "joint", "temporal") for causal in (False, True)] + [("spatial", False)]


def make_ssam(coupling="factorised", causal=False, channels=8, head=4, neuron=IF, seed=0) -> SSAM:
    torch.manual_seed(seed)
    module = SSAM(channels, neuron, coupling, causal, head_channels=head)
    set_step_mode(module, "m")
    return redraw(module, seed).eval()


def neuron_reference(x: torch.Tensor, s: NeuronSettings) -> torch.Tensor:
    """Hard-reset neuron, step by step: `[T, ...]` -> spikes."""
    keep, gain = (1.0, 1.0) if s.kind == "if" else (1 - 1 / s.tau, 1 / s.tau)
    v, out = torch.zeros_like(x[0]), []
    for current in x:
        h = keep * v + gain * current
        out.append((h >= s.threshold).to(x.dtype))
        v = h * (1 - out[-1])
    return torch.stack(out)


def normalise(y: torch.Tensor, norm: nn.Module, channels: slice = slice(None)) -> torch.Tensor:
    """BN (eval) of some channels: `[T, B, C', H, W]`."""
    mean, var, gamma, beta = (getattr(norm, n).double()[channels].view(-1, 1, 1) for n in ("running_mean", "running_var", "weight", "bias"))
    return (y - mean) / (var + norm.eps).sqrt() * gamma + beta


def convolution_and_norm(x: torch.Tensor, conv: nn.Module, norm: nn.Module, channels: slice) -> torch.Tensor:
    """Conv1x1 and BN (eval) of some output channels, one place at a time: `[T, B, C, H, W]` -> `[T, B, C', H, W]`."""
    weight = conv.weight.double()[channels, :, 0, 0]
    return normalise(torch.einsum("tbchw,oc->tbohw", x, weight), norm, channels)


def tokens_of(part: str, t: int, n: int, T: int, N: int, causal: bool) -> list[tuple[int, int]]:
    """The (step, position) pairs that place (t, n) attends to."""
    if part == "spatial":
        return [(t, other) for other in range(N)]
    last = t if causal else T - 1
    positions = [n] if part == "temporal" else range(N)
    return [(step, position) for step in range(last + 1) for position in positions]


def ssam_reference(module: SSAM, x: torch.Tensor, s: NeuronSettings) -> torch.Tensor:
    """The equations, head by head and token by token, Q (K^T V) summed as (Q K^T) V, in double precision."""
    T, B, C, H, W = x.shape
    N, d, x = H * W, module.head_channels, x.double()
    q, k, v = (
        neuron_reference(convolution_and_norm(x, module.qkv, module.qkv_norm, slice(i * C, (i + 1) * C)), s).flatten(3) for i in range(3)
    )
    parts = {"factorised": ("spatial", "temporal")}.get(module.coupling, (module.coupling,))
    total = 0
    for part in parts:
        count = {"spatial": N, "temporal": T, "joint": T * N}[part]
        y = torch.zeros(T, B, C, N, dtype=torch.float64)
        for head in range(C // d):
            own = slice(head * d, (head + 1) * d)
            scale = 1 / d**0.5 / count**0.5
            for b in range(B):
                for t in range(T):
                    for n in range(N):
                        for step, position in tokens_of(part, t, n, T, N, module.causal):
                            weight = q[t, b, own, n] @ k[step, b, own, position]
                            y[t, b, own, n] += scale * weight * v[step, b, own, position]
        total = total + neuron_reference(normalise(y.view(T, B, C, H, W), module.part_norms[part]), s)
    out = convolution_and_norm(total, module.project, module.project_norm, slice(0, C))
    return x + neuron_reference(out, s)


@pytest.mark.parametrize("coupling, causal", CASES)
@pytest.mark.parametrize("neuron", [IF, NeuronSettings(kind="lif", threshold=0.4)], ids=["if", "lif"])
def test_ssam_equals_the_equations(coupling, causal, neuron):
    module = make_ssam(coupling, causal, neuron=neuron)
    x = spikes(3, 2, 8, 3, 2, rate=0.5)
    with torch.inference_mode():
        out = module(x)
    expected = ssam_reference(module, x, neuron)
    assert torch.equal(out.double(), expected)
    added = (out - x).mean()
    assert 0.02 < added < 0.98  # else nothing was compared


def test_causal_and_full_attention_differ():
    x = spikes(4, 1, 8, 3, 2, rate=0.5)
    for coupling in ("temporal", "joint", "factorised"):
        with torch.inference_mode():
            assert not torch.equal(make_ssam(coupling, False)(x), make_ssam(coupling, True)(x))
    with torch.inference_mode():
        assert torch.equal(make_ssam("spatial", False)(x), make_ssam("spatial", True)(x))


@pytest.mark.parametrize("coupling, causal", CASES)
def test_everything_between_the_layers_is_a_spike(coupling, causal):
    module = make_ssam(coupling, causal)
    seen = {}
    for name, part in module.named_modules():
        if name.endswith("neuron") or name.startswith("part_neurons."):
            part.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.clone()}))
    x = spikes(4, 2, 8, 3, 2)
    with torch.inference_mode():
        out = module(x)
    parts = 2 if coupling == "factorised" else 1
    assert len(seen) == 2 + parts and set(module.part_neurons) == set(module.part_norms)
    for name, value in seen.items():
        assert set(value.unique().tolist()) == {0.0, 1.0}, name
    assert out.shape == x.shape and set((out - x).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("coupling, causal", CASES)
def test_a_tracklet_does_not_see_its_batch_mates(coupling, causal):
    """The flattening trap: a reshape that mixes the batch axis with steps or channels fails here."""
    module = make_ssam(coupling, causal)
    x, other = spikes(4, 3, 8, 3, 2), spikes(4, 3, 8, 3, 2, seed=9)
    other[:, 1] = x[:, 1]
    with torch.inference_mode():
        out = module(x)
        reset_net(module)
        with_others = module(other)
        reset_net(module)
        turned = module(x.flip(1)).flip(1)
        reset_net(module)
        alone = module(x[:, 1:2])
    assert torch.equal(out[:, 1], with_others[:, 1]) and not torch.equal(out, with_others)
    assert torch.equal(out, turned) and torch.equal(out[:, 1:2], alone)


@pytest.mark.parametrize("coupling", ["factorised", "joint", "temporal", "spatial"])
def test_a_causal_step_does_not_see_later_ones(coupling):
    module = make_ssam(coupling, causal=True)
    x = spikes(5, 2, 8, 3, 2, rate=0.5)
    changed = x.clone()
    changed[3:] = spikes(2, 2, 8, 3, 2, seed=5, rate=0.7)
    with torch.inference_mode():
        before = module(x)
        reset_net(module)
        after = module(changed)
    assert torch.equal(before[:3], after[:3]) and not torch.equal(before[3:], after[3:])


@pytest.mark.parametrize("coupling", ["joint", "temporal"])
def test_without_causality_an_early_step_sees_the_late_ones(coupling):
    seen = []
    for seed in range(5):  # a single draw may change no spike
        module = make_ssam(coupling, seed=seed)
        x = spikes(5, 2, 8, 3, 2, rate=0.5)
        changed = x.clone()
        changed[4] = spikes(2, 8, 3, 2, seed=5, rate=0.9)
        with torch.inference_mode():
            before = module(x)
            reset_net(module)
            seen.append(not torch.equal(before[:4], module(changed)[:4]))
    assert any(seen)


@pytest.mark.parametrize("coupling, causal", CASES)
def test_positions_are_permuted_with_the_input(coupling, causal):
    """No position is special: turning the picture turns the result."""
    module = make_ssam(coupling, causal)
    x = spikes(3, 2, 8, 3, 2)
    with torch.inference_mode():
        out = module(x)
        reset_net(module)
        assert torch.equal(module(x.flip(3).flip(4)), out.flip(3).flip(4))


@pytest.mark.parametrize("coupling, causal", CASES)
@pytest.mark.parametrize("kind", ["lif", "if"])
def test_default_scale_keeps_every_neuron_alive_and_unsaturated(coupling, causal, kind):
    """Measured as the network meets it at the start of training: initial weights, batch statistics."""
    torch.manual_seed(0)
    module = SSAM(32, NeuronSettings(kind=kind), coupling, causal)
    set_step_mode(module, "m")
    x = spikes(8, 4, 32, 8, 4, rate=0.2)
    rates = record_firing_rates(module, lambda: module(x))
    assert len(rates) == 2 + len(module.part_neurons)
    begins = rates.pop("project_neuron")
    assert begins < 0.04  # the block begins almost as the identity, ...
    assert all(0.003 < rate < 0.9 for rate in rates.values()), rates
    module.project_norm.weight.data.fill_(1.0)  # ... and what training turns up is there to be used
    reset_net(module)
    assert max(0.01, begins) < record_firing_rates(module, lambda: module(x))["project_neuron"] < 0.9


def test_ssam_options_are_checked():
    with pytest.raises(ValueError, match="unknown coupling 'product'"):
        SSAM(8, IF, "product")
    with pytest.raises(ValueError, match="8 channels do not split into heads of 16"):
        SSAM(8, IF)


TOKENS = st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 5), st.integers(0, 10_000))


@settings(max_examples=40, deadline=None)
@given(TOKENS)
def test_linear_attention_is_the_same_in_both_orders(sizes):
    """Spikes are whole numbers, so both orders are exact, whichever one the sizes choose."""
    b, tokens, d, seed = sizes
    q, k, v = spikes(3, b, tokens, d, seed=seed, rate=0.5)
    assert torch.equal(linear_attention(q, k, v), (q @ k.mT) @ v)
    assert torch.equal(linear_attention(q, k, v), q @ (k.mT @ v))


@settings(max_examples=40, deadline=None)
@given(TOKENS)
def test_causal_attention_equals_the_masked_matrix(sizes):
    b, tokens, d, seed = sizes
    mask = torch.tensor([[row >= column for column in range(tokens)] for row in range(tokens)]).float()
    inputs = [part.double().requires_grad_() for part in spikes(3, b, tokens, d, seed=seed, rate=0.5)]
    weights = torch.randn(b, tokens, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    q, k, v = inputs
    own, expected = causal_attention(q, k, v), (q @ k.mT * mask) @ v
    assert torch.equal(own, expected)
    for one, two in zip(torch.autograd.grad(own, inputs, weights), torch.autograd.grad(expected, inputs, weights), strict=True):
        torch.testing.assert_close(one, two)
