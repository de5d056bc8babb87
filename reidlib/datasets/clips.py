"""Clips for training and testing: windows of tracklets as event frames, video frames or both, in batches of P identities x K clips."""

import dataclasses
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from reidlib.datasets.degrade import KINDS, Degradation
from reidlib.datasets.frames import ClipVideo
from reidlib.datasets.store import StoreLike
from reidlib.datasets.views import DegradedStore, ShuffledEvents
from reidlib.events import Events, augment, event_frames, scale_counts
from reidlib.events.frames import SCALES

MODALITIES = ("events", "frames")
ERASED_AREA = (0.02, 0.2)  # half of the paper's largest: event frames of a person hold less than a photograph


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How a tracklet becomes clips.

    steps: time steps T per clip. size: (height, width) of event and video frames. seconds: length of a clip. scale: see `scale_counts`.
    The rest acts on training clips alone, and all but `drop` on events and video alike. flip: probability of a mirrored clip. erase:
    probability of one empty box, of 2 to 20 % of the picture at an aspect of 0.3 to 3.3 (random erasing, Zhong et al. 2020), the
    same at all steps of the clip. shift: the picture moves by up to this share of its height and width, each way (crop jitter).
    drop: each clip loses a share of its events drawn from [0, drop]. degrade: probability that the clip's video is degraded, in a kind and
    at a severity drawn evenly from all of `degrade.KINDS`; its events stay."""

    steps: int = 8
    size: tuple[int, int] = (64, 32)
    seconds: float = 0.6
    scale: str = "log"
    flip: float = 0.5
    erase: float = 0.5
    shift: float = 0.05
    drop: float = 0.1
    degrade: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(int(side) for side in self.size))
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, not {self.steps}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size must be (height, width) in pixels, not {self.size}")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, not {self.seconds}")
        if self.scale not in SCALES:
            raise ValueError(f"unknown scale {self.scale!r}; legal: {', '.join(SCALES)}")
        for name in ("flip", "erase", "shift", "drop", "degrade"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")


class ClipDataset(Dataset):
    """Clips of the tracklets in `index` (any part of the store's table; `row` is a position in it).

    train: item (row, draw) -> {"events": float32 [T, 2, H, W], "label", "camera", "row"}; every random choice is a function of
        (seed, draw), so order, workers and restarts do not matter. label: position of the person in `labels`.
    eval: item row -> the same with "events" [n, T, 2, H, W]: the whole tracklet in n = max(1, round(duration / seconds))
        consecutive clips of equal length, every event in exactly one; no randomness. label: the person id.
    labels: person ids in label order (None: the sorted ids of `index`).
    modalities: what items hold, "events", "frames" or both. "frames" is float32 [T, 3, H, W]: at step t the video frame nearest to the
        middle of the t-th event bin, normalised, under the events' flip, shift and box (see `frames.ClipVideo`).
    parts: a companion of the store with the body part of every pixel (see `part_labels`); items then hold "parts" too, int64 [T, H, W]
        (eval [n, T, H, W]): labels of the pixels of "frames", which they need.
    degradation: what is done to the video, and to the events if it says so (see `views.DegradedStore`).
    shuffled: seed of a control in which every tracklet has another person's events (see `views.ShuffledEvents`)."""

    def __init__(
        self,
        store: StoreLike,
        index: pd.DataFrame,
        settings: ClipSettings,
        train: bool,
        seed: int = 0,
        labels: list[int] | None = None,
        modalities: tuple[str, ...] = ("events",),
        degradation: Degradation | None = None,
        shuffled: int | None = None,
        parts: StoreLike | None = None,
    ) -> None:
        self.modalities = checked_modalities(modalities)
        if degradation is not None:
            store = DegradedStore(store, degradation, memory=train)
        if shuffled is not None:
            store = ShuffledEvents(store, index, shuffled)
        self.store, self.settings, self.train, self.seed = store, settings, train, seed
        self.keys = index["key"].tolist()
        self.video = ClipVideo(store, index, settings.size, settings.steps) if "frames" in self.modalities else None
        if parts is not None and self.video is None:
            raise ValueError("parts are labels of frames, and these clips have none: add 'frames' to modalities")
        self.parts = parts
        self.persons, self.cameras = index["person"].to_numpy(), index["camera"].to_numpy()
        self.labels = sorted(set(self.persons.tolist())) if labels is None else list(labels)
        self._label = {person: label for label, person in enumerate(self.labels)}
        unknown = sorted(set(self.persons.tolist()) - self._label.keys()) if train else []
        if unknown:
            raise ValueError(f"{len(unknown)} people of the index have no label, the first is {unknown[0]}: labels must hold every person")

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        if isinstance(item, tuple) is not self.train:
            raise TypeError(f"an item is {'a pair (row, draw)' if self.train else 'a row'} of this data set, not {item!r}")
        if isinstance(item, tuple):
            row, draw = item
            clip, label = self._train_clip(row, draw), self._label[int(self.persons[row])]
        else:
            row = item
            clip, label = self._eval_clips(row), int(self.persons[row])
        return {**clip, "label": label, "camera": int(self.cameras[row]), "row": int(row)}

    def _train_clip(self, row: int, draw: int) -> dict[str, torch.Tensor]:
        key, settings, clip = self.keys[row], self.settings, {}
        start, stop = self.store.interval(key)
        length = round(settings.seconds * 1e6)
        if stop - start > length:
            start = int(augment.generator(self.seed, draw, "window").integers(start, stop - length, endpoint=True))
            stop = start + length
        if "events" in self.modalities:
            events = augment_clip(self.store.events(key).window(start, stop), settings, self.seed, draw)
            clip["events"] = torch.from_numpy(self._event_frames(events, start, stop))
        if self.video is not None:
            geometry = clip_geometry(self.video.sensors[row], settings, self.seed, draw)
            clip["frames"] = self.video.clips(row, [(start, stop)], geometry, drawn_degradation(settings.degrade, self.seed, draw))[0]
            if self.parts is not None:
                clip["parts"] = self.video.labels(row, [(start, stop)], self.parts, geometry)[0]
        return clip

    def _eval_clips(self, row: int) -> dict[str, torch.Tensor]:
        key, clips = self.keys[row], {}
        edges = list(pairwise(clip_edges(*self.store.interval(key), self.settings.seconds)))
        if "events" in self.modalities:
            events = self.store.events(key)
            clips["events"] = torch.from_numpy(np.stack([self._event_frames(events.window(a, b), a, b) for a, b in edges]))
        if self.video is not None:
            clips["frames"] = self.video.clips(row, edges)
            if self.parts is not None:
                clips["parts"] = self.video.labels(row, edges, self.parts)
        return clips

    def _event_frames(self, events: Events, start: int, stop: int) -> np.ndarray:
        stop = max(stop, start + 1)  # a recording without events and of unknown length
        return scale_counts(event_frames(events, self.settings.steps, start, stop, self.settings.size), self.settings.scale)


def checked_modalities(modalities: tuple[str, ...]) -> tuple[str, ...]:
    """The modalities as a tuple. Raises ValueError where one is unknown or named twice, and where there is none."""
    found = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if not found or len(set(found)) < len(found) or not set(found) <= set(MODALITIES):
        raise ValueError(f"modalities must be some of {MODALITIES}, each once, not {modalities!r}")
    return found


def clip_edges(start: int, stop: int, seconds: float) -> list[int]:
    """Borders, in microseconds, of n = max(1, round((stop - start) / seconds)) consecutive half-open clips of equal length."""
    count = max(1, round((stop - start) / 1e6 / seconds))
    return [start + (stop - start) * i // count for i in range(count + 1)]


def augment_clip(events: Events, settings: ClipSettings, seed: int, draw: int) -> Events:
    """A random view of a clip: mirrored, moved, with fewer events and one erased box; a function of (seed, draw).

    Each operation has random numbers of its own, so switching one off leaves the others as they were."""
    events = augment.flip(events, seed, draw, settings.flip)
    events = augment.event_drop(events, seed, draw, settings.drop)
    if settings.shift:
        events = augment.crop(events, seed, draw, _pixels(settings, events.width, events.height))
    return augment.erase(events, seed, draw, settings.erase, ERASED_AREA)


def clip_geometry(sensor: tuple[int, int], settings: ClipSettings, seed: int, draw: int) -> augment.Geometry:
    """Where `augment_clip` puts the events of a sensor of (width, height) pixels, for the video of the same clip."""
    return augment.geometry(*sensor, seed, draw, settings.flip, _pixels(settings, *sensor), settings.erase, ERASED_AREA)


def drawn_degradation(probability: float, seed: int, draw: int) -> Degradation | None:
    """What is done to the video of a training clip: nothing, or one of all kinds and severities; a function of (seed, draw)."""
    rng = augment.generator(seed, draw, "degrade")
    if rng.random() >= probability:
        return None
    kind, severity = KINDS[rng.integers(len(KINDS))], int(rng.integers(1, 5, endpoint=True))
    return Degradation(kind, severity, seed=int(rng.integers(2**31)))


def _pixels(settings: ClipSettings, width: int, height: int) -> tuple[int, int]:
    return round(settings.shift * width), round(settings.shift * height)


class PKSampler:
    """Batches of `people` identities x `clips` clips, as lists of (row, draw); use it as a DataLoader's `batch_sampler`.

    Batch i is a function of (seed, i) alone. In every round each identity is visited once, in an order drawn for that round, and no
    batch holds an identity twice, also where a batch spans two rounds. The clips of a visit alternate between the person's cameras
    and use all tracklets before repeating one. Draws number the clips of the whole run.
    iterations: number of batches of the run; start: first batch to yield (resume).
    Raises ValueError where the index has fewer than `people` identities."""

    def __init__(self, index: pd.DataFrame, people: int, clips: int, seed: int, iterations: int, start: int = 0) -> None:
        found = index["person"].nunique()
        if not 1 <= people <= found:
            raise ValueError(f"cannot fill a batch with {people} different people: the index has {found}")
        if clips < 1 or not 0 <= start <= iterations:
            raise ValueError(f"need clips >= 1 and 0 <= start <= iterations, not clips={clips}, start={start}, iterations={iterations}")
        self.people, self.clips, self.seed, self.iterations, self.start = people, clips, seed, iterations, start
        rows: dict[int, dict[int, list[int]]] = {}
        for row, (person, camera) in enumerate(zip(index["person"].tolist(), index["camera"].tolist(), strict=True)):
            rows.setdefault(person, {}).setdefault(camera, []).append(row)
        self._rows = [[tracklets for _, tracklets in sorted(rows[person].items())] for person in sorted(rows)]
        self._order = lru_cache(maxsize=4 * people)(self._round)

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (self.batch(i) for i in range(self.start, self.iterations))

    def batch(self, i: int) -> list[tuple[int, int]]:
        """The i-th batch of the run: P x K pairs (row, draw), the clips of a person side by side."""
        visits = [divmod(i * self.people + j, len(self._rows)) for j in range(self.people)]
        rows = [row for round_, place in visits for row in self._visit(round_, self._order(round_)[place])]
        return [(row, i * len(rows) + k) for k, row in enumerate(rows)]

    def _round(self, round_: int) -> list[int]:
        """Order of the identities in a round; those still in the batch that the round begins in are moved behind its first ones."""
        count = len(self._rows)
        order = np.random.default_rng((self.seed, round_, 0)).permutation(count).tolist()
        used = round_ * count % self.people  # places of the common batch taken by the round before
        if used == 0:
            return order
        before = set(self._order(round_ - 1)[-used:])
        head = [person for person in order if person not in before][: self.people - used]
        return head + [person for person in order if person not in set(head)]

    def _visit(self, round_: int, person: int) -> list[int]:
        rng = np.random.default_rng((self.seed, round_, 1 + person))
        rows: list[int] = []
        while len(rows) < self.clips:
            cameras = [rng.permutation(tracklets).tolist() for tracklets in self._rows[person]]
            cameras = [cameras[c] for c in rng.permutation(len(cameras))]
            longest = max(map(len, cameras))
            rows += [tracklets[i] for i in range(longest) for tracklets in cameras if i < len(tracklets)]
        return rows[: self.clips]


def collate(items: list[dict]) -> dict:
    """One batch of training items: "events" [B, T, 2, H, W], "frames" [B, T, 3, H, W], "parts" [B, T, H, W] (those they hold), "label",
    "camera" and "row" int64 [B]."""
    numbers = {name: torch.tensor([item[name] for item in items]) for name in ("label", "camera", "row")}
    return {**{name: torch.stack([item[name] for item in items]) for name in (*MODALITIES, "parts") if name in items[0]}, **numbers}


def train_loader(dataset: ClipDataset, sampler: Iterable[list[tuple[int, int]]], workers: int = 0, pin_memory: bool = False) -> DataLoader:
    """Batches of the sampler; the same ones for any number of worker processes."""
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=collate, num_workers=workers, pin_memory=pin_memory, persistent_workers=workers > 0
    )


def eval_batches(dataset: ClipDataset, clips: int, rows: range | None = None) -> Iterator[dict]:
    """All clips of all rows (or of `rows`) in order, at most `clips` a batch: "events" [n, T, 2, H, W], "frames" [n, T, 3, H, W] (the
    dataset's modalities) and "owner" int64 [n], the row of each clip.

    A long tracklet may continue in the next batch; average embeddings by owner. Memory: one batch and one tracklet."""
    if clips < 1:
        raise ValueError(f"a batch needs 1 clip or more, not {clips}")
    waiting: dict[str, list[torch.Tensor]] = {name: [] for name in MODALITIES if name in dataset.modalities}
    owners: list[int] = []
    for row in range(len(dataset)) if rows is None else rows:
        item = dataset[row]
        for name, parts in waiting.items():
            parts += item[name].unbind()
        owners += [row] * len(item[dataset.modalities[0]])
        while len(owners) >= clips:
            yield _batch(waiting, owners, clips)
            waiting, owners = {name: parts[clips:] for name, parts in waiting.items()}, owners[clips:]
    if owners:
        yield _batch(waiting, owners, clips)


def _batch(waiting: dict[str, list[torch.Tensor]], owners: list[int], clips: int) -> dict:
    return {**{name: torch.stack(parts[:clips]) for name, parts in waiting.items()}, "owner": torch.tensor(owners[:clips])}
