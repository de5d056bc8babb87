"""SSAM against a slow reference written from its equations, STFS against loops, and the head that ties them."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based.functional import reset_net, set_step_mode
from torch import nn

from reidlib.models import NeuronSettings, SamplingSettings, build_model, record_firing_rates
from reidlib.models.s3ce_net import (
    SSAM,
    causal_attention,
    linear_attention,
    sample_subsequences,
    spatial_bands,
    temporal_subsets,
)

IF = NeuronSettings(kind="if")
CASES = [(coupling, causal) for coupling in ("factorised", "joint", "temporal") for causal in (False, True)] + [("spatial", False)]


def spikes(*shape: int, seed: int = 0, rate: float = 0.4) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def redraw(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random BatchNorm statistics and weights: at their initial values too many mistakes cannot be seen."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.weight.data = 0.8 + 0.8 * torch.rand(part.weight.shape, generator=generator)
            part.bias.data = 0.6 * torch.randn(part.bias.shape, generator=generator) + 0.3
            part.running_mean = 0.3 * torch.randn(part.running_mean.shape, generator=generator)
            part.running_var = 0.3 + torch.rand(part.running_var.shape, generator=generator)
    for norm in module.part_norms.values() if isinstance(module, SSAM) else ():
        norm.running_var *= 0.3  # the products of spikes are small
    return module


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


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.data(), st.sampled_from(["strided", "contiguous", "random"]))
def test_temporal_subsets_partition_the_steps(steps, data, form):
    parts = data.draw(st.integers(1, steps))
    subsets = temporal_subsets(steps, parts, form)
    assert len(subsets) == parts and sorted(torch.cat(subsets).tolist()) == list(range(steps))
    sizes = [len(subset) for subset in subsets]
    assert max(sizes) - min(sizes) <= 1
    assert all(torch.equal(subset, subset.sort().values) for subset in subsets)
    if form == "strided":
        assert all(set(subset.diff().tolist()) <= {parts} and int(subset[0]) == i for i, subset in enumerate(subsets))
    if form == "contiguous":
        assert torch.cat(subsets).tolist() == list(range(steps))


def test_random_subsets_differ_from_draw_to_draw_and_repeat_with_the_seed():
    torch.manual_seed(1)
    first = [temporal_subsets(12, 2, "random")[0].tolist() for _ in range(5)]
    torch.manual_seed(1)
    assert first == [temporal_subsets(12, 2, "random")[0].tolist() for _ in range(5)]
    assert len({tuple(one) for one in first}) > 1


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.data())
def test_bands_partition_the_rows_and_drop_is_the_complement(height, data):
    parts = data.draw(st.integers(2, height))
    bands, rest = spatial_bands(height, parts, "band"), spatial_bands(height, parts, "drop")
    assert torch.cat(bands).tolist() == list(range(height)) and len(bands) == len(rest) == parts
    assert max(map(len, bands)) - min(map(len, bands)) <= 1
    for band, others in zip(bands, rest, strict=True):
        assert others.tolist() == sorted(set(range(height)) - set(band.tolist()))


def test_more_parts_than_there_is_to_split():
    with pytest.raises(ValueError, match=r"5 temporal subsequences.*the clip has 4"):
        temporal_subsets(4, 5, "strided")
    with pytest.raises(ValueError, match=r"3 bands.*2 rows"):
        spatial_bands(2, 3, "band")
    with pytest.raises(ValueError, match=r"1 bands.*4 rows"):
        spatial_bands(4, 1, "drop")


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("temporal_form, spatial_form", [("strided", "band"), ("contiguous", "drop")])
def test_sampled_features_against_loops(pooling, temporal_form, spatial_form):
    T, B, C, H, W = 5, 2, 3, 6, 2
    x = torch.rand(T, B, C, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = SamplingSettings(2, 3, temporal_form, spatial_form)
    found = sample_subsequences(x, s, pooling)
    steps = [[0, 2, 4], [1, 3]] if temporal_form == "strided" else [[0, 1, 2], [3, 4]]
    rows = [[0, 1], [2, 3], [4, 5]] if spatial_form == "band" else [[2, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 3]]
    wanted = [(some, range(H)) for some in steps] + [(range(T), some) for some in rows]
    assert len(found) == len(wanted) == 5
    for feature, (some_steps, some_rows) in zip(found, wanted, strict=True):
        for b in range(B):
            for c in range(C):
                sums = 0.0
                for t in some_steps:
                    places = [float(x[t, b, c, row, column]) for row in some_rows for column in range(W)]
                    sums += max(places) if pooling == "max" else sum(places) / len(places)
                assert float(feature[b, c]) == pytest.approx(sums / len(some_steps), abs=1e-12)


def test_one_part_of_all_is_the_global_feature():
    x = torch.rand(4, 2, 3, 4, 2)
    features = sample_subsequences(x, SamplingSettings(1, 1), "max")
    assert len(features) == 2
    for feature in features:
        torch.testing.assert_close(feature, x.amax((-1, -2)).mean(0))


@pytest.mark.parametrize("part", ["temporal", "spatial"])
def test_either_half_of_stfs_can_be_left_out(part):
    counts = {"temporal": 2, "spatial": 4} | {part: 0}
    assert len(sample_subsequences(torch.rand(4, 2, 3, 4, 2), SamplingSettings(**counts), "max")) == sum(counts.values())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temporal": -1}, "must not be negative"),
        ({"weight": -0.1}, "must not be negative"),
        ({"temporal_form": "shuffled"}, "'shuffled'; choose one of strided"),
        ({"spatial_form": "column"}, "'column'; choose one of band"),
    ],
)
def test_bad_sampling_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SamplingSettings(**options)


TINY = {"width": 4, "head_channels": 4, "neuron": IF}


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("s3ce_net", 3, **TINY | options)


def event_frames(B=3, T=4, seed=0) -> torch.Tensor:
    return 3 * torch.rand(B, T, 2, 64, 32, generator=torch.Generator().manual_seed(seed))


def test_stfs_has_no_parameters_and_no_part_in_the_test():
    with_stfs, without = tiny(), tiny(seed=1, sampling=None)
    x = event_frames()
    with_stfs(x)  # batch statistics, so that there is something to transfer
    assert {name: p.shape for name, p in with_stfs.named_parameters()} == {name: p.shape for name, p in without.named_parameters()}
    without.load_state_dict(with_stfs.state_dict())
    with torch.inference_mode():
        assert torch.equal(with_stfs.eval()(x), without.eval()(x))


@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
def test_weights_sum_to_one_plus_w(weight):
    output = tiny(sampling=SamplingSettings(2, 4, weight=weight))(event_frames())
    assert sum(output.weights) == pytest.approx(1 + weight)
    assert len(output.features) == (7 if weight else 1)
    assert output.weights[0] == 1 and len(set(output.weights[1:])) <= 1


def test_every_sampled_feature_passes_the_same_neck():
    model = tiny(step_loss=0.5)
    x = event_frames()
    output = model(x)
    T = x.shape[1]
    assert len(output.features) == 1 + 6 + T and sum(output.weights) == pytest.approx(2.5)
    for feature, logits in zip(output.features, output.logits, strict=True):
        assert feature.shape == (3, 32) and logits.shape == (3, 3)
        mean, var = feature.mean(0), feature.var(0, unbiased=False)
        normal = (feature - mean) / (var + model.neck.norm.eps).sqrt() * model.neck.norm.weight
        torch.testing.assert_close(logits, normal @ model.neck.classifier.weight.T, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.stack(output.features[-T:]).mean(0), output.features[0])


def test_stfs_without_any_subsequence_is_no_stfs():
    output = tiny(sampling=SamplingSettings(temporal=0, spatial=0))(event_frames())
    assert len(output.features) == 1 and output.weights == [1.0]


def test_embedding_before_and_after_the_neck():
    neck, feature = tiny(), tiny(embedding="feature")
    redraw(neck, 3)
    feature.load_state_dict(neck.state_dict())
    x = event_frames()
    with torch.no_grad():
        after, before = neck.eval()(x), feature.eval()(x)
        per_step = feature.features(x)[-1].amax((-1, -2))
        torch.testing.assert_close(before, per_step.mean(0))
        torch.testing.assert_close(after, neck.neck.norm(before))
    assert not torch.allclose(after, before)


@pytest.mark.parametrize("stages", [chosen for n in range(5) for chosen in combinations((1, 2, 3, 4), n)])
def test_ssam_stands_where_it_is_asked_for(stages):
    model = tiny(ssam=stages, sampling=None)
    assert list(model.backbone.after) == [str(stage) for stage in stages]
    for stage in stages:
        assert model.backbone.after[str(stage)].project.out_channels == 4 * 2 ** (stage - 1)


def test_the_baseline_is_the_network_without_its_parts_and_the_twin_has_the_same_weights():
    ours = tiny(ssam=(), sampling=None)
    torch.manual_seed(0)
    baseline = build_model("sew_resnet18", 3, width=4, neuron=IF)
    torch.manual_seed(0)
    twin = build_model("resnet18_events", 3, width=4, neuron=IF)
    for other in (baseline, twin):
        assert ours.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), other.state_dict().values(), strict=True))
    x = event_frames()
    with torch.inference_mode():
        assert torch.equal(ours.eval()(x), baseline.eval()(x))
        assert not torch.equal(ours(x), twin.eval()(x))
    assert not any("Node" in type(part).__name__ for part in twin.modules())


def test_attention_is_what_ssam_adds():
    model = tiny().eval()
    redraw(model, 2)
    x = event_frames()
    kept = {}
    for stage, module in model.backbone.after.items():
        module.register_forward_hook(lambda m, inputs, out, stage=stage: kept.update({stage: (inputs[0].clone(), out.clone())}))
    maps = model.attention(x)
    assert {name: tuple(value.shape) for name, value in maps.items()} == {"stage2": (3, 4, 8, 4), "stage4": (3, 4, 4, 2)}
    for stage, (before, after) in kept.items():
        torch.testing.assert_close(maps[f"stage{stage}"], (after - before).mean(2).transpose(0, 1))
        assert maps[f"stage{stage}"].min() >= 0 and 0 < maps[f"stage{stage}"].max() <= 1
    assert not maps["stage2"].requires_grad


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"SSAM stages \(2, 5\)"):
        tiny(ssam=(2, 5))
    with pytest.raises(ValueError, match="unknown embedding 'middle'"):
        tiny(embedding="middle")
    with pytest.raises(ValueError, match="unknown pooling 'sum'"):
        tiny(pooling="sum")(event_frames())
    with pytest.raises(ValueError, match="8 temporal subsequences"):
        tiny(sampling=SamplingSettings(temporal=8))(event_frames(T=4))
