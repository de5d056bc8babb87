"""Command line of the exports: `python -m reidlib.exporting onnx|nir|embeddings --run FOLDER --output FILE`."""

import argparse
import json
from pathlib import Path

import torch

from reidlib.asking import load_run
from reidlib.datasets import ClipSettings, TrackletStore
from reidlib.evaluation import embed
from reidlib.exporting.nir_graph import to_nir
from reidlib.exporting.onnx_file import to_onnx
from reidlib.exporting.parquet import embeddings_to_parquet
from reidlib.files import settings_hash


def example_clips(modalities: tuple[str, ...], clips: ClipSettings, batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random input of the right form: sparse event frames, normal pictures; `[batch, T, C, H, W]` by modality."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, channels in (("events", 2), ("frames", 3)):
        if name in modalities:
            values = torch.randn(batch, clips.steps, channels, *clips.size, generator=generator)
            drawn[name] = values if name == "frames" else values.clamp(min=0)  # half of the pixels silent
    return drawn


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.exporting", description="Take a trained model or its embeddings out.")
    parser.add_argument("what", choices=("onnx", "nir", "embeddings"))
    parser.add_argument("--run", required=True, help="folder of a finished run (model.pt, settings.json)")
    parser.add_argument("--output", required=True, help="file to write: .onnx, .nir or .parquet")
    parser.add_argument("--store", help="embeddings: the tracklet store, an .h5 file")
    parser.add_argument("--stages", type=int, default=4, help="nir: last stage of the graph (an SSAM cannot stand between stages)")
    options = parser.parse_args(arguments)
    if options.what == "embeddings" and not options.store:
        parser.error("embeddings need --store, the tracklet store whose tracklets are embedded")
    model, clips, settings = load_run(options.run)
    if options.what == "embeddings":
        store = TrackletStore(options.store)
        vectors = embed(model, store, store.index, clips, progress=True)
        embeddings_to_parquet(options.output, store.index, vectors, settings | {"data": store.cache_key})
        print(f"{options.output}: {vectors.shape[0]} embeddings of {vectors.shape[1]} numbers")
    elif options.what == "onnx":
        notes = {"model": settings["model"], "clips": json.dumps(settings["clips"]), "settings_hash": settings_hash(settings)}
        difference = to_onnx(model, options.output, example_clips(model.modalities, clips), notes)
        print(f"{options.output}: unit embeddings of onnxruntime and torch differ by at most {difference:.1e}")
    else:
        found = to_nir(model, options.output, example_clips(("events",), clips)["events"], options.stages, clips.seconds / clips.steps)
        size = Path(options.output).stat().st_size
        print(f"{options.output}: {len(found.expressed)} modules, {size / 1e6:.1f} MB; differing values: {100 * found.differing:.2g} %")
        for name, why in found.left_out.items():
            print(f"not in the graph: {name}: {why}")


if __name__ == "__main__":
    main()
