"""Two at once: the same work is waited for, other work is refused by name, the locks of the dead are taken over."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import samples
import toy_training
from processes import FORK, content
from test_evaluation import ToyStore

from reidlib.datasets import build_store
from reidlib.datasets.store_build import cache_key
from reidlib.files import settings_hash
from reidlib.locks import REFUSED, Locked, exclusive, lock_of, main

ROOT = Path(__file__).resolve().parents[2]
STORE = ToyStore(toy_training.INDEX)
RUN = toy_training.short()
pytestmark = pytest.mark.full


def build(path: Path) -> None:
    build_store(path, samples.rows(), samples.make, samples.SETTINGS, workers=1)


def train(folder: Path) -> None:
    toy_training.run_training(STORE, folder, RUN, validate=False)


WORKS = {
    "store": (build, cache_key(samples.SETTINGS, samples.rows())),
    "training": (train, settings_hash(RUN.with_data(STORE.cache_key))),
}


def _hold(target: Path, work: str | None, pipe) -> None:
    with exclusive(target, work):
        pipe.send("held")
        pipe.recv()


@contextmanager
def owner(target: Path, work: str | None) -> Iterator:
    """Another process that holds the lock until the block, or its life, ends."""
    here, there = FORK.Pipe()
    process = FORK.Process(target=_hold, args=(target, work, there))
    process.start()
    assert here.recv() == "held"
    try:
        yield process
    finally:
        here.send("end")
        process.join()


def _heard(work: Callable[[Path], None], target: Path, said: Path) -> None:
    handle = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 2)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    work(target)


def wait_for(condition: Callable[[], bool], seconds: float = 200) -> None:
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", WORKS)
def test_the_same_work_is_waited_for(kind, tmp_path):
    """With a note that names the owner; when that dies without having done it, the one who waited does it."""
    work, key = WORKS[kind]
    target, said = tmp_path / "out.h5", tmp_path / "said"
    with owner(target, key) as other:
        second = FORK.Process(target=_heard, args=(work, target, said))
        second.start()
        told = rf"{re.escape(str(target))}: waiting for process {other.pid} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d [\d:]+ UTC"
        wait_for(lambda: said.exists() and re.search(told, said.read_text(encoding="utf-8")))
        assert not target.exists() and second.is_alive()
    second.join(200)
    assert second.exitcode == 0 and target.exists() and not lock_of(target).exists()


@pytest.mark.parametrize("kind", WORKS)
def test_work_done_while_waiting_is_not_done_again(kind, tmp_path):
    """Two start at the same moment; in the end it is as if there had been one."""
    work, _ = WORKS[kind]
    pair = [FORK.Process(target=_heard, args=(work, tmp_path / "both" / "out.h5", tmp_path / f"said-{i}")) for i in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(200)
    assert [process.exitcode for process in pair] == [0, 0]
    work(tmp_path / "one" / "out.h5")
    assert content(tmp_path / "both") == content(tmp_path / "one")


@pytest.mark.parametrize("kind", WORKS)
def test_other_work_is_refused_by_name_and_nothing_is_written(kind, tmp_path):
    work, _ = WORKS[kind]
    target = tmp_path / "out.h5"
    with owner(target, "other settings") as other, pytest.raises(Locked) as refused:
        work(target)
    told = f"{target} is being written with other settings by process {other.pid} on {socket.gethostname()} since "
    assert str(refused.value).startswith(told) and "wait for it to end, or end it" in str(refused.value)
    assert not target.exists()


def test_other_folders_of_one_output_go_on(tmp_path):
    with owner(tmp_path / "runs" / "ssam-seed0", "its settings"):
        train(tmp_path / "runs" / "ssam-seed1")
        toy_training.run_training(STORE, tmp_path / "runs" / "sew-seed0", replace(RUN, seed=8), validate=False)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["sew-seed0", "ssam-seed1"]


@pytest.mark.parametrize("kind", WORKS)
def test_the_lock_of_a_dead_process_is_taken_over(kind, tmp_path):
    work, _ = WORKS[kind]
    target = tmp_path / "out.h5"
    with owner(target, "other settings") as other:
        other.kill()
        other.join()
    assert other.exitcode == -signal.SIGKILL and lock_of(target).exists()
    work(target)
    assert target.exists() and not lock_of(target).exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"process": 1}'])
def test_a_damaged_lock_file_that_nobody_holds_is_taken_over(text, tmp_path):
    lock_of(tmp_path / "a").write_text(text, encoding="utf-8")
    with exclusive(tmp_path / "a"):
        assert json.loads(lock_of(tmp_path / "a").read_text(encoding="utf-8"))["process"] == os.getpid()


def test_the_lock_of_another_host_is_named_with_the_file_to_remove(tmp_path):
    target = tmp_path / "out.h5"
    lock_of(target).write_text(json.dumps({"process": 7, "host": "elsewhere", "since": "2024-05-01 10:00:00 UTC", "work": None}))
    with pytest.raises(Locked) as refused:
        build(target)
    assert "process 7 on elsewhere since 2024-05-01 10:00:00 UTC" in str(refused.value)
    assert f"remove {lock_of(target)} and start again" in str(refused.value)
    lock_of(target).unlink()
    build(target)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_it_is_released_after_an_error_and_not_given_twice(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path / "a"):
        with pytest.raises(Locked), exclusive(tmp_path / "a"):
            pass
        raise KeyError
    with exclusive(tmp_path / "a"):
        assert lock_of(tmp_path / "a").exists()
    assert not lock_of(tmp_path / "a").exists()


# --- `python -m reidlib.locks`, which `make report` runs under -------------------------------------------------------
COMMAND = "import sys, time; print('runs', flush=True); sys.stdin.readline(); sys.exit(3)"


def locked_command(target: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "reidlib.locks", str(target), sys.executable, "-c", COMMAND]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_second_command_in_one_folder_is_refused(tmp_path):
    first = locked_command(tmp_path / "report")
    assert first.stdout.readline() == "runs\n"
    second = locked_command(tmp_path / "report")
    said, complaint = second.communicate(timeout=200)
    assert second.returncode == REFUSED and said == ""
    assert complaint.startswith(f"error: {tmp_path / 'report'} is being written by process {first.pid} on ") and complaint.count("\n") == 1
    first.communicate("\n", timeout=200)
    assert first.returncode == 3 and not any(tmp_path.iterdir())


def test_the_lock_lasts_as_long_as_the_command_even_if_its_starter_is_killed(tmp_path):
    first = locked_command(tmp_path / "report")
    assert first.stdout.readline() == "runs\n"
    first.kill()
    first.wait()
    with pytest.raises(Locked), exclusive(tmp_path / "report"):
        pass
    first.communicate("\n", timeout=200)  # the command ends
    wait_for(lambda: main([str(tmp_path / "report"), "true"]) == 0)


def test_make_report_runs_under_the_lock_of_its_folder():
    planned = subprocess.run(["make", "-n", "report", "DATASET=mars"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m reidlib.locks reports/mars-demo .venv/bin/snakemake --nolock" in planned
