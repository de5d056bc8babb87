"""HDF5 files that may be damaged: sizes are checked before memory is taken, and whatever h5py runs into becomes one clear error."""

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


@contextmanager
def clear_errors(path: Path, advice: str, part: str = "") -> Iterator[None]:
    """Every error inside becomes a ValueError with the path, the part of the file that was read, and the advice what to do."""
    try:
        yield
    except Exception as error:  # OSError, KeyError, RuntimeError, TypeError, UnicodeDecodeError: h5py raises each of them
        text = " ".join(str(error).split())[:300]
        where = f"{part} of {path}" if part else f"{path}"
        raise ValueError(f"{where} is damaged or cut off ({type(error).__name__}: {text}): {advice}") from error
