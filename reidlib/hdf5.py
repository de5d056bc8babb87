"""HDF5 files that may be damaged: written so that damage shows, read with sizes checked before memory is taken, and with clear errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

_MOST = 1032  # times that gzip, the strongest packing in use, makes zeros smaller


def read_dataset(dataset: h5py.Dataset) -> np.ndarray:
    """All values. Raises ValueError where they would take more memory than the file's bytes can hold."""
    size, file = dataset.nbytes, dataset.file.id.get_filesize()
    if size > _MOST * file + 4096:
        raise ValueError(f"{dataset.name} should hold {size} bytes, in a file of {file}")
    return dataset[()]


def new_file(path: str | Path, memory: bool = False) -> h5py.File:
    """An empty file, open for writing, whose own tables have checksums (since HDF5 1.10) and which knows no times: the same content is the
    same bytes."""
    access, creation = h5py.h5p.create(h5py.h5p.FILE_ACCESS), h5py.h5p.create(h5py.h5p.FILE_CREATE)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    creation.set_obj_track_times(False)
    if memory:
        access.set_fapl_core(backing_store=False)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, access))


def new_group(parent: h5py.Group, name: str) -> h5py.Group:
    """The group `parent/name`, with those between, where they are not there yet; without times."""
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    for part in name.split("/"):
        parent = parent[part] if part in parent else h5py.Group(h5py.h5g.create(parent.id, part.encode(), gcpl=creation))
    return parent


def fixed_text(text: str | list[str]) -> np.ndarray:
    """Text to store with a fixed length. HDF5's usual texts lie on a heap of their own, without checksums, and a flipped bit there can end
    the process."""
    coded = [one.encode() for one in ([text] if isinstance(text, str) else text)]
    kind = h5py.string_dtype("utf-8", max(map(len, coded), default=0) or 1)
    return np.array(coded[0] if isinstance(text, str) else coded, kind)


def plain_text(value: object) -> str:
    """A stored text, of fixed length or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def clear_errors(path: Path, advice: str, part: str = "") -> Iterator[None]:
    """Every error inside becomes a ValueError with the path, the part of the file that was read, and the advice what to do."""
    try:
        yield
    except Exception as error:  # OSError, KeyError, RuntimeError, TypeError, UnicodeDecodeError: h5py raises each of them
        text = " ".join(str(error).split())[:300]
        where = f"{part} of {path}" if part else f"{path}"
        raise ValueError(f"{where} is damaged or cut off ({type(error).__name__}: {text}): {advice}") from error
