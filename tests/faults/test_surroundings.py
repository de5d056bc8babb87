"""The same bytes whatever the process: its locale, time zone, clock, hash seed, directory; on two threads, the same within a tolerance."""

import json
import locale
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run
import torch
import toy_training
from processes import FULL, content, undisturbed
from test_evaluation import ToyStore

from reidlib.evaluation import embed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
pytestmark = [pytest.mark.full, pytest.mark.timeout(3600 if FULL else 300)]
#: Weights, losses and embeddings of one and two threads differ by no more, relative to the largest; README, "Again".
TOLERANCE = 1e-4


def stable(folder: Path) -> dict[str, bytes]:
    """Everything under a folder, without the time of day at which a notebook ended."""
    found = content(folder)
    record = json.loads(found.pop("run/results/01_data.json"))
    del record["finished"]
    page = re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC", b"", found.pop("report/index.html"))
    return found | {"record": json.dumps(record).encode(), "index": page}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """In a fork of this process, as it is."""
    folder = tmp_path_factory.mktemp("whole")
    undisturbed(_here, folder)
    return stable(folder)


def _here(folder: Path) -> None:
    small_run.on_the_cpu()
    small_run.everything(folder)


@pytest.fixture(scope="module")
def locales(tmp_path_factory) -> Path:
    """A folder with a Turkish and a German locale in one-byte encodings; empty where they cannot be made here."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef"):
        for name, encoding in (("tr_TR", "ISO-8859-9"), ("de_DE", "ISO-8859-1")):
            subprocess.run(["localedef", "-i", name, "-f", encoding, folder / name], check=False, capture_output=True)
    return folder


PLACES = {
    "turkish": {"LC_ALL": "tr_TR", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4321"},
    "german": {"LC_ALL": "de_DE", "TZ": "America/Los_Angeles", "PYTHONHASHSEED": "1"},
    "plain": {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("place", PLACES if FULL else ["turkish"])
def test_another_place_and_time_gives_the_same_bytes(whole, locales, tmp_path, place):
    """A fresh process with another locale (decimal comma, dotless i, no UTF-8), zone and hash seed, where every look at the clock goes
    an hour back."""
    settings = PLACES[place]
    if not (locales / settings["LC_ALL"]).is_dir():
        settings = settings | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    paths = [HERE.parents[1], HERE.parent, HERE.parent / "datasets", HERE.parent / "training", HERE]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "LOCPATH": str(locales), "PYTHONUTF8": "0"} | settings
    command = [sys.executable, HERE / "small_run.py", tmp_path / "out", "backwards"]
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    found = stable(tmp_path / "out")
    assert found.keys() == whole.keys() and [name for name in whole if found[name] != whole[name]] == []
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_locale_of_the_test_has_a_decimal_comma(locales, tmp_path):
    """So that the test above tests something."""
    if not (locales / "de_DE").is_dir():
        pytest.skip("localedef or its sources are missing here: only the C locale was tried")
    script = "import locale; locale.setlocale(locale.LC_ALL, ''); print(locale.format_string('%.1f', 1.5), locale.getpreferredencoding())"
    environment = os.environ | {"LOCPATH": str(locales), "LC_ALL": "de_DE", "PYTHONUTF8": "0"}
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["1,5", "ISO-8859-1"] and locale.localeconv()["decimal_point"] == "."


def test_dates_of_files_do_not_matter(tmp_path):
    """Files from the future, or all from the same second: what is finished is found, and the rest resumes."""
    undisturbed(_here, tmp_path / "out")
    before = stable(tmp_path / "out")
    for date in (time.time() + 10**8, 0):
        for path in (tmp_path / "out").rglob("*"):
            os.utime(path, (date, date))
        store, model = tmp_path / "out" / "data" / "small.h5", tmp_path / "out" / "run" / "runs" / "toy" / "model.pt"
        undisturbed(_here, tmp_path / "out")
        assert stable(tmp_path / "out") == before
        assert store.stat().st_mtime == model.stat().st_mtime == pytest.approx(date)


def _on_two_threads(folder: Path) -> None:
    small_run.on_the_cpu()
    torch.set_num_threads(2)
    model = toy_training.run_training(ToyStore(toy_training.INDEX), folder / "run")
    np.save(folder / "vectors.npy", embed(model, ToyStore(toy_training.INDEX), toy_training.INDEX, toy_training.CLIPS))


@pytest.mark.skipif(not FULL, reason="two threads that wait for each other on a busy core take minutes: only in `make test-full`")
def test_threads_change_no_more_than_the_stated_tolerance(whole, tmp_path):
    (tmp_path / "one").mkdir()
    for name, data in whole.items():
        if name.startswith("run/runs/toy/"):
            (tmp_path / "one" / Path(name).name).write_bytes(data)
    (tmp_path / "two").mkdir()
    undisturbed(_on_two_threads, tmp_path / "two")
    one, two = (torch.load(path / "model.pt", weights_only=True) for path in (tmp_path / "one", tmp_path / "two" / "run"))
    apart = max(
        float((one[name] - two[name]).abs().max() / one[name].abs().max().clamp(min=1)) for name in one if one[name].is_floating_point()
    )
    tables = [pd.read_csv(path / "metrics.csv") for path in (tmp_path / "one", tmp_path / "two" / "run")]
    pd.testing.assert_frame_equal(*tables, rtol=TOLERANCE)
    with np.load(tmp_path / "one" / "embeddings.npz") as saved:
        np.testing.assert_allclose(np.load(tmp_path / "two" / "vectors.npy"), saved["embeddings"], atol=TOLERANCE)
    assert apart <= TOLERANCE, apart


@pytest.mark.skipif(not FULL, reason="minutes: only in `make test-full`")
def test_the_tiny_preset_gives_the_same_bytes_twice(tmp_path):
    """The command that the Snakefile calls, from the data to the embeddings, in two processes with data folders of their own."""
    for name in ("a", "b"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "REIDLIB_DATA": str(tmp_path / name / "data"), "CUDA_VISIBLE_DEVICES": ""}
        for row in ("s3ce_net", "sdcl"):
            command = [sys.executable, "-m", "reidlib.experiment", "train", "--preset", "tiny", "--row", row]
            subprocess.run([*command, "--output-dir", tmp_path / name / "run"], env=environment, check=True, capture_output=True)
    one, two = content(tmp_path / "a"), content(tmp_path / "b")
    assert any(name.endswith("embeddings.npz") for name in one) and any(name.endswith(".h5") for name in one)
    assert one.keys() == two.keys() and [name for name in one if one[name] != two[name]] == []
