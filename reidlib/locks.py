"""Who writes where: a lock beside whatever takes long to write, `<target>.lock`: a store, a training's folder, a notebook, a report.

Whether the second one waits or is refused:

    same target, same work    two notebooks that need the same training, two trainings that need the same store: the second says whom it
                              waits for, waits, and finds the work done
    same target, other work   other settings into a training's folder, two `make report` into one folder: the second is refused at once
    other targets             nobody notices: the jobs of one output folder run side by side

What is written in one step (embeddings, tables, figures, pages) needs no lock: the last one to write it wrote all of it.

The lock is the kernel's (flock): it ends with the process that holds it, however that dies, so what a dead process of this host left is
taken over. Between hosts not every file system carries it; a file that names another host is therefore never taken over, but named.

`python -m reidlib.locks TARGET COMMAND ...` runs a command while it holds the lock of TARGET.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from reidlib.files import telling_why

REFUSED = 75  # exit status of a command that did not run because another holds the lock: "try again later"


class Locked(Exception):
    """Somebody else writes there."""


@contextmanager
def exclusive(target: str | os.PathLike, work: str | None = None) -> Iterator[TextIO]:
    """Hold the lock of `target`, a file or a folder; gives the open lock file.

    work: what is being made of it, such as a hash of all settings. Who holds the lock for the same work is waited for; who holds it for
    other work, or without naming any, raises Locked with its process, host and start."""
    target = Path(target)
    path = lock_of(target)
    with telling_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, target, work)
        try:
            _sign(file, work)
        except BaseException:
            _release(file, path)
            raise
    try:
        yield file
    finally:
        _release(file, path)


def tidy(target: str | os.PathLike, remove: Callable[[], object]) -> None:
    """Let `remove` take away what is left beside finished work of a process that was killed as it ended: its lock file still lies there.

    Not where somebody works on the target, nor where nothing may be written."""
    if lock_of(target).exists():
        with suppress(OSError, Locked), exclusive(target):
            remove()


def lock_of(target: str | os.PathLike) -> Path:
    """The lock file of a target."""
    target = Path(target)
    return target.with_name(target.name + ".lock")


def _locked(path: Path, target: Path, work: str | None) -> TextIO:
    """The lock file, open and locked."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - closed below, or by `_release`
        try:
            _lock(file, target, work)
            if _is_at(file, path):
                _refuse_other_host(file, path, target)
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its owner removed it between our opening and our locking: the next one is new


def _lock(file: TextIO, target: Path, work: str | None) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = _owner(file, patience=1.0)
        if work is None or owner.get("work") != work:
            what = "" if owner.get("work") == work else " with other settings"
            raise Locked(f"{target} is being written{what} by {_named(owner)}: wait for it to end, or end it") from None
        tqdm.write(f"{target}: waiting for {_named(owner)}, which is making the same", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)


def _refuse_other_host(file: TextIO, path: Path, target: Path) -> None:
    owner = _owner(file)
    if owner.get("host", socket.gethostname()) != socket.gethostname():
        found = f"{target} was locked by {_named(owner)}, and from here nobody can tell whether that still runs"
        raise Locked(f"{found}: if it does not, remove {path} and start again")


def _owner(file: TextIO, patience: float = 0.0) -> dict:
    """What the lock file says; {} where that is nothing, or damaged. patience: seconds to wait for an owner that has not signed yet."""
    while True:
        file.seek(0)
        text = file.read()
        if text or patience <= 0:
            break
        time.sleep(0.05)
        patience -= 0.05
    try:
        owner = json.loads(text)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _named(owner: dict) -> str:
    return "process {process} on {host} since {since}".format(**{"process": "?", "host": "?", "since": "?"} | owner)


def _sign(file: TextIO, work: str | None) -> None:
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    file.truncate(0)
    file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since, "work": work}))
    file.flush()


def _is_at(file: TextIO, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def _release(file: TextIO, path: Path) -> None:
    with suppress(OSError):  # a folder that can no longer be written to keeps the file; unlocked, it blocks nobody here
        if _is_at(file, path):
            path.unlink()
    with suppress(OSError):
        file.close()


def _run(command: list[str], lock: TextIO) -> int:
    """Exit status of a command. It shares the lock, which thus lasts until it ends, even if this process is killed before."""
    process = subprocess.Popen(command, pass_fds=[lock.fileno()])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command too, which tidies up and then ends
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


def main(arguments: list[str]) -> int:
    """Command line; see the module's text."""
    if len(arguments) < 2:
        print("usage: python -m reidlib.locks TARGET COMMAND ...", file=sys.stderr)
        return 2
    try:
        with exclusive(arguments[0]) as lock:
            return _run(arguments[1:], lock)
    except (Locked, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
