"""Spiking neurons by name, and small helpers around SpikingJelly's state handling."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from reidlib.models.layers import fused_neuron

NEURONS = ("lif", "if", "plif", "ilif", "relu")


@dataclass(frozen=True)
class NeuronSettings:
    """Which neuron a network is built of.

    kind: "lif", "if", "plif" (LIF with a learned decay), "ilif" (integer-valued LIF, Luo et al., ECCV 2024: up to `levels` spikes
    a step, counted one by one in the energy), or "relu" (no spikes: the analogue twin).
    tau: membrane time constant in steps. threshold: firing threshold. soft_reset: subtract the threshold instead of returning to 0.
    decay_input: the input is scaled by 1/tau as well. alpha: steepness of the ATan surrogate gradient, smaller is wider.
    detach_reset: no gradient through the reset.
    """

    kind: str = "lif"
    tau: float = 2.0
    threshold: float = 1.0
    soft_reset: bool = False
    decay_input: bool = True
    alpha: float = 2.0
    detach_reset: bool = True
    levels: int = 4

    def __post_init__(self) -> None:
        for name in ("tau", "threshold", "alpha"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.kind not in NEURONS:
            raise ValueError(f"unknown neuron {self.kind!r}; choose one of {', '.join(NEURONS)}")
        if not self.tau > 1:
            raise ValueError(f"tau = {self.tau}: a leaky neuron needs tau > 1 (use kind='if' for no leak)")
        if not (self.threshold > 0 and self.alpha > 0 and self.levels >= 1):
            raise ValueError(f"threshold {self.threshold}, alpha {self.alpha} and levels {self.levels} must be positive")

    def build(self) -> nn.Module:
        """A fresh neuron layer for `[T, B, ...]` tensors."""
        if self.kind == "relu":
            return nn.ReLU()
        if self.kind == "ilif":
            count = surrogate.MultiLevelSpikeCount(self.levels)
            return neuron.ILIFNode(self.tau, self.threshold, count, detach_reset=self.detach_reset, step_mode="m")
        shared = {
            "v_threshold": self.threshold,
            "v_reset": None if self.soft_reset else 0.0,
            "surrogate_function": surrogate.ATan(self.alpha),
            "detach_reset": self.detach_reset,
            "step_mode": "m",
        }
        if self.kind == "if":
            return IFNode(**shared)
        if self.kind == "plif":
            return neuron.ParametricLIFNode(init_tau=self.tau, decay_input=self.decay_input, **shared)
        return LIFNode(tau=self.tau, decay_input=self.decay_input, **shared)


class _Fused(neuron.BaseNode):
    """Adds the one-pass CPU kernel to a SpikingJelly node; anything the kernel does not cover goes SpikingJelly's way."""

    v: Tensor | float  # the potential; a number before the first input

    def _constants(self) -> tuple[float, float]:
        raise NotImplementedError

    def multi_step_forward(self, x_seq: Tensor, *args: object, **kwargs: object) -> Tensor:
        fresh = not torch.is_tensor(self.v)  # no state carried over from an earlier call
        plain = isinstance(self.surrogate_function, surrogate.ATan) and self._neuron_precision is None
        if not (fresh and plain and fused_neuron.supports(x_seq)) or self.store_v_seq:
            return super().multi_step_forward(x_seq, *args, **kwargs)
        keep, gain = self._constants()
        soft, reset = self.v_reset is None, self.v_reset or 0.0
        alpha = self.surrogate_function.alpha
        spikes, self.v = fused_neuron.FusedNeuron.apply(x_seq, keep, gain, self.v_threshold, reset, soft, self.detach_reset, alpha)
        return spikes


class IFNode(_Fused, neuron.IFNode):
    """SpikingJelly's integrate-and-fire node with a fused CPU path (no gradient flows from one call to the next)."""

    def _constants(self) -> tuple[float, float]:
        return 1.0, 1.0


class LIFNode(_Fused, neuron.LIFNode):
    """SpikingJelly's leaky node with a fused CPU path (no gradient flows from one call to the next)."""

    def _constants(self) -> tuple[float, float]:
        return 1.0 - 1.0 / self.tau, 1.0 / self.tau if self.decay_input else 1.0


def spiking_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The neuron layers of a network by dotted name, in forward order of definition."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, neuron.BaseNode)}


def reset_state(module: nn.Module) -> None:
    """Forget all membrane potentials, so that a forward never depends on the one before."""
    functional.reset_net(module)


def record_firing_rates(module: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """Mean spikes per neuron and step of every spiking layer while `run()` executes (0: silent, 1: always on).

    Averaged over all calls made during `run`.
    """
    sums: dict[str, list[float]] = {}
    handles = []
    for name, layer in spiking_layers(module).items():
        sums[name] = []
        handles.append(layer.register_forward_hook(lambda _m, _i, out, name=name: sums[name].append(float(out.detach().mean()))))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return {name: sum(values) / len(values) for name, values in sums.items() if values}
