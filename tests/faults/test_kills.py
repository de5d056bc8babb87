"""Killed at random points of building data, of training, of running notebooks and of writing the report: the same bytes in the end.

`make test` kills a few times, `make test-full` 64 times. Tests of one well-aimed kill lie beside what they kill.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import samples
import toy_training
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from processes import FULL, SEED, content, survives
from test_evaluation import ToyStore

from reidlib import reports
from reidlib.datasets import build_store
from reidlib.reports import html

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.full, pytest.mark.timeout(3600 if FULL else 300)]


def build(folder: Path) -> None:
    build_store(folder / "small.h5", samples.rows(), samples.make, samples.SETTINGS, workers=1)


def test_data_build(tmp_path):
    assert survives(build, tmp_path, 20 if FULL else 4) >= 4


def train(store: ToyStore, folder: Path) -> None:
    toy_training.run_training(store, folder / "run")


def test_training(tmp_path):
    assert survives(partial(train, ToyStore(toy_training.INDEX)), tmp_path, 18 if FULL else 3) >= 3


def write_report(source: Path, folder: Path) -> None:
    """Records, pages and first page, from an executed notebook."""
    executed = folder / "report" / "notebooks" / "01_data.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, executed)
    table = [{"row": f"row {i}", "mAP": i / 7} for i in range(50)]
    for name in ("01_data", "02_training"):
        path = reports.record(folder / "run", name, title=name, headline=[{"label": "n", "value": 3}], tables={"all": table})
        text = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(FINISHED if '"finished"' in line else line for line in text), encoding="utf-8")
    reports.write_pages([executed], folder / "report")
    reports.write_index(folder / "report", folder / "run", ["01_data", "02_training"])


FINISHED = '"finished": "2024-05-01T10:00:00+00:00",'  # the one thing that no two runs share


@pytest.fixture
def executed(tmp_path) -> Path:
    cell = new_code_cell("print('ran')")
    cell.outputs = [new_output("stream", name="stdout", text="ran\n" * 50)]
    path = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A small run"), cell]), path)
    html.notebook_html(path)  # what it imports, every child has
    return path


def test_report(executed, tmp_path):
    assert survives(partial(write_report, executed), tmp_path, 14 if FULL else 3) >= 3


# --- Notebooks: Snakemake with the real Snakefile ---------------------------------------------------------------------
PARAMETERS = 'DATASET = ""\nPRESET = ""\nSEED = 0\nOUTPUT_DIR = ""\nDATA = ""\nGAIT = ""'
SOURCE = """
from pathlib import Path
import time
from reidlib.files import write_text
from reidlib.reports import record
state = Path(OUTPUT_DIR, NAME)
for step in range(int(state.read_text()) if state.exists() else 0, 4):
    time.sleep(0.3)
    write_text(state, str(step + 1))
record(OUTPUT_DIR, NAME, title=NAME, headline=[{"label": NAME, "value": 4}], tables={"all": [{"seed": SEED, "steps": state.read_text()}]})
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The package and the Snakefile, with two notebooks that take a second."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "reidlib", folder / "reidlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "notebooks").mkdir()
    for name in ("01_data", "02_training"):
        parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        cells = [new_markdown_cell(f"# {name}"), parameters, new_code_cell(f"NAME = {name!r}{SOURCE}")]
        nbformat.write(new_notebook(cells=cells), folder / "notebooks" / f"{name}.ipynb")
    return folder


def report(folder: Path) -> subprocess.Popen:
    """What `make report` runs, as a process group of its own."""
    settings = ["dataset=walkers", "preset=tiny", "seed=5", "command=make report"]
    snakemake = [sys.executable, "-m", "snakemake", "--nolock", "--cores", "1", "--rerun-incomplete", "--keep-going", "--config", *settings]
    environment = os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "reidlib.locks", "reports/walkers-tiny", *snakemake]
    log = open(folder / "log", "a", encoding="utf-8")  # noqa: SIM115 - the child's
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def results(folder: Path) -> dict[str, bytes]:
    """What a reader gets, but for times of day and durations."""
    tables = content(folder / "runs" / "walkers-tiny" / "tables")
    pages = sorted(path.name for path in (folder / "reports" / "walkers-tiny").glob("*.html"))
    left = [path.name for path in folder.rglob("*") if path.name.startswith(".tmp-") or ".running." in path.name or path.suffix == ".lock"]
    shown = {
        name: [record["headline"], record["tables"]] for name, record in reports.read_records(folder / "runs" / "walkers-tiny").items()
    }
    return tables | {"pages": repr(pages).encode(), "left over": repr(left).encode(), "shown": repr(shown).encode()}


def steps(folder: Path) -> int:
    """How many of the notebooks' 8 steps are done."""
    states = [folder / "runs" / "walkers-tiny" / name for name in ("01_data", "02_training")]
    return sum(int(state.read_text()) for state in states if state.exists())


@pytest.mark.notebook
@pytest.mark.skipif(not FULL, reason="each kill takes about 20 s: only in `make test-full`")
def test_notebook_batch(checkout, tmp_path):
    """Odd kills hit every process, even ones the scheduler alone, whose jobs live on as orphans: the next run must live with them.

    The moments are drawn in steps of the notebooks, so that they lie within the run however busy the machine is."""
    whole, kills = shutil.copytree(checkout, tmp_path / "whole"), 0
    assert report(whole).wait() == 0, (whole / "log").read_text(encoding="utf-8")
    for index in range(12):
        if index % 3 == 0:
            place = shutil.copytree(checkout, tmp_path / f"killed-{index}")
        draw = np.random.default_rng((SEED, index))
        wanted = min(steps(place) + draw.integers(4), 8)
        running = report(place)
        while running.poll() is None and (steps(place) < wanted or not psutil.Process(running.pid).children()):
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 2))
        if running.poll() is None:
            kills += 1
            if index % 2:
                os.killpg(running.pid, signal.SIGKILL)
            else:
                psutil.Process(running.pid).children()[0].kill()  # Snakemake; its parent holds the lock
        running.wait()
        if index % 3 == 2:
            assert report(place).wait() == 0, (place / "log").read_text(encoding="utf-8")[-3000:]
            assert results(place) == results(whole)
    assert kills >= 8
