"""ResNet-18 and ResNet-50 of any width for frames, one picture at a time, from torchvision's blocks."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights, WeightsEnum
from torchvision.models.resnet import BasicBlock, Bottleneck

from reidlib.models.layers.spiking_resnet import initialise
from reidlib.weights import load_weights

Block = type[BasicBlock] | type[Bottleneck]

BACKBONES: dict[str, tuple[Block, tuple[int, ...], WeightsEnum]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2), ResNet18_Weights.IMAGENET1K_V1),
    "resnet50": (Bottleneck, (3, 4, 6, 3), ResNet50_Weights.IMAGENET1K_V1),
}
STRIDE = 16  # of the last map, with the last stage at stride 1


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """`size` as (height, width); ValueError for what is no size."""
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (height, width) in pixels, not {tuple(size)}")
    height, width = size
    return height, width


def map_size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width of the last map of a picture of `size` (height, width); borders are padded, so parts count as a whole."""
    height, width = checked_size(size)
    return -(-height // STRIDE), -(-width // STRIDE)


class ImageResNet(nn.Module):
    """Pictures `[N, in_channels, H, W]`, normalised RGB -> the last map `[N, channels, H / 16, W / 16]`.

    Last stage at stride 1 (the usual re-identification trick). Pictures come normalised with ImageNet's mean and standard deviation, as
    torchvision's networks take them and as clips are loaded; 0 stands for "nothing known".
    name: "resnet18" (channels = 8 * width) or "resnet50" (32 * width), He et al., CVPR 2016; 64 is the published width.
    pretrained: ImageNet weights where torch's cache folder holds their file; where it does not, one line says so and the weights
    are fresh. Nothing is downloaded. ValueError for another width, which these weights do not fit.
    in_channels: 2 for event frames; with other than 3, ImageNet's stem does not fit and the first convolution keeps its own draw.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, name: str = "resnet50", width: int = 64, pretrained: bool = False, in_channels: int = 3):
        super().__init__()
        if name not in BACKBONES:
            raise ValueError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}")
        if width < 1:
            raise ValueError(f"width {width} must be positive")
        block, depth, weights = BACKBONES[name]
        self.channels = 8 * width * block.expansion
        # torchvision's names, so that its weights fit
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        source = width
        for i, (blocks, stride) in enumerate(zip(depth, (1, 2, 2, 1), strict=True)):
            setattr(self, f"layer{i + 1}", _stage(block, source, width * 2**i, blocks, stride))
            source = width * 2**i * block.expansion
        initialise(self)
        if pretrained:
            _load_imagenet(self, name, width, weights)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # [N, width, H/4, W/4]
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(block: Block, source: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    channels = planes * block.expansion
    shortcut = None
    if stride != 1 or source != channels:
        shortcut = nn.Sequential(nn.Conv2d(source, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
    return nn.Sequential(block(source, planes, stride, shortcut), *(block(channels, planes) for _ in range(blocks - 1)))


def _load_imagenet(backbone: ImageResNet, name: str, width: int, weights: WeightsEnum) -> None:
    if width != 64:
        raise ValueError(f"ImageNet weights are for width 64, this backbone has width {width}")
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        print(f"{name}: no ImageNet weights at {path}, so it starts from fresh ones (the file: {weights.url})")
        return
    state = load_weights(path)
    if backbone.conv1.in_channels != 3:
        state["conv1.weight"] = backbone.conv1.weight
    backbone.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})


class FrameBranch(nn.Module):
    """Clips of frames `[B, T, 3, H, W]`, normalised RGB -> `[B, T, channels, H / 16, W / 16]`.

    A ResNet on every frame, then a 1x1 convolution, BN, ReLU."""

    def __init__(self, channels: int, backbone: str = "resnet50", width: int = 64, pretrained: bool = False):
        super().__init__()
        self.backbone = ImageResNet(backbone, width, pretrained)
        conv = nn.Conv2d(self.backbone.channels, channels, 1, bias=False)
        self.reduce = nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        initialise(self.reduce)

    def forward(self, frames: Tensor) -> Tensor:
        B, T = frames.shape[:2]
        x = self.reduce(self.backbone(frames.flatten(0, 1)))  # [BT, C, H/16, W/16]
        return x.unflatten(0, (B, T))


def reduced_channels(backbone: str, width: int) -> int:
    """Channels after a frame branch where none are asked for: half of ResNet-50's (1024 at width 64), all of ResNet-18's."""
    return 16 * width if backbone == "resnet50" else 8 * width


def check_clips(clips: Tensor, name: str, channels: int, size: Sequence[int] | None = None) -> None:
    """ValueError unless `clips` are float `[B, T, channels, H, W]`, and of `size` (height, width) where it matters."""
    if clips.ndim != 5 or clips.shape[2] != channels:
        raise ValueError(f"{name} of shape {tuple(clips.shape)}: expected [B, T, {channels}, H, W]")
    if not clips.is_floating_point():
        raise ValueError(f"{name} of type {clips.dtype}: expected floats (frames: normalised RGB; events: scaled counts)")
    if size is not None and tuple(clips.shape[3:]) != tuple(size):
        raise ValueError(
            f"{name} of {clips.shape[3]} x {clips.shape[4]} pixels, but this model was built for size={tuple(size)}: give it that option"
        )
