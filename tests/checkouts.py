"""A copy of the checkout for tests that run the pipeline as a reader does, with folders of its own for data, runs and reports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_checkout(folder: Path) -> Path:
    """`folder`, with everything in it that the pipeline reads."""
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("notebooks", "reidlib"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("study", "published"):  # what notebooks read beside the code
        shutil.copytree(ROOT / "reports" / name, folder / "reports" / name)
    if (bench := ROOT / "reports" / "bench.csv").is_file():
        shutil.copy(bench, folder / "reports" / "bench.csv")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python with the package of the copy and its own data folder; fails where it does."""
    environment = os.environ | {"PYTHONPATH": str(folder), "REIDLIB_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done
