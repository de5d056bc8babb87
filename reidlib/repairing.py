"""VRSTC's training in three steps, each resumable: the network that localises, the one that completes, the one that re-identifies.

Thesis of R. Hou, chapter 4, after VRSTC (CVPR 2019); our reading. What it leaves in its folder:

    identity/              step 1: ResNet with temporal mean, which localises occlusion and guides completion
    scores-<data>.h5       how much every third of every frame looks like the same third of its tracklet (see `layers.occlusion`)
    completion/            step 2: STCnet
    repaired-<data>.h5     step 3: the video of the tracklets in which something was hidden
    model.pt, ...          step 3: ResNet with Non-local blocks, trained on repaired video, as `training.train` leaves it
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from reidlib.checkpoints import finished
from reidlib.completion import CompletionSettings, region_scores_of, train_completion
from reidlib.datasets import RepairedStore, Sample, StoreLike, TrackletStore, build_store
from reidlib.datasets.frames import normalised, resized, video_of
from reidlib.datasets.pixels import to_bytes, with_neighbours
from reidlib.evaluation import Protocol
from reidlib.events import Events
from reidlib.models.layers.heads import ReidModel
from reidlib.models.layers.occlusion import occluded, region_scores, third_masks
from reidlib.models.stcnet import Completion, STCnet
from reidlib.models.vrstc import VRSTC
from reidlib.training import RunSettings, train

CODE = 1  # of what the two stores hold
BATCH = 64  # frames per forward

#: What STCnet takes: frames, mask, previous, following.
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
ModelT = TypeVar("ModelT", bound=nn.Module)


def localise(network: VRSTC, video: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scores `[T, 3]` of a tracklet's frames, (4.8)-(4.9) over the whole tracklet; video uint8 `[T, h, w]` or `[T, h, w, 3]`."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        pictures = (resized(normalised(part), size).to(device) for part in _batches(video))  # [n, 3, H, W] each
        vectors = torch.cat([network.regions(part[:, None])[:, 0] for part in pictures])  # [T, 3, D]
    return region_scores(vectors.float()).cpu().numpy()


def hole_inputs(video: np.ndarray, hidden: np.ndarray, chosen: np.ndarray, settings: CompletionSettings) -> Inputs:
    """What STCnet takes for the `chosen` frames of a tracklet whose thirds are `hidden` (bool `[T, 3]`): frames, mask, previous, following.

    All hidden thirds of a frame are missing at once (our reading): the occluder is not part of what a third is completed from."""
    seen = torch.stack([with_neighbours(video, t, hidden, hidden[t], settings.size, settings.neighbours) for t in chosen])
    frames, previous, following = seen.unbind(1)  # [n, 3, H, W] each
    return frames, third_masks(torch.from_numpy(hidden[chosen]), settings.size[0]), previous, following


def repair(net: STCnet, video: np.ndarray, hidden: np.ndarray, settings: CompletionSettings) -> np.ndarray:
    """A copy of a tracklet's video with its hidden thirds completed; every other pixel stays as it is."""
    device = next(net.parameters()).device
    out = video.copy()
    for chosen in _batches(np.flatnonzero(hidden.any(1))):
        with torch.inference_mode():
            _, final = net(*(part.to(device) for part in hole_inputs(video, hidden, chosen, settings)))
        mask = third_masks(torch.from_numpy(hidden[chosen]), video.shape[1])[:, 0].numpy()  # [n, h, 1]
        made = to_bytes(final, video.shape[1:])
        out[chosen] = np.where(mask if video.ndim == 3 else mask[..., None], made, video[chosen])
    return out


@dataclass(frozen=True)
class TrackletViews:
    """What happens to a tracklet, to be looked at. scores `[T, 3]`, hidden bool `[T, 3]`: of all its frames. chosen `[n]`: frames in
    which something is hidden. frames, previous, following `[n, 3, H, W]` in [-1, 1] and mask `[n, 1, H, 1]`: STCnet's input. completion:
    what it makes of them. repaired: the whole video, uint8 as stored."""

    scores: np.ndarray
    hidden: np.ndarray
    chosen: np.ndarray
    frames: Tensor
    mask: Tensor
    previous: Tensor
    following: Tensor
    completion: Completion
    repaired: np.ndarray


class Repairing:
    """The three steps on one set. A step is taken when it is first asked for, resumed where it was interrupted, skipped where it is done.

    run: settings of the last network, a `vrstc`; the first is the same without Non-local blocks, trained alike. completion: of STCnet.
    train_index, folder, validation: as `training.train` takes them; validation tests the last network on repaired video.
    """

    def __init__(
        self,
        run: RunSettings,
        completion: CompletionSettings,
        store: StoreLike,
        train_index: pd.DataFrame,
        folder: Path,
        validation: Protocol | None = None,
    ):
        if run.model != "vrstc" or run.start is not None:
            raise ValueError(f"VRSTC's steps end in a 'vrstc' that starts afresh, not in {run.model!r} started from {run.start}")
        self.run, self.completion, self.store = run, completion, store
        self.train_index, self.folder, self.validation = train_index, Path(folder), validation
        self.identity_run = replace(run, options=run.options | {"stages": ()})

    @cached_property
    def guider(self) -> VRSTC:
        """Step 1: localiser and identity guider."""
        network = train(self.identity_run, self.store, self.train_index, self.folder / "identity")
        return _ready(cast(VRSTC, network))  # the run's model is "vrstc"

    @cached_property
    def stcnet(self) -> STCnet:
        """Step 2: the completion network."""
        size, folder = self.run.clips.size, self.folder / "completion"
        return _ready(train_completion(self.completion, self.store, self.train_index, self.scores(), self.guider, size, folder))

    @cached_property
    def model(self) -> ReidModel:
        """Step 3: the re-identification network, trained on repaired video; embed `repaired()` with it."""
        return train(self.run, self.repaired(), self.train_index, self.folder, self.validation)

    def finished(self) -> bool:
        """Whether all three steps were taken with these settings and data; takes none."""
        first = finished(self.folder / "identity", self.identity_run.with_data(self.store.cache_key))
        if not first or not finished(self.folder / "completion", self.completion.with_data(self.store, self.scores())):
            return False
        return finished(self.folder, self.run.with_data(self.repaired().cache_key))

    def scores(self, store: StoreLike | None = None) -> TrackletStore:
        """Scores `[T, 3]` of every tracklet of `store` (None: of the set itself), as attributes "scores"."""
        seen = self.store if store is None else store

        def scored(row: dict) -> Sample:
            found = localise(self.guider, video_of(seen, row["key"]), self.run.clips.size)
            return _sample(row, scores=found)

        return self._kept("scores", seen, {"localiser": self.identity_run.with_data(self.store.cache_key)}, scored)

    def repaired(self, store: StoreLike | None = None) -> RepairedStore:
        """`store` (None: the set itself; or a view of it, such as degraded video) with its hidden thirds completed."""
        seen = self.store if store is None else store
        scores = self.scores(store)

        def completed(row: dict) -> Sample:
            found = region_scores_of(scores, row["key"])
            hidden = occluded(found, self.completion.threshold)
            video = repair(self.stcnet, video_of(seen, row["key"]), hidden, self.completion) if hidden.any() else None
            return _sample(row, video, hidden=hidden.astype(int))

        made_by = {"completion": self.completion.with_data(self.store, self.scores()), "scores": scores.cache_key}
        return RepairedStore(seen, self._kept("repaired", seen, made_by, completed).load())

    def views(self, key: str, store: StoreLike | None = None) -> TrackletViews:
        """Everything that happens to a tracklet."""
        seen = self.store if store is None else store
        video, scores = video_of(seen, key), region_scores_of(self.scores(store), key)
        hidden = occluded(scores, self.completion.threshold)
        chosen = np.flatnonzero(hidden.any(1))
        if len(chosen) == 0:
            raise ValueError(f"nothing is hidden in tracklet {key!r}: its lowest score is {scores.min():.3f}")
        net = copy.deepcopy(self.stcnet).to("cpu")
        inputs = hole_inputs(video, hidden, chosen, self.completion)
        return TrackletViews(scores, hidden, chosen, *inputs, net.inner_views(*inputs), repair(net, video, hidden, self.completion))

    def _kept(self, name: str, seen: StoreLike, made_by: dict, make: Callable[[dict], Sample]) -> TrackletStore:
        """A store of what `make` says of every tracklet of `seen`: opened where it is there, resumed where it was interrupted."""
        path = self.folder / f"{name}-{hashlib.sha256(seen.cache_key.encode()).hexdigest()[:8]}.h5"
        settings = {"code": CODE, "seen": seen.cache_key} | made_by
        return build_store(path, seen.index.to_dict("records"), make, settings, workers=1, description=name)


def _ready(network: ModelT) -> ModelT:
    """On the device that training uses."""
    return network.to(Fabric(accelerator="auto", devices=1).device)


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def _sample(row: dict, video: np.ndarray | None = None, **attributes: np.ndarray) -> Sample:
    return Sample(Events.empty(row["width"], row["height"]), video, attributes)
