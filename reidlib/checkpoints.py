"""What every training leaves in its folder: settings, checkpoint, history and, at the end, the model; shared by all loops.

`settings.json` says what a run is made of, `metrics.csv` is its history, `checkpoint.pt` is there while it runs, `model.pt` once it ended.
"""

import json
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from reidlib.files import settings_hash, write_atomically, write_json
from reidlib.weights import load_weights

LOG_EVERY = 10


class History:
    """Rows of a run's metrics: the mean of every term over each ten steps, and whatever else is noted."""

    def __init__(self):
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


def finished(folder: Path, plain: dict) -> bool:
    """Whether `folder` holds a finished run with exactly these settings and data. ValueError for damaged settings."""
    folder = Path(folder)
    if not (folder / "model.pt").exists() or not (folder / "settings.json").exists():
        return False
    try:
        return json.loads((folder / "settings.json").read_text(encoding="utf-8")) == plain
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{folder / 'settings.json'} is damaged ({error}): delete it and the run starts again") from error


def write_checkpoint(folder: Path, plain: dict, state: dict, history: History) -> None:
    """Everything that a run needs to go on from here; `plain`: its settings."""
    state = {"settings": settings_hash(plain)} | state | history.state_dict()
    write_atomically(folder / "checkpoint.pt", lambda path: torch.save(state, path))
    write_json(folder / "settings.json", plain)
    if history.rows:
        history.write(folder)


def read_checkpoint(folder: Path, plain: dict) -> dict | None:
    """The last checkpoint, None where there is none of these settings. ValueError for a damaged one."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        state = load_weights(path)
    except ValueError as error:
        raise ValueError(f"{error}, or delete it and the run starts again") from error
    if state.get("settings") != settings_hash(plain):
        tqdm.write(f"{folder}: settings or data changed since its checkpoint, training starts again")
        return None
    return state


def write_result(folder: Path, plain: dict, model: nn.Module, history: History) -> None:
    """The end of a run: from now on it is `finished`."""
    write_json(folder / "settings.json", plain)
    history.write(folder)
    write_atomically(folder / "model.pt", lambda path: torch.save(model.state_dict(), path))
    (folder / "checkpoint.pt").unlink(missing_ok=True)
