"""Clip loading, store to tensor, against the training step that consumes it.

    python benchmarks/loading.py [--people 6] [--batches 6] [--rounds 3]

Walkers of the demo's length in a store of the benchmark's own. A step waits for its batch where two workers need longer for two batches
than two steps take: processor time is compared, as the machine's cores may be busy with anything. How long a loop of steps really
waited, by the clock, stands in the note.
"""

import tempfile
import time

import torch
from networks_of_the_demo import DEMO, network, training_step
from pairs import Line, fastest, main, milliseconds

from reidlib.datasets import ClipDataset, PKSampler, load_dataset, train_loader

WORKERS = 2
MODELS = ("s3ce_net", "sdcl")


def waited(dataset: ClipDataset, sampler: PKSampler, model) -> float:
    """Share of the clock's time that a loop of training steps waits for its batches, the first one left out."""
    waiting, start = 0.0, None
    batches = iter(train_loader(dataset, sampler, WORKERS))
    for i in range(len(sampler)):
        asked = time.perf_counter()
        batch = next(batches)
        if i:
            waiting += time.perf_counter() - asked
        else:
            start = time.perf_counter()
        training_step(model, {name: batch[name] for name in model.modalities})()
    return waiting / (time.perf_counter() - start)


def measure(options) -> list[Line]:
    torch.set_num_threads(1)
    settings, lines = DEMO.train, []
    with tempfile.TemporaryDirectory() as folder:
        data = {"people": options.people + 2, "train_people": options.people}
        store = load_dataset("walkers", cache_dir=folder, options=data, quiet=True)
        index = store.index[store.index["subset"] == "train"].reset_index(drop=True)
        for name in MODELS:
            model = network(name)
            dataset = ClipDataset(store, index, DEMO.clips, train=True, seed=0, modalities=model.modalities)
            sampler = PKSampler(index, settings.people, settings.clips, seed=0, iterations=options.batches)
            batch = next(iter(train_loader(dataset, sampler)))

            def load(dataset=dataset, sampler=sampler):
                return sum(1 for _ in train_loader(dataset, sampler))

            step = training_step(model, {key: batch[key] for key in model.modalities})
            best = fastest({"load": load, "step": step}, options.rounds)
            loaded = best["load"] / options.batches
            note = f"processor time of a step {milliseconds(best['step'])}, of loading a batch {milliseconds(loaded)}; "
            note += f"{100 * waited(dataset, sampler, model):.1f} % of a loop was spent waiting"
            ratio = best["step"] / (loaded / WORKERS)
            lines.append(Line("clip loading", f"{WORKERS} workers", f"a training step of {name}", ratio, ">= 1", note))
    return lines


if __name__ == "__main__":
    main(measure, __doc__, people=6, batches=6, rounds=3)
