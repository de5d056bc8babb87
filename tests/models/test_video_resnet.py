"""The trunk of the video systems: frames apart but for the blocks, which stand where they are asked for."""

import pytest
import torch
from torch import nn

from reidlib.models.layers.image_resnet import ImageResNet
from reidlib.models.layers.video_resnet import VideoResNet


class Mixing(nn.Module):
    """Adds the mean over time, and shows it."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x, seen=None):
        mean = x.mean(1, keepdim=True)
        if seen is not None:
            seen["mean"] = mean
        return x + self.gain * mean


def clips(B=2, T=3):
    return torch.randn(B, T, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def trunk(seed=0, **options):
    torch.manual_seed(seed)
    return VideoResNet("resnet18", 4, **options).eval()


def test_without_blocks_it_is_the_picture_network_frame_by_frame():
    model, x = trunk(), clips()
    torch.manual_seed(0)
    picture = ImageResNet("resnet18", 4).eval()
    with torch.no_grad():
        found = model(x)
        assert found.shape == (2, 3, 32, 4, 2)
        torch.testing.assert_close(found[1, 2], picture(x[1, 2][None])[0])


def test_blocks_stand_behind_their_stages_and_show_what_they_see():
    model, x, seen = trunk(after={2: [Mixing, Mixing], 3: [Mixing]}), clips(), {}
    assert [part.gain.shape[0] for part in model.after["2"]] == [8, 8]
    with torch.no_grad():
        torch.testing.assert_close(model(x, seen), model(x))
        step = model.stage(1, model.stem(x))
        plain = model.trunk.layer2(step.flatten(0, 1)).unflatten(0, (2, 3))
        expected = plain
        for _ in range(2):
            expected = expected + 0.5 * expected.mean(1, keepdim=True)
        torch.testing.assert_close(model.stage(2, step), expected)
    assert set(seen) == {"mean2", "mean3"} and seen["mean2"].shape == (2, 1, 8, 8, 4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_channels_of_every_stage(name):
    shapes = {}
    model = VideoResNet(name, 4, after={stage: [lambda channels: Mixing(channels)] for stage in (1, 2, 3, 4)})
    with torch.no_grad():
        model(clips(1, 2), shapes)
    assert {int(key[-1]): value.shape[2] for key, value in shapes.items()} == model.stage_channels
    assert model.stage_channels[4] == model.channels


def test_event_frames_have_two_channels():
    model = trunk(in_channels=2)
    with torch.no_grad():
        assert model(clips()[:, :, :2]).shape == (2, 3, 32, 4, 2)


def test_a_stage_that_does_not_exist():
    with pytest.raises(ValueError, match="stages"):
        trunk(after={5: [Mixing]})
