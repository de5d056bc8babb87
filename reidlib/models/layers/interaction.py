"""Interaction and aggregation of body parts over space and time (STIA) and of channels (CIA): the blocks of IANet.

R. Hou et al., "IAUnet: Global Context-Aware Feature Learning for Person Re-Identification", TNNLS 2020, as the thesis tells it (chapter 2;
equation numbers are the thesis'). Our reading. The text gives linear maps; BatchNorm and ReLU behind them follow the release, whose
parameter count is the published one. Convolutions before a BatchNorm have no bias, since it would have no effect. Every block ends with
a BatchNorm of weight 0, so that an inserted block changes nothing at first.
"""

from typing import Any

import torch
from torch import Tensor, nn

from reidlib.models.layers.precision import single_precision

RELATIONS = ("both", "spatial", "temporal")
ORDERS = ("cia-stia", "stia-cia", "parallel")


def linear_norm(source: int, channels: int, silent: bool = False) -> nn.Sequential:
    """Linear map of vectors `[M, source]` and BatchNorm; silent: one of weight 0, which gives 0 at first."""
    linear = nn.Linear(source, channels, bias=False)
    nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="relu")
    norm = nn.BatchNorm1d(channels)
    if silent:
        nn.init.zeros_(norm.weight)
    return nn.Sequential(linear, norm)


def mix_rows(rows: Tensor) -> Tensor:
    """softmax(F F^T) F, (2.11) and (2.12), in single precision: `[B, R, P]` -> the same shape.

    The products are not scaled, so a row hardly mixes with any but its nearest: less than single precision makes it none.
    """
    with single_precision(rows.device):
        single = rows.float()
        return ((single @ single.mT).softmax(-1) @ single).to(rows.dtype)


class Relation(nn.Module):
    """W [|a - b|, u] of (2.1) and (2.2), with BatchNorm: how much two parts tell each other, seen from the clip's mean u.

    Differences `[B, M, M, D]` and u `[B, D]` -> `[B, M, M]`. alone: the only relation of a block. Its shift and u's term are the same
    for all entries of a row then, and the softmax takes them out again: the shift stays 0, u is felt through the batch statistics alone.
    """

    def __init__(self, channels: int, alone: bool):
        super().__init__()
        self.differ, self.context = nn.Linear(channels, 1, bias=False), nn.Linear(channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(1)
        self.norm.bias.requires_grad_(not alone)

    def forward(self, differences: Tensor, context: Tensor) -> Tensor:
        score = self.differ(differences)[..., 0] + self.context(context)[:, None]  # [B, M, M]
        return self.norm(score[:, None])[:, 0]


class STIA(nn.Module):
    """Spatial-temporal interaction-aggregation: `[B, T, C, H, W]` -> the same shape, C even, any T (a picture is T = 1).

    Vectors of N body parts in every frame, mixed over the parts of the same frame (2.1) and over the frames of the same part (2.2); their
    mean and the clip's mean feature u are added to every position of the frame (2.7). relations: "both", or "spatial" / "temporal" ones
    alone. shared_relations: one W for both (the release) in place of one each (the text). part_pooling: a part's vector is the "mean"
    weighted by its map, or the "sum" (the release); the divisor of (2.9) cannot be read in the text, "mean" is our reading.
    `seen["parts"]`: logits of the part maps (2.8), `[B, T, N, H, W]`, which `part_loss` supervises.
    """

    def __init__(self, channels: int, parts: int = 4, relations: str = "both", shared_relations: bool = False, part_pooling: str = "mean"):
        super().__init__()
        if channels % 2:
            raise ValueError(f"{channels} channels: STIA works with half of them, so they must be even")
        if parts < 1:
            raise ValueError(f"{parts} body parts: STIA needs at least 1")
        if relations not in RELATIONS:
            raise ValueError(f"unknown relations {relations!r}; choose one of {', '.join(RELATIONS)}")
        if part_pooling not in ("mean", "sum"):
            raise ValueError(f"unknown part_pooling {part_pooling!r}; choose mean or sum")
        self.relations, self.part_pooling = relations, part_pooling
        inner = channels // 2
        names = ("spatial", "temporal") if relations == "both" and not shared_relations else ("shared",)
        conv = nn.Conv2d(channels, parts, 1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        self.attend = nn.Sequential(conv, nn.BatchNorm2d(parts))
        self.reduce = nn.Linear(channels, inner, bias=False)
        self.relate = nn.ModuleDict({name: Relation(inner, alone=len(names) == 1) for name in names})
        self.update = nn.Sequential(*linear_norm(2 * inner, inner), nn.ReLU(inplace=True))
        self.output = linear_norm(channels, channels, silent=True)

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        return x + self.residual(x, seen)

    def residual(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        """E^S (2.7), what is added: `[B, T, C, 1, 1]`."""
        B, T, C, _, _ = x.shape
        nodes = self.reduce(self.part_vectors(x, seen)).flatten(1, 2)  # [B, TN, C/2]
        context = self.reduce(x.mean((1, 3, 4)))  # [B, C/2]
        gathered = self.relation_map(nodes, context, T) @ nodes  # [B, TN, C/2], (2.5)
        updated = self.update(torch.cat((nodes, gathered), -1).flatten(0, 1))  # [BTN, C/2], (2.6)
        means = updated.reshape(B, T, -1, C // 2).mean(2)  # [B, T, C/2]
        both = torch.cat((means, context[:, None].expand_as(means)), -1)  # [B, T, C]
        return self.output(both.flatten(0, 1)).reshape(B, T, C, 1, 1)

    def part_vectors(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        """(2.8) and (2.9): the N parts of every frame, `[B, T, N, C]`."""
        B, T = x.shape[:2]
        logits = self.attend(x.flatten(0, 1)).unflatten(0, (B, T))  # [B, T, N, H, W]
        if seen is not None:
            seen["parts"] = logits
        weights = logits.float().sigmoid().flatten(3)  # [B, T, N, HW]
        if self.part_pooling == "mean":
            weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
        return weights.to(x.dtype) @ x.flatten(3).mT  # [B, T, N, C]

    def relation_map(self, nodes: Tensor, context: Tensor, T: int) -> Tensor:
        """R, (2.1) to (2.4): nodes `[B, TN, D]`, part n of frame t at tN + n -> `[B, TN, TN]`.

        A row sums to 1 over the node's neighbours; a node without any (one frame, temporal relations) has a row of zeros.
        """
        M = nodes.shape[1]
        frame, part = torch.arange(M, device=nodes.device) // (M // T), torch.arange(M, device=nodes.device) % (M // T)
        same_frame, same_part = frame[:, None] == frame, part[:, None] == part  # [TN, TN]
        spatial, temporal = same_frame & ~same_part, same_part & ~same_frame
        differences = (nodes[:, :, None] - nodes[:, None]).abs()  # [B, TN, TN, D]
        scores = [relate(differences, context) for relate in self.relate.values()]
        score = torch.where(same_frame, scores[0], scores[1]) if len(scores) == 2 else scores[0]  # [B, TN, TN]
        edges = {"both": spatial | temporal, "spatial": spatial, "temporal": temporal}[self.relations]
        score = score.float().masked_fill(~edges, torch.finfo(torch.float32).min)
        return (score.softmax(-1) * edges).to(nodes.dtype)


class CIA(nn.Module):
    """Channel interaction-aggregation: `[B, T, C, H, W]` -> the same shape. Every channel of every frame is mixed with the channels of
    all frames that look like it (2.11, 2.12); a 1x1 convolution, BN and the sum with the input follow."""

    def __init__(self, channels: int):
        super().__init__()
        conv, norm = nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(norm.weight)
        self.output = nn.Sequential(conv, norm)

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        return x + self.residual(x)

    def residual(self, x: Tensor) -> Tensor:
        """E^C, what is added: `[B, T, C, H, W]`."""
        mixed = mix_rows(x.flatten(3).flatten(1, 2))  # [B, TC, HW]
        return self.output(mixed.reshape_as(x).flatten(0, 1)).reshape_as(x)


class InteractionAggregation(nn.Module):
    """IA: both blocks, `[B, T, C, H, W]` -> the same shape.

    order: "cia-stia" as in the release, "stia-cia", or "parallel", the sum of both (the thesis' table 2.3 calls it its best). stia: options
    of `STIA`."""

    def __init__(self, channels: int, order: str = "cia-stia", **stia: Any):
        super().__init__()
        if order not in ORDERS:
            raise ValueError(f"unknown order {order!r}; choose one of {', '.join(ORDERS)}")
        self.order = order
        self.cia, self.stia = CIA(channels), STIA(channels, **stia)

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        if self.order == "parallel":
            return x + self.cia.residual(x) + self.stia.residual(x, seen)
        if self.order == "cia-stia":
            return self.stia(self.cia(x), seen)
        return self.cia(self.stia(x, seen))
