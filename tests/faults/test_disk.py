"""A full disk and a folder that cannot be written to: one error with path and cause, nothing damaged, and the next run goes on."""

import errno
import os
import resource
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import samples
import toy_training
from processes import FORK, content
from test_evaluation import ToyStore

from reidlib import reports
from reidlib.datasets import build_store
from reidlib.files import write_atomically, write_text

STORE = ToyStore(toy_training.INDEX)
pytestmark = pytest.mark.full


class Disk:
    """A file system of its own in memory, of so many KiB."""

    def __init__(self, place: Path):
        self.place = place
        place.mkdir()

    def mount(self, size: int) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", self.place], check=True, capture_output=True)

    def change(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", self.place], check=True, capture_output=True)

    def fill(self, left: int) -> Path:
        """Leave so many KiB free."""
        filler = self.place / "filler"
        free = shutil.disk_usage(self.place).free
        filler.write_bytes(bytes(max(0, free - 1024 * left)))
        return filler


@pytest.fixture
def disk(tmp_path):
    found = Disk(tmp_path / "disk")
    try:
        found.mount(8192)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk here")
    yield found
    subprocess.run(["umount", "-l", found.place], check=True)


def refused(path: Path, number: int, work, *arguments) -> OSError:
    """The error of `work`, which must name the path and the cause."""
    with pytest.raises(OSError) as caught:
        work(*arguments)
    assert caught.value.errno == number and caught.value.filename == str(path), caught.value
    assert os.strerror(number) in str(caught.value) or " MB needed" in str(caught.value)
    return caught.value


def big(path: Path) -> None:
    path.write_bytes(bytes(200_000))


def broken_library(path: Path) -> None:
    """As torch and h5py do it: an error without a number."""
    try:
        big(path)
    except OSError:
        raise RuntimeError("unexpected pos 64 vs 0") from None


@pytest.mark.parametrize("writer", [big, broken_library, partial(np.save, arr=np.zeros(50_000))])
def test_a_file_stays_whole_on_a_full_disk(disk, writer):
    path = disk.place / "state.npy"
    write_text(path, "old")
    filler = disk.fill(left=20)
    refused(path, errno.ENOSPC, write_atomically, path, writer)
    assert content(disk.place, skip=("filler",)) == {"state.npy": b"old"}
    filler.unlink()
    write_atomically(path, writer)
    assert path.stat().st_size > 100_000


def test_errors_of_the_writer_itself_stay_what_they_are(disk):
    def broken(path):
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        write_atomically(disk.place / "a", broken)


def build(folder: Path, made: list) -> None:
    def make(row):
        made.append(row["key"])
        return samples.make(row)

    build_store(folder / "small.h5", samples.rows(count=20_000), make, samples.SETTINGS, workers=1)


def test_a_build_keeps_its_parts_on_a_full_disk_and_goes_on(disk, tmp_path):
    """Room for about half of the parts; then for all parts but not for the store beside them; then for both."""
    build(tmp_path / "whole", [])
    needed = (tmp_path / "whole" / "small.h5").stat().st_size // 1024
    filler, first, second, third = disk.fill(left=needed // 2), [], [], []
    with pytest.raises(OSError, match=r"No space left on device") as caught:
        build(disk.place, first)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename.startswith(f"{disk.place}/small.h5.parts/")
    assert 3 < len(first) < 16 and not (disk.place / "small.h5").exists()
    filler.unlink()
    disk.change(f"size={round(1.5 * needed)}k")
    told = refused(disk.place / "small.h5", errno.ENOSPC, build, disk.place, second)
    assert "MB needed" in str(told) and len(first) - 1 + len(second) == 16  # the part that did not fit is made again
    disk.change("size=65536k")
    build(disk.place, third)
    assert third == [] and content(disk.place) == content(tmp_path / "whole")


def test_a_training_keeps_its_checkpoint_on_a_full_disk_and_goes_on(disk, tmp_path):
    whole = toy_training.run_training(STORE, tmp_path / "whole").state_dict()
    folder, fillers = disk.place / "run", []
    with pytest.MonkeyPatch.context() as patch:
        toy_training.Interruption(patch, after=8)  # one past the first checkpoint
        with pytest.raises(KeyboardInterrupt):
            toy_training.run_training(STORE, folder)
    before = content(folder)
    assert "checkpoint.pt" in before
    fillers.append(disk.fill(left=24))
    refused(folder / "checkpoint.pt", errno.ENOSPC, toy_training.run_training, STORE, folder)
    assert content(folder) == before
    fillers[0].unlink()
    assert toy_training.same_weights(toy_training.run_training(STORE, folder).state_dict(), whole)
    assert content(folder) == content(tmp_path / "whole")


def _limited(folder: Path, said) -> None:
    """Files may have 20,000 bytes, as under a quota; the signal that would end the process is ignored, as shells do it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        toy_training.run_training(STORE, folder)
    except Exception as error:
        said.send((getattr(error, "errno", repr(error)), getattr(error, "filename", "")))


def test_a_limit_on_files_is_named_too(tmp_path):
    receive, send = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_limited, args=(tmp_path / "run", send))
    child.start()
    send.close()
    assert receive.recv() == (errno.EFBIG, str(tmp_path / "run" / "checkpoint.pt"))
    child.join()
    assert not list((tmp_path / "run").glob("*"))


def test_a_read_only_output_is_named_and_what_is_there_can_be_used(disk):
    folder, run = disk.place / "done", toy_training.short()
    toy_training.run_training(STORE, folder, run, validate=False)
    build(disk.place, [])
    before = content(disk.place)
    disk.change("ro")
    toy_training.run_training(STORE, folder, run, validate=False)  # finished: only read
    build(disk.place, made := [])
    assert made == []
    new, other = disk.place / "new", disk.place / "other.h5"
    refused(disk.place / "new.lock", errno.EROFS, toy_training.run_training, STORE, new, run)
    refused(disk.place / "other.h5.lock", errno.EROFS, build_store, other, samples.rows(), samples.make, samples.SETTINGS)
    refused(disk.place / "results.json", errno.EROFS, write_text, disk.place / "results.json", "{}")
    disk.change("rw")
    assert content(disk.place) == before


def test_the_command_line_says_one_line(disk, capsys):
    from reidlib.reports.__main__ import main

    disk.change("ro")
    assert main(["index", str(disk.place / "report"), "--output-dir", str(disk.place / "run")]) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith("error: [Errno 30] Read-only file system") and f"'{disk.place}/report/index.html'" in said and said.count("\n") == 1
    )


def test_a_full_disk_leaves_the_old_page(disk, tmp_path):
    arguments = (disk.place / "report", tmp_path / "run", ["01_data"])
    reports.record(tmp_path / "run", "01_data", title="t")
    reports.write_index(*arguments)
    before = content(disk.place)
    disk.fill(left=8)
    refused(disk.place / "report" / "index.html", errno.ENOSPC, partial(reports.write_index, *arguments, name="x" * 100_000))
    assert content(disk.place, skip=("filler",)) == before
