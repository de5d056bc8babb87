"""The older interaction-aggregation block, of pictures: positions (SIA), then channels (CIA).

R. Hou et al., "Interaction-and-Aggregation Network for Person Re-identification", CVPR 2019, in the form of the authors' release
(specification, section 1.6). Our reading.
"""

import torch
from torch import Tensor, nn

from reidlib.models.layers.interaction import mix_rows
from reidlib.models.layers.precision import single_precision

SPREAD = 0.625  # alpha as a share of the map: 20 of 32 rows and 10 of 16 columns after stage 2, 10 of 16 and 5 of 8 after stage 3


def location_map(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """S^l `[HW, HW]`: softmax over each row of -(dx^2 / 2 alpha_x^2 + dy^2 / 2 alpha_y^2), distances in positions."""
    y, x = torch.arange(height, device=device) / (SPREAD * height), torch.arange(width, device=device) / (SPREAD * width)
    places = torch.cartesian_prod(y, x)  # [HW, 2]
    return (-(places[:, None] - places).square().sum(-1) / 2).softmax(-1)


class ImageInteraction(nn.Module):
    """Every frame by itself, `[B, T, C, H, W]` -> the same shape; two BatchNorms are all its parameters.

    SIA: softmax(S^a * S^l) gathers for each position what lies near and looks alike, S^a = softmax(X^T X / sqrt(C)). A softmax of such
    small products is close to a plain mean. CIA: `mix_rows` of the frame's channels. Both are added through a BatchNorm of weight 0.
    SIA stands first, which is our reading: the specification names no order.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.spatial_norm, self.channel_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.spatial_norm.weight)
        nn.init.zeros_(self.channel_norm.weight)

    def forward(self, x: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        B, T, C, H, W = x.shape
        maps = x.flatten(0, 1)  # [BT, C, H, W]
        maps = maps + self.spatial_norm(self._near_and_alike(maps))
        maps = maps + self.channel_norm(mix_rows(maps.flatten(2)).reshape_as(maps))
        return maps.reshape(B, T, C, H, W)

    @staticmethod
    def _near_and_alike(maps: Tensor) -> Tensor:
        C, H, W = maps.shape[1:]
        with single_precision(maps.device):
            rows = maps.flatten(2).float()  # [BT, C, HW]
            alike = (rows.mT @ rows / C**0.5).softmax(-1)  # [BT, HW, HW]
            weights = (alike * location_map(H, W, maps.device)).softmax(-1)  # [BT, HW, HW]
            return (rows @ weights.mT).reshape_as(maps).to(maps.dtype)
