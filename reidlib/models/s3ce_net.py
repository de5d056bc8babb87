"""S3CE-Net: spiking attention over space and time (SSAM) and feature subsequences in training (STFS), on events.

X. Ma et al., "S3CE-Net: Spike-guided Spatiotemporal Semantic Coupling and Expansion Network for Long Sequence Event
Re-Identification", arXiv 2505.24401. Only the abstract is public to us: what stands here is *our reading of the abstract, not a
reproduction of the authors' code*. The spiking baseline (`sew_resnet18`) is this network without SSAM and STFS, the
ReLU twin (`resnet18_events`) the same layers with ReLU in place of the neurons.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from reidlib.models.layers.heads import BNNeck, ReidModel, ReidOutput, check_places
from reidlib.models.layers.spiking import NeuronSettings, reset_state
from reidlib.models.layers.spiking_resnet import STAGES, SpikingResNet, initialise, load_imagenet, pool_positions

COUPLINGS = ("factorised", "joint", "spatial", "temporal")
TEMPORAL_FORMS = ("strided", "contiguous", "random")
SPATIAL_FORMS = ("band", "drop")


@dataclass(frozen=True)
class SamplingSettings:
    """STFS: which subsequences of the last spiking map are trained like the whole (our reading).

    temporal: number of subsets of the steps (0: none), formed `strided` (i, i + n, ...), `contiguous`, or `random`
    (a fresh sorted draw each step of training). spatial: number of horizontal bands (0: none); `drop` uses everything but the band.
    weight: share w of the mean subsequence loss in the total.
    """

    temporal: int = 2
    spatial: int = 4
    temporal_form: str = "strided"
    spatial_form: str = "band"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.temporal < 0 or self.spatial < 0 or self.weight < 0:
            raise ValueError(f"STFS counts and weight must not be negative: {self}")
        if self.temporal_form not in TEMPORAL_FORMS:
            raise ValueError(f"unknown temporal form {self.temporal_form!r}; choose one of {', '.join(TEMPORAL_FORMS)}")
        if self.spatial_form not in SPATIAL_FORMS:
            raise ValueError(f"unknown spatial form {self.spatial_form!r}; choose one of {', '.join(SPATIAL_FORMS)}")


def temporal_subsets(steps: int, parts: int, form: str) -> list[Tensor]:
    """Index sets that split `steps` time steps into `parts`; together they hold every step exactly once."""
    if parts > steps:
        raise ValueError(f"{parts} temporal subsequences need at least as many steps, the clip has {steps}")
    if form == "strided":
        return [torch.arange(i, steps, parts) for i in range(parts)]
    order = torch.randperm(steps) if form == "random" else torch.arange(steps)
    return [subset.sort().values for subset in order.tensor_split(parts)]


def spatial_bands(height: int, parts: int, form: str) -> list[Tensor]:
    """Row sets: `parts` horizontal bands, or with form "drop" everything but one band each."""
    if parts > height or (form == "drop" and parts < 2):
        raise ValueError(f"{parts} bands ({form}) do not fit a map of {height} rows")
    bands = list(torch.arange(height).tensor_split(parts))
    if form == "band":
        return bands
    return [torch.cat(bands[:i] + bands[i + 1 :]) for i in range(parts)]


def sample_subsequences(x: Tensor, settings: SamplingSettings, pooling: str) -> list[Tensor]:
    """STFS: last map `[T, B, C, H, W]` -> list of pooled subsequence features `[B, C]`, temporal ones first. No parameters."""
    T, _, _, H, _ = x.shape
    features = []
    if settings.temporal:
        per_step = pool_positions(x, pooling)  # [T, B, C]
        subsets = temporal_subsets(T, settings.temporal, settings.temporal_form)
        features += [per_step[steps].mean(0) for steps in subsets]
    if settings.spatial:
        bands = spatial_bands(H, settings.spatial, settings.spatial_form)
        side_by_side = settings.spatial_form == "band"  # one split, whose backward pass is one copy
        pieces = x.split([len(rows) for rows in bands], dim=3) if side_by_side else [x[:, :, :, rows] for rows in bands]
        features += [pool_positions(piece, pooling).mean(0) for piece in pieces]
    return features


class SSAM(nn.Module):
    """Spike-guided spatial-temporal attention, shape preserving: `[T, B, C, H, W]` -> the same (our reading).

    Q, K, V = SN(BN(Conv1x1(X))) are spikes, split into heads of `head_channels`. Tokens of the spatial part are the positions of
    one step, of the temporal part the steps of one position; no softmax, so Q (K^T V) is associative and linear in
    the tokens. out = X + SN(BN(Conv1x1(Ys + Yt))).

    coupling: "factorised" (Ys + Yt), "joint" (tokens are all T * N places), "spatial", "temporal".
    causal: a step attends to itself and earlier ones only (temporal and joint parts). The scale of each part is a
    BatchNorm, so that its neurons fire about as often as all others, whatever the sizes.
    """

    def __init__(self, channels: int, neuron: NeuronSettings, coupling: str = "factorised", causal: bool = False, head_channels: int = 16):
        super().__init__()
        if coupling not in COUPLINGS:
            raise ValueError(f"unknown coupling {coupling!r}; choose one of {', '.join(COUPLINGS)}")
        if channels % head_channels:
            raise ValueError(f"{channels} channels do not split into heads of {head_channels}")
        self.coupling, self.causal, self.head_channels = coupling, causal, head_channels
        # one convolution for Q, K and V: BN and neurons work channel by channel, so this equals three
        self.qkv = layer.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_norm = layer.BatchNorm2d(3 * channels)
        self.qkv_neuron = neuron.build()
        parts = {"factorised": ("spatial", "temporal")}.get(coupling, (coupling,))
        # The product of three spike trains is small and its size depends on their rates. Scaled by its own statistics it reaches the
        # threshold now and then, as every other neuron's input does; with a fixed scale the attention neurons stay silent.
        self.part_norms = nn.ModuleDict({part: layer.BatchNorm2d(channels) for part in parts})
        self.part_neurons = nn.ModuleDict({part: neuron.build() for part in parts})
        self.project = layer.Conv2d(channels, channels, 1, bias=False)
        self.project_norm = layer.BatchNorm2d(channels)
        self.project_neuron = neuron.build()
        initialise(self)
        # The block begins silent, far below the threshold, and out = X: a network that works is not disturbed. Not 0, which
        # would leave the layers before it without gradient.
        nn.init.constant_(self.project_norm.weight, 0.2)

    def coupled(self, x: Tensor) -> Tensor:
        """The attention's own contribution, the second term of the sum: `[T, B, C, H, W]`."""
        T, B, C, H, W = x.shape
        h, d = C // self.head_channels, self.head_channels
        qkv = self.qkv_neuron(self.qkv_norm(self.qkv(x)))  # [T, B, 3C, H, W]
        # One copy into the order in which no product below copies anything.
        q, k, v = qkv.reshape(T, B, 3, h, d, H * W).permute(2, 0, 1, 3, 5, 4).contiguous()  # 3 x [T, B, h, N, d]
        found = []
        for part, spiking in self.part_neurons.items():
            y = getattr(self, f"_{part}")(q, k, v)  # [T, B, h, N, d]
            current = y.transpose(2, 3).reshape(T, B, H, W, C).movedim(-1, 2)  # [T, B, C, H, W], channels last in memory
            found.append(spiking(self.part_norms[part](current)))
        return self.project_neuron(self.project_norm(self.project(reduce(torch.add, found))))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.coupled(x)

    def _spatial(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        N, d = q.shape[-2:]
        return linear_attention(q, k, v) * (d * N) ** -0.5

    def _temporal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T, d = q.shape[0], q.shape[-1]
        q, k, v = (part.permute(1, 2, 3, 0, 4) for part in (q, k, v))  # [B, h, N, T, d]
        y = causal_attention(q, k, v) if self.causal else linear_attention(q, k, v)
        return y.permute(3, 0, 1, 2, 4) * (d * T) ** -0.5  # [T, B, h, N, d]

    def _joint(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T, N, d = q.shape[0], *q.shape[-2:]
        context = k.transpose(-1, -2) @ v  # [T, B, h, d, d]
        context = context.cumsum(0) if self.causal else context.sum(0, keepdim=True)
        return (q @ context) * (d * T * N) ** -0.5  # [T, B, h, N, d]


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Q K^T V without softmax over tokens, in the cheaper order: `[..., tokens, d]` three times -> `[..., tokens, d]`."""
    tokens, d = q.shape[-2:]
    if tokens < d:
        return (q @ k.transpose(-1, -2)) @ v
    return q @ (k.transpose(-1, -2) @ v)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `linear_attention`, each token seeing itself and earlier tokens only; linear in the tokens (chunks of d)."""
    d = q.shape[-1]
    state, outputs = 0, []
    for qc, kc, vc in zip(*(part.split(d, dim=-2) for part in (q, k, v)), strict=True):
        inside = (qc @ kc.transpose(-1, -2)).tril() @ vc
        outputs.append(inside + qc @ state if torch.is_tensor(state) else inside)
        state = state + kc.transpose(-1, -2) @ vc
    return torch.cat(outputs, dim=-2)


class S3CENet(ReidModel):
    """Events `[B, T, 2, H, W]` -> `[B, D]` embeddings (`eval`) or `ReidOutput` (`train`), D = 8 * width.

    ssam: stages after which SSAM stands, () for none. sampling: STFS settings, None for none (training only: parameters, cost and
    output at test time are the same with or without). step_loss: weight of a loss at every single step (temporal
    efficient training, Deng et al., ICLR 2022). pooling over positions: "max" or "mean"; over steps always the mean.
    metric: whether the metric loss sees the feature before the BN-neck ("feature", the spec's reading) or after it ("neck"). Pooled spike
    counts are never negative, so before the neck all features point nearly the same way: a cosine triplet stands at its margin there
    from the first step to the last, a Euclidean one works (measured: notebook 03). embedding: the same choice for test time.
    recompute: memory for time in training, see `SpikingResNet`.
    """

    modalities = ("events",)

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        neuron: NeuronSettings | None = None,
        ssam: tuple[int, ...] = (2, 4),
        coupling: str = "factorised",
        causal: bool = False,
        head_channels: int = 16,
        sampling: SamplingSettings | None = SamplingSettings(),
        step_loss: float = 0.0,
        pooling: str = "max",
        depth: tuple[int, ...] = (2, 2, 2, 2),
        norm_scale: float = 1.0,
        metric: str = "feature",
        embedding: str = "neck",
        pretrained: bool = False,
        recompute: bool = False,
    ):
        super().__init__()
        if not set(ssam) <= set(STAGES):
            raise ValueError(f"SSAM stages {tuple(ssam)} must be among {STAGES}")
        check_places(metric=metric, embedding=embedding)
        neuron = neuron or NeuronSettings()
        make = {stage: lambda channels: SSAM(channels, neuron, coupling, causal, head_channels) for stage in ssam}
        self.backbone = SpikingResNet(neuron, width, depth=tuple(depth), norm_scale=norm_scale, after=make, recompute=recompute)
        self.neck = BNNeck(8 * width, num_classes)
        self.sampling, self.step_loss, self.pooling = sampling, step_loss, pooling
        self.metric, self.embedding = metric, embedding
        if pretrained:
            load_imagenet(self.backbone)

    def forward(self, events: Tensor) -> Tensor | ReidOutput:
        T = events.shape[1]
        x = self.features(events)[-1]  # [T, B, D, H/16, W/16]
        per_step = pool_positions(x, self.pooling)  # [T, B, D]
        feature = per_step.mean(0)  # [B, D]
        if not self.training:
            return self.neck.norm(feature) if self.embedding == "neck" else feature
        features, weights = [feature], [1.0]
        if self.sampling is not None and self.sampling.weight:
            extra = sample_subsequences(x, self.sampling, self.pooling)
            features += extra
            weights += [self.sampling.weight / len(extra)] * len(extra) if extra else []
        if self.step_loss:
            features += list(per_step)
            weights += [self.step_loss / T] * T
        normalised, logits = zip(self.neck(feature), *(self.neck.sampled(one) for one in features[1:]), strict=True)
        return ReidOutput(list(normalised) if self.metric == "neck" else features, list(logits), weights=weights)

    def features(self, events: Tensor) -> list[Tensor]:
        """The four stages' maps, `[T, B, C, H, W]` each; forgets all earlier state first."""
        if events.ndim != 5 or events.shape[2] != 2:
            raise ValueError(f"events of shape {tuple(events.shape)}: expected [B, T, 2, H, W] event frames")
        reset_state(self)
        return self.backbone(events.transpose(0, 1))

    def attention(self, events: Tensor) -> dict[str, Tensor]:
        """What SSAM adds, per place and step: mean over channels of its spikes, `{"stage2": [B, T, H, W], ...}`.

        Computed as at test time, whatever the mode: looking must not move the running statistics.
        """
        maps: dict[str, Tensor] = {}
        training = self.training
        self.eval()
        handles = [module.register_forward_hook(_keep_contribution(maps, f"stage{stage}")) for stage, module in self.backbone.after.items()]
        try:
            with torch.no_grad():
                self.features(events)
        finally:
            self.train(training)
            for handle in handles:
                handle.remove()
        return maps


def _keep_contribution(maps: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        maps[name] = (output - inputs[0]).mean(2).transpose(0, 1)  # [B, T, H, W]

    return hook


def sew_resnet18(num_classes: int, **options: Any) -> S3CENet:
    """The spiking baseline: S3CE-Net's backbone and head without SSAM and STFS."""
    return S3CENet(num_classes, **{"ssam": (), "sampling": None} | options)


def resnet18_events(num_classes: int, neuron: NeuronSettings | None = None, **options: Any) -> S3CENet:
    """The analogue twin of `sew_resnet18`: the same layers with ReLU in place of spiking neurons."""
    return sew_resnet18(num_classes, neuron=replace(neuron or NeuronSettings(), kind="relu"), **options)
