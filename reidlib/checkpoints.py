"""What every training leaves in its folder: settings, checkpoint, history and, at the end, the model; shared by all loops.

`settings.json` says what a run is made of, `metrics.csv` is its history, `checkpoint.pt` is there while it runs, `model.pt` once it ended.

Files that cost hours, `checkpoint.pt` and `model.pt`, are checked whenever they are read; a damaged one is refused, never replaced in
silence: whoever removes it decides that the run starts again. What others can be made from (stores, embeddings) is made again with a note.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from reidlib.files import settings_hash, write_atomically, write_json
from reidlib.locks import exclusive, tidy
from reidlib.weights import load_weights

LOG_EVERY = 10


class History:
    """Rows of a run's metrics: the mean of every term over each ten steps, and whatever else is noted."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self._window: list[dict[str, float]] = []

    def add(self, step: int, terms: dict[str, Tensor], final: bool, **facts: float) -> dict[str, float]:
        """Note the terms of the step that made `step` of them, and return them as numbers; every tenth and the final one close a row."""
        found = {name: float(value.detach()) for name, value in terms.items()}
        self._window.append(found)
        if step % LOG_EVERY == 0 or final:
            # Plain numbers, so that a checkpoint loads with weights_only.
            means = {name: float(value) for name, value in pd.DataFrame(self._window).mean().items()}
            self.rows.append({"step": step} | facts | means)
            self._window = []
        return found

    def state_dict(self) -> dict:
        """What `load_state_dict` goes back to."""
        return {"history": self.rows, "window": self._window}

    def load_state_dict(self, state: dict) -> None:
        """Go back to a checkpoint."""
        self.rows, self._window = state["history"], state["window"]

    def write(self, folder: Path) -> None:
        """Write `metrics.csv`."""
        table = pd.DataFrame(self.rows)
        write_atomically(Path(folder) / "metrics.csv", lambda path: table.to_csv(path, index=False))


def save_state(state: dict, path: Path) -> None:
    """Write tensors and plain values with torch, atomically; the same ones are the same bytes. `weights.load_weights` reads them."""
    # Given a path, torch writes its name into the file; and of a disk that is full it tells nothing but a position.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getbuffer()))


def _load(path: Path) -> dict:
    try:
        return load_weights(path)
    except ValueError as error:
        raise ValueError(f"{error}, or remove it and the run starts again") from error


def read_settings(folder: Path) -> dict:
    """The settings of a run. ValueError for a damaged file."""
    path = Path(folder) / "settings.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove the folder and the run starts again") from error


def finished(folder: Path, plain: dict) -> bool:
    """Whether `folder` holds a finished run with exactly these settings and data. ValueError for damaged settings."""
    folder = Path(folder)
    if not (folder / "model.pt").exists() or not (folder / "settings.json").exists():
        return False
    return read_settings(folder) == plain


def restore(model: nn.Module, folder: Path, plain: dict) -> bool:
    """Give `model` the weights of the finished run in `folder`; False where there is none with exactly these settings and data."""
    folder = Path(folder)
    if not finished(folder, plain):
        return False
    model.load_state_dict(_load(folder / "model.pt"))
    tidy(folder, lambda: (folder / "checkpoint.pt").unlink(missing_ok=True))
    return True


@contextmanager
def sole_run(folder: Path, plain: dict) -> Iterator[None]:
    """While a run of these settings writes into `folder`, nobody else does.

    A second process with the same settings waits (and must then ask `restore` again); one with others gets `locks.Locked`. The model of
    other settings is removed: it must not pass for this run's."""
    with exclusive(folder, settings_hash(plain)):
        if (folder / "model.pt").exists() and not finished(folder, plain):
            tqdm.write(f"{folder}: settings or data changed since its model was trained; that model is thrown away")
            (folder / "model.pt").unlink()
        yield


def write_checkpoint(folder: Path, plain: dict, state: dict, history: History) -> None:
    """Everything that a run needs to go on from here; `plain`: its settings.

    FloatingPointError where a weight is not finite: the loss tells only a step later, and the last checkpoint must be a good one."""
    _check_finite(state["model"], state["step"], folder)
    state = {"settings": settings_hash(plain)} | state | history.state_dict()
    save_state(state, folder / "checkpoint.pt")
    write_json(folder / "settings.json", plain)
    if history.rows:
        history.write(folder)


def read_checkpoint(folder: Path, plain: dict) -> dict | None:
    """The last checkpoint, None where there is none of these settings. ValueError for a damaged one."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    state = _load(path)
    if state.get("settings") != settings_hash(plain):
        found = f"the checkpoint of step {state.get('step')} is thrown away"
        tqdm.write(f"{folder}: settings or data changed since its checkpoint; training starts again and {found}")
        return None
    return state


def write_result(folder: Path, plain: dict, model: nn.Module, history: History) -> None:
    """The end of a run: from now on it is `finished`. FloatingPointError, and no result, where a weight is not finite."""
    _check_finite(model.state_dict(), history.rows[-1]["step"], folder)
    write_json(folder / "settings.json", plain)
    history.write(folder)
    save_state(model.state_dict(), folder / "model.pt")
    (folder / "checkpoint.pt").unlink(missing_ok=True)


def _check_finite(weights: dict[str, Tensor], step: int, folder: Path) -> None:
    broken = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise FloatingPointError(f"{broken[0]} is not finite after step {step} of {folder}: lower the learning rate")
