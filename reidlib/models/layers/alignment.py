"""How frame and event features of the same moment exchange what they know: SDCL's cross feature alignment and its rivals of Table 2."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.sampling import sample, sampling_places
from reidlib.models.layers.spiking_resnet import initialise
from reidlib.models.layers.stam import unit

FUSIONS = ("none", "concat", "add", "attention", "alignment")
DIRECTIONS = {"e2f": ("e2f",), "f2e": ("f2e",), "both": ("e2f", "f2e")}


class Alignment(nn.Module):
    """What a receiver draws from a giver, both `[N, C, H, W]` -> `[N, C, H, W]`, to be added to the receiver.

    Deformable attention: query Q = receiver * giver; an MLP of Q gives each of the `heads` a score (softmax over its points) and
    a displacement dR for each of its `points`; out = sum_heads W_m [sum_points score * W'_m giver(R + dR)], R the position itself,
    bilinear, zero outside the map (our reading: values come from the giver). At the start the heads look around the position in
    even directions, their points at even distances up to one position.
    """

    def __init__(self, channels: int, heads: int = 8, points: int = 4):
        super().__init__()
        self.heads, self.points = heads, points
        self.value = nn.Conv2d(channels, channels, 1)
        first, last = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, 3 * heads * points, 1)
        self.mlp = nn.Sequential(first, nn.ReLU(inplace=True), last)
        self.project = nn.Conv2d(channels, channels, 1)
        initialise(self)
        angle = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack((angle.sin(), angle.cos()), 1)  # [heads, 2]
        start = torch.zeros(heads, points, 3)
        start[..., 1:] = direction[:, None] * (torch.arange(1, points + 1) / points)[:, None]
        last.weight.data.mul_(0.01 / last.weight.data.std())  # not 0, which would leave the layers before it without gradient
        last.bias = nn.Parameter(start.flatten())
        _without_bias(self.value, first, self.project)
        _begin_small(self.project)

    def sampling(self, receiver: Tensor, giver: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `[N, heads, points, H, W]` and displacements (dy, dx) in positions `[N, heads, points, 2, H, W]`."""
        predicted = self.mlp(receiver * giver).unflatten(1, (self.heads, self.points, 3))  # [N, M, I, 3, H, W]
        return predicted[:, :, :, 0].softmax(2), predicted[:, :, :, 1:]

    def forward(self, receiver: Tensor, giver: Tensor) -> Tensor:
        N, C, H, W = giver.shape
        M = self.heads
        scores, shifts = self.sampling(receiver, giver)
        places = sampling_places(shifts).flatten(0, 1)  # [NM, I, 2, H, W]
        values = self.value(giver).reshape(N * M, C // M, H, W)
        sampled = sample(values, places).unflatten(0, (N, M))  # [N, M, C/M, I, H, W]
        weighted = (sampled * scores[:, :, None]).sum(3)  # [N, M, C/M, H, W]
        return self.project(weighted.flatten(1, 2))


class CrossAttention(nn.Module):
    """The ordinary form: queries from the receiver, keys and values from every position of the giver; shapes as in `Alignment`."""

    def __init__(self, channels: int, heads: int = 8):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1, bias=bias) for bias in (True, False, True))
        self.project = nn.Conv2d(channels, channels, 1)
        initialise(self)
        _without_bias(self.query, self.value, self.project)
        _begin_small(self.project)

    def forward(self, receiver: Tensor, giver: Tensor) -> Tensor:
        N, C, H, W = giver.shape
        parts = self.query(receiver), self.key(giver), self.value(giver)
        q, k, v = (x.reshape(N, self.heads, C // self.heads, H * W).mT for x in parts)  # [N, M, HW, C/M]
        out = F.scaled_dot_product_attention(q, k, v).mT  # [N, M, C/M, HW]
        return self.project(out.reshape(N, C, H, W))


def _without_bias(*convolutions: nn.Conv2d) -> None:
    """Their biases begin at 0, in place."""
    for conv in convolutions:
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def _begin_small(project: nn.Conv2d) -> None:
    """What is drawn begins at about a quarter of the receiver it is added to (measured), in place: drawn at full size it would drown it.

    Not 0, which would leave the layers before it without gradient.
    """
    project.weight.data.mul_(0.2)


class Concatenation(nn.Module):
    """Both features side by side, brought back to C channels by a 1x1 convolution, BN, ReLU; takes the receiver's place."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce = unit(2 * channels, channels)
        initialise(self)

    def forward(self, receiver: Tensor, giver: Tensor) -> Tensor:
        return self.reduce(torch.cat((receiver, giver), 1))


class CrossFusion(nn.Module):
    """Frame and event features `[N, C, H, W]` each -> the same two, after the exchange.

    kind: "none", "add" (the giver is added), "concat", "attention", "alignment" (the last two are added as residuals). direction:
    "e2f" (events give, frames receive), "f2e", or "both" at once, each with weights of its own.
    """

    def __init__(self, channels: int, kind: str = "alignment", direction: str = "both", heads: int = 8, points: int = 4):
        super().__init__()
        if kind not in FUSIONS:
            raise ValueError(f"unknown fusion {kind!r}; choose one of {', '.join(FUSIONS)}")
        if direction not in DIRECTIONS:
            raise ValueError(f"unknown direction {direction!r}; choose one of {', '.join(DIRECTIONS)}")
        if heads < 1 or channels % heads or points < 1:
            raise ValueError(f"{channels} channels do not split into {heads} heads of at least 1 point (points={points})")
        self.kind, self.directions = kind, DIRECTIONS[direction]
        make = {
            "concat": lambda: Concatenation(channels),
            "attention": lambda: CrossAttention(channels, heads),
            "alignment": lambda: Alignment(channels, heads, points),
        }.get(kind)
        self.exchanges = nn.ModuleDict({name: make() for name in self.directions} if make else {})

    def forward(self, frames: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        new_frames = self._receive("e2f", frames, events)
        new_events = self._receive("f2e", events, frames)
        return new_frames, new_events

    def _receive(self, direction: str, receiver: Tensor, giver: Tensor) -> Tensor:
        if self.kind == "none" or direction not in self.directions:
            return receiver
        if self.kind == "add":
            return receiver + giver
        given = self.exchanges[direction](receiver, giver)
        return given if self.kind == "concat" else receiver + given
