"""The video half of a clip: which frame belongs to which event bin, and the events' geometric transform on pictures and their labels.

Clocks. Events carry microseconds since the start of the recording. Stored video frames carry no time of their own; `frame_times` finds it.
Walkers: the simulator puts frame i of the 120 Hz video at i / 120 s, and every fourth one is stored, so that stored frame j lies at
j / 30 s on the events' clock, exactly. Frames and events are cut by the same moving box."""

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import interpolate

from reidlib.datasets.degrade import Degradation, degrade
from reidlib.datasets.store import StoreLike
from reidlib.events.augment import Geometry

UNKNOWN = 255  # label of a pixel that nobody knows anything of
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, red, green, blue


class ClipVideo:
    """The frames of clips of the tracklets in `index`, as network input: float32 `[T, 3, H, W]`, grey video repeated, ImageNet's mean
    and standard deviation normalised; 0 stands for "nothing known" (what a shift uncovers, what a box erases).

    size: (H, W). steps: T. A tracklet's geometry is given in pixels of its sensor; video of another size is transformed alike, to
    the nearest of its own pixels."""

    def __init__(self, store: StoreLike, index: pd.DataFrame, size: tuple[int, int], steps: int) -> None:
        self.store, self.size, self.steps = store, size, steps
        self.keys = index["key"].tolist()
        self.sensors = list(zip(index["width"].tolist(), index["height"].tolist(), strict=True))
        self._times: dict[str, np.ndarray] = {}

    def clips(
        self, row: int, edges: list[tuple[int, int]], geometry: Geometry | None = None, degradation: Degradation | None = None
    ) -> torch.Tensor:
        """The frames of consecutive clips [start, stop) in microseconds: `[n, T, 3, H, W]`.

        Step t shows the frame nearest to the middle of the t-th of T equal bins. degradation: done to these frames before anything
        else. Raises ValueError for a tracklet without video."""
        key = self.keys[row]
        video = video_of(self.store, key)
        chosen = self._chosen(key, len(video), edges)
        seen = video[chosen] if degradation is None else degrade(video[chosen], degradation, key)
        pictures = normalised(seen)  # [n * T, 3, h, w]
        if geometry is not None:
            pictures = transformed(pictures, geometry, self.sensors[row])
        return resized(pictures, self.size).unflatten(0, (len(edges), self.steps))

    def labels(self, row: int, edges: list[tuple[int, int]], parts: StoreLike, geometry: Geometry | None = None) -> torch.Tensor:
        """The labels of the same frames from their companion `parts` (see `part_labels`): int64 `[n, T, H, W]`; unknown is what a shift
        uncovers and a box erases.

        Raises ValueError where they are not as many and as large as the frames."""
        key, shape = self.keys[row], video_of(self.store, self.keys[row]).shape[:3]
        found = parts.frames(key)
        if found is None or found.shape != shape:
            raise ValueError(f"tracklet {key!r}: labels {None if found is None else found.shape} do not fit its frames {shape}")
        labels = found[self._chosen(key, len(found), edges), None]  # [n * T, 1, h, w]
        if geometry is not None:
            labels = transformed(labels, geometry, self.sensors[row], UNKNOWN)
        sized = interpolate(torch.from_numpy(np.ascontiguousarray(labels)), size=tuple(self.size), mode="nearest-exact")
        return sized[:, 0].long().unflatten(0, (len(edges), self.steps))

    def _chosen(self, key: str, count: int, edges: list[tuple[int, int]]) -> np.ndarray:
        """Positions of the frames of all steps of all clips."""
        if key not in self._times:
            self._times[key] = frame_times(self.store, key, count)
        return np.concatenate([nearest_frames(self._times[key], start, stop, self.steps) for start, stop in edges])


def video_of(store: StoreLike, key: str) -> np.ndarray:
    """The stored video of a tracklet. Raises ValueError where there is none."""
    video = store.frames(key)
    if video is None or len(video) == 0:
        cause = "its set holds events alone (recorded by an event camera?) or was stored without its video"
        raise ValueError(f"tracklet {key!r} has no video frames, and this model takes frames: {cause}")
    return video


def frame_times(store: StoreLike, key: str, count: int) -> np.ndarray:
    """When the `count` stored frames of a tracklet were taken: int64 microseconds `[N]` on the clock of its events, ascending.

    What the generator wrote as the tracklet's attribute "frame_times" counts; walkers follow from their settings; else the video is
    taken to span the recording, evenly, the first frame at its start and the last at its end.
    Raises ValueError where "frame_times" are not one ascending time per frame."""
    stated = store.attributes(key).get("frame_times") if hasattr(store, "attributes") else None
    if stated is not None:
        times = np.asarray(stated).astype(np.int64)
        if times.shape != (count,) or (np.diff(times) < 0).any():
            raise ValueError(f"tracklet {key!r}: frame_times must be {count} ascending times, one per frame; got {len(times)}: {times[:5]}")
        return times
    if store.index["dataset"].iloc[0] == "walkers":
        from reidlib.datasets import walkers

        return walkers.frame_times(store.settings["fps"], count)
    start, stop = store.interval(key)
    return np.rint(np.linspace(start, stop, count)).astype(np.int64)


def nearest_frames(times: np.ndarray, start: int, stop: int, steps: int) -> np.ndarray:
    """For each of `steps` equal bins of [start, stop) the position of the frame nearest to its middle, of two equally near the earlier."""
    doubled = 2 * steps * start + (2 * np.arange(steps, dtype=np.int64) + 1) * (stop - start)  # middles, times 2 * steps
    between = (times[:-1] + times[1:]) * steps  # the border of two frames' nearest moments, on the same scale
    return np.searchsorted(between, doubled, side="left")


def normalised(frames: np.ndarray) -> np.ndarray:
    """uint8 `[N, h, w]` or `[N, h, w, 3]` -> float32 `[N, 3, h, w]`, with ImageNet's mean and standard deviation."""
    colour = frames[..., None] if frames.ndim == 3 else frames
    mean, std = (np.array(values, np.float32) for values in (MEAN, STD))
    return np.ascontiguousarray(np.moveaxis((colour.astype(np.float32) / 255 - mean) / std, -1, 1))  # [N, 3, h, w]


def transformed(pictures: np.ndarray, geometry: Geometry, sensor: tuple[int, int], empty: float = 0) -> np.ndarray:
    """Pictures `[N, C, h, w]` mirrored, moved and emptied as the events of a sensor of (width, height) pixels were; a new array."""
    N, C, h, w = pictures.shape
    across, down = w / sensor[0], h / sensor[1]
    mirrored = pictures[..., ::-1] if geometry.flipped else pictures
    dx, dy = round(geometry.dx * across), round(geometry.dy * down)
    moved = np.full((N, C, h, w), empty, pictures.dtype)
    rows, columns = (slice(max(d, 0), n + min(d, 0)) for d, n in ((dy, h), (dx, w)))
    from_rows, from_columns = (slice(max(-d, 0), n + min(-d, 0)) for d, n in ((dy, h), (dx, w)))
    moved[..., rows, columns] = mirrored[..., from_rows, from_columns]
    if geometry.box is not None:
        left, top, right, bottom = geometry.box
        moved[..., round(top * down) : round(bottom * down), round(left * across) : round(right * across)] = empty
    return moved


def resized(pictures: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """`[N, C, h, w]` -> `[N, C, H, W]`, bilinear, low-pass filtered where it shrinks; the borders stay where they were."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures))
    if tensor.shape[-2:] == tuple(size):
        return tensor
    return interpolate(tensor, size=tuple(size), mode="bilinear", antialias=True)
