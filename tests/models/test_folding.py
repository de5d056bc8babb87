"""Folded BatchNorm: the same embeddings but for rounding, fewer layers, and a model that is left alone."""

import pytest
import torch
from redrawn import redraw
from test_every_model import SMALL, inputs, make, trained_statistics, unit
from torch import nn

from reidlib.metrics import cosine_distances
from reidlib.models import MODELS, build_model, spiking_layers
from reidlib.models.folding import fold_batch_norm

pytestmark = pytest.mark.usefixtures("one_thread")


def norms(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)]


def embed(model: nn.Module, batch: dict) -> torch.Tensor:
    with torch.inference_mode():
        return model(**batch)


def spikes(model: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    """What each spiking layer gives."""
    seen, layers = {}, spiking_layers(model)
    handles = [layer.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out})) for name, layer in layers.items()]
    embed(model, batch)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("s3ce_net", "sew_resnet18", "sdcl")])
def test_embeddings_of_real_valued_networks_agree(name):
    model = trained_statistics(make(name))
    batch = inputs(model)
    folded = fold_batch_norm(model, **inputs(model, B=1))
    torch.testing.assert_close(unit(embed(folded, batch)), unit(embed(model, batch)), rtol=0, atol=1e-4)
    assert len(norms(folded)) < len(norms(model)) / 2


@pytest.mark.parametrize("name", ["s3ce_net", "sew_resnet18", "sdcl"])
def test_spikes_agree_but_for_rounding_at_the_threshold_and_so_does_the_ranking(name):
    model = trained_statistics(make(name))
    batch = inputs(model, B=12)
    folded = fold_batch_norm(model, **inputs(model, B=1))
    expected, found = spikes(model, batch), spikes(folded, batch)
    differ = sum(int((found[name] != spikes).sum()) for name, spikes in expected.items())
    total = sum(spikes.numel() for spikes in expected.values())
    assert sum(float(spikes.sum()) for spikes in expected.values()) > 0.01 * total  # else nothing was compared
    assert differ < 1e-4 * total
    order, folded_order = (cosine_distances(x[:4], x[4:]).argsort(1).tolist() for x in (embed(model, batch), embed(folded, batch)))
    assert folded_order == order


def test_what_is_folded_and_what_stays():
    model = redraw(build_model("s3ce_net", 3, **SMALL["s3ce_net"])).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_batch_norm(model, **inputs(model, B=1))
    assert norms(folded) == [name for name in norms(model) if ".part_norms." in name]  # products of spikes come from no convolution
    assert isinstance(folded.backbone.norm, nn.Identity) and folded.backbone.conv.bias is not None
    assert isinstance(folded.neck.norm, nn.BatchNorm1d)
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    assert model.backbone.conv.bias is None and not model.backbone.conv._forward_hooks and not model.backbone.norm._forward_pre_hooks


def test_the_model_keeps_its_mode_and_the_folded_one_refuses_training():
    model = make("sew_resnet18").train()
    folded = fold_batch_norm(model, **inputs(model, B=2))
    assert model.training and not folded.training
    with pytest.raises(RuntimeError, match="folded"):
        folded.train()(**inputs(model))


class Shared(nn.Module):
    """One convolution in front of two BatchNorms, and a pair of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.last, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.last(self.one(self.conv(x)) + self.two(self.conv(-x)))).mean((2, 3))


def test_a_convolution_that_serves_two_is_left_alone():
    model = redraw(Shared()).eval()
    x = torch.rand(4, 2, 5, 5)
    folded = fold_batch_norm(model, x=x[:1])
    assert norms(folded) == ["one", "two"]
    torch.testing.assert_close(embed(folded, {"x": x}), embed(model, {"x": x}))
