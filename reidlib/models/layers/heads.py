"""What every system is and ends with: its base, a BN-neck and a classifier, and the container for training outputs."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from reidlib.models.layers.synced_norm import batch_normalised


@dataclass
class ReidOutput:
    """What a model returns in training mode.

    features: list of `[B, D]` for the metric loss; logits: list of `[B, K]`, one per feature; weights: share of each in
    the total loss (all 1 when empty); losses: named scalar auxiliary losses, already weighted.
    """

    features: list[Tensor]
    logits: list[Tensor]
    losses: dict[str, Tensor] = field(default_factory=dict)
    weights: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weights = self.weights or [1.0] * len(self.features)
        if not len(self.features) == len(self.logits) == len(self.weights):
            raise ValueError(f"{len(self.features)} features, {len(self.logits)} logits, {len(self.weights)} weights: one of each per head")


class ReidModel(nn.Module):
    """A re-identification system, as every caller may use it whichever it is.

    modalities: what `forward` takes, by these names: "events" `[B, T, 2, H, W]`, "frames" `[B, T, 3, H, W]`. It returns `[B, D]` embeddings
    in `eval` mode and a `ReidOutput` in `train` mode. supervised: whether its training learns from labels of body parts; `forward` then
    takes `parts`, `[B, T, H, W]`, too.
    """

    modalities: tuple[str, ...]
    supervised: bool = False


def check_places(**places: str) -> None:
    """ValueError unless each is "neck" (a feature after the BN-neck) or "feature" (before it); names are the options that ask."""
    for name, place in places.items():
        if place not in ("neck", "feature"):
            raise ValueError(f"unknown {name} {place!r}; choose neck or feature")


class BNNeck(nn.Module):
    """BatchNorm without shift, then a linear classifier (Luo et al., "Bag of Tricks", CVPRW 2019).

    `[B, D]` -> (normalised feature `[B, D]`, logits `[B, K]`). The metric loss of the source sees the feature before the neck, that of
    PSTA's release the one after it. bias: whether the classifier has one; PSTA's has.
    """

    def __init__(self, channels: int, num_classes: int, bias: bool = False):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(channels, num_classes, bias=bias)
        nn.init.normal_(self.classifier.weight, std=0.001)
        if bias:
            nn.init.zeros_(self.classifier.bias)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        normalised = self.norm(feature)
        return normalised, self.classifier(normalised)

    def sampled(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """The same of a feature that exists in training only, such as a subsequence.

        Same weights, statistics of its own batch. The running statistics stay those of the whole feature, the only one that test
        time meets: a band's maximum is smaller than the whole map's, and mixing them in moves every embedding (measured: notebook 03).
        """
        normalised = batch_normalised(feature, self.norm)
        return normalised, self.classifier(normalised)
