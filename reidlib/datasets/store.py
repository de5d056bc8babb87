"""The HDF5 store of tracklets, and its build: atomic, resumable, parallel.

Layout: `/index/<column>`; `/tracklets/<key>/` with x, y uint16, t int64 (microseconds), p uint8, optional frames uint8, `attributes`
(JSON) and the attributes width, height, t_start, t_stop. Root attributes: format, cache_key, data_hash, settings (JSON), versions (JSON),
description and, written last, complete. The root and every tracklet have an attribute checksums (JSON: name to CRC-32 of what is read).
Shuffle + gzip 1 + Fletcher checksum: 4.3 bytes per event on real recordings against 13 raw and 5.3 with lzf, at the same speed.
"""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from reidlib.datasets.checksums import checksum, compare
from reidlib.datasets.parallel import run_all
from reidlib.datasets.tracklets import COLUMNS, make_index, typed_index
from reidlib.events import Events
from reidlib.files import telling_why, write_atomically
from reidlib.hdf5 import clear_errors, fixed_text, new_file, new_group, plain_text, read_dataset
from reidlib.locks import exclusive, tidy

FORMAT_VERSION = 1
_REPAIR = "remove it and build it again"
_CHUNK = 65536
_FILTERS = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


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


class TrackletStore:
    """A finished store, opened for reading. `index`: the table (see `tracklets.COLUMNS`); `settings`: what it was made with;
    `cache_key`; `data_hash`: of every stored array. Can be pickled and used in worker processes, each opens the file for itself.

    memory: keep events and video in memory once read (training reads thousands of short windows; decompression would dominate).
    Raises FileNotFoundError for a missing file, ValueError for one that is not HDF5, truncated, unfinished, damaged or of another format.
    ValueError, with its key, also for a tracklet that is damaged: checksums are compared whenever one is read."""

    def __init__(self, path: str | os.PathLike, memory: bool = False):
        self.path = Path(path)
        self._file, self._pid = None, None
        self._memory = memory
        self._cache: dict[str, tuple[Events, tuple[int, int]]] = {}
        self._videos: dict[str, np.ndarray | None] = {}
        with open_checked(self.path) as file, clear_errors(self.path, _REPAIR, "its index"):
            self.index = _read_index(file["index"])
            compare(_checksums(file), "head", _head(file.attrs, self.index))
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


def cache_key(settings: dict, rows: list[dict]) -> str:
    """sha256 of the settings (the generator's code version as "code", a hash of the source data if any), the rows and the format."""
    if "code" not in settings:
        raise ValueError('settings["code"] is missing: the code version of the generator belongs to the cache key')
    digest = hashlib.sha256(f"[{FORMAT_VERSION}, {to_json(settings)}, [".encode())
    for i, row in enumerate(rows):  # row by row: the rows of a large video set name a million files
        digest.update((", " if i else "").encode() + to_json(row).encode())
    digest.update(b"]]")
    return digest.hexdigest()


def build_store(
    path: str | os.PathLike,
    rows: list[dict],
    make: Callable[[dict], Sample],
    settings: dict,
    workers: int | None = None,
    description: str = "",
) -> TrackletStore:
    """The store of `rows` at `path`: opened where it is up to date, else built.

    rows: index columns (frames, duration, events, width and height are filled in) and whatever JSON values `make` needs.
    make: row -> Sample, a pure function of the row, picklable (top level of a module, or a partial of such).
    workers: processes; None: one per core; 1: this process. Rows of several splits may share a key; it is made once.
    Finished tracklets are kept in `<path>.parts/` until the whole store is renamed into place, so an interrupted build resumes.
    Another process that builds the same is waited for; raises `locks.Locked` while one builds something else at `path`, OSError with the
    cause where the disk is full or cannot be written to. Errors of `make` carry a note with the tracklet's key."""
    path = Path(path)
    key = cache_key(settings, rows)
    _check_rows(rows)
    parts = path.with_name(path.name + ".parts")
    if store := _up_to_date(path, key, settings):
        tidy(path, lambda: shutil.rmtree(parts, ignore_errors=True))
        return store
    with exclusive(path, key):
        if store := _up_to_date(path, key):  # another process finished it meanwhile
            return store
        with telling_why(path):
            parts.mkdir(exist_ok=True)
        for left in path.parent.glob(path.name + ".tmp-*"):
            left.unlink()  # of a killed build
        unique = {row["key"]: row for row in reversed(rows)}
        files = {name: parts / (hashlib.sha256(f"{key} {name}".encode()).hexdigest()[:24] + ".h5") for name in (row["key"] for row in rows)}
        todo = [(unique[name], file) for name, file in files.items() if _part_facts(file, name, key) is None]
        progress = tqdm(total=len(files), initial=len(files) - len(todo), desc=description or path.name, unit="tracklet")
        with progress:
            for _ in run_all(partial(_make_part, make, key), todo, workers):
                progress.update()
        _merge(path, rows, files, key, settings, description)
        shutil.rmtree(parts)
    return TrackletStore(path)


def _check_rows(rows: list[dict]) -> None:
    if not rows:
        raise ValueError("no tracklets to build: the list of rows is empty")
    keys = {row["key"] for row in rows}
    for key in sorted(keys):
        names = key.split("/")
        if "" in names or "." in names or ".." in names or keys & {"/".join(names[:i]) for i in range(1, len(names))}:
            raise ValueError(f"illegal tracklet key {key!r}: use names joined by single slashes, none the beginning of another key")


def _up_to_date(path: Path, key: str, settings: dict | None = None) -> TrackletStore | None:
    """The store at `path` if it is whole and of this key. With `settings`, one line says why an existing one is not."""
    if not path.exists():
        return None
    try:
        store = TrackletStore(path)
    except ValueError as error:
        if settings is not None:
            print(f"building {path.name} again: {error}")
        return None
    if store.cache_key == key:
        return store
    if settings is None:
        return None
    new = json.loads(to_json(settings))
    changed = sorted(k for k in new.keys() | store.settings.keys() if new.get(k) != store.settings.get(k))
    print(f"building {path.name} again: {', '.join(changed) or 'its list of tracklets'} changed")
    return None


def _make_part(make: Callable[[dict], Sample], cache_key: str, task: tuple[dict, Path]) -> None:
    row, file = task
    try:
        sample = make(row)
        # First in memory: HDF5 does not let go of a file that it failed to write.
        with new_file(file.name, memory=True) as out:
            facts = _write_sample(new_group(out, "sample"), sample)
            out.attrs.update(_texts({"key": row["key"], "cache_key": cache_key, "facts": to_json(facts)}))
            out.flush()
            image = out.id.get_file_image()
        write_atomically(file, lambda temporary: temporary.write_bytes(image))
    except Exception as error:
        error.add_note(f"while building tracklet {row['key']}")
        raise


@contextmanager
def _removed_on_error(temporary: Path) -> Iterator[None]:
    """Half a file must not take the space for which the build ran short."""
    try:
        yield
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _part_facts(file: Path, name: str, key: str) -> dict | None:
    """Facts of a finished part of this very build, or None."""
    try:
        with h5py.File(file, "r") as part:
            same = plain_text(part.attrs["key"]) == name and plain_text(part.attrs["cache_key"]) == key
            return json.loads(part.attrs["facts"]) if same and "sample" in part else None
    except (OSError, KeyError, ValueError):
        return None


def _write_sample(group: h5py.Group, sample: Sample) -> dict:
    events, frames = sample.events, sample.frames
    if frames is not None and (frames.dtype != np.uint8 or frames.ndim not in (3, 4)):
        raise ValueError(f"frames must be uint8 [N, H, W] or [N, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    start, stop = sample.interval()
    sizes = {"width": int(events.width), "height": int(events.height), "t_start": start, "t_stop": stop}
    attributes = to_json(sample.attributes)
    digest = hashlib.sha256(f"{sizes} {attributes}".encode())
    sums = {"sizes": checksum(str((*sizes.values(),))), "attributes": checksum(attributes)}
    arrays = {"x": np.uint16, "y": np.uint16, "t": np.int64, "p": np.uint8}
    arrays = {name: np.ascontiguousarray(getattr(events, name), dtype) for name, dtype in arrays.items()}
    if frames is not None:
        arrays["frames"] = np.ascontiguousarray(frames)
    for name, array in arrays.items():
        chunk = (min(len(array), _CHUNK if array.ndim == 1 else 16), *array.shape[1:])
        group.create_dataset(name, data=array, **({"chunks": chunk, **_FILTERS} if array.size else {}))
        digest.update(array.tobytes())
        sums[name] = checksum(array)
    group.create_dataset("attributes", data=fixed_text(attributes))
    group.attrs.update(sizes | _texts({"checksums": to_json(sums)}))
    count = 0 if frames is None else len(frames)
    return {"frames": count, "duration": (stop - start) / 1e6, "events": len(events), "width": events.width, "height": events.height,
            "digest": digest.hexdigest()}  # fmt: skip


def _merge(path: Path, rows: list[dict], files: dict[str, Path], key: str, settings: dict, description: str) -> None:
    """One file of all parts, renamed into place as the last step."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with _removed_on_error(temporary), telling_why(path):
        needed, free = sum(file.stat().st_size for file in files.values()), shutil.disk_usage(path.parent).free
        if needed > free:  # said before, not after, everything was copied
            raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free", str(path))
        _write_store(temporary, rows, files, key, settings, description)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)


def _write_store(path: Path, rows: list[dict], files: dict[str, Path], key: str, settings: dict, description: str) -> None:
    """The parts are copied one by one, compressed as they are."""
    facts, digest = {}, hashlib.sha256()
    with new_file(path) as out:
        tracklets = new_group(out, "tracklets")
        for name, file in files.items():
            facts[name] = _part_facts(file, name, key)
            if facts[name] is None:
                raise RuntimeError(f"part {file} of tracklet {name} vanished or broke during the build: start the build again")
            with h5py.File(file, "r") as part:
                home, _, last = name.rpartition("/")
                part.copy("sample", new_group(tracklets, home) if home else tracklets, last)
            digest.update(facts[name]["digest"].encode())
        index = make_index({**row, **facts[row["key"]]} for row in rows)
        _write_index(new_group(out, "index"), index)
        digest.update(index.to_csv(lineterminator="\n").encode())
        versions = {"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version, "numpy": np.__version__}
        texts = {"cache_key": key, "data_hash": digest.hexdigest(), "settings": to_json(settings), "versions": to_json(versions)}
        out.attrs.update({"format": FORMAT_VERSION, **_texts(texts | {"description": description})})
        out.attrs.update(_texts({"checksums": to_json({"head": checksum(_head(out.attrs, index))})}))
        out.flush()
        out.attrs["complete"] = True


def _checksums(group: h5py.Group) -> dict[str, int]:
    """Those of a tracklet, or of the root; {} in stores of before there were any."""
    return json.loads(plain_text(group.attrs.get("checksums", "{}")))


def _array(group: h5py.Group, name: str, sums: dict[str, int]) -> np.ndarray:
    array = read_dataset(group[name])
    compare(sums, name, array)
    return _checked_video(array) if name == "frames" else array


def _facts(group: h5py.Group) -> tuple[int, ...]:
    """width, height, t_start, t_stop of a tracklet."""
    found = tuple(int(group.attrs[name]) for name in ("width", "height", "t_start", "t_stop"))
    compare(_checksums(group), "sizes", str(found))
    return found


def _head(attributes: Mapping, index: pd.DataFrame) -> str:
    """Everything about a store but its tracklets."""
    names = ("cache_key", "data_hash", "settings", "versions", "description")
    return "\n".join([*(plain_text(attributes[name]) for name in names), index.to_csv(lineterminator="\n")])


def _write_index(group: h5py.Group, index: pd.DataFrame) -> None:
    for column, dtype in COLUMNS.items():
        if dtype is str:
            group.create_dataset(column, data=fixed_text(list(index[column])), fletcher32=True)
        else:
            group.create_dataset(column, data=index[column].to_numpy(), fletcher32=True)


def _texts(values: dict[str, str]) -> dict[str, np.ndarray]:
    return {name: fixed_text(text) for name, text in values.items()}


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
