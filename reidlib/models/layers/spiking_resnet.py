"""SEW-ResNet-18 of any width from SpikingJelly's blocks, for event frames; with ReLU neurons it is the analogue twin."""

from collections.abc import Callable, Mapping

import torch
from spikingjelly.activation_based import layer
from spikingjelly.activation_based.functional import set_step_mode
from spikingjelly.activation_based.model.sew_resnet import BasicBlock
from torch import Tensor, nn

from reidlib.models.layers.containers import ListOf
from reidlib.models.layers.recomputing import recomputed
from reidlib.models.layers.spiking import NeuronSettings

STAGES = (1, 2, 3, 4)


class SpikingResNet(nn.Module):
    """Event frames `[T, B, C, H, W]` -> the maps of the four stages, the last `[T, B, 8 * width, H / 16, W / 16]`.

    SEW-ResNet (Fang et al., NeurIPS 2021), connection ADD, 7x7 stride-2 stem with max pooling, last stage at
    stride 1 (the usual re-identification trick). `after` maps a stage number to a module applied to its output.
    depth: blocks per stage. norm_scale: initial weight of every BatchNorm (tdBN's alpha * threshold, Zheng et al.,
    AAAI 2021); 1 leaves it alone. recompute: for long sequences, keep only what goes into each block for the backward pass
    and make the rest again, see `recomputed`.
    """

    def __init__(
        self,
        neuron: NeuronSettings,
        width: int = 64,
        in_channels: int = 2,
        depth: tuple[int, ...] = (2, 2, 2, 2),
        last_stride: int = 1,
        norm_scale: float = 1.0,
        after: Mapping[int, Callable[[int], nn.Module]] | None = None,
        recompute: bool = False,
    ):
        super().__init__()
        if width < 1 or len(depth) != 4 or min(depth) < 1:
            raise ValueError(f"width {width} must be positive and depth {depth} must hold four positive block counts")
        self.channels = [width * 2**stage for stage in range(4)]
        self.conv = layer.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.norm = layer.BatchNorm2d(width)
        self.neuron = neuron.build()
        self.pool = layer.MaxPool2d(3, stride=2, padding=1)
        channels = [width, *self.channels]
        strides = (1, 2, 2, last_stride)
        self.stages: ListOf[nn.Sequential] = ListOf(_stage(channels[i], channels[i + 1], depth[i], strides[i], neuron) for i in range(4))
        initialise(self, norm_scale)
        self.after = nn.ModuleDict({str(stage): make(self.channels[stage - 1]) for stage, make in sorted((after or {}).items())})
        self.recompute = recompute
        set_step_mode(self, "m")

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self._run(self._stem, x, self.norm, self.neuron)  # [T, B, width, H/4, W/4]
        maps = []
        for number, stage in enumerate(self.stages, start=1):
            for part in stage if self.recompute else [stage]:
                x = self._run(part, x, part)
            if str(number) in self.after:
                x = self._run(self.after[str(number)], x, self.after[str(number)])
            maps.append(x)
        return maps

    def _stem(self, x: Tensor) -> Tensor:
        return self.pool(self.neuron(self.norm(self.conv(x))))

    def _run(self, part: Callable[[Tensor], Tensor], x: Tensor, *layers: nn.Module) -> Tensor:
        return recomputed(part, x, *layers) if self.recompute else part(x)


def _stage(channels_in: int, channels: int, blocks: int, stride: int, neuron: NeuronSettings) -> nn.Sequential:
    layers = []
    for index in range(blocks):
        source, step = (channels_in, stride) if index == 0 else (channels, 1)
        shortcut = None
        if step != 1 or source != channels:
            shortcut = nn.Sequential(layer.Conv2d(source, channels, 1, step, bias=False), layer.BatchNorm2d(channels))
        layers.append(BasicBlock(source, channels, step, shortcut, cnf="ADD", spiking_neuron=neuron.build))
    return nn.Sequential(*layers)


def initialise(module: nn.Module, norm_scale: float = 1.0) -> None:
    """Kaiming-normal convolutions (fan-out) and BatchNorm weights of `norm_scale`, in place."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.constant_(part.weight, norm_scale)


def load_imagenet(backbone: SpikingResNet) -> None:
    """Copy torchvision's ImageNet ResNet-18 weights into a backbone of width 64; the 2-channel stem keeps its own draw.

    Raises ValueError for another width or depth, and the download's own error where the weights are not at hand.
    """
    from torchvision.models import ResNet18_Weights

    if backbone.channels[0] != 64 or [len(stage) for stage in backbone.stages] != [2, 2, 2, 2]:
        raise ValueError(f"ImageNet weights are for width 64 and depth (2, 2, 2, 2), this backbone has width {backbone.channels[0]}")
    source = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True)
    renamed = {_own_name(name): value for name, value in source.items() if name != "conv1.weight" and not name.startswith("fc.")}
    missing, unexpected = backbone.load_state_dict(renamed, strict=False)
    if unexpected or [name for name in missing if not name.startswith(("conv.", "after."))]:
        raise RuntimeError(f"ImageNet weights do not fit: missing {missing}, unexpected {unexpected}")


def _own_name(name: str) -> str:
    head, _, tail = name.partition(".")
    if head == "bn1":
        return f"norm.{tail}"
    return f"stages.{int(head.removeprefix('layer')) - 1}.{tail}"


def pool_positions(x: Tensor, mode: str) -> Tensor:
    """Pool a map over its positions, step by step: `[T, B, C, H, W]` -> `[T, B, C]`; mode "max" or "mean"."""
    if mode not in ("max", "mean"):
        raise ValueError(f"unknown pooling {mode!r}; choose max or mean")
    return torch.amax(x, dim=(-2, -1)) if mode == "max" else x.mean(dim=(-2, -1))
