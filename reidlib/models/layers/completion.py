"""Region feature completion in space (SRFC) and in time (TRFC): what is hidden is guessed from other regions and other frames.

R. Hou's thesis, chapter 5 (equation numbers are the thesis'; "Feature Completion for Occluded Person Re-Identification", TPAMI 2021).
Our reading: for SRFC the layers that the text leaves open follow the released image network, whose parameter count is the published
one; of TRFC nothing was released.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ASSIGNMENTS = ("both", "appearance", "position")


def cosines(vectors: Tensor) -> Tensor:
    """Cosine of every two: `[M, N, c]` -> `[M, N, N]`."""
    unit = F.normalize(vectors.float(), dim=2)
    return unit @ unit.mT


def nearness(places: Tensor) -> Tensor:
    """ps (5.5), 1 - 2 * distance of two regions' places (y, x), shares of the map: `[M, N, 2]` -> `[M, N, N]`."""
    squared = (places[:, :, None] - places[:, None]).square().sum(3)
    return 1 - 2 * squared.sqrt()


def embedding(channels: int) -> nn.Sequential:
    """Linear map of vectors `[M, channels]`, BatchNorm, ReLU."""
    return nn.Sequential(nn.Linear(channels, channels, bias=False), nn.BatchNorm1d(channels), nn.ReLU(inplace=True))


def each(layers: nn.Module, vectors: Tensor) -> Tensor:
    """Layers for `[M, c]` applied to every vector of `[M, N, c]`."""
    return layers(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])


class SpatialCompletion(nn.Module):
    """SRFC: regions f `[M, N, c]` of M frames, with their boxes `[M, N, 4]`, -> completed regions o `[M, N, c]`.

    An encoder gathers the regions in K clusters (5.7), a decoder hands the clusters out again (5.8), o = f + z. How much of a region
    belongs to a cluster is told by what it looks like (5.2) and where it lies (5.4), averaged, or by one of them (SRFC-A, SRFC-P).
    assignment: "both", "appearance" or "position". embeddings: a linear map, BN and ReLU on clusters and on what is handed out; the text
    has none, but the published parameter count has both. places: a region lies where its "centre" is (the text), or its "corner" (what the
    release computes). similarity: whether the regularisers are the "sum" over pairs of regions (the text), or that over N ("mean", the
    release).
    """

    def __init__(
        self,
        channels: int,
        clusters: int = 3,
        assignment: str = "both",
        embeddings: bool = True,
        places: str = "centre",
        similarity: str = "sum",
    ):
        super().__init__()
        if assignment not in ASSIGNMENTS:
            raise ValueError(f"unknown assignment {assignment!r}; choose one of {', '.join(ASSIGNMENTS)}")
        if places not in ("centre", "corner"):
            raise ValueError(f"unknown places {places!r}; choose centre or corner")
        if similarity not in ("sum", "mean"):
            raise ValueError(f"unknown similarity {similarity!r}; choose sum or mean")
        if clusters < 2:
            raise ValueError(f"{clusters} clusters: with less than 2 every region is assigned alike")
        self.places, self.similarity = places, similarity
        self.appearance = nn.Linear(channels, clusters) if assignment != "position" else None
        self.position = None
        if assignment != "appearance":
            first = nn.Sequential(nn.Linear(4, channels, bias=False), nn.BatchNorm1d(channels), nn.ReLU(inplace=True))
            self.position = nn.Sequential(*first, nn.Linear(channels, clusters))
        self.encoded = embedding(channels) if embeddings else nn.Identity()
        self.decoded = embedding(channels) if embeddings else nn.Identity()

    def forward(self, f: Tensor, boxes: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        """`seen["similarity"]`: L_a + L_p of (5.3) and (5.6), mean over the frames."""
        S = self.assignments(f, boxes)
        if seen is not None:
            seen["similarity"] = self.regularisers(f, boxes, S)
        B = torch.stack(list(S.values())).mean(0)  # [M, N, K]; its rows sum to 1, which makes it the B of (5.8) as well
        A = B / B.sum(1, keepdim=True)
        clusters = each(self.encoded, A.mT @ f)  # [M, K, c]
        return f + each(self.decoded, B @ clusters)

    def assignments(self, f: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """S^A and S^P, `[M, N, K]` each."""
        S = {}
        if self.appearance is not None:
            S["appearance"] = self.appearance(f).softmax(2)
        if self.position is not None:
            L = torch.cat((self.placed(boxes), boxes[:, :, 2:]), 2).to(f.dtype)  # [M, N, 4]
            S["position"] = each(self.position, L).softmax(2)
        return S

    def placed(self, boxes: Tensor) -> Tensor:
        """Place (y, x) of every region: `[M, N, 4]` -> `[M, N, 2]`."""
        return boxes[:, :, :2] + (boxes[:, :, 2:] / 2 if self.places == "centre" else 0)

    def regularisers(self, f: Tensor, boxes: Tensor, S: dict[str, Tensor]) -> Tensor:
        """L_a + L_p: regions that look alike, and regions that lie near each other, are to be assigned alike."""
        targets = {"appearance": lambda: cosines(f), "position": lambda: nearness(self.placed(boxes).float())}
        terms = [(cosines(assigned) - targets[name]()).abs().sum((1, 2)).mean() for name, assigned in S.items()]
        total = reduce(torch.add, terms)
        return total / f.shape[1] if self.similarity == "mean" else total


class TemporalCompletion(nn.Module):
    """TRFC: regions o `[B, T, N, c]` -> completed regions e of the same shape, every region by itself (our reading).

    What a region looks like in the other frames, weighted by how alike they are (5.9), and a gate between that and the region itself
    (5.10). The gate is a single number per region: the published parameter count leaves no room for more. A lone frame has nothing
    to be completed from and stays as it is.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gate = nn.Linear(channels, 1)

    def forward(self, o: Tensor) -> Tensor:
        T = o.shape[1]
        if T == 1:
            return o
        regions = o.transpose(1, 2)  # [B, N, T, c]
        single = regions.float()  # the products are not scaled: too large for half precision
        own = torch.eye(T, dtype=torch.bool, device=o.device)
        weights = (single @ single.mT).masked_fill(own, -torch.inf).softmax(3).to(o.dtype)  # [B, N, T, T]
        others = (weights @ regions).transpose(1, 2)  # [B, T, N, c]
        gate = self.gate(o).sigmoid()  # [B, T, N, 1]
        return gate * o + (1 - gate) * others
