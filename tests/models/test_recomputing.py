"""Recomputed activations: the same gradients and the same statistics as kept ones, from less memory."""

import pytest
import torch
from torch import nn

from reidlib.losses import ReidLoss
from reidlib.models import build_model
from reidlib.models.layers.recomputing import recomputed

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = torch.tensor([0, 0, 1, 1])
KINDS = [{"kind": "lif", "decay_input": False}, {"kind": "plif"}, {"kind": "relu"}]


def clips(T: int = 4) -> torch.Tensor:
    return (torch.rand(4, T, 2, 64, 32, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def make(recompute: bool, **options) -> nn.Module:
    torch.manual_seed(0)
    return build_model("s3ce_net", 3, width=4, head_channels=4, recompute=recompute, **options).train()


def trained_once(model: nn.Module) -> tuple[dict, dict]:
    """Gradients and buffers after one forward and backward pass."""
    ReidLoss()(model(events=clips()), LABELS)["total"].backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}, dict(model.named_buffers())


@pytest.mark.parametrize("neuron", KINDS, ids=lambda options: options["kind"])
def test_gradients_and_running_statistics_are_those_of_kept_activations(neuron):
    gradients, buffers = trained_once(make(True, neuron=neuron))
    expected_gradients, expected_buffers = trained_once(make(False, neuron=neuron))
    for name, expected in expected_gradients.items():
        torch.testing.assert_close(gradients[name], expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()), msg=name)
    moved = [name for name in expected_buffers if name.startswith("backbone") and name.endswith("running_mean")]
    assert moved and all(expected_buffers[name].any() for name in moved)
    for name, expected in expected_buffers.items():
        assert torch.equal(buffers[name], expected), name
    assert buffers["backbone.norm.num_batches_tracked"] == 1


def test_statistics_are_tracked_again_after_the_backward_pass():
    model = make(True)
    trained_once(model)
    trained_once(model)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and norm.num_batches_tracked == 2 for norm in norms)


def test_each_part_is_run_twice_in_training_and_once_without_gradient():
    model, calls = make(True), []
    model.backbone.stages[1][0].register_forward_hook(lambda *_: calls.append(1))
    trained_once(model)
    assert len(calls) == 2
    with torch.no_grad():
        model(events=clips())
    assert len(calls) == 3


def test_embedding_is_the_same_and_weights_fit():
    one, other = make(True).eval(), make(False).eval()
    other.load_state_dict(one.state_dict())
    with torch.inference_mode():
        assert torch.equal(one(events=clips()), other(events=clips()))


def test_only_the_input_is_kept():
    layer = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 5), nn.Tanh())
    x, kept = torch.rand(3, 5, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        recomputed(layer, x, layer)
        assert sum(tensor.numel() for tensor in kept) == x.numel()
        layer(x)
    assert len(kept) > 4


def test_statistics_come_back_when_the_second_run_fails():
    norm, runs = nn.BatchNorm1d(2, momentum=None), []

    def part(x):
        runs.append(1)
        if len(runs) == 2:
            raise RuntimeError("inside")
        return norm(x)

    out = recomputed(part, torch.rand(3, 2, requires_grad=True), norm)
    with pytest.raises(RuntimeError, match="inside"):
        out.sum().backward()
    assert norm.momentum is None and norm.num_batches_tracked == 1
