"""Re-identification systems by name: `build_model(name, num_classes, **options)`."""

from collections.abc import Callable
from typing import Any

from reidlib.models.bicnet_tks import BiCnetTKS
from reidlib.models.frame_resnet import FrameResNet, resnet50
from reidlib.models.ianet import IANet
from reidlib.models.layers.heads import ReidModel, ReidOutput
from reidlib.models.layers.memory_order import channels_last
from reidlib.models.layers.spiking import NeuronSettings, record_firing_rates, spiking_layers
from reidlib.models.psta import PSTA
from reidlib.models.rfcnet import RFCnet
from reidlib.models.s3ce_net import S3CENet, SamplingSettings, resnet18_events, sew_resnet18
from reidlib.models.sdcl import SDCL
from reidlib.models.tclnet import TCLNet
from reidlib.models.vrstc import VRSTC

__all__ = [
    "MODELS",
    "SUPERVISED",
    "NeuronSettings",
    "ReidModel",
    "ReidOutput",
    "SamplingSettings",
    "build_model",
    "record_firing_rates",
    "spiking_layers",
]

MODELS: dict[str, Callable[..., ReidModel]] = {
    "s3ce_net": S3CENet,
    "sew_resnet18": sew_resnet18,
    "resnet18_events": resnet18_events,
    "sdcl": SDCL,
    "psta": PSTA,
    "resnet50": resnet50,
    "resnet_frames": FrameResNet,
    "ianet": IANet,
    "tclnet": TCLNet,
    "rfcnet": RFCnet,
    "bicnet_tks": BiCnetTKS,
    "vrstc": VRSTC,
}


#: Models whose training can learn from labels of body parts; one that will has `supervised` True and takes `parts`, `[B, T, H, W]`.
SUPERVISED = ("ianet", "tclnet", "rfcnet")


def build_model(name: str, num_classes: int, **options: Any) -> ReidModel:
    """Build a system for `num_classes` training identities.

    `model.modalities` says what it takes; `model(events=[B, T, 2, H, W], frames=[B, T, 3, H, W])`, given just those, returns `[B, D]`
    embeddings in `eval` mode and a `ReidOutput` in `train` mode. `options` are the system's own (see its class).
    `neuron` and `sampling` may be given as plain dicts. Raises ValueError for an unknown name or fewer than two identities.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    if num_classes < 2:
        raise ValueError(f"{num_classes} training identities: a re-identification model needs at least 2")
    if isinstance(options.get("neuron"), dict):
        options["neuron"] = NeuronSettings(**options["neuron"])
    if isinstance(options.get("sampling"), dict):
        options["sampling"] = SamplingSettings(**options["sampling"])
    return channels_last(MODELS[name](num_classes, **options))
