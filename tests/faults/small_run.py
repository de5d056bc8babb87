"""Everything that a run leaves, in seconds: a store, a training, embeddings, tables, a page. `python small_run.py FOLDER` does it in a
process of its own, under the locale of the environment and, with a second argument, with a clock that runs backwards."""

import itertools
import locale
import sys
import time
from pathlib import Path

import nbformat
import samples
import torch
import toy_training
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from test_evaluation import ToyStore

from reidlib import reports, training
from reidlib.analysis.data_views import describe
from reidlib.datasets import build_store
from reidlib.evaluation import embed, evaluate, protocols
from reidlib.files import write_atomically

INDEX = toy_training.INDEX


def everything(folder: Path) -> None:
    """Write it all below `folder`."""
    small = build_store(folder / "data" / "small.h5", samples.rows(), samples.make, samples.SETTINGS, workers=1)
    store = ToyStore(INDEX)
    model = toy_training.run_training(store, folder / "run" / "runs" / "toy")
    vectors = embed(model, store, INDEX, toy_training.CLIPS)
    write_atomically(folder / "run" / "runs" / "toy" / "embeddings.npz", lambda path: save(path, vectors))
    found = evaluate(vectors, protocols(INDEX)["query to gallery"])
    table = [{"row": "toy İı ß", "mAP": found.mAP}, {"row": "sizes", "mAP": float(small.index["duration"].mean())}]
    tables = {"results": table, "split": describe(small.index), "history": training.load_history(folder / "run" / "runs" / "toy")}
    reports.record(folder / "run", "01_data", title="Tiny: İı ß", headline=[{"label": "mAP", "value": found.mAP}], tables=tables)
    executed = folder / "report" / "notebooks" / "01_data.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_markdown_cell("# Tiny: İı ß", id="a"), new_code_cell("print('İı ß')", id="b")]
    nbformat.write(new_notebook(cells=cells), executed)
    reports.write_pages([executed], folder / "report")
    reports.write_index(folder / "report", folder / "run", ["01_data"])


def save(path: Path, vectors) -> None:
    import numpy as np

    np.savez(path, embeddings=vectors, key="toy")


def on_the_cpu() -> None:
    torch.set_num_threads(1)
    fabric = training.Fabric
    training.Fabric = lambda **options: fabric(**options | {"accelerator": "cpu"})


def turn_the_clock_back() -> None:
    """Every look at it is an hour earlier than the last."""
    hours = itertools.count()
    begin = time.time()
    time.time = lambda: begin - 3600 * next(hours)


if __name__ == "__main__":
    for part in (locale.LC_CTYPE, locale.LC_COLLATE, locale.LC_NUMERIC, locale.LC_TIME):  # Python's ctypes takes messages for UTF-8
        locale.setlocale(part, "")
    on_the_cpu()
    if len(sys.argv) > 2:
        turn_the_clock_back()
    everything(Path(sys.argv[1]))
