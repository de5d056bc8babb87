"""ONNX files of the networks without spikes, checked against torch by onnxruntime.

torch's exporter of `torch.export` graphs is used. The older one, of traces, would do without onnxscript, but writes the example's batch
size into every layer that runs over time steps (then only that size works) and cannot follow the temporal pyramid (torch 2.11).
"""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reidlib.exporting.needed import needed
from reidlib.files import write_atomically
from reidlib.models import ReidModel, spiking_layers

TOLERANCE = 1e-4  # of every component of a unit embedding; onnxruntime folds BatchNorm into convolutions, which rounds elsewhere


class _Embedding(nn.Module):
    """The network with its inputs in order in place of names."""

    def __init__(self, model: ReidModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.model.modalities, inputs, strict=True)))


def to_onnx(
    model: ReidModel, path: str | Path, example: Mapping[str, Tensor], notes: Mapping[str, str] | None = None, tolerance: float = TOLERANCE
) -> float:
    """Write a network's way from clips to embeddings as one ONNX file, and return the largest difference from torch.

    example: a batch of clips by modality, as the model takes them, `[B, T, C, H, W]`; B is free in the file, the rest is fixed. Output:
    "embedding" `[B, D]`, as in `eval` mode: a tracklet's embedding is the mean over its clips, scaled to unit length. notes: kept in the
    file as metadata. tolerance: what components of unit embeddings may differ by, on the example and on its first clip alone; the file
    appears only where they do not differ by more.
    Raises ValueError for a spiking network, missing inputs or embeddings that differ, ModuleNotFoundError without onnx, onnxscript and
    onnxruntime."""
    _check(model, example)
    for name in ("onnx", "onnxscript", "onnxruntime"):
        needed(name, "writing ONNX files")
    inputs = {name: example[name].detach().cpu() for name in model.modalities}
    batch = len(inputs[model.modalities[0]])
    training, device = model.training, next(model.parameters()).device
    try:
        wrapped = _Embedding(model.cpu()).eval()
        program = _exported(wrapped, inputs)
        program.model.metadata_props.update({"modalities": " ".join(model.modalities)} | {k: str(v) for k, v in (notes or {}).items()})
        largest = 0.0

        def write(temporary: Path) -> None:
            nonlocal largest
            program.save(str(temporary), external_data=False)
            largest = max(_difference(wrapped, temporary, {name: x[:b] for name, x in inputs.items()}) for b in (1, batch))
            if largest > tolerance:
                raise ValueError(f"{path}: unit embeddings of onnxruntime and torch differ by {largest:.2g}, more than {tolerance:g}")

        write_atomically(Path(path), write)
    finally:
        model.to(device).train(training)
    return largest


def _check(model: ReidModel, example: Mapping[str, Tensor]) -> None:
    spiking = spiking_layers(model)
    if spiking:
        raise ValueError(
            f"the network has {len(spiking)} spiking layers, the first is {next(iter(spiking))}: a membrane potential that rounds to the "
            "other side of the threshold is another spike, so no ONNX file keeps a tolerance. Use to_nir"
        )
    if set(example) != set(model.modalities):
        raise ValueError(f"the example holds {sorted(example)}, this model takes {' and '.join(model.modalities)}")


def _exported(model: _Embedding, inputs: dict[str, Tensor]) -> "torch.onnx.ONNXProgram":
    if len(next(iter(inputs.values()))) < 2:  # torch.export takes a dimension of 1 for a fixed one
        inputs = {name: torch.cat([x, x]) for name, x in inputs.items()}
    batch = torch.export.Dim("batch")
    with contextlib.redirect_stdout(io.StringIO()):  # its progress in four steps
        program = torch.onnx.export(
            model,
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=["embedding"],
            dynamic_shapes={"inputs": tuple({0: batch} for _ in inputs)},
            verbose=False,
        )
    if program is None:  # the exporter of traces, which dynamo=True turns off, writes a file and returns nothing
        raise RuntimeError("torch.onnx.export returned no program: is this a torch whose dynamo=True means something else?")
    return program


def _difference(model: nn.Module, path: Path, inputs: dict[str, Tensor]) -> float:
    """Largest difference of a component of unit embeddings."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    with torch.inference_mode():
        wanted = model(*inputs.values()).numpy()
    return float(np.abs(_unit(found) - _unit(wanted)).max())


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
