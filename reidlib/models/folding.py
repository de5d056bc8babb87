"""Networks made faster for test time: every BatchNorm that follows a convolution becomes part of it."""

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

ModelT = TypeVar("ModelT", bound=nn.Module)


def fold_batch_norm(model: ModelT, **inputs: Tensor) -> ModelT:
    """A copy of `model` for test time that computes the same with fewer passes over memory; the model itself is left alone.

    inputs: one small batch, as `model(**inputs)` takes it. Pairs of layers are found by watching the model embed it: a BatchNorm is
    folded where it takes what one convolution made, each time either runs. All others stay (those of SSAM's parts, of necks).
    The results differ from the model's by rounding; in a spiking network a potential that rounding carries over the threshold
    is a spike more or less (`benchmarks/s3ce_net.py` counts them).
    The copy does not train: its folded convolutions no longer know the statistics of a batch, and `train()` raises RuntimeError.
    """
    folded = deepcopy(model).eval()
    convolutions = {name: module for name, module in folded.named_modules() if isinstance(module, nn.Conv2d)}
    norms = {name: module for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for conv, norm in _pairs(folded, convolutions, norms, inputs):
        folded.set_submodule(conv, fuse_conv_bn_eval(convolutions[conv], norms[norm]))
        folded.set_submodule(norm, nn.Identity())
    folded.register_forward_pre_hook(_refuse_training)
    return folded.requires_grad_(False)


def _refuse_training(model: nn.Module, _inputs: object) -> None:
    if model.training:
        raise RuntimeError("this model's BatchNorm is folded into its convolutions, for test time: train the model that it was made from")


def _pairs(
    model: nn.Module, convolutions: Mapping[str, nn.Module], norms: Mapping[str, nn.Module], inputs: dict[str, Tensor]
) -> list[tuple[str, str]]:
    """Names of convolutions and of the BatchNorms that took their outputs, and no other's, in every call."""
    made: dict[int, tuple[str, Tensor]] = {}  # the tensors are kept, so that no address is used twice
    calls: Counter[str] = Counter()
    met: Counter[tuple[str, str]] = Counter()

    def after_convolution(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            made[id(output)] = name, output
            calls[name] += 1

        return hook

    def before_norm(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            calls[name] += 1
            if id(given[0]) in made:
                met[made[id(given[0])][0], name] += 1

        return hook

    handles = [module.register_forward_hook(after_convolution(name)) for name, module in convolutions.items()]
    handles += [module.register_forward_pre_hook(before_norm(name)) for name, module in norms.items()]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [(conv, norm) for (conv, norm), count in met.items() if count == calls[conv] == calls[norm]]
