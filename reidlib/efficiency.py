"""What a model costs: parameters, operations, energy estimate, latency, throughput, memory of a training step.

Operations are counted in one real forward pass with SpikingJelly's `DispatchCounterMode`, so products without a module, such
as the attention's Q (K^T V), are seen as well. Our own counter differs from SpikingJelly's in one point. There, an operand with
any value but 0 and 1 makes the whole product multiply-accumulates. The sums of spikes that SEW blocks (connection ADD) and
attention residuals pass on are small integers, though: k arrives as k spikes and costs k accumulates. Where every operand is binary
or real the two agree exactly (tested; SpikingJelly's figure stands beside ours).
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch import Tensor, nn

from reidlib.counting import ProductCounter, missed_products
from reidlib.models.layers.heads import ReidOutput

PJ_PER_MAC, PJ_PER_AC = 4.6, 0.9  # 45 nm, 32-bit floating point: Horowitz, ISSCC 2014
COLUMNS = ["layer", "operation", "operand", "calls", "dense", "macs", "acs", "activity", "energy_mj"]


@dataclass(frozen=True)
class Operations:
    """Counts of one forward pass; divide by the batch size for one sample.

    table: a row per layer, operation and kind of operand, in order of execution. `operand`: "spikes" (all 0 or 1), "counts" (whole
    numbers, not negative) or "real". dense: multiply-accumulates without any sparsity. macs: those of real operands. acs: accumulates
    driven by spikes, i.e. synaptic operations. activity = acs / dense. energy_mj: millijoules.
    synops_spikingjelly: SpikingJelly's own count, lower than `acs` by the share of the "counts" operands.
    """

    table: pd.DataFrame
    synops_spikingjelly: int

    @property
    def totals(self) -> dict[str, float]:
        sums = {name: int(self.table[name].sum()) for name in ("dense", "macs", "acs")}
        energy = energy_mj(sums["macs"], sums["acs"])
        return {**sums, "synops": sums["acs"], "energy_mj": energy, "synops_spikingjelly": self.synops_spikingjelly}


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass; `median` is typical, `minimum` least disturbed by other work on the machine."""

    median: float
    minimum: float
    repeats: int


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that one training step needs.

    activations: tensors kept for the backward pass at their peak (parameters, buffers and the input left out; each storage once).
    device_peak: most memory the GPU allocated during the step beyond what it held before; None on a CPU.
    """

    activations: int
    parameters: int
    gradients: int
    device_peak: int | None

    @property
    def total(self) -> int:
        """parameters + gradients + activations; temporary buffers inside an operation are not in it."""
        return self.activations + self.parameters + self.gradients


def count_parameters(model: nn.Module, trainable_only: bool = False) -> int:
    """Number of parameters, shared ones once; buffers (running statistics) are not parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not trainable_only)


def energy_mj(macs: int, acs: int) -> float:
    """Energy estimate in millijoules, the field's convention: 4.6 pJ per multiply-accumulate, 0.9 pJ per accumulate. No memory traffic."""
    return (macs * PJ_PER_MAC + acs * PJ_PER_AC) * 1e-9


def operations(model: nn.Module, inputs: dict[str, Tensor]) -> Operations:
    """Count the operations of `model(**inputs)` in evaluation mode.

    Counted are products: convolutions, linear layers, matrix products. By the field's custom, batch normalisation (folded into
    the layer before), additions, pooling and the neurons' own updates are not.
    A product driven by spikes costs one accumulate per spike and weight it meets (borders of a convolution are exact), k for a count of k,
    and where both sides are spikes one per coincidence; event frames of raw counts are such an input too, scaled ones are real.
    An event deformable mapping is counted by its definition, a kernel tap for every position with events and neighbour that it sees
    (`dense`: nine at every position), not by the products that share work between positions; of a deformable attention the weighted
    sum over points is counted, its interpolation is not.
    Raises NotImplementedError when the model runs a product that no rule covers.
    """
    counter, reference = ProductCounter(model), SynOpCounter()
    with _evaluating(model), counter.watching(), DispatchCounterMode([counter, reference]) as mode:
        model(**inputs)
    if missed := missed_products(mode.get_unsupported(counter)):
        raise NotImplementedError(f"no counting rule for {', '.join(missed)}; add one in reidlib/counting.py")
    rows = []
    for (layer, operation, operand), (calls, dense, macs, acs) in counter.rows.items():
        rows.append((layer, operation, operand, calls, dense, macs, acs, acs / dense if dense else 0.0, energy_mj(macs, acs)))
    return Operations(pd.DataFrame(rows, columns=COLUMNS), reference.get_total())


def latency(model: nn.Module, inputs: dict[str, Tensor], repeats: int = 10, warmup: int = 2) -> Latency:
    """Time `model(**inputs)` in evaluation mode, after `warmup` untimed calls. On a GPU each call is awaited."""
    if repeats < 1:
        raise ValueError(f"repeats={repeats} must be at least 1")
    device = _device(model, inputs)
    seconds = []
    with _evaluating(model):
        for call in range(warmup + repeats):
            start = time.perf_counter()
            model(**inputs)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if call >= warmup:
                seconds.append(time.perf_counter() - start)
    return Latency(statistics.median(seconds), min(seconds), repeats)


def throughput(model: nn.Module, inputs: dict[str, Tensor], repeats: int = 10) -> float:
    """Samples per second: batch size (first axis of the inputs) / median latency."""
    return len(next(iter(inputs.values()))) / latency(model, inputs, repeats).median


def peak_memory_of_training_step(
    model: nn.Module, inputs: dict[str, Tensor], loss: Callable[[Any], Tensor] | None = None
) -> TrainingMemory:
    """Memory of one forward and backward pass in training mode; the model's weights, gradients and statistics are left as they were.

    loss: function of the model's output that gives a scalar; default: the mean over everything the output holds. The count of kept
    activations is exact and repeatable; the GPU's own counter is read beside it where the model lives on one.
    """
    device = _device(model, inputs)
    on_gpu = device.type == "cuda"
    fixed = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers(), *inputs.values())}
    with _unchanged(model, device):
        model.train()
        if on_gpu:
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        ledger = _Ledger(fixed)
        keep = torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Saved(tensor, ledger), lambda saved: saved.tensor)
        with torch.enable_grad(), keep:
            (loss or _mean_of_everything)(model(**inputs)).backward()
        device_peak = torch.cuda.max_memory_allocated(device) - before if on_gpu else None
        gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    return TrainingMemory(ledger.peak, parameters, gradients, device_peak)


# Memory bookkeeping.


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@dataclass
class _Ledger:
    """Bytes of the distinct storages kept for the backward pass, now and at the peak."""

    fixed: set[int]
    users: dict[int, int] = field(default_factory=dict)
    live: int = 0
    peak: int = 0


class _Saved:
    """A tensor kept for the backward pass; autograd drops this object when it no longer needs it."""

    def __init__(self, tensor: Tensor, ledger: _Ledger) -> None:
        self.tensor, self.ledger, self.key = tensor.detach(), ledger, _storage(tensor)
        users = ledger.users.get(self.key, 0)
        ledger.users[self.key] = users + 1
        if not users and self.key not in ledger.fixed:
            ledger.live += tensor.untyped_storage().nbytes()
            ledger.peak = max(ledger.peak, ledger.live)

    def __del__(self) -> None:
        self.ledger.users[self.key] -= 1
        if not self.ledger.users[self.key] and self.key not in self.ledger.fixed:
            self.ledger.live -= self.tensor.untyped_storage().nbytes()


def _mean_of_everything(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output.mean()
    if not isinstance(output, ReidOutput):
        raise TypeError(f"the model returned {type(output).__name__}; pass loss=function(output) that makes a scalar of it")
    means = [tensor.mean() for tensor in (*output.features, *output.logits, *output.losses.values())]
    return sum(means[1:], start=means[0])


def _device(model: nn.Module, inputs: Mapping[str, Tensor]) -> torch.device:
    return next((tensor.device for tensor in (*model.parameters(), *inputs.values())), torch.device("cpu"))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Give back parameters' gradients, buffers, modes and the random state as they were."""
    modes = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    for parameter in gradients:
        parameter.grad = None
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers.items():
                buffer.copy_(value)
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        for module, mode in modes.items():
            module.training = mode
