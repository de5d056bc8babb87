"""Channels last in memory: the same numbers, and the order goes through the whole network."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from reidlib.losses import ReidLoss
from reidlib.models import MODELS, build_model
from reidlib.models.layers.memory_order import channels_last
from reidlib.models.layers.spiking import NeuronSettings, reset_state

pytestmark = pytest.mark.usefixtures("one_thread")

T = 8  # two groups of frames for BiCnet-TKS
VIDEO = {"width": 16, "backbone": "resnet18"}
OPTIONS = {name: dict(VIDEO) for name in ("sdcl", "psta", "resnet_frames", "ianet", "tclnet", "rfcnet", "bicnet_tks", "vrstc")}
OPTIONS["resnet_frames"] |= {"metric": "feature"}  # behind the neck, four clips would be divided by their own small spread
SIZED = ("sdcl", "psta", "rfcnet", "bicnet_tks")
SINGLE = ("tclnet",)  # compares its maps in single precision, whatever it is given


def size(name: str) -> tuple[int, int]:
    return (64, 32) if name == "rfcnet" else (32, 32)  # whose regions need larger maps


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = OPTIONS.get(name, {"width": 16})
    if name in SIZED:
        options = options | {"size": size(name)}
    if name in ("sdcl", "psta"):
        options = options | {"levels": 2}
    return build_model(name, 3, **options | ({"sampling": {"spatial": 2}} if name == "s3ce_net" else {}))


def clips(model: nn.Module) -> dict[str, torch.Tensor]:
    g, pixels = torch.Generator().manual_seed(0), getattr(model, "size", (32, 32))
    events = (torch.rand(4, T, 2, *pixels, generator=g) < 0.3).float()
    frames = torch.randn(4, T, 3, *pixels, generator=g)
    return {name: {"events": events, "frames": frames}[name] for name in model.modalities}


def outcome(model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients of one step in double precision, where rounding cannot flip a spike."""
    batch = {name: value.double() for name, value in clips(model).items()}
    total = ReidLoss()(model.double().train()(**batch), torch.tensor([0, 0, 1, 1]))["total"]
    total.backward()
    return total, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("resnet50", *SINGLE)])
def test_loss_and_gradients_are_those_of_channels_first(name):
    model = make(name)
    plain = deepcopy(model).to(memory_format=torch.contiguous_format)
    (total, gradients), (expected_total, expected) = outcome(model), outcome(plain)
    torch.testing.assert_close(total, expected_total, rtol=1e-9, atol=1e-9)
    assert gradients.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(gradients[key], value, rtol=1e-6, atol=1e-8 + 1e-8 * float(value.abs().max()), msg=key)


@pytest.mark.parametrize(("name", "share"), [("resnet_frames", 1e-2), ("tclnet", 5e-2)])  # TCLNet's softmax is of large numbers
def test_a_step_in_single_precision_agrees_but_for_rounding(name, share):
    found = []
    for order in (torch.channels_last, torch.contiguous_format):
        model = make(name).to(memory_format=order).train()
        output = model(**clips(model)).features[0]
        output.pow(3).sum().backward()
        found.append([output, *(p.grad for p in model.backbone.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= share * other.norm()


def is_last(x: torch.Tensor) -> bool:
    return x.flatten(0, -4).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["s3ce_net", "resnet_frames"])
def test_the_order_goes_through_convolutions_norms_and_neurons(name):
    model, orders = make(name).train(), {}
    layers = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, type(NeuronSettings().build()))
    for key, part in model.named_modules():
        if isinstance(part, layers):
            part.register_forward_hook(lambda _m, _i, out, key=key: orders.update({key: is_last(out)}))
    model(**clips(model))
    assert len(orders) > 40 and all(orders.values()), [key for key, last in orders.items() if not last]


def test_weights_keep_their_order_where_they_are_loaded_and_copied(tmp_path):
    model = make("sew_resnet18")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    model.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    for one in (model, deepcopy(model)):
        weight = one.backbone.conv.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


@pytest.mark.parametrize("width", [4, 8])
def test_networks_too_narrow_for_the_strided_convolution_stay_as_they_are(width):
    model = build_model("sew_resnet18", 3, width=width)
    assert all(part.weight.is_contiguous() for part in model.modules() if isinstance(part, nn.Conv2d))


def test_narrow_convolutions_stay_as_they_are():
    model = channels_last(nn.Sequential(nn.Conv2d(16, 4, 3), nn.Conv2d(4, 16, 3)))
    assert model[0].weight.is_contiguous() and not model[1].weight.is_contiguous()


@pytest.mark.parametrize("options", [{"soft_reset": True}, {"detach_reset": False}, {"kind": "if"}])
def test_neurons_take_maps_as_they_lie(options):
    """Spikes, gradients and the last potential in the input's order, the same as of a contiguous input."""
    node, weights = NeuronSettings(**options).build(), torch.randn(5, 2, 3, 4, 6)
    x, found = torch.randn(5, 2, 3, 4, 6), []
    for last in (False, True):
        given = x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x.clone()
        given.requires_grad_()
        reset_state(node)
        spikes = node(given)
        (spikes * weights).sum().backward()
        assert is_last(spikes) == last and is_last(given.grad) == last
        found.append((spikes, given.grad, node.v))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
