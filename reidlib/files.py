"""Small file helpers: atomic writes that say why they fail, and stable hashes of settings."""

import errno
import glob
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"  # names of files that are still being written begin with it
# What a user can mend: the disk or a quota is full, the folder is read-only or somebody else's, a file grows beyond a limit.
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
_NO_SPACE = 2**16  # bytes: with less than this left, a library that failed to write failed for want of space


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary path)` produce a file, then move it to `path` in one step; a crash leaves the old file or none.

    OSError, naming `path` and the cause, where the disk is full or the folder cannot be written to; the old file stays."""
    path = Path(path)
    with telling_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_beginning(path)}{os.getpid()}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        with telling_why(path):
            write(temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def telling_why(path: Path) -> Iterator[None]:
    """Around code that writes `path`: what libraries make of a full disk or a read-only folder becomes one OSError with path and cause."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py, say, raises either, without a number
        number = _cause(error, Path(path))
        if number is None:
            raise
        cause = error.strerror if isinstance(error, OSError) and error.filename == str(path) else os.strerror(number)
        text = f"{cause}; nothing that was there before is damaged, and the same command goes on once this is mended"
        raise OSError(number, text, str(path)) from error


def _cause(error: Exception, path: Path) -> int | None:
    number, named = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in (errno.EACCES, errno.EPERM) and named and not path.parent.is_relative_to(Path(named).parent):
        return None  # a source elsewhere that cannot be read
    if number is None and path.parent.is_dir() and shutil.disk_usage(path.parent).free < _NO_SPACE:
        number = errno.ENOSPC
    return number if number in _MENDABLE else None


def _beginning(path: Path) -> str:
    """How names of temporary files of this host for `path` begin; the number of the process follows."""
    return f"{TEMPORARY}{path.stem}-{socket.gethostname()}-"


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this host left of writing `path`."""
    for left in path.parent.glob(f"{glob.escape(_beginning(path))}*{glob.escape(path.suffix)}"):
        process = left.stem.split("-")[-2]
        if process.isdigit() and not _alive(int(process)):
            left.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno == errno.EPERM  # somebody else's
    return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def settings_hash(settings: dict) -> str:
    """Hash of plain settings, the same for any order of keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
