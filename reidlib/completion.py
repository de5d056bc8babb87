"""The second step of VRSTC: training STCnet on frames that hide nothing, of which a third is taken away. Resumes to the same result.

R. Hou's thesis, section on training in chapter 4; our reading.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm.auto import tqdm

from reidlib.checkpoints import History, read_checkpoint, restore, sole_run, write_checkpoint, write_result
from reidlib.datasets import StoreLike
from reidlib.datasets.frames import video_of
from reidlib.datasets.pixels import NEIGHBOURS, network_input, with_neighbours
from reidlib.models.layers.occlusion import THIRDS, THRESHOLD, occluded, third_masks
from reidlib.models.stcnet import CompletionLoss, STCnet
from reidlib.models.vrstc import VRSTC
from reidlib.training import seed_step


@dataclass(frozen=True)
class CompletionSettings:
    """How STCnet is made and trained, and how it repairs.

    options: of `STCnet`, but its size. size: (height, width) at which frames are completed. batch: frames per step. learning_rate: of
    Adam, for generators and discriminators. threshold: thirds with a lower score are hidden; frames without such a third are the
    ground truth. neighbours: "adjacent" frames, or the nearest ones in which the missing third is "visible" (the text: previous and
    next). flip: share of mirrored frames. checkpoint_every: in steps, 0 for never.
    """

    iterations: int = 20_000
    batch: int = 32
    learning_rate: float = 1e-4
    size: tuple[int, int] = (128, 64)
    options: dict = field(default_factory=dict)
    loss: CompletionLoss = field(default_factory=CompletionLoss)
    threshold: float = THRESHOLD
    neighbours: str = "adjacent"
    flip: float = 0.5
    checkpoint_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.iterations, self.batch) < 1 or not self.learning_rate > 0:
            raise ValueError(f"iterations {self.iterations}, batch {self.batch} and learning_rate {self.learning_rate} must be positive")
        if not -1 <= self.threshold <= 1 or not 0 <= self.flip <= 1:
            raise ValueError(f"threshold {self.threshold} is a cosine from -1 to 1 and flip {self.flip} a share from 0 to 1")
        if self.neighbours not in NEIGHBOURS:
            raise ValueError(f"unknown neighbours {self.neighbours!r}; choose one of {', '.join(NEIGHBOURS)}")

    def with_data(self, store: StoreLike, scores: StoreLike) -> dict:
        """Plain dict with the data's own keys, as it is stored and compared; the scores' key holds all about the guider."""
        return json.loads(json.dumps(asdict(self) | {"data": store.cache_key, "scores": scores.cache_key}))


def region_scores_of(scores: StoreLike, key: str) -> np.ndarray:
    """The scores `[T, 3]` that a store of scores keeps of a tracklet."""
    return np.array(scores.attributes(key)["scores"], np.float64)


class Holes:
    """Batches of frames with a missing third; every random choice is a function of (seed, step).

    index: tracklets of people whose labels are their places in order. Ground truth are the frames of tracklets of two frames or more
    with no score below the threshold. Raises ValueError where there is none."""

    def __init__(self, settings: CompletionSettings, store: StoreLike, index: pd.DataFrame, scores: StoreLike):
        self.settings, self.store = settings, store
        self.keys, persons = index["key"].tolist(), index["person"].to_numpy()
        self.labels = np.unique(persons, return_inverse=True)[1]
        found = [region_scores_of(scores, key) for key in self.keys]
        self.hidden = [occluded(one, settings.threshold) for one in found]
        rows = [(row, t) for row, hidden in enumerate(self.hidden) for t in np.flatnonzero(~hidden.any(1)) if len(hidden) > 1]
        if not rows:
            best = max((one.min(1).max() for one in found if len(one) > 1), default=math.nan)
            cause = f"the best frame's lowest score is {best:.3f}; is the first network trained, and is there a tracklet of two frames?"
            raise ValueError(f"no frame has three scores of {settings.threshold} or more, so nothing can be learned from: {cause}")
        self.rows = np.array(rows)

    def batch(self, step: int) -> dict[str, Tensor]:
        """frames, previous, following `[B, 3, H, W]`, mask bool `[B, 1, H, 1]` and label `[B]`."""
        settings = self.settings
        rng = np.random.default_rng((settings.seed, step))
        chosen = self.rows[rng.integers(len(self.rows), size=settings.batch)]
        thirds = np.eye(len(THIRDS), dtype=bool)[rng.integers(len(THIRDS), size=settings.batch)]
        mirrored = torch.from_numpy(rng.random(settings.batch) < settings.flip)
        seen = torch.stack([self._seen(row, t, third) for (row, t), third in zip(chosen, thirds, strict=True)])  # [B, 3, 3, H, W]
        seen = torch.where(mirrored[:, None, None, None, None], seen.flip(-1), seen)
        frames, previous, following = seen.unbind(1)
        mask = third_masks(torch.from_numpy(thirds), settings.size[0])
        label = torch.from_numpy(self.labels[chosen[:, 0]])
        return {"frames": frames, "mask": mask, "previous": previous, "following": following, "label": label}

    def _seen(self, row: int, t: int, third: np.ndarray) -> Tensor:
        video = video_of(self.store, self.keys[row])
        return with_neighbours(video, t, self.hidden[row], third, self.settings.size, self.settings.neighbours)


def train_completion(
    settings: CompletionSettings,
    store: StoreLike,
    index: pd.DataFrame,
    scores: StoreLike,
    guider: VRSTC,
    guider_size: tuple[int, int],
    folder: Path,
) -> STCnet:
    """Train STCnet and return it in `eval` mode; a finished run in `folder` is loaded, an interrupted one resumed.

    scores: a store whose tracklets' attributes have "scores" (see `reidlib.repairing`). guider: the trained network of the first
    step for the people of `index`, frames of `guider_size`; it stays as it is. The folder holds what `training.train` leaves.
    Raises FloatingPointError when a loss is not finite (the last good checkpoint stays); for locks and damaged files see `training.train`.
    """
    folder, plain = Path(folder), settings.with_data(store, scores)
    torch.manual_seed(settings.seed)
    net = STCnet(size=settings.size, **settings.options)
    if not restore(net, folder, plain):
        with sole_run(folder, plain):
            if not restore(net, folder, plain):  # else another process has trained it meanwhile
                holes = Holes(settings, store, index, scores)
                net = _fit(_Completer(settings, net, guider, guider_size, folder, plain), holes)
    return net.eval()


def _fit(state: "_Completer", holes: Holes) -> STCnet:
    """All steps from the last checkpoint on; the trained network."""
    settings = state.settings
    state.resume()
    bar = tqdm(range(state.step, settings.iterations), state.folder.name, initial=state.step, total=settings.iterations, leave=False)
    for step in bar:
        state.one_step(holes.batch(step))
        if settings.checkpoint_every and state.step % settings.checkpoint_every == 0:
            state.checkpoint()
    return state.finish()


class _Completer:
    """The moving parts of a run: generators and discriminators with an optimiser each, and their way to disk and back."""

    def __init__(self, settings: CompletionSettings, net: STCnet, guider: VRSTC, guider_size: tuple[int, int], folder: Path, plain: dict):
        self.settings, self.folder, self.plain = settings, folder, plain
        self.device = Fabric(accelerator="auto", devices=1).device
        self.net = net.to(self.device).train()
        self.guider, self.guider_size = guider.to(self.device).eval().requires_grad_(False), guider_size
        parts = {"generators": net.generators(), "critics": list(net.critics.parameters())}
        self.optimizers = {name: torch.optim.Adam(part, settings.learning_rate) for name, part in parts.items() if part}
        self.step, self.history = 0, History()

    def one_step(self, batch: dict[str, Tensor]) -> None:
        """Generators and discriminators each take a step from the same completions."""
        seed_step(self.settings.seed, self.step)
        loss, net = self.settings.loss, self.net
        frames, mask, previous, following, label = (value.to(self.device) for value in batch.values())
        first, final = net(frames, mask, previous, following)
        logits = self.guider.identity_logits(network_input(final, self.guider_size)[:, None])
        terms = loss.generators(net, first, final, frames, mask, logits, label)
        if not torch.isfinite(terms["total"]):
            raise FloatingPointError(f"loss is {terms['total'].item()} at step {self.step} of {self.folder}: lower the learning rate")
        self._update("generators", terms["total"])
        if net.critics:
            terms |= {"critics": loss.critics(net, final, frames, mask)}
            self._update("critics", terms["critics"])
        self.step += 1
        self.history.add(self.step, terms, self.step == self.settings.iterations)

    def _update(self, part: str, loss: Tensor) -> None:
        self.net.zero_grad(set_to_none=True)  # the generators' loss goes through the discriminators too
        loss.backward()
        self.optimizers[part].step()

    def checkpoint(self) -> None:
        optimizers = {name: one.state_dict() for name, one in self.optimizers.items()}
        write_checkpoint(self.folder, self.plain, {"step": self.step, "model": self.net.state_dict(), **optimizers}, self.history)

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one of these settings."""
        if (state := read_checkpoint(self.folder, self.plain)) is None:
            return
        self.net.load_state_dict(state["model"])
        for name, one in self.optimizers.items():
            one.load_state_dict(state[name])
        self.step = state["step"]
        self.history.load_state_dict(state)

    def finish(self) -> STCnet:
        net = self.net.to("cpu").eval()
        write_result(self.folder, self.plain, net, self.history)
        return net
