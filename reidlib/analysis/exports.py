"""A trained model and its embeddings as files, and a table of what could be written and what not."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from reidlib.asking import ReIdentifier
from reidlib.datasets import ClipDataset, collate
from reidlib.experiment import Experiment
from reidlib.exporting import embeddings_to_parquet, reachable_stages, to_nir, to_onnx
from reidlib.files import settings_hash
from reidlib.models import spiking_layers


def write_exports(asked: ReIdentifier, experiment: Experiment, row: str, folder: str | Path) -> pd.DataFrame:
    """Everything that can be taken out of a trained row, into `folder`: the embeddings of the test part as Parquet, and the model as ONNX
    or, where it spikes, as a NIR graph of what NIR can hold. One line per file: file, MB, what was checked; or why there is none."""
    folder, name = Path(folder), f"{row}-seed{experiment.seed}"
    settings = experiment.made_of(row)
    clips = collate([{**_first_clip(asked, experiment, i), "label": 0, "camera": 0, "row": i} for i in range(2)])
    example = {modality: clips[modality] for modality in asked.model.modalities}
    notes = {"model": settings["model"], "clips": json.dumps(settings["clips"]), "settings_hash": settings_hash(settings)}
    if asked.calibrated is not None:
        notes["threshold"] = repr(asked.calibrated.threshold)

    def parquet(path: Path) -> str:
        vectors = asked.embed_index(experiment.test_index)
        embeddings_to_parquet(path, experiment.test_index, vectors, settings)
        return f"{vectors.shape[0]} embeddings of {vectors.shape[1]} numbers"

    def onnx(path: Path) -> str:
        difference = to_onnx(asked.model, path, example, notes)
        return f"unit embeddings of onnxruntime and torch differ by at most {difference:.0e}"

    def nir(path: Path) -> str:
        found = to_nir(asked.model, path, example["events"], reachable_stages(asked.model), asked.clips.seconds / asked.clips.steps)
        outside = ", ".join(found.left_out)
        return f"{len(found.expressed)} modules, read back and run: {100 * found.differing:.2g} % of values differ; not in it: {outside}"

    written = [(f"{name}.parquet", parquet)]
    written.append((f"{name}.nir", nir) if spiking_layers(asked.model) else (f"{name}.onnx", onnx))
    return pd.DataFrame([_line(folder / file, write) for file, write in written])


def _first_clip(asked: ReIdentifier, experiment: Experiment, row: int) -> dict:
    dataset = ClipDataset(experiment.store, experiment.test_index, asked.clips, train=False, modalities=asked.model.modalities)
    return {name: dataset[row][name][0] for name in asked.model.modalities}


def _line(path: Path, write: Callable[[Path], str]) -> dict:
    try:
        return {"file": path.name, "checked": write(path), "MB": path.stat().st_size / 1e6}
    except ModuleNotFoundError as error:  # a package of the extra `export`
        return {"file": path.name, "checked": f"not written: {error}", "MB": 0.0}
