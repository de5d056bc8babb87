"""SDCL's event branch: spiking layers, event deformable mappings, and a strided encoder to the frames' map size."""

from itertools import pairwise

from spikingjelly.activation_based import layer
from spikingjelly.activation_based.functional import set_step_mode
from torch import Tensor, nn

from reidlib.models.layers.containers import ListOf
from reidlib.models.layers.event_mapping import EventMapping, to_maps, to_rows
from reidlib.models.layers.nearest_events import find_nearest
from reidlib.models.layers.spiking import NeuronSettings, reset_state
from reidlib.models.layers.spiking_resnet import initialise
from reidlib.models.layers.stam import unit


class EventBranch(nn.Module):
    """Event frames `[B, T, 2, H, W]` -> maps `[B, T, channels, H / 16, W / 16]`.

    spiking: 1 to 4 layers of 3x3 convolution, BN and neurons of `width` channels, the steps being the T event frames. mappings: 0 to
    4 event deformable mappings (`offsets`, `outside`: see `EventMapping`). Both work at the events' full resolution; then
    four 3x3 convolutions of stride 2 and a 1x1 convolution lead to the frames' map (our reading of "3D voxel to 2D map").
    """

    def __init__(
        self,
        channels: int,
        width: int,
        neuron: NeuronSettings,
        spiking: int = 2,
        mappings: int = 3,
        offsets: str = "nearest",
        outside: str = "zero",
    ):
        super().__init__()
        if not 1 <= spiking <= 4 or not 0 <= mappings <= 4:
            raise ValueError(f"{spiking} spiking layers and {mappings} event mappings: there are 1 to 4 and 0 to 4 of them")
        if channels % 16 or width < 1:
            raise ValueError(f"an event branch needs a multiple of 16 channels at its end, not {channels}, and width >= 1, not {width}")
        self.spiking = nn.ModuleList(_spiking_layer(2 if i == 0 else width, width, neuron) for i in range(spiking))
        self.mappings: ListOf[EventMapping] = ListOf(EventMapping(width, offsets, outside) for _ in range(mappings))
        sizes = [width, *(channels // 2**i for i in (4, 3, 2, 1))]
        self.encoder = nn.Sequential(*(unit(a, b, kernel=3, stride=2) for a, b in pairwise(sizes)), unit(sizes[-1], channels))
        initialise(self.spiking)
        initialise(self.encoder)
        set_step_mode(self.spiking, "m")

    def forward(self, events: Tensor, seen: dict[str, Tensor] | None = None, offsets: dict[str, Tensor] | None = None) -> Tensor:
        """seen, offsets: where given, they receive the maps after each layer, `spiking1` ... `mapping1` ... `[B, T, C, H, W]`, and the
        offsets of each mapping, `[B, T, 9, 2, H, W]`."""
        B, T = events.shape[:2]
        reset_state(self.spiking)
        x = events.transpose(0, 1)  # [T, B, 2, H, W]
        for i, spiking in enumerate(self.spiking, start=1):
            x = spiking(x)  # [T, B, C, H, W]
            _keep(seen, f"spiking{i}", x)
        x = x.flatten(0, 1)  # [TB, C, H, W]
        if self.mappings:
            x = self._map_events(x, events[:, :, 0].logical_or(events[:, :, 1]).transpose(0, 1), seen, offsets)
        x = self.encoder(x)  # [TB, channels, H/16, W/16]
        return x.unflatten(0, (T, B)).transpose(0, 1)

    def _map_events(self, x: Tensor, mask: Tensor, seen: dict | None, offsets: dict | None) -> Tensor:
        """Maps `[TB, C, H, W]` and a mask of positions with events `[T, B, H, W]` -> mapped maps `[TB, C, H, W]`."""
        nearest = find_nearest(mask.flatten(0, 1))
        places = self.mappings[0].places(nearest)
        rows = to_rows(x, places)  # [R, C]
        for i, mapping in enumerate(self.mappings, start=1):
            if offsets is not None:
                _keep(offsets, f"mapping{i}", mapping.offsets(rows, nearest).unflatten(0, mask.shape[:2]))
            rows = mapping(rows, nearest)
            if seen is not None:
                _keep(seen, f"mapping{i}", to_maps(rows, tuple(nearest.mask.shape), places).unflatten(0, mask.shape[:2]))
        return to_maps(rows, tuple(nearest.mask.shape), places).contiguous()


def _spiking_layer(source: int, channels: int, neuron: NeuronSettings) -> nn.Sequential:
    return nn.Sequential(layer.Conv2d(source, channels, 3, padding=1, bias=False), layer.BatchNorm2d(channels), neuron.build())


def _keep(seen: dict | None, name: str, x: Tensor) -> None:
    """Store what is `[T, B, ...]` as `[B, T, ...]`."""
    if seen is not None:
        seen[name] = x.transpose(0, 1)
