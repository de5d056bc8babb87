"""SDCL: event-guided person re-identification by sparse-dense complementary learning, on frames and events of the same moments.

C. Cao et al., "Event-guided Person Re-identification via Sparse-Dense Complementary Learning", CVPR 2023. The release cannot be built
or run, so this is *our reading of the paper* (specification, section 5); what the paper leaves open is an option.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reidlib.models.layers.alignment import Alignment, CrossFusion
from reidlib.models.layers.event_branch import EventBranch
from reidlib.models.layers.heads import ReidModel, ReidOutput
from reidlib.models.layers.image_resnet import FrameBranch, check_clips, checked_size, map_size, reduced_channels
from reidlib.models.layers.pyramid import PyramidHead
from reidlib.models.layers.sampling import sampling_places
from reidlib.models.layers.spiking import NeuronSettings

MODALITIES = ("events", "frames")


@dataclass(frozen=True)
class InnerViews:
    """What happens inside SDCL for some clips, to be looked at.

    maps: features by layer, `[B, T, C, h, w]` each: `spiking1` ..., `mapping1` ... (event branch, full resolution), `events` and `frames`
    (both branches' ends), `events aligned` and `frames aligned` (after the exchange). offsets: for each event mapping, offset_n of
    every position from its regular 3x3 grid (`GRID`), (dy, dx), `[B, T, 9, 2, H, W]`; NaN where there is none. points, scores: for each
    direction of the alignment, the places (y, x) sampled by each position, in positions of the map, `[B, T, heads, points, 2, h, w]`, and
    their weights `[B, T, heads, points, h, w]`.
    """

    maps: dict[str, Tensor]
    offsets: dict[str, Tensor]
    points: dict[str, Tensor]
    scores: dict[str, Tensor]


class SDCL(ReidModel):
    """Events `[B, T, 2, H, W]` and frames `[B, T, 3, H, W]` (normalised RGB) -> `[B, D]` embeddings or `ReidOutput`, D = `channels`.

    modalities: ("events", "frames"), or one of them alone: the same network with the other path, the exchange and the joint
    stream taken out (the frames-only and events-only controls; frames alone are exactly `PSTA`).
    backbone, width, size, channels, pretrained: see `PSTA`. neuron, spiking (layers), mappings, event_width (channels of both; None: a
    quarter of `width`, at least 4), offsets, outside: see `EventBranch`. fusion, direction, heads, points: see `CrossFusion`.
    head: `pyramid`, `levels`, `pooling`, `metric`, `embedding`, `relation` of `PyramidHead`.
    """

    def __init__(
        self,
        num_classes: int,
        modalities: tuple[str, ...] = MODALITIES,
        backbone: str = "resnet50",
        width: int = 64,
        size: tuple[int, int] = (256, 128),
        channels: int | None = None,
        neuron: NeuronSettings | None = None,
        spiking: int = 2,
        mappings: int = 3,
        event_width: int | None = None,
        offsets: str = "nearest",
        outside: str = "zero",
        fusion: str = "alignment",
        direction: str = "both",
        heads: int = 8,
        points: int = 4,
        pretrained: bool = False,
        **head: Any,
    ):
        super().__init__()
        if not modalities or not set(modalities) <= set(MODALITIES):
            raise ValueError(f"modalities {tuple(modalities)} must be one or both of {MODALITIES}")
        self.modalities = tuple(name for name in MODALITIES if name in modalities)
        channels = channels or reduced_channels(backbone, width)
        self.size = checked_size(size)
        height, width_ = map_size(self.size)
        self.head = PyramidHead(num_classes, channels, height * width_, self.modalities, **head)
        if "events" in self.modalities:
            event_width = event_width or max(4, width // 4)
            self.event_branch = EventBranch(channels, event_width, neuron or NeuronSettings(), spiking, mappings, offsets, outside)
        if "frames" in self.modalities:
            self.frame_branch = FrameBranch(channels, backbone, width, pretrained)
        if len(self.modalities) == 2:
            self.fusion = CrossFusion(channels, fusion, direction, heads, points)

    def forward(self, events: Tensor | None = None, frames: Tensor | None = None) -> Tensor | ReidOutput:
        return self.head(self._fused(self._branches(events, frames)))

    def inner_views(self, events: Tensor | None = None, frames: Tensor | None = None) -> InnerViews:
        """Everything between input and pyramid, computed as at test time, whatever the mode: looking must not move the statistics."""
        training = self.training
        maps: dict[str, Tensor] = {}
        offsets: dict[str, Tensor] = {}
        self.eval()
        try:
            with torch.no_grad():
                streams = self._branches(events, frames, maps, offsets)
                aligned = self._fused(streams)
                points, scores = self._sampling(streams)
        finally:
            self.train(training)
        after = {f"{name} aligned": x for name, x in aligned.items()} if len(aligned) == 2 else {}
        return InnerViews(maps | streams | after, offsets, points, scores)

    def _branches(
        self,
        events: Tensor | None,
        frames: Tensor | None,
        seen: dict[str, Tensor] | None = None,
        offsets: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The ends of both branches, `[B, T, C, h, w]` each."""
        for name, clips, channels in (("events", events, 2), ("frames", frames, 3)):
            if (clips is not None) != (name in self.modalities):
                raise ValueError(f"this model takes {' and '.join(self.modalities)}, but {name} are {'not ' * (clips is None)}given")
            if clips is not None:
                check_clips(clips, name, channels, self.size)
        if events is not None and frames is not None and events.shape[:2] != frames.shape[:2]:
            raise ValueError(f"events {tuple(events.shape)} and frames {tuple(frames.shape)} must be of the same clips and steps")
        streams = {}
        if events is not None:
            streams["events"] = self.event_branch(events, seen, offsets)
        if frames is not None:
            streams["frames"] = self.frame_branch(frames)
        return streams

    def _fused(self, streams: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(streams) < 2:
            return streams
        B, T = streams["frames"].shape[:2]
        frames, events = self.fusion(streams["frames"].flatten(0, 1), streams["events"].flatten(0, 1))  # [BT, C, h, w] each
        return {"events": events.unflatten(0, (B, T)), "frames": frames.unflatten(0, (B, T))}

    def _sampling(self, streams: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        points, scores = {}, {}
        for name, exchange in self.fusion.exchanges.items() if len(streams) == 2 else ():
            if isinstance(exchange, Alignment):
                clips = streams["frames"].shape[:2]
                score, shifts = exchange.sampling(streams["frames"].flatten(0, 1), streams["events"].flatten(0, 1))
                points[name], scores[name] = sampling_places(shifts).unflatten(0, clips), score.unflatten(0, clips)
        return points, scores
