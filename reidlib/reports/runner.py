"""Run one notebook with checked parameters; the target appears only when every cell has run."""

import difflib
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reidlib.files import telling_why
from reidlib.locks import exclusive

if TYPE_CHECKING:
    from papermill.exceptions import PapermillExecutionError

KERNEL = "python3"
MOST_LINES = 8  # of one output, in the progress on the screen; the notebook holds all
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PAPERMILL_CHATTER = re.compile(r"^(Input Notebook|Output Notebook|Ending Cell|Executing notebook)")


class NotebookError(RuntimeError):
    """A cell of the notebook failed; the message carries the cell and its error."""


def run_notebook(source: str | Path, target: str | Path, parameters: Mapping | None = None) -> Path:
    """Execute notebook `source` with `parameters` on this interpreter's kernel and write the result to `target`.

    The kernel works in the current directory. `target` is written only after the last cell; when a cell fails, what
    ran so far is kept as `<target>.failed.ipynb` and NotebookError names the cell and its error. Another process that runs the same
    into `target` is waited for; then this one runs it again and finds what was trained. Raises `locks.Locked` while one runs something
    else there, FileNotFoundError for a missing notebook and ValueError for a parameter that the notebook does not declare.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    source, target = Path(source), Path(target)
    parameters = dict(parameters or {})
    check_parameters(source, parameters)
    partial, failed = target.with_suffix(".running.ipynb"), target.with_suffix(".failed.ipynb")
    try:
        work = repr((str(source), sorted(parameters.items())))
        with exclusive(target, work), telling_why(target), _own_kernel(), _progress(source.stem):
            papermill.execute_notebook(
                str(source), str(partial), parameters=parameters, kernel_name=KERNEL, language="python", progress_bar=False, log_output=True
            )
    except PapermillExecutionError as error:
        os.replace(partial, failed)
        raise NotebookError(_explain(source, failed, error)) from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, target)
    failed.unlink(missing_ok=True)
    return target


def declared_parameters(source: str | Path) -> dict[str, str]:
    """Names and default values (as text) of the notebook's `parameters` cell.

    Raises FileNotFoundError for a missing file and ValueError for a file that is no notebook or has no such cell.
    """
    import nbformat
    from papermill.translators import papermill_translators

    source = Path(source)
    if not source.is_file():
        raise FileNotFoundError(f"notebook not found: {source}")
    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:  # nbformat raises its own kind for every kind of damage
        raise ValueError(f"{source} is not a readable notebook: {error}") from error
    cell = next((cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), None)
    if cell is None:
        raise ValueError(f"{source} has no cell tagged 'parameters': tag the cell that holds its UPPER_CASE defaults")
    # What papermill.inspect_notebook does, also for a notebook that was never saved with a kernel's name.
    translator = papermill_translators.find_translator(KERNEL, "python")
    return {parameter.name: parameter.default for parameter in translator.inspect(cell)}


def check_parameters(source: str | Path, parameters: Mapping) -> None:
    """Raise ValueError, naming the nearest legal name, when `parameters` has a name that the notebook does not declare."""
    legal = declared_parameters(source)
    for name in parameters:
        if name not in legal:
            near = difflib.get_close_matches(name.upper(), legal, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{Path(source).name} has no parameter {name!r}.{hint} Its parameters: {', '.join(legal)}")


@contextmanager
def _own_kernel() -> Iterator[None]:
    """A `python3` kernelspec for the running interpreter, found before any other that the machine may have."""
    with tempfile.TemporaryDirectory(prefix="reidlib-kernel-") as folder:
        spec = Path(folder, "kernels", KERNEL, "kernel.json")
        spec.parent.mkdir(parents=True)
        # The kernel's own log (how it talks to this process) is silent; errors of cells come as results.
        launch = [sys.executable, "-m", "ipykernel_launcher", "--log-level=50", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": launch, "display_name": "Python 3 (ipykernel)", "language": "python"}), encoding="utf-8")
        path = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))
        before = dict(os.environ)
        os.environ["JUPYTER_PATH"] = path
        os.environ["TQDM_MININTERVAL"] = "5"  # bars of long cells: often enough to follow, little to store
        os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a debugger's warning at every kernel start
        os.environ.pop("MPLBACKEND", None)  # figures go into the notebook, whatever this shell prefers
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _progress(name: str) -> Iterator[None]:
    """Show on stderr, line by line, which cell runs and what it says."""
    logger = logging.getLogger("papermill")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(name))
    handler.addFilter(lambda entry: not _PAPERMILL_CHATTER.match(entry.getMessage()) and bool(entry.getMessage().strip()))
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


class _Lines(logging.Formatter):
    """`02_training | text`, one line each, the last state of a progress bar instead of its carriage returns."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def format(self, entry: logging.LogRecord) -> str:
        message = _ANSI.sub("", entry.getMessage()).rstrip()
        started = re.match(r"Executing Cell (\d+)", message)
        lines = [f"cell {started[1]}"] if started else message.splitlines()
        states = [state for state in (line.rstrip("\r").rpartition("\r")[2] for line in lines) if state.strip()]
        more = [f"… {len(states) - MOST_LINES} more lines"] if len(states) > MOST_LINES else []
        return "\n".join(f"{self.name} | {state}" for state in states[:MOST_LINES] + more)


def _explain(source: Path, failed: Path, error: "PapermillExecutionError") -> str:
    first_lines = "\n".join(f"    {line}" for line in error.source.splitlines()[:3])
    return (
        f"{source.name}, cell [{error.exec_count}] failed with {error.ename}: {_ANSI.sub('', str(error.evalue))}\n{first_lines}\n"
        f"What ran up to there: {failed}"
    )
