"""Reading damaged files in a process of its own, so that a hang, a crash of native code or absurd memory is seen and named.

Every test here takes the same 25 cases of each format. `REIDLIB_FUZZ_CASES=1000 pytest -s tests/fuzzing` takes a thousand, drawn anew each
time, and prints what became of them; it needs some minutes."""

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from damage import Damage, damages
from hypothesis import HealthCheck, given, settings

CASES = int(os.environ.get("REIDLIB_FUZZ_CASES", "25"))
SECONDS = 20  # of processor time for one small file; an honest reader takes milliseconds
MEMORY = 1 << 30  # bytes of address space that a reader may take for a file of some kilobytes
REFUSALS = (ValueError, FileNotFoundError, IsADirectoryError)  # exactly these: their subclasses are some library's own errors


@dataclass(frozen=True)
class Format:
    """A format with a small valid file. write(folder): writes it and whatever belongs to it. file: the one that is damaged, from the folder
    on. read(folder): what our reader makes of it, as plain values that can be compared. unseen(cut, whole): whether this format cannot
    tell `cut`, a beginning of `whole`, from a shorter file; such readers say so. sealed: checksums cover all of it. warns: the undamaged
    file, too, is warned of as maybe cut off. named: words one of which every error names, beside the file itself."""

    write: Callable[[Path], None]
    file: str
    read: Callable[[Path], object]
    unseen: Callable[[bytes, bytes], bool] = lambda cut, whole: False
    sealed: bool = False
    warns: bool = False
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """value: what was read. error, message: the type and the text of what was raised instead, trace: where. warned: warnings."""

    value: object = None
    error: str = ""
    message: str = ""
    trace: str = ""
    warned: list[str] = field(default_factory=list)


class Reader:
    """A process that reads with the formats of a module; it is started again after a crash."""

    def __init__(self, module: str):
        self.module, self._process = module, None

    def read(self, name: str, folder: Path) -> Outcome:
        """What became of reading the module's FORMATS[name] from `folder`. AssertionError for a hang or a crash."""
        if self._process is None or not self._process.is_alive():
            self._start()
        self._line.send((name, folder))
        try:
            if self._line.poll(30 * SECONDS):  # a hang that computes ends by itself, see `_serve`
                return self._line.recv()
        except EOFError:
            self._process.join()
            code = -self._process.exitcode
            what = "hang" if code == signal.SIGPROF else f"crash ({signal.Signals(code).name if code > 0 else f'exit {-code}'})"
            raise AssertionError(f"reading {name} ended in a {what}") from None
        self.stop()
        raise AssertionError(f"reading {name} hangs without computing")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        self._line, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(self.module, theirs), daemon=True)
        self._process.start()
        theirs.close()


def _serve(module: str, line) -> None:
    """Answer until the parent is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics and decoders talk there
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the default one sets a gigabyte of addresses aside
    formats = importlib.import_module(module).FORMATS
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            name, folder = line.recv()
        except EOFError:
            return
        if sys.platform == "linux":
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process
        answer = _outcome(formats[name].read, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        line.send(answer)


def _outcome(read: Callable[[Path], object], folder: Path) -> Outcome:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = read(folder)
        except BaseException as error:
            absurd = any(
                isinstance(one, MemoryError) and type(one).__module__ != "av.error" for one in _causes(error)
            )  # FFmpeg has a limit
            clear = type(error) in REFUSALS and not absurd
            kind = type(error).__name__ if clear else f"{'MemoryError, ' * absurd}{type(error).__module__}.{type(error).__name__}!"
            return Outcome(None, kind, str(error), traceback.format_exc())
    return Outcome(value, warned=[str(one.message) for one in caught])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def judge(found: Format, outcome: Outcome, whole: Outcome, damage: Damage, content: bytes) -> str:
    """One word for a rightful outcome: "refused", "same", "warned" or "other". AssertionError for any other one."""
    if outcome.error:
        assert not outcome.error.endswith("!"), f"{damage}: no clear error but {outcome.error}: {outcome.message}\n{outcome.trace}"
        names = (Path(found.file).name, *found.named)
        assert any(name in outcome.message for name in names), f"{damage}: the error names none of {names}: {outcome.message}"
        assert len(outcome.message) < 1500, f"{damage}: an error of {len(outcome.message)} characters: {outcome.message[:3000]}"
        return "refused"
    if outcome.value == whole.value:
        assert damage.kind != "empty", "an empty file was read as if it were whole"
        return "same"
    assert damage.kind != "empty", f"an empty file was read as {outcome.value}"
    if set(outcome.warned) - set(whole.warned) or found.warns:
        return "warned"
    assert not found.sealed, f"{damage}: the checksums were not compared: {outcome.value} instead of {whole.value}"
    if damage.kind == "cut":
        assert found.unseen(damage.of(content), content), (
            f"{damage} of {len(content)} bytes is lost in silence: {outcome.value}, not {whole.value}"
        )
    return "other"


def fuzz(reader: Reader, name: str, found: Format, folder: Path) -> None:
    """Read `CASES` damaged copies of a format's file, and the whole one before and after them; prints what became of them (pytest -s)."""
    tally = Counter()
    found.write(folder)
    path = folder / found.file
    content = path.read_bytes()
    whole = reader.read(name, folder)
    assert not whole.error, f"the undamaged file cannot be read: {whole.message}\n{whole.trace}"

    @settings(max_examples=CASES, deadline=None, derandomize=CASES <= 25, database=None, suppress_health_check=list(HealthCheck))
    @given(damage=damages(len(content)))
    def every_case(damage: Damage) -> None:
        path.write_bytes(damage.of(content))
        tally[judge(found, reader.read(name, folder), whole, damage, content)] += 1

    every_case()
    print(f"{name}: {tally.total()} cases, {', '.join(f'{count} {word}' for word, count in tally.most_common())}")
    path.write_bytes(content)
    assert reader.read(name, folder) == whole
