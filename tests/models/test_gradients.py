"""Gradients of whole systems against differences of their losses: also torch may be wrong (a BatchNorm over maps of one column was).

Spiking networks are left out: their gradient is a surrogate's, not that of their steps."""

import pytest
import torch
from redrawn import wake
from test_every_model import CASES, CLASSES, SMALL, inputs

from reidlib.losses import ReidLoss
from reidlib.models import build_model, spiking_layers

pytestmark = pytest.mark.usefixtures("one_thread")

STEP = 1e-7
STOPPED = {"tclnet released"}  # this reading keeps a gradient from a feature that it uses
LABELS = torch.arange(6) // 2


@pytest.fixture
def double(monkeypatch):
    """Double precision, also where a layer insists on single."""
    before = torch.get_default_dtype()
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def loss_of(model, batch) -> torch.Tensor:
    torch.manual_seed(2)
    return ReidLoss(distance="euclidean")(model(**batch), LABELS)["total"]


@pytest.mark.parametrize("case", sorted(CASES.keys() - STOPPED))
def test_the_loss_changes_as_the_gradient_says(case, double):
    name, options = CASES[case]
    torch.manual_seed(1)
    model = wake(build_model(name, CLASSES, **SMALL[name] | options)).train()
    if spiking_layers(model):
        pytest.skip("spikes have no gradient to compare with")
    batch = {name: value.double() for name, value in inputs(model).items()}
    loss_of(model, batch).backward()
    moved = [p for p in model.parameters() if p.grad is not None]
    for part in (moved[: len(moved) // 2], moved[len(moved) // 2 :]):  # what is early in the network, and what is late
        along = [p.grad / p.grad.norm().clamp_min(1e-9) for p in part]
        expected = sum(float((p.grad * way).sum()) for p, way in zip(part, along, strict=True))
        values = [_nudged(model, batch, part, along, sign * STEP) for sign in (1, -1)]
        assert (values[0] - values[1]) / (2 * STEP) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@torch.no_grad()
def _nudged(model, batch, part, along, step: float) -> float:
    for p, way in zip(part, along, strict=True):
        p.add_(way, alpha=step)
    value = float(loss_of(model, batch))
    for p, way in zip(part, along, strict=True):
        p.sub_(way, alpha=step)
    return value
