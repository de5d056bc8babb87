"""A video set as a store of frames and simulated events: the conversion, and its plan (time, disk) before it starts.

Rows come from the set's own module (`rows(root, settings)`): the columns of the index, and "files", the frames' paths relative to the
root, in time order. The events are what a simulated event camera makes of these frames (`reidlib.events.simulate`). Two things a
real one would do otherwise: 25 pictures a second leave out what happens between them (brightness is taken to change linearly), and the
crops of a tracklet follow the person, so that the background moves and every jump of the box makes events.
"""

import dataclasses
import hashlib
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reidlib.datasets.conversion_plan import LARGE, Plan, build_planned, measure
from reidlib.datasets.pictures import read_picture, resize_picture, to_grey
from reidlib.datasets.store import Sample, TrackletStore
from reidlib.events import REALISTIC, Events, SimulatorSettings, simulate

CODE_VERSION = 1  # raise it when the same settings give other bytes
STORED = ("colour", "grey", "none")


@dataclasses.dataclass(frozen=True)
class ConversionSettings:
    """How video becomes a store.

    fps: frames per second of the video, which its files do not state. height, width: every frame is resized to this (crops that follow
    a person differ in size); None: as they are, which all frames of a tracklet must then share. frames: what is stored of them,
    "colour", "grey" or "none"; the events do not depend on it. events: whether they are simulated; without, the store holds video
    alone. sensor: the simulated camera; a dict changes single fields of `events.REALISTIC`. seed: of its noise."""

    fps: float = 25.0
    height: int | None = 128
    width: int | None = 64
    frames: str = "colour"
    events: bool = True
    sensor: SimulatorSettings = REALISTIC
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.sensor, dict):
            legal = [field.name for field in dataclasses.fields(SimulatorSettings)]
            if unknown := sorted(set(self.sensor) - set(legal)):
                raise ValueError(f"unknown field {unknown[0]!r} of sensor; legal: {', '.join(legal)}")
            object.__setattr__(self, "sensor", dataclasses.replace(REALISTIC, **self.sensor))
        if isinstance(self.fps, bool) or not isinstance(self.fps, int | float) or not 0.1 <= self.fps <= 10_000:
            raise ValueError(f"fps must be from 0.1 to 10000 frames per second, got {self.fps!r}")
        if (self.height is None) != (self.width is None):
            raise ValueError(f"give both height and width or neither, got height={self.height} and width={self.width}")
        for name, least, most in (("height", 8, 4096), ("width", 8, 4096), ("seed", 0, 2**63 - 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
                raise ValueError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
        if self.frames not in STORED:
            raise ValueError(f"frames must be one of {', '.join(STORED)}, got {self.frames!r}")
        if self.frames == "none" and not self.events:
            raise ValueError('frames="none" with events=False would store nothing: ask for one of them')


def make(root: str | Path, settings: ConversionSettings, row: dict) -> Sample:
    """The tracklet of a row: its frames, when they were taken (attribute "frame_times"), and the events they make.

    Raises FileNotFoundError or ValueError, naming the file, for a frame that is missing or cannot be read."""
    frames, sizes = read_frames(root, settings, row)
    times = frame_times(settings.fps, len(frames))
    events = Events.empty(frames.shape[2], frames.shape[1])
    if settings.events:
        events = simulate(frames, settings.fps, settings.sensor, seed=simulator_seed(settings.seed, row["key"]))
    attributes = {"frame_times": times, "fps": settings.fps, "picture_sizes": sizes}
    return Sample(events, kept_frames(frames, settings.frames), attributes, duration=max(len(frames) - 1, 1) / settings.fps)


def read_frames(root: str | Path, settings: ConversionSettings, row: dict) -> tuple[np.ndarray, list[list[int]]]:
    """The frames of a row as settings.height x width, uint8 `[N, H, W, 3]`, and the sizes (height, width) their files have, sorted."""
    if not row["files"]:
        raise ValueError(f"tracklet {row['key']} has no frames: is the download whole?")
    sizes: set[tuple[int, ...]] = set()
    for i, name in enumerate(row["files"]):
        picture = read_picture(Path(root) / name)
        sizes.add(picture.shape[:2])
        if i == 0:
            H, W = picture.shape[:2] if settings.height is None or settings.width is None else (settings.height, settings.width)
            frames = np.empty((len(row["files"]), H, W, 3), np.uint8)
        if settings.height is None and len(sizes) > 1:
            raise ValueError(
                f"{name} has {picture.shape[:2]} pixels (height, width), others of its tracklet {(H, W)}: set height and width"
            )
        frames[i] = resize_picture(picture, H, W)
    return frames, sorted(map(list, sizes))


def kept_frames(frames: np.ndarray, how: str) -> np.ndarray | None:
    """What is stored of colour frames: see `ConversionSettings`."""
    return {"colour": lambda: frames, "grey": lambda: to_grey(frames), "none": lambda: None}[how]()


def frame_times(fps: float, count: int) -> np.ndarray:
    """int64 microseconds `[N]`, the first frame at 0: the clock of the simulator."""
    return np.rint(np.arange(count) * (1e6 / fps)).astype(np.int64)


def simulator_seed(seed: int, key: str) -> int:
    """Of the noise in a tracklet's events: a function of the set's seed and the tracklet, whatever was made before."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "little")


def build(
    name: str, root: str | Path, rows: list[dict], settings: ConversionSettings, path: Path, workers: int | None = None
) -> TrackletStore:
    """The store of a video set at `path`, converted unless it is there already; an interrupted conversion resumes.

    workers: processes, None = one per core. From `LARGE` tracklets on the plan is printed first.
    Raises OSError where the disk is plainly too small, else what `make` and `store.build_store` raise."""
    facts = {**dataclasses.asdict(settings), "code": CODE_VERSION, "source": fingerprint(root, rows)}
    return build_planned(name, rows, partial(make, Path(root), settings), facts, path, workers)


def estimate(
    rows: list[dict], root: str | Path, settings: ConversionSettings, path: Path, sample: int = 8, workers: int | None = None
) -> Plan:
    """The plan of converting `rows` into a store at `path`, without writing there: `sample` tracklets are converted and thrown away."""
    return measure(rows, partial(make, Path(root), settings), path, sample, workers)


def fingerprint(root: str | Path, rows: list[dict]) -> str:
    """sha256 over the name and size of every frame's file: notices added, lost and most changed files without reading them.

    Raises FileNotFoundError, naming the first, where files are missing."""
    digest = hashlib.sha256()
    unique = list({row["key"]: row for row in rows}.values())
    for row in tqdm(unique, desc="looking for the frames", unit="tracklet", disable=len(unique) < LARGE):
        for name in row["files"]:
            try:
                digest.update(f"{name} {(Path(root) / name).stat().st_size}\n".encode())
            except (FileNotFoundError, NotADirectoryError):
                raise FileNotFoundError(f"no picture at {Path(root) / name} (tracklet {row['key']}): is the download whole?") from None
    return digest.hexdigest()
