"""Reading a map between its positions: displacements to places, places to bilinear values."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sampling_places(shifts: Tensor) -> Tensor:
    """Displacements (dy, dx) of every position, `[..., 2, H, W]` -> the places (y, x) they lead to; (0, 0) is the first position."""
    H, W = shifts.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H, device=shifts.device), torch.arange(W, device=shifts.device), indexing="ij")
    return shifts + torch.stack((y, x))


def sample(maps: Tensor, places: Tensor) -> Tensor:
    """Maps `[N, C, H, W]` at P places of every position `[N, P, 2, H, W]` -> `[N, C, P, H, W]`; bilinear, zero outside the map."""
    N, P, _, H, W = places.shape
    size = places.new_tensor([H, W])[:, None, None]
    grid = ((2 * places + 1) / size - 1).flip(2)  # -1 and 1 are the outer borders; grid_sample wants (x, y)
    grid = grid.permute(0, 1, 3, 4, 2).reshape(N, P * H, W, 2)
    return F.grid_sample(maps, grid, align_corners=False).unflatten(2, (P, H))
