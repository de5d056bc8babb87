"""How many operations a product costs: rules for torch's operators and for layers whose products torch does not see as such.

Every rule gives (kind of operand, dense, macs, acs); `reidlib.efficiency.operations` says what they mean.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from spikingjelly.activation_based.op_counter import BaseCounter
from torch import Tensor, nn

from reidlib.models.layers.alignment import Alignment
from reidlib.models.layers.event_mapping import EventMapping
from reidlib.models.layers.nearest_events import TAPS

Counted = tuple[str, int, int, int]

aten = torch.ops.aten
_LARGEST_COUNT = 2**16  # of spikes at one place; a larger whole number is a real one that single precision has rounded


def _kind(x: Tensor) -> str:
    if x.dtype == torch.bool or bool(((x == 0) | (x == 1)).all()):
        return "spikes"
    return "counts" if bool(((x >= 0) & (x == x.round()) & (x < _LARGEST_COUNT)).all()) else "real"


def _total(x: Tensor) -> int:
    return int(x.sum(dtype=torch.float64))


def _matmul(x: Tensor, y: Tensor) -> Counted:
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


def _convolution(args: Sequence, out: Tensor) -> Counted:
    """args: what `aten.convolution` is given."""
    x, weight, _bias, stride, padding, dilation, transposed, output_padding, groups = args
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


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Counted:
    dense = query.numel() * key.shape[-2] + query.numel() // query.shape[-1] * key.shape[-2] * value.shape[-1]
    return "real", dense, dense, 0  # softmax makes it real whatever comes in


def _fixed_macs(dense: int) -> Counted:
    return "real", dense, dense, 0


def _mapping(mapping: EventMapping, inputs: tuple) -> Counted:
    """Y = sum_n w_n X(nearest_n) at positions with events: a product per position and neighbour, C inputs times D outputs each."""
    rows, events = inputs
    outputs, channels = mapping.conv.weight.shape[:2]
    regular = mapping.outside == "regular"  # then a plain convolution runs at every position besides, a child that is counted by itself
    own = rows[events.places] if regular else rows
    seen = events.nearest[events.nearest >= 0].long()
    products = len(seen) * channels * outputs
    dense = products if regular else events.mask.numel() * TAPS * channels * outputs
    kind = _kind(own)
    if kind == "real":
        return kind, dense, products, 0
    return kind, dense, 0, _total(own.sum(1, dtype=torch.float64)[seen]) * outputs


def _points(alignment: Alignment, inputs: tuple) -> Counted:
    """The sum over points of score times sampled value, at every position and channel."""
    giver = inputs[1]
    return _fixed_macs(giver.numel() * alignment.points)


def _layer_rule(layer: nn.Module) -> tuple[str, Callable[[Any, tuple], Counted]] | None:
    """(operation, rule) of a layer whose products torch does not see as what they are; None for all others."""
    if isinstance(layer, EventMapping) and layer.shift is None:
        return "convolution", _mapping
    if isinstance(layer, Alignment):
        return "attention", _points
    return None


_RULES: dict[Any, tuple[str, Callable[[Any, Any], Counted]]] = {
    aten.mm.default: ("matmul", lambda a, out: _matmul(a[0], a[1])),
    aten.bmm.default: ("matmul", lambda a, out: _matmul(a[0], a[1])),
    aten.mv.default: ("matmul", lambda a, out: _matmul(a[0], a[1][:, None])),
    aten.dot.default: ("matmul", lambda a, out: _matmul(a[0][None], a[1][:, None])),
    aten.addmm.default: ("linear", lambda a, out: _matmul(a[1], a[2])),
    aten.baddbmm.default: ("matmul", lambda a, out: _matmul(a[1], a[2])),
    aten.convolution.default: ("convolution", _convolution),
    **{
        getattr(aten, f"_scaled_dot_product_{name}").default: ("attention", lambda a, out: _attention(*a[:3]))
        for name in ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")
    },
}
_PRODUCT_WORDS = ("mm.", "mm_", "mv.", "dot.", "dot_", "vdot", "matmul", "linear.", "conv", "attention", "bilinear.", "lstm", "gru", "rnn")


class ProductCounter(BaseCounter):
    """SpikingJelly counter whose rows are keyed by (layer, operation, kind of operand): [calls, dense, macs, acs].

    The rule of a layer of `model` takes the place of the products that run in the layer itself, not in a child of it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.rules = dict(_RULES)
        layers = {name or type(model).__name__: layer for name, layer in model.named_modules()}
        self.ruled = {name: (layer, *rule) for name, layer in layers.items() if (rule := _layer_rule(layer))}
        if hasattr(torch.ops.torchvision, "deform_conv2d"):  # there once torchvision is imported
            macs = "convolution", lambda a, out: _fixed_macs(out.numel() * a[1][0].numel())
            self.rules[torch.ops.torchvision.deform_conv2d.default] = macs
        self.rows: dict[tuple[str, str, str], list[int]] = {}

    def count(
        self,
        func: Any,
        args: tuple,
        kwargs: dict,
        out: Any,
        active_modules: set[nn.Module] | None = None,
        parent_names: set[str] | None = None,
    ) -> int:
        operation, rule = self.rules[func]
        layer = max(parent_names or {""}, key=lambda name: (name != "Global", name.count("."), name))
        layer = layer.partition(".")[2] or layer
        if layer not in self.ruled:
            self._add(layer, operation, rule(args, out[0] if isinstance(out, tuple) else out))
        return 0  # the rows are the record

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts the layers that have a rule whenever they run."""
        handles = []
        for name, (layer, operation, rule) in self.ruled.items():
            handles.append(layer.register_forward_hook(self._hook(name, operation, rule), with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str, operation: str, rule: Callable[[Any, tuple], Counted]) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple, kwargs: dict, _output: object) -> None:
            self._add(name, operation, rule(layer, signature(layer.forward).bind(*args, **kwargs).args))

        return hook

    def _add(self, layer: str, operation: str, counted: Counted) -> None:
        operand, *costs = counted
        row = self.rows.setdefault((layer, operation, operand), [0, 0, 0, 0])
        row[:] = [have + more for have, more in zip(row, (1, *costs), strict=True)]


def missed_products(names: Iterable[str]) -> list[str]:
    """Those of the operators, by name, that are products."""
    return sorted(name for name in names if any(word in name for word in _PRODUCT_WORDS))
