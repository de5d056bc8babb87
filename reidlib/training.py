"""Training one model on one tracklet store: interruptible, resumable to the same result, deterministic from its seed."""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm.auto import tqdm

from reidlib import processes
from reidlib.checkpoints import History, read_checkpoint, restore, sole_run, write_checkpoint, write_result
from reidlib.datasets import ClipDataset, ClipSettings, PKSampler, StoreLike, train_loader
from reidlib.evaluation import Protocol, embed, rank_protocol
from reidlib.losses import ReidLoss
from reidlib.models import ReidModel, ReidOutput, build_model, record_firing_rates
from reidlib.models.layers.synced_norm import synced

#: Fabric's names of what is computed in which precision.
Precision = Literal["64-true", "32-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "transformer-engine"]


@dataclass(frozen=True)
class TrainSettings:
    """Schedule, batches and losses of one training run.

    iterations: optimiser steps. people x clips: identities and clips of each per batch. learning_rate: peak, reached after
    `warmup` (a share of the iterations), then `schedule` "cosine" to zero, or "steps" (a tenth at 60 and 80 % of the way).
    clip_norm: gradient norm limit, 0 for none. average: decay of the exponential weight average that is
    evaluated and kept, 0 for none. validate_every, checkpoint_every: in steps, 0 for never (the end always counts).
    precision: Fabric's name, "32-true", "bf16-mixed", ...
    """

    iterations: int = 600
    people: int = 6
    clips: int = 4
    optimizer: str = "adamw"
    learning_rate: float = 4e-3
    weight_decay: float = 5e-4
    warmup: float = 0.1
    schedule: str = "cosine"
    clip_norm: float = 0.0
    average: float = 0.0
    loss: ReidLoss = field(default_factory=ReidLoss)
    validate_every: int = 0
    checkpoint_every: int = 100
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.people < 2 or self.clips < 1:
            raise ValueError(f"iterations {self.iterations}, people {self.people} (at least 2) and clips {self.clips} must be positive")
        if self.optimizer not in ("adamw", "adam", "sgd"):
            raise ValueError(f"unknown optimizer {self.optimizer!r}; choose adamw, adam or sgd")
        if self.schedule not in ("cosine", "steps"):
            raise ValueError(f"unknown schedule {self.schedule!r}; choose cosine or steps")
        if not 0 <= self.warmup < 1 or not 0 <= self.average < 1:
            raise ValueError(f"warmup {self.warmup} and average {self.average} must lie in [0, 1)")


@dataclass(frozen=True)
class RunSettings:
    """Everything a training result depends on, besides the data: written beside it, compared before it is used again.

    start: the run whose trained weights this one begins with (see `copy_weights`), None for fresh ones.
    """

    model: str
    options: dict = field(default_factory=dict)
    clips: ClipSettings = field(default_factory=ClipSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    validation_people: int = 0
    seed: int = 0
    start: "RunSettings | None" = None

    def with_data(self, cache_key: str, parts: str = "") -> dict:
        """Plain dict with the keys of the data and of the labels of body parts, if there are any, as it is stored and hashed."""
        return json.loads(json.dumps(asdict(self) | {"data": cache_key} | ({"parts": parts} if parts else {})))


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Learning rate of step `step` (0-based): linear warm-up, then the schedule."""
    warm = round(settings.warmup * settings.iterations)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    progress = (step - warm) / max(1, settings.iterations - warm)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * (1.0 if progress < 0.6 else 0.1 if progress < 0.8 else 0.01)


def seed_step(seed: int, step: int) -> None:
    """Make torch's draws of one step (random subsequences, dropout) a function of (seed, step), so that a resumed run repeats them."""
    torch.manual_seed((seed * 1_000_003 + step) % 2**63)


def train(
    run: RunSettings,
    store: StoreLike,
    train_index: pd.DataFrame,
    folder: Path,
    validation: Protocol | None = None,
    start: Callable[[], nn.Module] | None = None,
    parts: StoreLike | None = None,
) -> ReidModel:
    """Train a model and return it in `eval` mode; a finished run in `folder` is loaded, an interrupted one resumed.

    Writes `settings.json`, `metrics.csv` (one row per 10 steps and per validation), `checkpoint.pt` while running and `model.pt` at the
    end. validation: query and gallery rows of held-out *training* identities, for curves and choices; the test rows never come here.
    start: gives the trained model of `run.start`; called only when this run begins. parts: labels of body parts (see `part_labels`), for
    the losses of a `supervised` model; without them these are off, and a line says so.
    Another process that trains the same in `folder` is waited for. Processes that torchrun started train it together, each with its
    share of every batch, to the result of one (see `processes`); the first of them writes. Raises `locks.Locked` where one trains
    something else there, FloatingPointError when the loss is not finite (the last good checkpoint stays), ValueError for a damaged
    checkpoint or model.
    """
    folder = Path(folder)
    plain = run.with_data(store.cache_key, "" if parts is None else parts.cache_key)
    people = sorted(int(person) for person in train_index["person"].unique())
    torch.manual_seed(run.seed)
    model = build_model(run.model, len(people), **run.options)
    fabric = Fabric(accelerator="auto", precision=run.train.precision, **processes.fabric_options())
    fabric.launch()
    if not processes.from_first(lambda: restore(model, folder, plain)):
        with sole_run(folder, plain) if processes.rank() == 0 else nullcontext():
            if not processes.from_first(lambda: restore(model, folder, plain)):  # else another run has trained it meanwhile
                state = _Trainer(run, model, folder, plain, fabric)
                clips = _clips(run, model, store, train_index, parts, folder.name)
                return _fit(state, clips, store, train_index, validation, start).eval()
    if processes.rank() > 0:
        restore(model, folder, plain)
    return model.eval()


def _clips(run: RunSettings, model: ReidModel, store: StoreLike, index: pd.DataFrame, parts: StoreLike | None, name: str) -> ClipDataset:
    """What a model is trained on; labels of body parts only where it learns them."""
    if model.supervised and parts is None:
        tqdm.write(f"{name}: nobody knows the parts of the body in this set, so the losses that learn them are off")
    people = sorted(int(person) for person in index["person"].unique())
    parts = parts if model.supervised else None
    return ClipDataset(store, index, run.clips, train=True, seed=run.seed, labels=people, modalities=model.modalities, parts=parts)


def _fit(
    state: "_Trainer",
    clips: ClipDataset,
    store: StoreLike,
    train_index: pd.DataFrame,
    validation: Protocol | None,
    start: Callable[[], nn.Module] | None,
) -> ReidModel:
    """All steps from the last checkpoint on; the trained model."""
    run, settings = state.run, state.run.train
    if (run.start is None) != (start is None):
        raise ValueError("settings and arguments disagree: `start` must give the model exactly when `run.start` names its settings")
    if not state.resume() and start is not None:
        copy_weights(start(), state.plain_model)
    sampler = PKSampler(train_index, settings.people, settings.clips, seed=run.seed, iterations=settings.iterations, start=state.step)
    batches = train_loader(clips, processes.OwnBatches(sampler, settings.people * settings.clips))
    shown = {"desc": state.folder.name, "leave": False, "mininterval": 1.0, "disable": processes.rank() > 0}
    bar = tqdm(batches, initial=state.step, total=settings.iterations, **shown)
    for batch in bar:
        state.one_step(batch)
        due = settings.validate_every and state.step % settings.validate_every == 0
        if validation is not None and (due or state.step == settings.iterations):
            state.validate(store, validation)
        if settings.checkpoint_every and state.step % settings.checkpoint_every == 0:
            state.checkpoint()
        if state.step % 10 == 0:
            bar.set_postfix(loss=f"{state.loss:.2f}", refresh=False)
    return state.finish()


class _Trainer:
    """The moving parts of a run: model, optimiser, weight average, history, and their way to disk and back."""

    def __init__(self, run: RunSettings, model: ReidModel, folder: Path, plain: dict, fabric: Fabric):
        self.run, self.settings, self.folder, self.plain, self.fabric = run, run.train, folder, plain, fabric
        self.average = _average_of(model, run.train.average)
        self.model, self.optimizer = fabric.setup(synced(model), _optimizer(model, run.train))
        if self.average is not None:
            self.average.to(self.fabric.device)
        self.step, self.loss, self.history = 0, math.nan, History()

    def one_step(self, batch: dict) -> None:
        settings = self.settings
        seed_step(self.run.seed, self.step)
        rate = learning_rate(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        inputs = {name: batch[name].to(self.fabric.device) for name in (*self.model.modalities, "parts") if name in batch}
        terms = settings.loss(*whole_batch(self.model(**inputs), batch["label"].to(self.fabric.device)))
        if not torch.isfinite(terms["total"]):
            raise FloatingPointError(f"loss is {terms['total'].item()} at step {self.step} of {self.folder}: lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(terms["total"])
        if settings.clip_norm:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=settings.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        found = self.history.add(self.step, terms, self.step == settings.iterations, learning_rate=rate)
        self.loss = found["total"]

    def evaluated(self) -> ReidModel:
        """The model that counts: the weight average where there is one."""
        return (self.average.module if self.average is not None else self.plain_model).eval()

    @property
    def plain_model(self) -> ReidModel:
        """The model without Fabric's wrapper."""
        return self.model.module

    def validate(self, store: StoreLike, protocol: Protocol) -> None:
        model = self.evaluated()
        rows: dict[str, np.ndarray] = {}

        def run() -> None:
            rows["embeddings"] = embed(model, store, protocol.index, self.run.clips)

        rates = record_firing_rates(model, run)
        ranking = rank_protocol(rows["embeddings"], protocol)
        rates = {f"rate/{name}": value for name, value in processes.mean_numbers(rates).items()}
        self.history.rows.append({"step": self.step, "validation_mAP": float(100 * ranking.mAP)} | rates)

    def checkpoint(self) -> None:
        state = {
            "step": self.step,
            "model": self.plain_model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        if processes.rank() == 0:
            write_checkpoint(self.folder, self.plain, state, self.history)

    def resume(self) -> bool:
        """Go back to the last checkpoint; False where there is none of these settings."""
        state = read_checkpoint(self.folder, self.plain)
        if state is None:
            return False
        self.plain_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.history.load_state_dict(state)
        return True

    def finish(self) -> ReidModel:
        model = self.evaluated().to("cpu")
        processes.from_first(lambda: write_result(self.folder, self.plain, model, self.history))
        return model


def whole_batch(output: ReidOutput, labels: Tensor) -> tuple[ReidOutput, Tensor]:
    """What a model made of its share of a batch, joined with what those of the other processes made of theirs; losses are averaged.

    Every process then computes the loss of the whole batch, and the mean of their gradients is its gradient."""
    if processes.count() == 1:
        return output, labels
    features, logits = ([processes.gathered(rows) for rows in part] for part in (output.features, output.logits))
    losses = {name: processes.summed(value) / processes.count() for name, value in output.losses.items()}
    return replace(output, features=features, logits=logits, losses=losses), processes.gathered(labels)


def _optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, settings.learning_rate, momentum=0.9, weight_decay=settings.weight_decay, fused=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


class _Average(torch.optim.swa_utils.AveragedModel):
    """An exponential average of a system's weights and statistics."""

    module: ReidModel


def _average_of(model: ReidModel, decay: float) -> _Average | None:
    if not decay:
        return None
    return _Average(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay), use_buffers=True)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Start `target` from `source`: every parameter and statistic of the source is copied to the one of the same name.

    Layers that only the target has (SSAM) keep their own draw. A spiking network may start from its ReLU twin: the layers are the
    same, BatchNorm brings their inputs to the scale of the threshold. ValueError where a tensor of the source finds no
    place or another shape.
    """
    given, own = source.state_dict(), target.state_dict()
    misfits = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
    if misfits:
        cause = "width, depth and training people must be the same"
        raise ValueError(f"{len(misfits)} tensors of the starting weights do not fit this model, the first is {misfits[0]}: {cause}")
    target.load_state_dict(own | given)


def load_history(folder: Path) -> pd.DataFrame:
    """The `metrics.csv` of a run. FileNotFoundError when the run has not reached its first checkpoint, ValueError for a damaged file."""
    path = Path(folder) / "metrics.csv"
    if not path.exists():
        raise FileNotFoundError(f"no training history at {path}: has this run been started?")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    table = None
    if lines.pop() == "" and len({line.count(",") for line in lines}) == 1:  # else it was cut off; pandas would fill it up
        table = pd.read_csv(path, encoding_errors="replace")
    if table is None or "step" not in table or not all(map(pd.api.types.is_numeric_dtype, table.dtypes)):
        raise ValueError(f"{path} is damaged: only training the run again (remove its folder) makes another history")
    return table
