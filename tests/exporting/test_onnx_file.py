"""ONNX files against torch. Without onnx, onnxscript and onnxruntime only the refusals are tested."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import reidlib.exporting.needed as needed_module
from reidlib.exporting import onnx_file, to_onnx
from reidlib.models import build_model

SIZE = (32, 16)
SMALL = {"width": 4, "depth": (1, 1, 1, 1)}
RELU = {"neuron": {"kind": "relu"}, "head_channels": 4, "ssam": (2,), "sampling": None}
CASES = {
    "s3ce_net": ("s3ce_net", SMALL | RELU),
    "psta": ("psta", {"width": 4, "backbone": "resnet18", "size": SIZE, "levels": 1}),
}


def clips(model, B: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    channels = {"events": 2, "frames": 3}
    return {name: torch.randn(B, 4, channels[name], *SIZE, generator=generator) for name in model.modalities}


def made(name: str, options: dict):
    torch.manual_seed(0)
    model = build_model(name, 3, **options)
    with torch.no_grad():
        for seed in range(2):  # BatchNorm statistics of something
            model(**clips(model, 4, seed))
    return model


@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_gives_what_torch_gives(case, tmp_path, monkeypatch):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    onnxruntime = pytest.importorskip("onnxruntime")
    model = made(*CASES[case])
    model.train()
    difference = to_onnx(model, tmp_path / "model.onnx", clips(model, 1), {"threshold": "0.5"})
    assert difference <= 1e-4 and model.training
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == list(model.modalities)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["threshold"] == "0.5" and facts["modalities"] == " ".join(model.modalities)
    for B in (1, 5):  # neither the example's batch nor its values
        batch = clips(model, B, seed=9)
        with torch.inference_mode():
            wanted = model.eval()(**batch).numpy()
        (found,) = session.run(["embedding"], {name: x.numpy() for name, x in batch.items()})
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    refuses_other_weights(model, tmp_path / "model.onnx", monkeypatch)


def refuses_other_weights(model, path, monkeypatch):
    """The same graph for changed weights is no export of them (without exporting again, which takes seconds)."""
    notes = SimpleNamespace(metadata_props={})
    program = SimpleNamespace(model=notes, save=lambda to, external_data: shutil.copy(path, to))
    monkeypatch.setattr(onnx_file, "_exported", lambda *_: program)
    with torch.no_grad():
        next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d)).weight.mul_(-1)
    with pytest.raises(ValueError, match="unit embeddings of onnxruntime and torch differ by"):
        to_onnx(model, path.with_name("other.onnx"), clips(model))
    assert not path.with_name("other.onnx").exists()


def test_spiking_networks_are_sent_to_nir(tmp_path):
    model = build_model("sew_resnet18", 3, **SMALL)
    with pytest.raises(ValueError, match=r"spiking layers, the first is backbone.neuron.*Use to_nir"):
        to_onnx(model, tmp_path / "model.onnx", clips(model))


def test_the_example_must_be_what_the_model_takes(tmp_path):
    model = build_model("resnet18_events", 3, **SMALL)
    with pytest.raises(ValueError, match=r"holds \['frames'\], this model takes events"):
        to_onnx(model, tmp_path / "model.onnx", {"frames": torch.zeros(1, 4, 3, *SIZE)})


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(needed_module.importlib, "import_module", missing)
    model = build_model("resnet18_events", 3, **SMALL)
    with pytest.raises(ModuleNotFoundError, match=r"writing ONNX files needs the package 'onnx': pip install 'reidlib\[export\]'"):
        to_onnx(model, tmp_path / "model.onnx", clips(model))
