"""A ResNet on every frame of a clip, with room for blocks between its stages: the trunk of the video systems."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from reidlib.models.layers.containers import DictOf
from reidlib.models.layers.image_resnet import BACKBONES, ImageResNet
from reidlib.models.layers.spiking_resnet import STAGES

#: Builds a block for maps of so many channels.
MakeBlock = Callable[[int], nn.Module]


class VideoResNet(nn.Module):
    """Clips `[B, T, in_channels, H, W]`, normalised RGB -> the last map `[B, T, channels, H / 16, W / 16]`.

    Frames meet in the inserted blocks only. name, width, pretrained, in_channels: see `ImageResNet`. after: stage (1 to 4) -> makers of
    the blocks that stand behind it, in order. A block is called as `block(x, seen)`: maps `[B, T, C, H, W]` -> the same shape; seen is
    None or a dict, into which it writes what it has to show or to be supervised by, with gradient, under names of its own followed by
    the stage's number (it knows neither: `VideoResNet` adds the number).
    """

    def __init__(
        self,
        name: str = "resnet50",
        width: int = 64,
        pretrained: bool = False,
        after: Mapping[int, Sequence[MakeBlock]] | None = None,
        in_channels: int = 3,
    ):
        super().__init__()
        after = after or {}
        if not set(after) <= set(STAGES):
            raise ValueError(f"blocks after stages {tuple(after)}: stages are {STAGES}")
        self.trunk = ImageResNet(name, width, pretrained, in_channels)
        expansion = BACKBONES[name][0].expansion
        self.stage_channels = {stage: width * 2 ** (stage - 1) * expansion for stage in STAGES}
        self.channels = self.trunk.channels
        made = {str(stage): nn.ModuleList(make(self.stage_channels[stage]) for make in makers) for stage, makers in after.items()}
        self.after: DictOf[nn.ModuleList] = DictOf(made)

    def forward(self, frames: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        x = self.stem(frames)
        for number in STAGES:
            x = self.stage(number, x, seen)
        return x

    def stem(self, frames: Tensor) -> Tensor:
        """First convolution and pooling: `[B, T, in_channels, H, W]` -> `[B, T, width, H / 4, W / 4]`."""
        B, T = frames.shape[:2]
        trunk = self.trunk
        x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(frames.flatten(0, 1)))))  # [BT, width, H/4, W/4]
        return x.unflatten(0, (B, T))

    def stage(self, number: int, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        """One stage of the ResNet, then the blocks that stand behind it: `[B, T, C, H, W]` -> `[B, T, C', H', W']`."""
        B, T = x.shape[:2]
        x = getattr(self.trunk, f"layer{number}")(x.flatten(0, 1)).unflatten(0, (B, T))
        return self.blocks(number, x, seen)

    def blocks(self, number: int, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        """The blocks behind a stage alone, shape preserving."""
        if str(number) not in self.after:
            return x
        for block in self.after[str(number)]:
            inside: dict[str, Tensor] = {}
            x = block(x, None if seen is None else inside)
            if seen is not None:
                seen.update({f"{name}{number}": value for name, value in inside.items()})
        return x
