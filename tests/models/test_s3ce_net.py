"""S3CE-Net as a whole: SSAM where it is asked for, STFS in training only, one head, and its two relatives."""

from itertools import combinations

import pytest
import torch
from redrawn import redraw

from reidlib.losses import pairwise_distances
from reidlib.models import NeuronSettings, SamplingSettings, build_model

IF = NeuronSettings(kind="if")
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


def test_running_statistics_are_those_of_the_whole_feature():
    """Test time meets the whole feature only: subsequences, whose maxima are smaller, must leave no trace in its normalisation."""
    x = event_frames(B=6)
    necks = {}
    for name, options in {"with": {"step_loss": 0.5}, "without": {"sampling": None}}.items():
        model = tiny(**options)
        output = model(x)
        necks[name] = model.neck.norm
        torch.testing.assert_close(model.neck.norm.running_mean, 0.1 * output.features[0].mean(0))
    for buffer in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(necks["with"], buffer), getattr(necks["without"], buffer))


def test_the_metric_loss_sees_every_feature_before_or_after_the_neck():
    before, after = tiny(step_loss=0.5), tiny(step_loss=0.5, metric="neck")
    for model in (before, after):
        redraw(model, 1)  # a neck that is no identity
    x = event_frames()
    plain, normal = before(x), after(x)
    gain, shift = after.neck.norm.weight, after.neck.norm.bias
    for seen, feature, logits in zip(normal.features, plain.features, normal.logits, strict=True):
        mean, var = feature.mean(0), feature.var(0, unbiased=False)
        torch.testing.assert_close(seen, (feature - mean) / (var + 1e-5).sqrt() * gain + shift, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(after.neck.classifier(seen), logits)
    assert normal.weights == plain.weights
    with torch.no_grad():
        assert torch.equal(before.eval()(x), after.eval()(x))  # the choice is one of training


def test_a_cosine_triplet_bites_only_after_the_neck():
    """Pooled spike counts are never negative, so all people point nearly the same way before the neck: nothing to pull apart."""
    labels = torch.arange(6).repeat_interleave(2)
    spread = {}
    for place in ("feature", "neck"):
        output = tiny(metric=place, sampling=None)(event_frames(B=12))
        spread[place] = float(pairwise_distances(output.features[0])[labels[:, None] != labels].mean().detach())
    assert spread["feature"] < 0.1 and spread["neck"] > 0.9


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


def test_looking_at_attention_changes_nothing():
    model = tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.attention(event_frames())
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"SSAM stages \(2, 5\)"):
        tiny(ssam=(2, 5))
    with pytest.raises(ValueError, match="unknown embedding 'middle'"):
        tiny(embedding="middle")
    with pytest.raises(ValueError, match="unknown metric 'middle'"):
        tiny(metric="middle")
    with pytest.raises(ValueError, match="unknown pooling 'sum'"):
        tiny(pooling="sum")(event_frames())
    with pytest.raises(ValueError, match="8 temporal subsequences"):
        tiny(sampling=SamplingSettings(temporal=8))(event_frames(T=4))
