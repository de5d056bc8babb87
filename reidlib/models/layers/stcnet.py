"""Generators of STCnet: a spatial one that fills a hole from the rest of its frame, and one that also looks at the frames around.

Thesis of R. Hou, chapter 4, after VRSTC (Hou et al., CVPR 2019). Numbers of layers and channels were not recovered and no code was
released, so they are our reading, made like Yu et al.'s network for contextual attention (CVPR 2018), which the text resembles.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (2, 4, 8, 16)
SHRINK = 4  # of the encoding against the frame


def unit(source: int, channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution that keeps the size (at stride 1), ELU."""
    return nn.Sequential(nn.Conv2d(source, channels, 3, stride, padding=dilation, dilation=dilation), nn.ELU())


def doubled(source: int, channels: int) -> nn.Sequential:
    """Transposed convolution to twice the height and width, ELU."""
    return nn.Sequential(nn.ConvTranspose2d(source, channels, 4, stride=2, padding=1), nn.ELU())


class Encoder(nn.Module):
    """Frames `[N, 3, H, W]` -> maps `[N, w, H, W]`, `[N, 2w, H/2, W/2]`, `[N, 4w, H/4, W/4]`, the last through dilated convolutions."""

    def __init__(self, width: int, dilations: tuple[int, ...] = DILATIONS):
        super().__init__()
        w = width
        self.fine = unit(3, w)
        self.middle = nn.Sequential(unit(w, 2 * w, stride=2), unit(2 * w, 2 * w))
        dilated = (unit(4 * w, 4 * w, dilation=d) for d in dilations)
        self.coarse = nn.Sequential(unit(2 * w, 4 * w, stride=2), unit(4 * w, 4 * w), *dilated)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.fine(x)
        middle = self.middle(fine)
        return fine, middle, self.coarse(middle)


class Decoder(nn.Module):
    """The encoder's three maps, the smallest of `sources` * 4w channels -> frames `[N, 3, H, W]` in [-1, 1]; U-Net skips."""

    def __init__(self, width: int, sources: int = 1):
        super().__init__()
        w = width
        self.merge = unit(sources * 4 * w, 4 * w)
        self.to_middle, self.middle = doubled(4 * w, 2 * w), unit(4 * w, 2 * w)
        self.to_fine, self.fine = doubled(2 * w, w), unit(2 * w, w)
        self.colour = nn.Conv2d(w, 3, 3, padding=1)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        x = self.middle(torch.cat((self.to_middle(self.merge(coarse)), middle), 1))
        x = self.fine(torch.cat((self.to_fine(x), fine), 1))
        return torch.tanh(self.colour(x))


class SpatialGenerator(nn.Module):
    """G_s: frames with a hole `[N, 3, H, W]` -> frames in [-1, 1], the hole's pixels guessed from the rest."""

    def __init__(self, width: int = 32, dilations: tuple[int, ...] = DILATIONS):
        super().__init__()
        self.encoder, self.decoder = Encoder(width, dilations), Decoder(width)
        initialise(self)

    def forward(self, frames: Tensor) -> Tensor:
        return self.decoder(*self.encoder(frames))


class TemporalGenerator(nn.Module):
    """G_t: G_s's completion and the frames before and after `[N, 3, H, W]` each -> frames in [-1, 1].

    The encoding of the completion is put together again from patches of either neighbour's; all three are decoded side by side, with
    the skips of the completion. patch, sharpness: see `patch_attention`.
    `seen["attention"]`: the weights `[N, 2, L, L]`, L positions of the encoding looking at L of the frame before and after.
    """

    def __init__(self, width: int = 32, dilations: tuple[int, ...] = DILATIONS, patch: int = 3, sharpness: float = 1.0):
        super().__init__()
        self.encoder, self.decoder = Encoder(width, dilations), Decoder(width, sources=3)
        self.patch, self.sharpness = patch, sharpness
        initialise(self)

    def forward(self, frames: Tensor, previous: Tensor, following: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        fine, middle, coarse = (maps.chunk(3) for maps in self.encoder(torch.cat((frames, previous, following))))
        own, *others = coarse  # [N, 4w, H/4, W/4] each
        found, weights = zip(*(patch_attention(own, other, self.patch, self.sharpness) for other in others), strict=True)
        if seen is not None:
            seen["attention"] = torch.stack(weights, 1)
        return self.decoder(fine[0], middle[0], torch.cat((own, *found), 1))


def patch_attention(own: Tensor, other: Tensor, patch: int = 3, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    """`own` rebuilt of patches of `other`: maps `[N, C, H, W]` twice -> (`[N, C, H, W]`, weights `[N, HW, HW]`).

    (4.1): weights = softmax over the other's positions of sharpness * cosine between `patch` x `patch` patches, zero beyond the border.
    (4.2): every position gets the weighted mean of the other's patches; where patches overlap, their mean is taken (our reading: the
    plain sum of a transposed convolution would be nine times as large). sharpness: 1 is (4.1) as printed, under which the best of L
    patches weighs at most e^2 times the worst; Yu et al. take 10. The text's own, if it had one, was not recovered.
    """
    H, W = own.shape[2:]
    reach = patch // 2
    queries, patches = (F.unfold(maps, patch, padding=reach) for maps in (own, other))  # [N, C * patch^2, HW]
    cosines = F.normalize(queries, dim=1).mT @ F.normalize(patches, dim=1)  # [N, HW, HW]
    weights = (sharpness * cosines).softmax(-1)
    mixed = patches @ weights.mT  # [N, C * patch^2, HW]
    overlaps = F.fold(torch.ones_like(mixed[:1, : patch**2]), (H, W), patch, padding=reach)  # [1, 1, H, W]
    return F.fold(mixed, (H, W), patch, padding=reach) / overlaps, weights


def initialise(module: nn.Module) -> None:
    """Kaiming-normal convolutions (fan-in) without biases, for networks without normalisation; the colours begin near grey."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in" if isinstance(part, nn.Conv2d) else "fan_out")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
            if name.endswith("colour"):
                nn.init.normal_(part.weight, std=0.01)
