"""Processes that die: work in a forked child, killed at a moment or at a file operation that is drawn from (seed, index).

A child is a fork of the test's own process, where everything is imported, so that it starts at once.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

FORK = get_context("fork")
FULL = bool(os.environ.get("REIDLIB_FULL"))  # the long form, `make test-full`
SEED = 7
# Audit events at which the files on the disk change, or are about to.
OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "tempfile.mkstemp", "shutil.rmtree", "fcntl.flock"}


class _Counter:
    """Counts file operations of this process from now on; at number `last` it is killed, as by the kernel or the power switch."""

    def __init__(self, last: int | None = None):
        self.count, self.last = 0, last
        sys.addaudithook(self)  # for the rest of the process

    def __call__(self, event: str, arguments: tuple) -> None:
        if event not in OPERATIONS or (event == "open" and not _writes(arguments)):
            return
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


def _writes(arguments: tuple) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run took: seconds, and file operations."""

    seconds: float
    operations: int


def _silent() -> None:
    """The terminal belongs to the test."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)


def _measured(work: Callable[[Path], object], folder: Path, facts) -> None:
    _silent()
    counter, begin = _Counter(), time.monotonic()
    work(folder)
    facts.send((time.monotonic() - begin, counter.count))


def _at_operation(work: Callable[[Path], object], folder: Path, last: int) -> None:
    _silent()
    _Counter(last)
    work(folder)


def undisturbed(work: Callable[[Path], object], folder: Path) -> Whole:
    """Do all of `work(folder)` in a child."""
    receive, send = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_measured, args=(work, folder, send))
    child.start()
    send.close()
    try:
        facts = receive.recv()
    except EOFError:
        facts = None
    child.join()
    assert child.exitcode == 0 and facts, f"the work failed in {folder}"
    return Whole(*facts)


def killed(work: Callable[[Path], object], folder: Path, whole: Whole, index: int) -> bool:
    """Begin `work(folder)` in a child and kill it: in even cases at a file operation, in odd ones at a moment. False where it had ended."""
    rng = np.random.default_rng((SEED, index))
    if index % 2 == 0:
        child = FORK.Process(target=_at_operation, args=(work, folder, int(rng.integers(whole.operations))))
        child.start()
    else:
        child = FORK.Process(target=_at_operation, args=(work, folder, -1))
        child.start()
        child.join(rng.uniform(0, whole.seconds))
        child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def content(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file under a folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in skip)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def survives(work: Callable[[Path], object], folder: Path, kills: int, most: int = 3) -> int:
    """Do `work` whole in one folder; in others kill it up to `most` times in a row, then let it end: they must hold the same bytes.

    Returns the number of kills."""
    whole = undisturbed(work, folder / "whole")
    expected = content(folder / "whole")
    done = tried = 0
    while done < kills:
        place = folder / f"killed-{tried}"
        place.mkdir()
        for _ in range(min(most, kills - done)):
            done += killed(work, place, whole, tried)
            tried += 1
            assert tried < 4 * kills + 8, "it ends before it can be killed"
        undisturbed(work, place)
        found = content(place)
        assert found.keys() == expected.keys(), (place, found.keys() ^ expected.keys())
        assert [name for name in found if found[name] != expected[name]] == [], place
        shutil.rmtree(place)
    return done
