"""SDCL's events of PRID-2011, iLIDS-VID and MARS: MATLAB files, one per frame interval, as the recorded events of a video set.

Source: Cao et al., "Event-guided Person Re-Identification via Sparse-Dense Complementary Learning", CVPR 2023; the layout is read off
the loaders of the authors' release, the data themselves are not public: tested on replicas only.

A chunk holds `start_timestamp` (1 x 1), `section_event_timestamp` (1 x N, ascending), `section_event_polarity` (above 0: ON),
`section_event_x` and `section_event_y` (1 x N, whole numbers from 1). Here the events stay events: x is the column and y the row, nothing
is binned and so nothing lost at a bin's edge or wrapped through 8 bits, and a chunk may be empty. A tracklet's chunks are found by name,
never by their place in a listing of the directory.
"""

import dataclasses
import hashlib
from functools import partial
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from reidlib.datasets.conversion_plan import build_planned
from reidlib.datasets.mat_files import read_mat_arrays
from reidlib.datasets.store import Sample, TrackletStore
from reidlib.datasets.video_events import ConversionSettings, fingerprint, frame_times, kept_frames, read_frames
from reidlib.datasets.video_files import time_order
from reidlib.events import Events

CODE_VERSION = 1
COLUMNS = tuple(f"section_event_{name}" for name in ("x", "y", "timestamp", "polarity"))
START = "start_timestamp"


@dataclasses.dataclass(frozen=True)
class RecordedSettings:
    """recorded: folder in which a tracklet's chunks lie as its frames do in theirs: in CAMERA/PERSON (PRID-2011, iLIDS-VID), or in
    PERSON or train.../PERSON and test.../PERSON under the frames' names (MARS). tick: seconds per unit of time in the chunks; the
    release states none, but its loader works with whole numbers alone: microseconds, presumably."""

    recorded: str = ""
    tick: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "recorded", str(self.recorded))
        if not 1e-9 <= self.tick <= 1:
            raise ValueError(f"tick must be from 1e-9 to 1 second per unit of time, got {self.tick!r}")


def read_chunk(path: str | Path) -> tuple[float, np.ndarray]:
    """Start and events of a chunk: float64 `[N, 4]` with columns x, y (from 0), time (as stored) and polarity (0 or 1).

    Raises ValueError, with the path, for files that are not MATLAB 5 or damaged, for missing or non-numeric variables, unequal lengths,
    coordinates that are not whole or below 1, and times that do not ascend or are not finite."""
    path = Path(path)
    values = _load(path)
    lengths = {name: values[name].size for name in COLUMNS}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: its columns are not of equal length: {lengths}")
    if values[START].size != 1:
        raise ValueError(f"{path}: {START} must be one number, got {values[START].size}")
    x, y, t, p = (values[name].astype(np.float64).reshape(-1) for name in COLUMNS)
    start = float(values[START].reshape(-1)[0])
    for name, column in zip(COLUMNS[:2], (x, y), strict=True):
        bad = column[(column < 1) | (column != np.rint(column)) | ~np.isfinite(column)]
        if len(bad):
            raise ValueError(f"{path}: {name} holds {bad[0]:g}: coordinates are whole numbers from 1")
    if not np.isfinite([start, *t]).all() or (np.diff([start, *t]) < 0).any():
        raise ValueError(f"{path}: its times must be finite and ascend from {START} = {start:g}")
    return start, np.stack([x - 1, y - 1, t, p > 0], axis=1)  # [N, 4]


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"no chunk of events at {path}")
    if h5py.is_hdf5(path):
        raise ValueError(f"{path} is a MATLAB 7.3 file; SDCL's loader reads version 5: save it with -v6 or -v7")
    values = read_mat_arrays(path)
    found: dict[str, np.ndarray] = {}
    for name in (*COLUMNS, START):
        if name not in values:
            raise ValueError(f"{path} has no {name}: is it a chunk of SDCL's events? It holds {sorted(values)}")
        array = values[name]
        if array is None:
            raise ValueError(f"{path}: {name} does not hold real numbers")
        found[name] = array
    return found


def find_chunks(folder: str | Path, row: dict) -> list[Path]:
    """A tracklet's chunks in order of time, one per frame, or one fewer: one per interval between two frames.

    Where the chunks have the frames' names, by name; else those of the tracklet's own folder, sorted by the numbers in their names.
    Raises FileNotFoundError where there are none, ValueError where their number does not fit that of the frames."""
    frames = [PurePosixPath(name) for name in row["files"]]
    place = _place(Path(folder), frames[0].parent, row["key"])
    found = {path.stem: path for path in place.glob("*.mat")}
    named = [found[frame.stem] for frame in frames if frame.stem in found]
    if named:
        absent = [i for i, frame in enumerate(frames) if frame.stem not in found]
        if absent and absent not in ([0], [len(frames) - 1]):
            raise ValueError(f"{len(absent)} of {len(frames)} frames of tracklet {row['key']} have no chunk in {place}, the first is "
                             f"{frames[absent[0]].stem}.mat")  # fmt: skip
        return named
    if len(found) not in (len(frames), len(frames) - 1):
        raise ValueError(f"tracklet {row['key']} has {len(frames)} frames and {len(found)} chunks in {place}: one per frame or interval")
    return [found[stem] for stem in sorted(found, key=time_order)]


def _place(folder: Path, home: PurePosixPath, key: str) -> Path:
    """The folder of events that belongs to a folder of frames."""
    part = next((word for word in ("train", "test") if word in home.as_posix()), None)
    parts = sorted(folder.glob(f"{part}*/{home.name}")) if part else []
    for place in (folder.joinpath(*home.parts[-2:]), *parts, folder / home.name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"no folder of events for tracklet {key} in {folder}: none ends in {home.name} as that of its frames, {home}")


def make(root: Path, settings: ConversionSettings, recorded: RecordedSettings, row: dict) -> Sample:
    """The tracklet of a row: its frames, resized to the events' sensor, and its recorded events, the first chunk's start at 0.

    Frame i was taken when chunk i starts. The release states no end of a tracklet: it ends one median interval after the last start."""
    paths = find_chunks(recorded.recorded, row)
    starts, events = chunk_events(paths, settings, recorded.tick)
    frames, sizes = read_frames(root, settings, row)
    times = starts if len(starts) == len(frames) else np.append(starts, _end(starts, settings.fps))
    stop = max(_end(starts, settings.fps), int(events.t[-1]) if len(events) else 0)
    attributes = {"frame_times": times, "chunks": len(paths), "picture_sizes": sizes}
    return Sample(events, kept_frames(frames, settings.frames), attributes, duration=stop / 1e6)


def chunk_events(paths: list[Path], settings: ConversionSettings, tick: float) -> tuple[np.ndarray, Events]:
    """When the chunks start (int64 microseconds `[n]`, the first at 0) and all their events, on a sensor of settings.height x width.

    Raises ValueError, naming the file, for events outside the sensor, times that are no whole ticks, and chunks that overlap."""
    height, width = _canvas(settings)
    starts: list[float] = []
    parts, last = [], -np.inf
    for path in paths:
        start, part = read_chunk(path)
        if (starts and start <= starts[-1]) or start < last:
            raise ValueError(f"{path} starts at {start:g}, and the chunk before it started at {starts[-1]:g} and ended at {last:g}: are "
                             "the files in another order than their names, or does every chunk's clock begin anew?")  # fmt: skip
        if tick < 1e-3 and not np.array_equal(part[:, 2], np.rint(part[:, 2])):
            raise ValueError(f"{path}: its times hold fractions, as of seconds, and tick is {tick:g} s: set the option tick")
        outside = part[(part[:, 0] >= width) | (part[:, 1] >= height)]
        if len(outside):
            raise ValueError(f"{path}: an event at x = {outside[0, 0] + 1:g}, y = {outside[0, 1] + 1:g} lies outside {width} x {height} "
                             "(width x height): set height and width to the events' canvas")  # fmt: skip
        starts.append(start)
        parts.append(part)
        last = part[-1, 2] if len(part) else start
    x, y, t, p = np.concatenate(parts).T
    origin, unit = starts[0], tick * 1e6
    whole = {"x": x, "y": y, "t": np.rint((t - origin) * unit), "p": p}
    columns = {name: column.astype(np.int64) for name, column in whole.items()}
    return np.rint((np.array(starts) - origin) * unit).astype(np.int64), Events(**columns, width=width, height=height)


def _canvas(settings: ConversionSettings) -> tuple[int, int]:
    """(height, width) that the events' coordinates count on."""
    if settings.height is None or settings.width is None:
        raise ValueError("recorded events need height and width: the canvas that their coordinates were written for")
    return settings.height, settings.width


def _end(starts: np.ndarray, fps: float) -> int:
    """One interval after the last start: the median one, or, of a single chunk, the video's."""
    return int(starts[-1] + (np.median(np.diff(starts)) if len(starts) > 1 else frame_times(fps, 2)[1]))


def build(
    name: str, root: str | Path, rows: list[dict], settings: ConversionSettings, recorded: RecordedSettings, path: Path,
    workers: int | None = None,
) -> TrackletStore:  # fmt: skip
    """The store of a video set with its recorded events at `path`; see `video_events.build`.

    Raises FileNotFoundError for a missing folder, ValueError for settings without a size or that simulate beside recorded events."""
    if not Path(recorded.recorded).is_dir():
        raise FileNotFoundError(f"no folder of recorded events at {recorded.recorded}: check the path")
    _canvas(settings)
    kept = {key: getattr(settings, key) for key in ("fps", "height", "width", "frames")}
    facts = {**kept, "tick": recorded.tick, "code": CODE_VERSION, "events": "recorded (SDCL)", "source": fingerprint(root, rows)}
    facts["chunks"] = _chunk_fingerprint(recorded.recorded, rows)
    return build_planned(name, rows, partial(make, Path(root), settings, recorded), facts, path, workers)


def _chunk_fingerprint(folder: str, rows: list[dict]) -> str:
    digest = hashlib.sha256()
    for row in {row["key"]: row for row in rows}.values():
        for path in find_chunks(folder, row):
            digest.update(f"{row['key']} {path.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()
