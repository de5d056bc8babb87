"""NIR graphs (Neuromorphic Intermediate Representation, Pedersen et al., Nature Communications 2024) of the spiking parts of a network.

SpikingJelly's exchange knows convolutions, linear layers, average pooling, flattening, IF, LIF and PLIF neurons with hard reset, and sums.
What it does not know is brought into that form where that changes no spike: a BatchNorm becomes part of its convolution, and max
pooling of spikes, "did any of the nine fire?", an average followed by an IF neuron whose threshold half a spike exceeds.
"""

import copy
import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reidlib.exporting.needed import needed
from reidlib.files import write_atomically
from reidlib.models import ReidModel, spiking_layers
from reidlib.models.layers.spiking import IFNode, LIFNode
from reidlib.models.s3ce_net import S3CENet
from reidlib.models.sdcl import SDCL

TOLERANCE = 1e-3  # share of values of the last map that may differ: a rounding can carry a potential over the threshold
_COUNTERPARTS = (IFNode, LIFNode, neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)
_TIME_SCALE = 1e-4  # seconds per step where none are given, as SpikingJelly has it


@dataclass(frozen=True)
class NirExport:
    """What a NIR file holds of a network. expressed: module -> as what. left_out: module or step -> why not; computed by the reader.
    differing: share of the last map's values in which the graph, read back and run, differs from the network."""

    expressed: dict[str, str]
    left_out: dict[str, str]
    differing: float


def nir_parts(model: ReidModel, stages: int = 4) -> tuple[nn.Sequential, dict[str, str]]:
    """The chain of a network's modules that a NIR graph can hold, and what it leaves out (name -> why).

    S3CE-Net: stem and stages 1 to `stages`, up to the map before an SSAM that stands behind the last of them. SDCL: the spiking layers
    of the event branch. The chain takes `[T, B, 2, H, W]`. Raises ValueError, naming the module, for what makes the graph impossible: no
    spiking neuron, an SSAM between the stages, neurons without a counterpart."""
    if isinstance(model, S3CENet):
        chain, left_out = _stages(model, stages)
    elif isinstance(model, SDCL) and "events" in model.modalities:
        chain, left_out = _event_layers(model)
    else:
        raise ValueError(f"{type(model).__name__} has no spiking layers: NIR is for spiking networks, use to_onnx")
    if not spiking_layers(chain):
        raise ValueError(f"this {type(model).__name__} has ReLU in place of spiking neurons: NIR is for spiking networks, use to_onnx")
    for name, node in spiking_layers(chain).items():
        if type(node) not in _COUNTERPARTS:  # SpikingJelly's own subclasses compute something else
            raise ValueError(f"{name} is a {type(node).__name__}: NIR has IF and LIF neurons with binary spikes, no other fits")
        if node.v_reset is None:
            raise ValueError(f"{name} has a soft reset (subtracts the threshold): NIR neurons return to a fixed potential")
    return chain, left_out


def reachable_stages(model: ReidModel) -> int:
    """The last stage that a graph of this S3CE-Net can reach from its input; for other networks, where nothing is cut, 4."""
    return min(map(int, model.backbone.after), default=4) if isinstance(model, S3CENet) else 4


def _stages(model: S3CENet, stages: int) -> tuple[nn.Sequential, dict[str, str]]:
    backbone = model.backbone
    if not 1 <= stages <= len(backbone.stages):
        raise ValueError(f"stages = {stages}: this network has 1 to {len(backbone.stages)}")
    product = "SSAM multiplies spike trains (Q K^T V), and NIR has sums of signals only"
    between = [number for number in sorted(map(int, backbone.after)) if number < stages]
    if between:
        raise ValueError(f"backbone.after.{between[0]} stands between the stages: {product}. stages={between[0]} exports what lies before")
    stem = [(name, getattr(backbone, name)) for name in ("conv", "norm", "neuron", "pool")]
    chain = nn.Sequential(OrderedDict(stem + [(f"stage{i + 1}", backbone.stages[i]) for i in range(stages)]))
    left_out = {f"backbone.after.{number}": product for number in backbone.after}
    left_out |= {f"backbone.stages.{i}": f"lies behind stage {stages}" for i in range(stages, len(backbone.stages))}
    if model.pooling == "max":
        left_out["pooling over positions"] = "the maximum of sums of spikes is no sum of signals"
    else:
        left_out["pooling over positions"] = "belongs to the readout, beside the mean over steps"
    left_out["mean over steps"] = "NIR has no step that waits for the end of a clip"
    if model.embedding == "neck":
        left_out["neck.norm"] = "stands behind the mean over steps"
    return chain, left_out


def _event_layers(model: SDCL) -> tuple[nn.Sequential, dict[str, str]]:
    branch = model.event_branch
    chain = nn.Sequential(OrderedDict((f"spiking{i}", part) for i, part in enumerate(branch.spiking, start=1)))
    left_out = {f"event_branch.mappings.{i}": "where it looks depends on the events" for i in range(len(branch.mappings))}
    left_out["event_branch.encoder"] = "its units are ReLU, step by step without spikes"
    if "frames" in model.modalities:
        left_out |= {"frame_branch": "takes video frames, no spikes", "fusion": "products of frames and events"}
    return chain, left_out | {"head": "its units are ReLU, and its relations products of maps"}


def to_nir(model: ReidModel, path: str | Path, example: Tensor, stages: int = 4, dt: float = _TIME_SCALE) -> NirExport:
    """Write what NIR can hold of a spiking network, read the file back, run both on `example`, and say what is in it and what is not.

    example: event frames `[B, T, 2, H, W]`; the graph is for their size. stages: see `nir_parts`. dt: seconds per step, which NIR's time
    constants need (a clip's seconds / steps); `import_from_nir` of SpikingJelly must be given the same. Several edges into a node add up,
    the graph's output too.
    Raises ValueError as `nir_parts`, and where more than `TOLERANCE` of the last map's values differ (then no file is written);
    ModuleNotFoundError without nir and nirtorch."""
    for name in ("nir", "nirtorch"):
        needed(name, "writing NIR graphs")
    from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir

    if example.ndim != 5 or example.shape[2] != 2:
        raise ValueError(f"the example is {list(example.shape)}, not event frames [B, T, 2, H, W]")
    chain, left_out = nir_parts(model, stages)
    chain = copy.deepcopy(chain).cpu().eval()
    x = example.detach().cpu().transpose(0, 1).contiguous()  # [T, B, 2, H, W]
    converted, expressed = _converted(chain)
    differing = 0.0

    def write(temporary: Path) -> None:
        nonlocal differing
        export_to_nir(converted, x[:, :1], temporary, dt)
        back = import_from_nir(temporary, dt, step_mode="m").eval()
        with torch.no_grad():
            functional.reset_net(chain)
            *summands, _state = back(x)
            differing = float((chain(x) != sum(summands)).float().mean())
        if differing > TOLERANCE:
            raise ValueError(f"{path}: {100 * differing:.2g} % of the values differ between the network and its graph read back")

    write_atomically(Path(path), write)
    return NirExport(expressed, left_out, differing)


class _Tracer(fx.Tracer):
    """Down to single layers and neurons."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d | neuron.BaseNode)


def _converted(chain: nn.Sequential) -> tuple[fx.GraphModule, dict[str, str]]:
    """A copy in SpikingJelly's exportable modules, and what became of each module."""
    chain = copy.deepcopy(chain)
    graph = _Tracer().trace(chain)
    made, expressed = fx.GraphModule(chain, graph), {}
    for node in list(graph.nodes):
        if node.op != "call_module":
            continue
        module = made.get_submodule(node.target)
        if isinstance(module, nn.BatchNorm2d):
            conv = node.args[0]
            made.set_submodule(conv.target, fuse_conv_bn_eval(_convolution(made, conv.target), module))
            node.replace_all_uses_with(conv)
            graph.erase_node(node)
            expressed[node.target] = f"part of {conv.target}"
        elif isinstance(module, nn.MaxPool2d):
            made.set_submodule(node.target, _any_spike(module))
            expressed[node.target] = "AvgPool2d, IF"
        elif isinstance(module, neuron.BaseNode):
            made.set_submodule(node.target, _plain(module))
            expressed[node.target] = "IF" if isinstance(module, neuron.IFNode) else "LIF"
        else:
            expressed[node.target] = "Conv2d"
    made.recompile()
    return made, expressed


def _convolution(made: fx.GraphModule, name: str) -> nn.Conv2d:
    found = made.get_submodule(name)
    if not isinstance(found, nn.Conv2d):
        raise ValueError(f"{name} is a {type(found).__name__}: a BatchNorm behind anything but a convolution has no counterpart in NIR")
    return found


def _any_spike(pool: nn.MaxPool2d) -> nn.Sequential:
    """Max pooling of spikes 0 and 1: their average over the window, and a neuron that half of one spike makes fire."""
    average = layer.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, step_mode="m")
    area = pool.kernel_size**2 if isinstance(pool.kernel_size, int) else math.prod(pool.kernel_size)
    return nn.Sequential(average, neuron.IFNode(v_threshold=0.5 / area, v_reset=0.0, step_mode="m"))


def _plain(node: neuron.BaseNode) -> neuron.BaseNode:
    """SpikingJelly's own node in place of one derived from it, which its exchange does not recognise."""
    shared = {"v_threshold": node.v_threshold, "v_reset": node.v_reset, "step_mode": "m"}
    if isinstance(node, neuron.LIFNode):
        return neuron.LIFNode(tau=node.tau, decay_input=node.decay_input, **shared)
    return neuron.IFNode(**shared) if isinstance(node, neuron.IFNode) else node
