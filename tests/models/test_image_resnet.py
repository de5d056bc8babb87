"""Frame ResNets: torchvision's network where both exist, ImageNet weights only where they lie on this machine, the mean over a clip."""

import pytest
import torch
import torchvision

from reidlib.models import build_model
from reidlib.models.layers.image_resnet import FrameBranch, ImageResNet, map_size


def pictures(*shape, seed=0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def torchvision_map(net: torchvision.models.ResNet, x: torch.Tensor) -> torch.Tensor:
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_pretrained_is_torchvisions_network_with_the_last_stage_at_stride_one(weights_folder, capsys):
    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    torch.save(net.state_dict(), weights_folder / "resnet18-f37072fd.pth")
    own = ImageResNet("resnet18", pretrained=True).eval()
    net.layer4[0].conv1.stride = net.layer4[0].downsample[0].stride = (1, 1)
    x = pictures(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(own(x), torchvision_map(net, x))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name, file", [("resnet18", "resnet18-f37072fd.pth"), ("resnet50", "resnet50-0676ba61.pth")])
def test_missing_weights_are_told_and_nothing_is_downloaded(weights_folder, capsys, monkeypatch, name, file):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_a, **_k: pytest.fail("a download was tried"))
    torch.manual_seed(0)
    own = ImageResNet(name, pretrained=True)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and str(weights_folder / file) in said and "fresh" in said and name in said
    torch.manual_seed(0)
    fresh = ImageResNet(name)
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), fresh.state_dict().values(), strict=True))


def test_event_frames_take_all_of_imagenet_but_its_stem(weights_folder):
    torch.manual_seed(0)
    net = torchvision.models.resnet18()
    torch.save(net.state_dict(), weights_folder / "resnet18-f37072fd.pth")
    torch.manual_seed(1)
    own = ImageResNet("resnet18", pretrained=True, in_channels=2)
    torch.manual_seed(1)
    drawn = ImageResNet("resnet18", in_channels=2).conv1.weight
    assert drawn.shape == (64, 2, 7, 7) and torch.equal(own.conv1.weight, drawn)
    taken = net.state_dict()
    assert all(torch.equal(value, taken[name]) for name, value in own.state_dict().items() if name != "conv1.weight")


def test_imagenet_weights_need_width_64():
    with pytest.raises(ValueError, match="for width 64, this backbone has width 16"):
        ImageResNet("resnet18", 16, pretrained=True)


def test_parameters_are_torchvisions():
    with torch.device("meta"):
        for name in ("resnet18", "resnet50"):
            net = getattr(torchvision.models, name)()
            own = {key: value.shape for key, value in ImageResNet(name).state_dict().items()}
            assert own == {key: value.shape for key, value in net.state_dict().items() if not key.startswith("fc.")}


@pytest.mark.parametrize("size", [(64, 32), (33, 17), (48, 40), (16, 16), (5, 3)])
def test_the_map_has_the_size_that_is_announced(size):
    with torch.device("meta"):
        assert ImageResNet("resnet18", 2).eval()(torch.zeros(1, 3, *size)).shape[2:] == map_size(size)


def test_a_branch_reads_every_frame_by_itself():
    torch.manual_seed(0)
    branch = FrameBranch(12, "resnet18", 2).eval()
    x = pictures(2, 3, 3, 32, 16)
    with torch.no_grad():
        maps = branch(x)
        single = branch(x[1:, 2:])
    assert maps.shape == (2, 3, 12, 2, 1)
    torch.testing.assert_close(maps[1:, 2:], single)


@pytest.mark.parametrize("name, options, D", [("resnet50", {}, 128), ("resnet_frames", {"backbone": "resnet18"}, 32)])
def test_the_baseline_is_the_mean_over_places_and_frames(name, options, D):
    torch.manual_seed(0)
    model = build_model(name, 3, width=4, embedding="feature", **options).eval()
    x = pictures(2, 5, 3, 64, 32)
    with torch.no_grad():
        found = model(frames=x)
        expected = torch.stack([model.backbone(clip).mean((0, 2, 3)) for clip in x])
    assert found.shape == (2, D)
    torch.testing.assert_close(found, expected)


def test_options_are_checked():
    with pytest.raises(ValueError, match="unknown backbone 'vgg'; choose one of resnet18, resnet50"):
        ImageResNet("vgg")
    with pytest.raises(ValueError, match="width 0"):
        ImageResNet("resnet18", 0)
    with pytest.raises(ValueError, match="unknown embedding 'middle'"):
        build_model("resnet_frames", 3, backbone="resnet18", width=4, embedding="middle")
    with pytest.raises(ValueError, match=r"frames of type torch.uint8: expected floats .*normalised RGB"):
        build_model("resnet_frames", 3, backbone="resnet18", width=4)(frames=torch.zeros(1, 2, 3, 64, 32, dtype=torch.uint8))
