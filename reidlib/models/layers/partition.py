"""Adaptive partition (APU): each frame's map is cut into head, upper body, legs and shoes where the person has them.

R. Hou's thesis, chapter 5, section on region feature completion; layers as in the released image network (specification, 4.2).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.part_labels import NO_CLASS
from reidlib.models.layers.spiking_resnet import initialise
from reidlib.models.layers.stam import unit

#: Columns of every band from head to feet, by number of regions. 6: head, upper body, lower body left and right, shoes left and right.
#: The others are our reading: the lowest bands are halved first, and 3 regions leave the shoes to the legs.
COLUMNS = {3: (1, 1, 1), 4: (1, 1, 1, 1), 5: (1, 1, 1, 2), 6: (1, 1, 2, 2), 7: (1, 2, 2, 2), 8: (2, 2, 2, 2)}
WHOLE, LEFT, RIGHT = range(3)


class Partition(nn.Module):
    """Maps `[M, D, H, W]` -> masks of the regions `[M, n, H, W]`, their boxes `[M, n, 4]` and the logits of the cuts `[M, L]`.

    Three rows and a column cut the map (for 6 regions); a cut of class r has rows 0 ... r above it, and each is at least one row below
    the one before, so that no region is empty. Masks are 0 or 1 and carry no gradient: `cut_loss` alone teaches the partition. Boxes are
    (top, left, height, width) as shares of the map.
    size: (H, W) of the map, which the layers are built for. adaptive: False cuts every frame alike, bands of equal height and the
    middle column (our reading of the source's fixed split), and gives None for the logits.
    """

    def __init__(self, channels: int, size: tuple[int, int], regions: int = 6, adaptive: bool = True):
        super().__init__()
        if regions not in COLUMNS:
            raise ValueError(f"{regions} regions: choose one of {', '.join(map(str, COLUMNS))}")
        columns = COLUMNS[regions]
        self.halved = tuple(count == 2 for count in columns)
        self.size, self.bands = tuple(size), len(columns)
        H, W = self.size
        if self.bands > H or (any(self.halved) and W < 2):
            raise ValueError(f"a map of {H} x {W} is too small for {regions} regions: give larger clips, or an earlier stage")
        self.classes = [H - self.bands + cut for cut in range(1, self.bands)] + [W - 1] * any(self.halved)
        places = [(band, side) for band, count in enumerate(columns) for side in ((WHOLE,) if count == 1 else (LEFT, RIGHT))]
        self.band_of, self.side_of = map(list, zip(*places, strict=True))
        self.adaptive = adaptive
        if adaptive:
            inner = max(1, channels // 32)
            self.squeeze = unit(channels, inner)
            self.rows = nn.Linear(H * inner, sum(self.classes[: self.bands - 1]))
            # Two columns can be parted in one place only: then there is nothing to learn.
            self.column = nn.Linear(W * inner, W - 1) if any(self.halved) and W > 2 else None
            initialise(self)

    @property
    def extents(self) -> list[int]:
        """Length of the axis that each cut divides."""
        return [self.size[0]] * (self.bands - 1) + [self.size[1]] * any(self.halved)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if not self.adaptive:
            return *self.regions(self._fixed(x)), None
        logits = self.logits(x)
        return *self.regions(self.decode(logits)), logits

    def logits(self, x: Tensor) -> Tensor:
        """Places of the cuts: `[M, D, H, W]` -> `[M, L]`, L = sum of `classes`, rows first."""
        x = self.squeeze(x)  # [M, D / 32, H, W]
        rows = self.rows(x.mean(3).flatten(1))
        none = rows.new_zeros(len(x), sum(self.classes) - rows.shape[1])
        return torch.cat((rows, none if self.column is None else self.column(x.mean(2).flatten(1))), 1)

    def decode(self, logits: Tensor) -> Tensor:
        """Likeliest place of each cut, in order: `[M, L]` -> `[M, cuts]`."""
        cuts = [one.argmax(1) for one in logits.split(self.classes, 1)]
        for cut in range(1, self.bands - 1):
            cuts[cut] = cuts[cut].maximum(cuts[cut - 1] + 1)
        return torch.stack(cuts, 1)

    def regions(self, cuts: Tensor) -> tuple[Tensor, Tensor]:
        """Masks `[M, n, H, W]` and boxes `[M, n, 4]` of cuts `[M, cuts]`."""
        H, W = self.size
        device = cuts.device
        band = (torch.arange(H, device=device) > cuts[:, : self.bands - 1, None]).sum(1)  # [M, H]
        down = (band[:, None] == torch.arange(self.bands, device=device)[:, None]).float()  # [M, bands, H]
        right = (torch.arange(W, device=device) > cuts[:, -1:]).float() if any(self.halved) else down.new_zeros(len(cuts), W)
        across = torch.stack((torch.ones_like(right), 1 - right, right), 1)  # [M, 3, W]: whole, left, right
        masks = down[:, self.band_of, :, None] * across[:, self.side_of, None]  # [M, n, H, W]
        heights, widths = down.mean(2), across.mean(2)  # [M, bands], [M, 3]
        tops = heights.cumsum(1) - heights
        lefts = torch.stack((torch.zeros_like(widths[:, 0]), torch.zeros_like(widths[:, 0]), widths[:, LEFT]), 1)
        edges = (tops[:, self.band_of], lefts[:, self.side_of], heights[:, self.band_of], widths[:, self.side_of])
        return masks, torch.stack(edges, 2)  # [M, n, 4]

    def _fixed(self, x: Tensor) -> Tensor:
        H, W = self.size
        cuts = [round(H * cut / self.bands) - 1 for cut in range(1, self.bands)] + [W // 2 - 1] * any(self.halved)
        return torch.tensor(cuts, device=x.device).expand(len(x), -1)


def cut_loss(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """L_k (5.11): cross-entropy of every cut, mean over the frames that have a label of it, then over the cuts.

    logits: `[M, sum(classes)]`; labels: `[M, cuts]`, `NO_CLASS` where the place is not known (no label at all gives 0)."""
    terms = []
    for one, label in zip(logits.float().split(list(classes), 1), labels.unbind(1), strict=True):
        total = F.cross_entropy(one, label, ignore_index=NO_CLASS, reduction="sum")
        terms.append(total / (label != NO_CLASS).sum().clamp_min(1))
    return torch.stack(terms).mean()
