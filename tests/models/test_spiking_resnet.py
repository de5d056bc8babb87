"""The spiking backbone: sizes at paper scale, ImageNet weights, its ReLU twin against torchvision's own ResNet."""

import pytest
import torch
import torchvision
from spikingjelly.activation_based.functional import reset_net
from torch import nn

from reidlib.models.layers.spiking import IFNode, NeuronSettings, spiking_layers
from reidlib.models.layers.spiking_resnet import SpikingResNet, load_imagenet, pool_positions

PAPER_PARAMETERS = 11_173_376


def test_has_the_papers_size_at_width_64():
    backbone = SpikingResNet(NeuronSettings())
    assert sum(p.numel() for p in backbone.parameters()) == PAPER_PARAMETERS
    reference = torchvision.models.resnet18(weights=None)
    without = sum(p.numel() for p in reference.parameters()) - sum(p.numel() for p in reference.fc.parameters())
    assert without - 64 * 7 * 7 == PAPER_PARAMETERS  # one input channel fewer


def test_map_shapes_at_256_x_128():
    backbone = SpikingResNet(NeuronSettings()).eval()
    with torch.inference_mode():
        maps = backbone(torch.rand(1, 1, 2, 256, 128))
    assert [tuple(x.shape) for x in maps] == [(1, 1, 64, 64, 32), (1, 1, 128, 32, 16), (1, 1, 256, 16, 8), (1, 1, 512, 16, 8)]


@pytest.mark.parametrize("last_stride, rows", [(1, 4), (2, 2)])
def test_width_depth_and_last_stride(last_stride, rows):
    backbone = SpikingResNet(NeuronSettings(), width=3, depth=(1, 2, 1, 1), last_stride=last_stride)
    maps = backbone(torch.rand(2, 1, 2, 64, 32))
    assert [x.shape[2] for x in maps] == [3, 6, 12, 24]
    assert maps[-1].shape[-2:] == (rows, rows // 2)
    assert [len(stage) for stage in backbone.stages] == [1, 2, 1, 1]


def test_add_connection_sums_spikes():
    """Every map is a sum of spike trains: whole numbers, above 1 where the residual and the block fire together."""
    torch.manual_seed(0)
    backbone = SpikingResNet(NeuronSettings(kind="if"), width=8)
    maps = backbone(4 * torch.rand(4, 2, 2, 64, 32))
    for x in maps:
        assert torch.equal(x, x.round()) and x.min() >= 0
    assert maps[0].max() > 1
    assert len(spiking_layers(backbone)) == 1 + 8 * 2 + 3  # stem, two a block, three shortcuts
    assert all(isinstance(node, IFNode) for node in spiking_layers(backbone).values())


def test_steps_share_weights_but_not_state():
    """The first steps do not depend on later ones, the later ones do on the first."""
    torch.manual_seed(0)
    backbone = SpikingResNet(NeuronSettings(kind="if"), width=8).eval()
    for part in backbone.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.fill_(0.05)  # enough current that the last stage fires
    x = 4 * torch.rand(4, 1, 2, 32, 16)
    with torch.inference_mode():
        whole = backbone(x)[-1]
        reset_net(backbone)
        assert torch.equal(backbone(x[:2])[-1], whole[:2])
        reset_net(backbone)
        late = backbone(x[2:])[-1]
    assert whole.mean() > 0 and not torch.equal(late, whole[2:])


def imagenet_like(seed: int) -> dict:
    """A state dict as torchvision's download gives it, with random numbers also in the BatchNorm statistics."""
    torch.manual_seed(seed)
    model = torchvision.models.resnet18(weights=None)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean):
                tensor.normal_(0.5, 0.2)
            part.running_var.uniform_(0.5, 1.5)
            part.num_batches_tracked.fill_(7)
    return model.state_dict()


@pytest.fixture
def weights(monkeypatch):
    state = imagenet_like(3)
    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", lambda self, *args, **kwargs: dict(state))
    return state


def test_imagenet_weights_land_where_they_belong(weights):
    backbone = SpikingResNet(NeuronSettings())
    stem = backbone.conv.weight.detach().clone()
    load_imagenet(backbone)
    loaded = backbone.state_dict()
    assert torch.equal(loaded["conv.weight"], stem)
    assert torch.equal(loaded["norm.weight"], weights["bn1.weight"])
    assert torch.equal(loaded["norm.running_mean"], weights["bn1.running_mean"])
    count = 0
    for name, value in weights.items():
        if name.startswith("layer"):
            own = "stages." + str(int(name[5]) - 1) + name[6:]
            assert torch.equal(loaded[own], value), name
            count += 1
    assert count == len(weights) - 1 - 5 - 2  # all but the stem, its norm and the classifier
    assert len(loaded) == count + 1 + 5


def test_relu_twin_with_imagenet_weights_is_torchvisions_resnet_but_for_where_relu_stands(weights):
    """SEW adds after the activation, ResNet before it. With the block outputs positive before the sum both agree; here the stem and
    the first convolution of stage 1, which know no difference, are compared with torchvision's modules."""
    backbone = SpikingResNet(NeuronSettings(kind="relu"))
    load_imagenet(backbone)
    reference = torchvision.models.resnet18(weights=None)
    reference.load_state_dict(weights)
    reference.conv1 = nn.Conv2d(2, 64, 7, 2, 3, bias=False)
    reference.conv1.weight.data = backbone.conv.weight.data
    backbone.eval(), reference.eval()
    x = torch.rand(1, 2, 2, 32, 16)
    with torch.inference_mode():
        stem = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x.flatten(0, 1)))))
        block = reference.layer1[0]
        inside = torch.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(stem))))))
        own_stem = backbone.pool(backbone.neuron(backbone.norm(backbone.conv(x))))
        own = backbone.stages[0][0](own_stem)
    torch.testing.assert_close(own_stem[0], stem, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own[0], stem + inside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"width": 32}, {"depth": (1, 1, 1, 1)}])
def test_imagenet_weights_need_the_full_network(weights, options):
    with pytest.raises(ValueError, match="width 64 and depth"):
        load_imagenet(SpikingResNet(NeuronSettings(), **options))


def test_imagenet_weights_that_do_not_fit_are_refused(weights, monkeypatch):
    broken = {name: value for name, value in weights.items() if not name.startswith("layer4.1")}
    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", lambda self, *args, **kwargs: dict(broken))
    with pytest.raises(RuntimeError, match=r"do not fit: missing .*stages\.3\.1"):
        load_imagenet(SpikingResNet(NeuronSettings()))


def test_norm_scale_sets_every_batch_norm():
    backbone = SpikingResNet(NeuronSettings(), width=4, norm_scale=0.6)
    norms = [part for part in backbone.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 1 + 8 * 2 + 3
    assert all(torch.equal(part.weight, torch.full_like(part.weight, 0.6)) for part in norms)


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": (2, 2, 2)}, {"depth": (2, 0, 2, 2)}])
def test_bad_sizes_are_named(options):
    with pytest.raises(ValueError, match="must be positive and depth"):
        SpikingResNet(NeuronSettings(), **options)


def test_pooling_of_positions():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).view(1, 1, 1, 2, 2).repeat(2, 3, 1, 1, 1)
    x[1] *= 2
    assert pool_positions(x, "max")[:, :, 0].tolist() == [[6.0] * 3, [12.0] * 3]
    assert pool_positions(x, "mean")[:, :, 0].tolist() == [[3.0] * 3, [6.0] * 3]
    with pytest.raises(ValueError, match="unknown pooling 'sum'"):
        pool_positions(x, "sum")
