"""STAM, the spatial-temporal aggregation block of PSTA: two neighbouring steps become one.

Y. Wang et al., "Pyramid Spatial-Temporal Aggregation for Video-based Person Re-Identification", ICCV 2021; SDCL calls it FFB. Written
from the description in the project's specification (section 3.2), which fixes layers and parameter count. STAM = TRA (what the
two steps say about each other) + SRA (what each says about itself), then a bottleneck of convolutions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.spiking_resnet import initialise

RELATIONS = ("squared", "plain")


def unit(source: int, channels: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size (at stride 1), BN, ReLU."""
    conv = nn.Conv2d(source, channels, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def mlp(source: int, hidden: int, channels: int) -> nn.Sequential:
    """Linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(source, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))


def partner(x: Tensor) -> Tensor:
    """The other step of each pair (0, 1), (2, 3), ...: `[N, ...]` -> the same shape, N even."""
    return x.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def merge_pairs(x: Tensor) -> Tensor:
    """Sum of the two steps of each pair: `[N, ...]` -> `[N / 2, ...]`."""
    return x.unflatten(0, (-1, 2)).sum(1)


def relation(a: Tensor, b: Tensor) -> Tensor:
    """G = a^T b, every position of one map with every position of another: twice `[N, d, H, W]` -> `[N, HW, HW]`."""
    return a.flatten(2).mT @ b.flatten(2)


def as_channels(own: Tensor, other: Tensor, height: int) -> Tensor:
    """[G^T, G'] side by side: two relations `[N, HW, HW]` -> `[N, 2HW, H, W]`. Position i holds how it relates to all positions j."""
    return torch.cat((own.mT, other), dim=1).unflatten(2, (height, -1))


class TemporalRelation(nn.Module):
    """TRA: each step is gated by what the other step of its pair shares with it; `[N, C, H, W]` -> `[N / 2, C, H, W]`.

    out = relu(c0 a0 x0 + c1 a1 x1)^2 with a spatial gate a and a channel gate c per step, weights shared between the two. relation: whether
    the square is taken ("squared", PSTA's) or not ("plain").
    """

    def __init__(self, channels: int, positions: int, relation: str = "squared"):
        super().__init__()
        if relation not in RELATIONS:
            raise ValueError(f"unknown relation {relation!r}; choose one of {', '.join(RELATIONS)}")
        d = channels // 8
        self.relation = relation
        self.gamma, self.beta = unit(channels, d), unit(channels, d)
        self.embeddings, self.relate = unit(2 * d, d), unit(2 * positions, d)
        self.spatial = nn.Sequential(nn.Conv2d(2 * d, 1, 1, bias=False), nn.BatchNorm2d(1))
        self.theta = nn.Sequential(nn.Linear(channels, d), nn.ReLU(inplace=True))
        self.channel = mlp(2 * d, d, channels)

    def forward(self, x: Tensor, embedding: Tensor, mean: Tensor) -> Tensor:
        """x: `[N, C, H, W]`, embedding: `[N, d, H, W]`, mean: `[N, C]`."""
        gamma, beta, theta = self.gamma(x), self.beta(x), self.theta(mean)
        G = relation(gamma, partner(beta))  # [N, HW, HW]
        related = self.relate(as_channels(G, partner(G), x.shape[2]))  # [N, d, H, W]
        own = self.embeddings(torch.cat((embedding, partner(embedding)), 1))  # [N, d, H, W]
        spatial = torch.sigmoid(self.spatial(torch.cat((own, related), 1)))  # [N, 1, H, W]
        channel = torch.sigmoid(self.channel(torch.cat((theta, partner(theta)), 1)))  # [N, C]
        merged = F.relu(merge_pairs(channel[:, :, None, None] * spatial * x))
        return merged.square() if self.relation == "squared" else merged


class SelfRelation(nn.Module):
    """SRA: each step is gated by the relations between its own positions; `[N, C, H, W]` -> `[N / 2, C, H, W]`.

    out = relu(k0 s0 x0 + k1 s1 x1) with a spatial gate s and a channel gate k per step.
    """

    def __init__(self, channels: int, positions: int):
        super().__init__()
        d = channels // 8
        self.alpha, self.delta = unit(channels, d), unit(channels, d)
        self.relate = unit(2 * positions, d)
        self.spatial = nn.Sequential(unit(2 * d, d), nn.Conv2d(d, 1, 1, bias=False), nn.BatchNorm2d(1))
        self.channel = mlp(channels, d, channels)

    def forward(self, x: Tensor, embedding: Tensor, mean: Tensor) -> Tensor:
        """x: `[N, C, H, W]`, embedding: `[N, d, H, W]`, mean: `[N, C]`."""
        G = relation(self.alpha(x), self.delta(x))  # [N, HW, HW]
        related = self.relate(as_channels(G, G, x.shape[2]))  # [N, d, H, W]
        spatial = torch.sigmoid(self.spatial(torch.cat((embedding, related), 1)))  # [N, 1, H, W]
        channel = torch.sigmoid(self.channel(mean))  # [N, C]
        return F.relu(merge_pairs(channel[:, :, None, None] * spatial * x))


class STAM(nn.Module):
    """Steps `[B, T, C, H, W]` -> `[B, T / 2, C, H, W]`, T even. positions: H * W, which the relation layers are built for.
    relation: see `TemporalRelation`."""

    def __init__(self, channels: int, positions: int, relation: str = "squared"):
        super().__init__()
        if channels % 8:
            raise ValueError(f"{channels} channels: STAM works with an eighth of them, so they must be a multiple of 8")
        self.embed = nn.Sequential(unit(channels, channels // 4), unit(channels // 4, channels // 8))
        self.temporal = TemporalRelation(channels, positions, relation)
        self.self_relation = SelfRelation(channels, positions)
        self.convolve = nn.Sequential(
            unit(channels, channels // 4), unit(channels // 4, channels // 4, kernel=3), unit(channels // 4, channels)
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        B = x.shape[0]
        x = x.flatten(0, 1)  # [BT, C, H, W], the pairs side by side
        embedding, mean = self.embed(x), x.mean((2, 3))  # [BT, C/8, H, W], [BT, C]
        merged = self.temporal(x, embedding, mean) + self.self_relation(x, embedding, mean)  # [BT/2, C, H, W]
        return self.convolve(merged).unflatten(0, (B, -1))
