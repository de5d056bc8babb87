"""Losses of identity training: label-smoothing cross-entropy and batch-hard triplet, over all heads of a model."""

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.models.layers.heads import ReidOutput

DISTANCES = ("cosine", "euclidean")


def pairwise_distances(features: Tensor, distance: str = "cosine") -> Tensor:
    """All distances inside a batch: `[B, D]` -> `[B, B]`. cosine: 1 - cos, in [0, 2]."""
    if distance == "cosine":
        unit = F.normalize(features, dim=1)
        return 1 - unit @ unit.T
    if distance == "euclidean":
        squared = (features[:, None] - features[None]).square().sum(-1)  # [B, B]
        return squared.clamp_min(1e-12).sqrt()  # the root has no gradient at 0
    raise ValueError(f"unknown distance {distance!r}; choose one of {', '.join(DISTANCES)}")


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3, distance: str = "cosine") -> Tensor:
    """Batch-hard triplet loss (Hermans et al., 2017): mean over anchors of [margin + furthest positive - nearest negative]_+.

    features `[B, D]`, labels `[B]`. The anchor counts as its own positive (distance 0), so an identity with one clip is
    legal; a batch with one identity has no negatives and raises ValueError.
    """
    same = labels[:, None] == labels[None]  # [B, B]
    if same.all():
        raise ValueError("the batch holds one identity only, so the triplet loss has no negative: use at least 2 people per batch")
    d = pairwise_distances(features, distance)
    furthest = d.masked_fill(~same, -torch.inf).amax(1)
    nearest = d.masked_fill(same, torch.inf).amin(1)
    return F.relu(margin + furthest - nearest).mean()


@dataclass(frozen=True)
class ReidLoss:
    """Total = sum over heads of weight * (identity + triplet_weight * triplet) + auxiliary losses, heads weighted as the model says."""

    label_smoothing: float = 0.1
    triplet_weight: float = 1.0
    margin: float = 0.3
    distance: str = "cosine"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise ValueError(f"unknown distance {self.distance!r}; choose one of {', '.join(DISTANCES)}")

    def __call__(self, output: ReidOutput, labels: Tensor) -> dict[str, Tensor]:
        """Named terms and their `total`."""
        identity, triplet = [], []
        for feature, logits, weight in zip(output.features, output.logits, output.weights, strict=True):
            identity.append(weight * F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing))
            if self.triplet_weight:
                triplet.append(weight * self.triplet_weight * batch_hard_triplet(feature.float(), labels, self.margin, self.distance))
        terms = {name: reduce(torch.add, parts) for name, parts in (("identity", identity), ("triplet", triplet)) if parts}
        terms |= output.losses
        return {"total": reduce(torch.add, terms.values())} | terms
