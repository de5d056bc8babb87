"""TSB, temporal saliency boosting: what is striking in a frame is looked up in the other frames of the clip (TCLNet).

R. Hou et al., "Temporal Complementary Learning for Video Person Re-Identification", ECCV 2020, as chapter 3 of R. Hou's thesis tells it.
Our reading (specification, section 2.3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.spiking_resnet import initialise

READINGS = ("text", "released")


class SaliencyBoosting(nn.Module):
    """`[B, T, C, H, W]` -> the same shape: E_t = BN(o_t) + F_t, o_t being what attention gathers from the other frames.

    Query: the frame's mean feature; keys and values: every position of the other frames; weights: softmax(temperature * cosine) (3.8).
    temperature: tau; the text gives none, 5 is the release's. BN starts at weight 0, so at first nothing changes. A single frame has no
    others and passes as it is. reading: "text"; with "released" o passes a 1x1 convolution before the BN, and keys, not values, are means
    of 2x2 positions, the frame's border padded with zeros that count.
    `seen["memory"]`: the weights, `[B, T, T, H, W]`: from the frame of the first T to the positions of all, 0 in itself.
    """

    def __init__(self, channels: int, temperature: float = 5.0, reading: str = "text"):
        super().__init__()
        if reading not in READINGS:
            raise ValueError(f"unknown reading {reading!r}; choose one of {', '.join(READINGS)}")
        self.temperature, self.released = temperature, reading == "released"
        self.project = nn.Conv2d(channels, channels, 1, bias=False) if self.released else nn.Identity()
        self.norm = nn.BatchNorm2d(channels)
        initialise(self, norm_scale=0.0)

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        B, T, C, H, W = x.shape
        if T == 1:
            return x
        weights = self.attention(x)  # [B, T, THW]
        if seen is not None:
            seen["memory"] = weights.reshape(B, T, T, H, W)
        found = weights.to(x.dtype) @ x.transpose(2, 1).flatten(2).mT  # [B, T, C]
        return x + self.norm(self.project(found.reshape(B * T, C, 1, 1))).reshape(B, T, C, 1, 1)

    def attention(self, x: Tensor) -> Tensor:
        """A (3.8), its softmax in single precision: `[B, T, T * H * W]`, the positions in the order of frames; T at least 2."""
        B, T, _, H, W = x.shape
        keys = self._means_of_four(x) if self.released else x
        queries = F.normalize(x.mean((3, 4)), dim=2)  # [B, T, C]
        keys = F.normalize(keys, dim=2).transpose(2, 1).flatten(2)  # [B, C, THW]
        logits = self.temperature * (queries @ keys).float().reshape(B, T, T, H * W)
        own = torch.eye(T, dtype=torch.bool, device=x.device)[:, :, None]  # [T, T, 1]
        return logits.masked_fill(own, -torch.inf).flatten(2).softmax(-1)  # [B, T, THW]

    @staticmethod
    def _means_of_four(x: Tensor) -> Tensor:
        """Every position with its upper, left and upper left neighbours, zeros outside."""
        pooled = F.avg_pool2d(F.pad(x.flatten(0, 1), (1, 0, 1, 0)), 2, stride=1)  # [BT, C, H, W]
        return pooled.reshape_as(x)
