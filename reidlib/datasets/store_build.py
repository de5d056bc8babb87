"""The build of a tracklet store: atomic, resumable, parallel; its layout stands in `store`."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from reidlib.datasets.checksums import checksum
from reidlib.datasets.parallel import run_all
from reidlib.datasets.store import FORMAT_VERSION, Sample, TrackletStore, described, to_json
from reidlib.datasets.tracklets import COLUMNS, make_index
from reidlib.files import telling_why, write_atomically
from reidlib.hdf5 import fixed_text, new_file, new_group, plain_text
from reidlib.locks import exclusive, tidy

_CHUNK = 65536
_FILTERS = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


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
    types: dict[str, type[np.integer]] = {"x": np.uint16, "y": np.uint16, "t": np.int64, "p": np.uint8}
    arrays = {name: np.ascontiguousarray(getattr(events, name), dtype) for name, dtype in types.items()}
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
    facts: dict[str, dict] = {}
    digest = hashlib.sha256()
    with new_file(path) as out:
        tracklets = new_group(out, "tracklets")
        for name, file in files.items():
            found = _part_facts(file, name, key)
            if found is None:
                raise RuntimeError(f"part {file} of tracklet {name} vanished or broke during the build: start the build again")
            with h5py.File(file, "r") as part:
                home, _, last = name.rpartition("/")
                part.copy("sample", new_group(tracklets, home) if home else tracklets, last)
            facts[name] = found
            digest.update(found["digest"].encode())
        index = make_index({**row, **facts[row["key"]]} for row in rows)
        _write_index(new_group(out, "index"), index)
        digest.update(index.to_csv(lineterminator="\n").encode())
        versions = {"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version, "numpy": np.__version__}
        texts = {"cache_key": key, "data_hash": digest.hexdigest(), "settings": to_json(settings), "versions": to_json(versions)}
        out.attrs.update({"format": FORMAT_VERSION, **_texts(texts | {"description": description})})
        out.attrs.update(_texts({"checksums": to_json({"head": checksum(described(out.attrs, index))})}))
        out.flush()
        out.attrs["complete"] = True


def _write_index(group: h5py.Group, index: pd.DataFrame) -> None:
    for column, dtype in COLUMNS.items():
        if dtype is str:
            group.create_dataset(column, data=fixed_text(list(index[column])), fletcher32=True)
        else:
            group.create_dataset(column, data=index[column].to_numpy(), fletcher32=True)


def _texts(values: dict[str, str]) -> dict[str, np.ndarray]:
    return {name: fixed_text(text) for name, text in values.items()}
