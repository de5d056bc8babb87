"""What the two branches of BiCnet give each other: details for the small frames (CSP), and small frames that look elsewhere (DAO).

R. Hou's thesis, chapter 6, and R. Hou et al., "BiCnet-TKS: Learning Efficient Spatial-Temporal Representation for Video Person
Re-Identification", CVPR 2021 (equation numbers are the thesis'). Our reading. A clip is M groups of a big frame and `alpha` small ones.
"""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.containers import ListOf
from reidlib.models.layers.spiking_resnet import initialise

AREAS = ("positions", "stripes")


class CrossScale(nn.Module):
    """CSP (6.2): big maps `[B, M, C, h, w]` -> what is added to the small ones `[B, M * alpha, C, h / 2, w / 2]`.

    2x2 maximum, then a 1x1 convolution whose j-th group of C channels goes to the j-th small frame behind the big one."""

    def __init__(self, channels: int, alpha: int):
        super().__init__()
        self.alpha = alpha
        self.spread = nn.Conv2d(channels, alpha * channels, 1, bias=False)
        initialise(self)

    def forward(self, big: Tensor) -> Tensor:
        B, M, C, _, _ = big.shape
        x = self.spread(F.max_pool2d(big.flatten(0, 1), 2))  # [BM, alpha C, h/2, w/2]
        return x.reshape(B, M * self.alpha, C, *x.shape[2:])


def divergence(logs: Tensor) -> Tensor:
    """L_div, (6.4) and (6.5) as released: logarithms of attentions `[N, K, P]`, K >= 2 that each sum to 1 over P places -> mean over N.

    Mean over pairs k < l of |[sqrt a_k; sqrt a_l] [sqrt a_k; sqrt a_l]^T - I|_F / 4, which is sqrt(2) / 4 times the Bhattacharyya
    coefficient sum_i sqrt(a_k,i a_l,i): 0 where the two look at different places. Logarithms keep the root's gradient finite.
    """
    pairs = list(combinations(range(logs.shape[1]), 2))
    alike = [((logs[:, k] + logs[:, l]) / 2).exp().sum(1) for k, l in pairs]  # [N] each
    return 2**0.5 / 4 * torch.stack(alike).mean()


class DiverseAttention(nn.Module):
    """DAO (6.3): every frame gets the mean of its own features under an attention, the small frames of a group under different ones.

    Big maps `[B, M, C, h, w]` and small ones `[B, M * alpha, C, h / 2, w / 2]` -> the same two. At first it changes nothing: the pooled
    vectors pass a BatchNorm of weight 0, one for the big frames and one for each place in the group. The first small frame, and the big
    one (of which the text says nothing; the release's way), attend by the softmax of their mean over channels; the others by a
    map of one channel, a learned linear map over all areas, BN and a softmax.
    size: (h / 2, w / 2). areas: what is attended to, all "positions" of the map (the text) or "stripes" of full width, as many as
    a small map has rows (the release).
    `seen`: `attention_big` `[B, M, P, Q]` and `attention_small` `[B, M * alpha, P, Q]`, P x Q areas of the map, Q = 1 for stripes;
    `divergence`, see there (the first small frame is not to give way: its attention is constant in it), where alpha is 2 or more.
    """

    def __init__(self, channels: int, alpha: int, size: tuple[int, int], areas: str = "positions"):
        super().__init__()
        if areas not in AREAS:
            raise ValueError(f"unknown areas {areas!r}; choose one of {', '.join(AREAS)}")
        self.alpha, self.size, self.areas = alpha, tuple(size), areas
        places = size[0] if areas == "stripes" else size[0] * size[1]
        self.embed = nn.ModuleList(nn.Conv1d(channels, 1, 1, bias=False) for _ in range(alpha - 1))
        self.place = nn.ModuleList(nn.Sequential(nn.Linear(places, places, bias=False), nn.BatchNorm1d(places)) for _ in range(alpha - 1))
        self.norms: ListOf[nn.BatchNorm1d] = ListOf(
            nn.BatchNorm1d(channels) for _ in range(alpha + 1)
        )  # of the big frame, then of the small ones
        for norm in self.norms:
            nn.init.zeros_(norm.weight)

    def forward(self, big: Tensor, small: Tensor, seen: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        B, M = big.shape[:2]
        groups = small.unflatten(1, (M, self.alpha)).flatten(0, 1)  # [BM, alpha, C, h/2, w/2]
        frames = [big.flatten(0, 1), *groups.unbind(1)]  # [BM, C, h, w], then [BM, C, h/2, w/2] each
        regions = [self._areas(frame) for frame in frames]  # [BM, C, P] each
        logs = [self._attention(k, region) for k, region in enumerate(regions)]  # [BM, P] each
        vectors = [(region @ log.exp().to(region.dtype)[:, :, None])[:, :, 0] for region, log in zip(regions, logs, strict=True)]
        added = [x + norm(v)[:, :, None, None] for x, norm, v in zip(frames, self.norms, vectors, strict=True)]
        if seen is not None:
            seen["attention_big"] = logs[0].exp().reshape(B, M, -1, 1 if self.areas == "stripes" else big.shape[4])
            small_logs = torch.stack(logs[1:], 1)  # [BM, alpha, P]
            seen["attention_small"] = small_logs.exp().reshape(B, M * self.alpha, self.size[0], -1)
            if self.alpha > 1:
                seen["divergence"] = divergence(torch.cat((small_logs[:, :1].detach(), small_logs[:, 1:]), 1))
        return added[0].unflatten(0, (B, M)), torch.stack(added[1:], 1).reshape_as(small)

    def _areas(self, x: Tensor) -> Tensor:
        """Features of the areas: `[N, C, h, w]` -> `[N, C, P]`."""
        return x.flatten(2) if self.areas == "positions" else F.adaptive_avg_pool2d(x, (self.size[0], 1)).flatten(2)

    def _attention(self, k: int, areas: Tensor) -> Tensor:
        """Logarithm of the k-th attention, 0 for the big frame's: `[N, C, P]` -> `[N, P]`."""
        logits = areas.mean(1) if k < 2 else self.place[k - 2](self.embed[k - 2](areas)[:, 0])
        return logits.float().log_softmax(1)
