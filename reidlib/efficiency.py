"""What a model costs: parameters, operations, energy estimate, latency, throughput, memory of a training step.

Operations are counted in one real forward pass with SpikingJelly's `DispatchCounterMode`, so products without a module, such
as the attention's Q (K^T V), are seen as well. Our own counter differs from SpikingJelly's in one point. There, an operand with
any value but 0 and 1 makes the whole product multiply-accumulates. The sums of spikes that SEW blocks (connection ADD) and
attention residuals pass on are small integers, though: k arrives as k spikes and costs k accumulates. Where every operand is binary
or real the two agree exactly (tested; SpikingJelly's figure stands beside ours).
"""

import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd
import torch
from spikingjelly.activation_based.op_counter import BaseCounter, DispatchCounterMode, SynOpCounter
from torch import Tensor, nn

PJ_PER_MAC, PJ_PER_AC = 4.6, 0.9  # 45 nm, 32-bit floating point: Horowitz, ISSCC 2014
COLUMNS = ["layer", "operation", "operand", "calls", "dense", "macs", "acs", "activity", "energy_mj"]
aten = torch.ops.aten


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
    Raises NotImplementedError when the model runs a product that no rule covers.
    """
    counter, reference = _ProductCounter(), SynOpCounter()
    with _evaluating(model), DispatchCounterMode([counter, reference]) as mode:
        model(**inputs)
    missed = [name for name in mode.get_unsupported(counter) if any(word in name for word in _PRODUCT_WORDS)]
    if missed:
        raise NotImplementedError(f"no counting rule for {', '.join(sorted(missed))}; add one in reidlib/efficiency.py")
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


def peak_memory_of_training_step(model: nn.Module, inputs: dict[str, Tensor], loss=None) -> TrainingMemory:
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


# Counting rules. Each gives (kind of operand, dense, macs, acs).


def _kind(x: Tensor) -> str:
    if x.dtype == torch.bool or bool(((x == 0) | (x == 1)).all()):
        return "spikes"
    return "counts" if bool(((x >= 0) & (x == x.round())).all()) else "real"


def _total(x: Tensor) -> int:
    return int(x.sum(dtype=torch.float64))


def _matmul(x: Tensor, y: Tensor):
    """x [..., m, k] times y [..., k, n]. Binary operands drive before counts; of two counts the cheaper one drives."""
    rows, columns, dense = x.shape[-2], y.shape[-1], x.numel() * y.shape[-1]
    kinds = _kind(x), _kind(y)
    if kinds == ("spikes", "spikes"):
        return "spikes", dense, 0, int((x.sum(-2, dtype=torch.float64) * y.sum(-1, dtype=torch.float64)).sum())
    for kind in ("spikes", "counts"):
        costs = [_total(operand) * fan_out for operand, fan_out, own in ((x, columns, kinds[0]), (y, rows, kinds[1])) if own == kind]
        if costs:
            return kind, dense, 0, min(costs)
    return "real", dense, dense, 0


def _convolution(x, weight, stride, padding, dilation, transposed, output_padding, groups, out):
    kind = _kind(x)
    dense = (x if transposed else out).numel() * weight[0].numel()
    if kind == "real":
        return kind, dense, dense, 0
    # A kernel of ones adds up how often each spike is used, once per group of output channels.
    per_group = weight.shape[1] if transposed else weight.shape[0] // groups
    shape = (weight.shape[0], 1) if transposed else (groups, weight.shape[1])
    ones = torch.ones(*shape, *weight.shape[2:], device=x.device)
    used = aten.convolution.default(x.float(), ones, None, stride, padding, dilation, transposed, output_padding, groups)
    return kind, dense, 0, _total(used) * per_group


def _attention(query, key, value):
    dense = query.numel() * key.shape[-2] + query.numel() // query.shape[-1] * key.shape[-2] * value.shape[-1]
    return "real", dense, dense, 0  # softmax makes it real whatever comes in


def _fixed_macs(dense: int):
    return "real", dense, dense, 0


_RULES = {
    aten.mm.default: ("matmul", lambda a, out: _matmul(a[0], a[1])),
    aten.bmm.default: ("matmul", lambda a, out: _matmul(a[0], a[1])),
    aten.mv.default: ("matmul", lambda a, out: _matmul(a[0], a[1][:, None])),
    aten.dot.default: ("matmul", lambda a, out: _matmul(a[0][None], a[1][:, None])),
    aten.addmm.default: ("linear", lambda a, out: _matmul(a[1], a[2])),
    aten.baddbmm.default: ("matmul", lambda a, out: _matmul(a[1], a[2])),
    aten.convolution.default: ("convolution", lambda a, out: _convolution(a[0], a[1], *a[3:9], out)),
    **{
        getattr(aten, f"_scaled_dot_product_{name}").default: ("attention", lambda a, out: _attention(*a[:3]))
        for name in ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")
    },
}
_PRODUCT_WORDS = ("mm.", "mm_", "mv.", "dot.", "dot_", "vdot", "matmul", "linear.", "conv", "attention", "bilinear.", "lstm", "gru", "rnn")


class _ProductCounter(BaseCounter):
    """SpikingJelly counter whose rows are keyed by (layer, operation, kind of operand): [calls, dense, macs, acs]."""

    def __init__(self):
        super().__init__()
        self.rules = dict(_RULES)
        if hasattr(torch.ops.torchvision, "deform_conv2d"):  # there once torchvision is imported
            macs = "convolution", lambda a, out: _fixed_macs(out.numel() * a[1][0].numel())
            self.rules[torch.ops.torchvision.deform_conv2d.default] = macs
        self.rows: dict[tuple[str, str, str], list[int]] = {}

    def count(self, func, args, kwargs, out, active_modules=None, parent_names=None):
        operation, rule = self.rules[func]
        operand, *costs = rule(args, out[0] if isinstance(out, tuple) else out)
        layer = max(parent_names or {""}, key=lambda name: (name != "Global", name.count("."), name))
        row = self.rows.setdefault((layer.partition(".")[2] or layer, operation, operand), [0, 0, 0, 0])
        row[:] = [have + more for have, more in zip(row, (1, *costs), strict=True)]
        return 0  # the rows are the record


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

    def __init__(self, tensor, ledger):
        self.tensor, self.ledger, self.key = tensor.detach(), ledger, _storage(tensor)
        users = ledger.users.get(self.key, 0)
        ledger.users[self.key] = users + 1
        if not users and self.key not in ledger.fixed:
            ledger.live += tensor.untyped_storage().nbytes()
            ledger.peak = max(ledger.peak, ledger.live)

    def __del__(self):
        self.ledger.users[self.key] -= 1
        if not self.ledger.users[self.key] and self.key not in self.ledger.fixed:
            self.ledger.live -= self.tensor.untyped_storage().nbytes()


def _mean_of_everything(output):
    if torch.is_tensor(output):
        return output.mean()
    if not hasattr(output, "features"):
        raise TypeError(f"the model returned {type(output).__name__}; pass loss=function(output) that makes a scalar of it")
    return sum(tensor.mean() for tensor in (*output.features, *output.logits, *output.losses.values()))


def _device(model, inputs):
    return next((tensor.device for tensor in (*model.parameters(), *inputs.values())), torch.device("cpu"))


@contextmanager
def _evaluating(model):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _unchanged(model, device):
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
