"""SEO, the saliency erasing operation of TCLNet: what earlier learners have used is taken out of a later frame.

R. Hou et al., "Temporal Complementary Learning for Video Person Re-Identification", ECCV 2020, as chapter 3 of R. Hou's thesis tells it;
equation numbers are the thesis'. Our reading (specification, sections 2.2 and 2.5).
"""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.precision import single_precision
from reidlib.models.layers.spiking_resnet import initialise

READINGS = ("rescaled", "printed", "released")
SHARE = 3 / 16  # rows of the published map that are erased, over its full width


def block_mask(scores: Tensor, size: tuple[int, int], strides: tuple[int, int] = (1, 1), partial: bool = False) -> Tensor:
    """SEO-block binarisation: scores `[M, H, W]` -> the same shape, 0 inside the window with the largest sum and 1 outside.

    size: of the windows, (height, width), strides: their steps; only windows that lie inside the map count. partial: the release's way,
    a window for every row as its centre, zeros outside; less is erased at the borders then. The first of equal windows wins.
    """
    H, W = scores.shape[1:]
    above = size[0] // 2 if partial else 0
    padded = F.pad(scores, (0, 0, above, size[0] - 1 - above)) if partial else scores
    sums = F.avg_pool2d(padded[:, None], size, strides)[:, 0]  # [M, rows, columns], means, whose order is that of the sums
    chosen = sums.flatten(1).argmax(1)  # [M]
    top, left = chosen // sums.shape[2] * strides[0] - above, chosen % sums.shape[2] * strides[1]
    rows, columns = torch.arange(H, device=scores.device), torch.arange(W, device=scores.device)
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + size[0])  # [M, H]
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + size[1])  # [M, W]
    return 1 - (in_rows[:, :, None] & in_columns[:, None]).to(scores.dtype)


class SaliencyErasing(nn.Module):
    """Maps `[M, C, H, W]` of a segment's frame n and the features `[M, D]` of the frames before it -> maps of the same shape.

    R_k = F^T (w f_k) (3.5), for every earlier feature a block is erased (3.6), and the maps are gated by G = softmax(R_1 ... R_{n-1}) B
    (3.7), through which w learns. The first frame passes as it is.
    erased: (height, width) of the block in positions of the map; None: three sixteenths of the rows, at least one, over the full width,
    which are the published 3 of 16. strides: steps of the window.
    reading: "printed" is (3.7) as it stands. A softmax over 128 positions makes the maps about a hundred times smaller than the first
    frame's, and both meet the same BatchNorms, whose statistics then fit neither (measured with fresh weights, a 16 x 8 map: how the
    second learner's features differ between clips is, at test time, hardly what it is by the batch's own statistics, cosine 0.17 against
    0.66 for "rescaled"). "rescaled" multiplies G by the number of positions, so that even correlations leave the scale of the maps alone;
    our reading of "gated". "released": R is divided by sqrt(C), the features are detached, windows may hang over the border
    (`block_mask`), the maps are multiplied by B alone, and their mean weighted by the softmax over what was kept is added to every
    position through a convolution and a BN that starts at weight 0; the first frame takes the latter path too.
    """

    def __init__(
        self,
        channels: int,
        feature_channels: int,
        erased: tuple[int, int] | None = None,
        strides: tuple[int, int] = (1, 1),
        reading: str = "rescaled",
    ):
        super().__init__()
        if reading not in READINGS:
            raise ValueError(f"unknown reading {reading!r}; choose one of {', '.join(READINGS)}")
        if min(strides) < 1 or min(erased or (1,)) < 1:
            raise ValueError(f"erased {erased} and strides {strides} must be positive")
        if reading == "released" and tuple(strides) != (1, 1):
            raise ValueError(f"strides {strides}: the released reading has a window for every row, strides (1, 1)")
        self.erased, self.strides, self.reading = erased, (strides[0], strides[1]), reading
        self.correlate = nn.Linear(feature_channels, channels, bias=False)  # w
        nn.init.normal_(self.correlate.weight, std=0.001)
        if reading == "released":
            nn.init.kaiming_normal_(self.correlate.weight, mode="fan_out", nonlinearity="relu")
            self.describe = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
            initialise(self.describe, norm_scale=0.0)

    def forward(self, x: Tensor, features: list[Tensor], seen: dict[str, Tensor] | None = None) -> Tensor:
        """`seen["erased"]`: 1 where a block is erased, else 0, `seen["correlation"]`: the product of the R_k; both `[M, H, W]`."""
        size = self.block_size(*x.shape[2:])
        correlations = [self.correlation(x, feature) for feature in features]  # [M, H, W] each
        even = torch.ones_like(x[:, 0], dtype=torch.float32)  # [M, H, W]
        kept = prod((block_mask(R, size, self.strides, self.reading == "released") for R in correlations), start=even)
        product = prod(correlations, start=even)
        if seen is not None:
            seen["erased"], seen["correlation"] = 1 - kept, product
        if self.reading == "released":
            return self._kept_and_described(x, product, kept)
        return self._gated(x, product, kept) if features else x

    def correlation(self, x: Tensor, feature: Tensor) -> Tensor:
        """R_k (3.5), in single precision: `[M, C, H, W]`, `[M, D]` -> `[M, H, W]`."""
        released = self.reading == "released"
        with single_precision(x.device):
            wanted = self.correlate((feature.detach() if released else feature).float())[:, None]  # [M, 1, C]
            R = (wanted @ x.flatten(2).float()).reshape_as(x[:, 0])  # [M, H, W]
        return R / x.shape[1] ** 0.5 if released else R

    def block_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that are erased of a map of this size; ValueError where they do not fit."""
        size = self.erased or (max(1, round(SHARE * height)), width)
        if size[0] > height or size[1] > width or size == (height, width):
            raise ValueError(
                f"erased={size} positions of a map of {height} x {width}: the block must be smaller than the map, which has a "
                "sixteenth of the picture's height and width; erased=None scales with it"
            )
        if self.reading == "released" and size[1] != width:
            raise ValueError(f"erased={size}: the released reading erases whole rows, {width} positions wide here")
        return size

    def _gated(self, x: Tensor, product: Tensor, kept: Tensor) -> Tensor:
        gate = product.flatten(1).softmax(-1).reshape_as(kept) * kept  # [M, H, W]
        if self.reading == "rescaled":
            gate = gate * kept[0].numel()
        return x * gate.to(x.dtype)[:, None]

    def _kept_and_described(self, x: Tensor, product: Tensor, kept: Tensor) -> Tensor:
        logits = product.masked_fill(kept == 0, torch.finfo(product.dtype).min)
        weights = logits.flatten(1).softmax(-1).to(x.dtype)  # [M, HW]
        pooled = x.flatten(2) @ weights[:, :, None]  # [M, C, 1]
        return x * kept.to(x.dtype)[:, None] + self.describe(pooled[..., None])
