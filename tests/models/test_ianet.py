"""IANet: blocks where they are asked for, the parts' loss, the published sizes (specification, section 1)."""

import pytest
import torch
from redrawn import wake
from torch.utils.flop_counter import FlopCounterMode

from reidlib.efficiency import count_parameters
from reidlib.models import build_model
from reidlib.models.layers.part_maps import part_loss

SIZE = (64, 32)
SMALL = {"backbone": "resnet18", "width": 4}


def make(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("ianet", 5, **SMALL | options)


def clips(B=3, T=2, channels=3, seed=0):
    return torch.rand(B, T, channels, *SIZE, generator=torch.Generator().manual_seed(seed))


def labels(B=3, T=2, seed=0):
    return torch.randint(0, 5, (B, T, *SIZE), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", ["ia", "stia", "cia", "image"])
def test_blocks_leave_the_baseline_unchanged_at_first(block):
    """The same trunk without blocks, at test time and in a training step."""
    torch.manual_seed(0)
    baseline = build_model("resnet_frames", 5, backbone="resnet18", width=4)
    model, x = make(stages=(2, 3), block=block), clips()
    model.neck.load_state_dict(baseline.neck.state_dict())
    assert set(model.backbone.after) == {"2", "3"}
    assert torch.equal(model.train()(frames=x).logits[0], baseline.train()(frames=x).logits[0])
    assert torch.equal(model.eval()(frames=x), baseline.eval()(frames=x))
    with torch.no_grad():
        assert not torch.allclose(wake(model)(frames=x), baseline(frames=x), atol=1e-3)


def test_parts_are_supervised_in_training_only():
    model, x, parts = wake(make(stages=(2, 3))), clips(), labels()
    seen = {}
    model.train()
    with torch.no_grad():
        model.backbone(x, seen)
    found = model(frames=x, parts=parts)
    expected = 0.5 * (part_loss(seen["parts2"], parts) + part_loss(seen["parts3"], parts)) / 2
    torch.testing.assert_close(found.losses["parts"], expected)
    assert list(found.losses) == ["parts"] and not model(frames=x).losses
    found.losses["parts"].backward()
    assert model.backbone.after["3"][0].stia.attend[0].weight.grad.abs().max() > 0
    assert torch.equal(model.eval()(frames=x, parts=parts), model(frames=x))


@pytest.mark.parametrize("block", ["cia", "image"])
def test_parts_need_stia(block):
    with pytest.raises(ValueError, match="no block of this model has part maps"):
        make(block=block).train()(frames=clips(), parts=labels())


def test_the_loss_sees_the_feature_it_was_asked_for():
    x = clips()
    neck, feature = make().train()(frames=x), make(metric="feature").train()(frames=x)
    assert not torch.allclose(neck.features[0], feature.features[0])
    torch.testing.assert_close(neck.logits[0], feature.logits[0])
    torch.testing.assert_close(make().neck(feature.features[0])[0], neck.features[0])


def test_inner_views_are_those_of_test_time_and_move_nothing():
    model, x = wake(make(stages=(2, 3))), clips()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shown = model.train().inner_views(frames=x)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: tuple(value.shape) for name, value in shown.items()} == {"parts2": (3, 2, 4, 8, 4), "parts3": (3, 2, 4, 4, 2)}
    for name, value in model.eval().inner_views(frames=x).items():
        assert torch.equal(shown[name], value) and not value.requires_grad
        assert 0 <= value.min() < value.max() <= 1


def test_event_frames_in_place_of_frames():
    model, x = make(inputs=("events",)), clips(channels=2)
    assert model.modalities == ("events",) and model.backbone.trunk.conv1.weight.shape[1] == 2
    assert model.eval()(events=x).shape == (3, 32)
    with pytest.raises(ValueError, match="takes events, but frames are given"):
        model(frames=clips())
    with pytest.raises(ValueError, match="takes frames, but frames are not given"):
        make()(events=x)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"inputs": ("events", "frames")}, r"inputs \('events', 'frames'\): .* one kind of clip"),
        ({"inputs": "frames"}, "one kind of clip"),
        ({"block": "se"}, r"unknown block 'se'; choose one of ia, stia, cia, image"),
        ({"order": "both"}, "unknown order 'both'"),
        ({"stages": (0, 2)}, "stages are"),
        ({"metric": "necks"}, "unknown metric 'necks'"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


#: Table 2.5 without its misprint (23.1M for CIA, which is 23.7M), parameters in millions as counted, multiply-accumulates as printed.
TABLE = {
    "ResNet50": ({"stages": ()}, 23.51, 4.06),
    "STIA": ({"block": "stia"}, 24.04, 4.06),
    "CIA": ({"block": "cia"}, 23.77, 5.26),
    "IA": ({}, 24.30, 5.27),
    "IA as released": ({"shared_relations": True, "part_pooling": "sum"}, 24.30, 5.27),
}


@pytest.mark.parametrize("name", TABLE)
def test_published_size_and_cost(name):
    """Without classifier and neck; giga multiply-accumulates per frame at 256 x 128, 4 frames."""
    options, millions, giga_macs = TABLE[name]
    with torch.device("meta"):
        model = build_model("ianet", 625, **options).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(frames=torch.zeros(1, 4, 3, 256, 128))
    assert round(count_parameters(model.backbone) / 1e6, 2) == millions
    assert counter.get_total_flops() / 2e9 / 4 == pytest.approx(giga_macs, abs=0.007)
