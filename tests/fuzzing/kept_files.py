"""What reidlib keeps by itself: stores of tracklets, checkpoints, weights, settings and exported embeddings."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from event_strategies import some_events
from reading import Format

from reidlib.asking import load_run
from reidlib.checkpoints import History, read_checkpoint, write_checkpoint
from reidlib.datasets.store import Sample, TrackletStore
from reidlib.datasets.store_build import build_store
from reidlib.datasets.tracklets import make_index
from reidlib.exporting.parquet import embeddings_to_parquet, read_embeddings
from reidlib.models import build_model
from reidlib.weights import load_weights

PLAIN = {"model": "resnet18_events", "seed": 0, "data": "abc", "options": {"width": 4}, "clips": {"steps": 2}}


def sample(row: dict) -> Sample:
    """Random events, and grey frames of the first tracklets."""
    number = row["person"]
    frames = np.random.default_rng(number).integers(0, 255, (3, 8, 12)).astype(np.uint8) if number < 2 else None
    return Sample(some_events(60, seed=number), frames, {"number": number}, duration=0.2)


def index_rows() -> list[dict]:
    facts = {"dataset": "made_up", "split": 0, "camera": 0, "source": "nowhere"}
    return [{"key": f"p{i}", "subset": ("train", "query", "gallery")[i % 3], "person": i, **facts} for i in range(4)]


def read_store(folder: Path) -> list[tuple]:
    """The index and everything that the store holds."""
    with TrackletStore(folder / "store.h5") as store:
        found = []
        for row in store.index.to_dict("records"):
            events, frames, key = store.events(row["key"]), store.frames(row["key"]), row["key"]
            first, last = store.interval(key)
            assert not len(events) or first <= events.t[0] <= events.t[-1] < last, "events outside the interval"
            arrays = [getattr(events, name) for name in "xytp"] + ([] if frames is None else [frames])
            digest = hashlib.sha256(b"".join(map(np.ndarray.tobytes, arrays))).hexdigest()[:12]
            found.append((*row.values(), events.width, events.height, first, last, digest, store.attributes(key)))
        return found


def tensors(state: dict) -> dict:
    """Weights as digests."""
    return {name: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:12] for name, value in state.items()}


def write_run(folder: Path) -> None:
    """A finished run of a small network."""
    torch.manual_seed(0)
    torch.save(build_model(PLAIN["model"], 3, **PLAIN["options"]).state_dict(), folder / "model.pt")
    (folder / "settings.json").write_text(json.dumps(PLAIN))


def read_run(folder: Path) -> tuple:
    model, clips, settings = load_run(folder)
    return tensors(model.state_dict()), str(clips), settings


def write_parquet(folder: Path) -> None:
    facts = {"frames": 0, "duration": 1.0, "events": 9, "width": 4, "height": 4}
    index = make_index(row | facts for row in index_rows())
    embeddings_to_parquet(folder / "embeddings.parquet", index, np.random.default_rng(0).random((4, 8), np.float32), PLAIN)


def read_parquet(folder: Path) -> tuple:
    index, vectors, facts = read_embeddings(folder / "embeddings.parquet")
    assert vectors.dtype == np.float32 and len(vectors) == len(index)
    return index.to_csv(), vectors.tobytes(), facts


FORMATS = {
    "store": Format(lambda folder: build_store(folder / "store.h5", index_rows(), sample, {"code": 1}, 1).close(), "store.h5", read_store),
    "weights": Format(
        lambda folder: torch.save({"a": torch.arange(99.0), "b": torch.ones(3, 4)}, folder / "model.pt"),
        "model.pt",
        lambda folder: tensors(load_weights(folder / "model.pt")),
        sealed=True,
    ),
    "checkpoint": Format(
        lambda folder: write_checkpoint(folder, PLAIN, {"step": 3, "model": {"a": torch.arange(9.0)}}, History()),
        "checkpoint.pt",
        lambda folder: str(read_checkpoint(folder, PLAIN)),
        sealed=True,
    ),
    "settings of a run": Format(write_run, "settings.json", read_run),
    "embeddings": Format(write_parquet, "embeddings.parquet", read_parquet),
}
