"""The Non-local block: every position of a clip looks at every position of all its frames."""

from torch import Tensor, nn


class NonLocal(nn.Module):
    """Maps `[B, T, C, H, W]` -> the same shape: x + BN(W y), y_i = sum_j softmax_j(theta(x_i) . phi(x_j)) g(x_j).

    Wang et al., "Non-local Neural Networks", CVPR 2018, embedded Gaussian, half the channels inside. Biases are left out: softmax and
    BN cancel all but one. scale: initial weight of the BN; 0, the source's, leaves a pretrained network as it was at first.
    `seen["non_local"]`: how much all positions together look at each one, `[B, T, H, W]` of sum 1.
    """

    def __init__(self, channels: int, scale: float = 0.0):
        super().__init__()
        inner = max(1, channels // 2)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        norm = nn.BatchNorm2d(channels)
        nn.init.constant_(norm.weight, scale)
        self.extend = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), norm)

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        B, T, _, H, W = x.shape
        flat = x.flatten(0, 1)  # [BT, C, H, W]
        query, key, value = (_positions(part(flat), B) for part in (self.theta, self.phi, self.g))
        weights = (query @ key.mT).softmax(-1)  # [B, THW, THW]
        y = (weights @ value).unflatten(1, (T, H, W)).permute(0, 1, 4, 2, 3).flatten(0, 1)  # [BT, C/2, H, W]
        if seen is not None:
            seen["non_local"] = weights.mean(1).unflatten(1, (T, H, W))
        return x + self.extend(y).unflatten(0, (B, T))


def _positions(maps: Tensor, B: int) -> Tensor:
    """`[BT, C, H, W]` -> `[B, THW, C]`."""
    return maps.unflatten(0, (B, -1)).permute(0, 1, 3, 4, 2).flatten(1, 3)
