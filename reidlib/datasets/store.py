"""The HDF5 store of tracklets, as it is read; `store_build` makes it.

Layout: `/index/<column>`; `/tracklets/<key>/` with x, y uint16, t int64 (microseconds), p uint8, optional frames uint8, `attributes`
(JSON) and the attributes width, height, t_start, t_stop. Root attributes: format, cache_key, data_hash, settings (JSON), versions (JSON),
description and, written last, complete. The root and every tracklet have an attribute checksums (JSON: name to CRC-32 of what is read).
Shuffle + gzip 1 + Fletcher checksum: 4.3 bytes per event on real recordings against 13 raw and 5.3 with lzf, at the same speed.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import pandas as pd

from reidlib.datasets.checksums import compare
from reidlib.datasets.tracklets import COLUMNS, typed_index
from reidlib.events import Events
from reidlib.hdf5 import clear_errors, plain_text, read_dataset

FORMAT_VERSION = 1
_REPAIR = "remove it and build it again"


@dataclasses.dataclass(frozen=True)
class Sample:
    """One tracklet as its generator hands it over.

    frames: uint8 [N, H, W] or [N, H, W, 3], or None. attributes: anything JSON can hold (numpy included).
    duration: seconds, where the recording is known to span [0, duration]; None: from the first to the last event."""

    events: Events
    frames: np.ndarray | None = None
    attributes: dict = dataclasses.field(default_factory=dict)
    duration: float | None = None

    def interval(self) -> tuple[int, int]:
        """Half-open interval [t_start, t_stop) in microseconds that holds every event."""
        t = self.events.t
        first, last = (int(t[0]), int(t[-1]) + 1) if len(t) else (0, 0)
        if self.duration is None:
            return first, last
        stop = round(self.duration * 1e6)
        if last - 1 > stop:
            raise ValueError(f"an event at {last - 1} us lies after the duration of {self.duration} s: wrong time unit or origin?")
        return 0, max(stop, last)


def to_json(value: Any) -> str:
    """JSON text with sorted keys; dataclasses, numpy values and paths become what JSON knows."""
    return json.dumps(value, sort_keys=True, default=_jsonable)


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be stored as JSON")


class StoreLike(Protocol):
    """What reads like a store: a `TrackletStore`, a view of one (`views`), one recording in memory (`asking`)."""

    @property
    def index(self) -> pd.DataFrame: ...

    @property
    def settings(self) -> dict: ...

    @property
    def cache_key(self) -> str: ...

    def events(self, key: str) -> Events: ...

    def frames(self, key: str) -> np.ndarray | None: ...

    def interval(self, key: str) -> tuple[int, int]: ...

    def attributes(self, key: str) -> dict: ...


class TrackletStore:
    """A finished store, opened for reading. `index`: the table (see `tracklets.COLUMNS`); `settings`: what it was made with;
    `cache_key`; `data_hash`: of every stored array. Can be pickled and used in worker processes, each opens the file for itself.

    memory: keep events and video in memory once read (training reads thousands of short windows; decompression would dominate).
    Raises FileNotFoundError for a missing file, ValueError for one that is not HDF5, truncated, unfinished, damaged or of another format.
    ValueError, with its key, also for a tracklet that is damaged: checksums are compared whenever one is read."""

    def __init__(self, path: str | os.PathLike, memory: bool = False) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid: int | None = None
        self._memory = memory
        self._cache: dict[str, tuple[Events, tuple[int, int]]] = {}
        self._videos: dict[str, np.ndarray | None] = {}
        with open_checked(self.path) as file, clear_errors(self.path, _REPAIR, "its index"):
            self.index = _read_index(file["index"])
            compare(_checksums(file), "head", described(file.attrs, self.index))
            self.settings: dict = json.loads(file.attrs["settings"])
            self.versions: dict = json.loads(file.attrs["versions"])
            self.cache_key, self.data_hash = (plain_text(file.attrs[name]) for name in ("cache_key", "data_hash"))
            self.description = plain_text(file.attrs["description"])

    def load(self, limit: float | None = None) -> "TrackletStore":
        """From now on keep every tracklet's events and video in memory once they were read; returns itself.

        limit: bytes; where all of them may take more, one line says so and they are read from the disk, again and again."""
        needed = self.size_in_memory()
        if limit is not None and needed > limit:
            print(f"{self.path.name} is read from the disk as it is needed: in memory it takes up to {needed / 1e9:.1f} GB")
            return self
        self._memory = True
        return self

    def size_in_memory(self) -> int:
        """Bytes that all events and frames take, video counted as colour and of the events' size."""
        once = self.index.drop_duplicates("key")
        return int((13 * once["events"] + 3 * once["frames"] * once["height"] * once["width"]).sum())

    def events(self, key: str) -> Events:
        """The tracklet's events."""
        if key in self._cache:
            return self._cache[key][0]
        found = self._read(key)
        if self._memory:
            self._cache[key] = found
        return found[0]

    def interval(self, key: str) -> tuple[int, int]:
        """Half-open interval [t_start, t_stop) of the recording in microseconds; every event lies in it."""
        if key in self._cache:
            return self._cache[key][1]
        group = self._group(key)
        with clear_errors(self.path, _REPAIR, f"tracklet {key}"):
            return _facts(group)[2:]

    def frames(self, key: str) -> np.ndarray | None:
        """uint8 [N, H, W] or [N, H, W, 3], or None where the tracklet has events alone. When they were taken: `frames.frame_times`."""
        if key in self._videos:
            return self._videos[key]
        group = self._group(key)
        with clear_errors(self.path, _REPAIR, f"tracklet {key}"):
            video = _array(group, "frames", _checksums(group)) if "frames" in group else None
            if video is None and "frames" in _checksums(group):
                raise ValueError("its frames are gone")
        if self._memory:
            self._videos[key] = video
            if video is not None:
                video.flags.writeable = False  # everyone gets the same array
        return video

    def attributes(self, key: str) -> dict:
        """What the generator wrote about the tracklet."""
        group = self._group(key)
        with clear_errors(self.path, _REPAIR, f"tracklet {key}"):
            text = group["attributes"].asstr()[()]
            compare(_checksums(group), "attributes", text)
            return json.loads(text)

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def _read(self, key: str) -> tuple[Events, tuple[int, int]]:
        group = self._group(key)
        with clear_errors(self.path, _REPAIR, f"tracklet {key}"):
            sums, (width, height, start, stop) = _checksums(group), _facts(group)
            arrays = {name: _array(group, name, sums) for name in ("x", "y", "t", "p")}
            events = Events(**arrays, width=width, height=height)
            if len(events) and not start <= events.t[0] <= events.t[-1] < stop:
                raise ValueError(f"events at {events.t[0]} to {events.t[-1]} us lie outside [{start}, {stop})")
            return events, (start, stop)

    def _group(self, key: str) -> h5py.Group:
        if self._file is None or self._pid != os.getpid():  # a forked worker must not share its parent's handle
            self._file, self._pid = open_checked(self.path), os.getpid()
        if key not in self._keys:
            raise KeyError(f"no tracklet {key!r} in {self.path}; its keys begin with {list(self.index['key'][:3])}")
        with clear_errors(self.path, _REPAIR, f"tracklet {key}"):
            return self._file["tracklets"][key]

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(self.index["key"])

    def __len__(self) -> int:
        return len(self.index)

    def __enter__(self) -> "TrackletStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_file": None, "_pid": None}


def open_checked(path: Path) -> h5py.File:
    """The open file of a finished store; errors as `TrackletStore`."""
    if not path.is_file():
        raise FileNotFoundError(f"no tracklet store at {path}: build it first, or check the path")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not HDF5 or is truncated ({error}): remove it and build it again") from None
    with clear_errors(path, _REPAIR):
        version, complete = file.attrs.get("format"), file.attrs.get("complete", False)
    if not complete:
        problem = "is no finished tracklet store (its build was interrupted, or another program wrote it): remove it and build it again"
    elif version != FORMAT_VERSION:
        problem = f"has store format {version}, this reidlib reads {FORMAT_VERSION}: build it again"
    else:
        return file
    file.close()
    raise ValueError(f"{path} {problem}")


def _checksums(group: h5py.Group) -> dict[str, int]:
    """Those of a tracklet, or of the root; {} in stores of before there were any."""
    return json.loads(plain_text(group.attrs.get("checksums", "{}")))


def _array(group: h5py.Group, name: str, sums: dict[str, int]) -> np.ndarray:
    array = read_dataset(group[name])
    compare(sums, name, array)
    return _checked_video(array) if name == "frames" else array


def _facts(group: h5py.Group) -> tuple[int, int, int, int]:
    """width, height, t_start, t_stop of a tracklet."""
    width, height, start, stop = found = tuple(int(group.attrs[name]) for name in ("width", "height", "t_start", "t_stop"))
    compare(_checksums(group), "sizes", str(found))
    return width, height, start, stop


def described(attributes: Mapping, index: pd.DataFrame) -> str:
    """Everything about a store but its tracklets."""
    names = ("cache_key", "data_hash", "settings", "versions", "description")
    return "\n".join([*(plain_text(attributes[name]) for name in names), index.to_csv(lineterminator="\n")])


def _read_index(group: h5py.Group) -> pd.DataFrame:
    """The index; ValueError for columns of different length."""
    texts = {column: group[column].asstr() for column, dtype in COLUMNS.items() if dtype is str}
    columns = {column: texts[column][:] if column in texts else read_dataset(group[column]) for column in COLUMNS}
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of its index differ in length: {lengths}")
    return typed_index(columns)


def _checked_video(frames: np.ndarray) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4):
        raise ValueError(f"frames should be uint8 [N, H, W] or [N, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    return frames
