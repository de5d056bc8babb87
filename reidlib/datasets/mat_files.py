"""Tables of numbers in MATLAB's .mat files, version 5 (-v6 and -v7) and 7.3 (HDF5): every size is checked before it is believed.

Version 5 is read here, after MathWorks' "MAT-File Level 5 File Format": scipy's reader, made for every kind of variable, ends the process
on some damaged files."""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from reidlib.hdf5 import read_dataset

LARGEST = 1 << 31  # bytes of a variable, unpacked
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # a stored type -> numpy's
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800


def read_mat_arrays(path: Path) -> dict[str, np.ndarray | None]:
    """The variables of a .mat file by name, in MATLAB's orientation; None for one that does not hold real numbers.

    Raises FileNotFoundError, or ValueError, with the path, for a file that is cut off, damaged or of another kind."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: is the download whole?")
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:  # HDF5 lists the dimensions in the reverse of MATLAB's order
                return {ascii(name).strip("b'"): _numbers(item) for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return dict(_variables(path.read_bytes()))
    except Exception as error:  # zlib.error, struct.error and whatever h5py raises on a damaged file
        raise ValueError(f"{path} cannot be read as a .mat file: {error} (is the download whole?)") from error


def _numbers(dataset: h5py.Dataset) -> np.ndarray | None:
    return read_dataset(dataset).T if dataset.dtype.kind in "iufb" else None


def _variables(content: bytes) -> Iterator[tuple[str, np.ndarray | None]]:
    """Name and value of every variable of a version 5 file."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if len(content) <= 128 or order is None or content[125 if order == "<" else 124] != 1:
        raise ValueError("its header is not that of MATLAB 5")
    for kind, part in _elements(content[128:], order):
        if kind == _COMPRESSED:
            part = _unpacked(part)
            ((kind, part),) = _elements(part, order)
        if kind != _MATRIX:
            raise ValueError(f"it holds an element of type {kind}, where a variable should begin")
        yield _variable(part, order)


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of consecutive elements: a tag, or a short one whose content lies inside it."""
    place = 0
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        begin = place + 8
        if kind >> 16:
            kind, size, begin = kind & 0xFFFF, kind >> 16, place + 4
            if size > 4:
                raise ValueError(f"an element of {size} bytes in the place of 4")
            place += 8
        else:
            place += 8 + size + (-size % 8 if kind != _COMPRESSED else 0)
        if begin + size > len(content):
            raise ValueError(f"an element of {size} bytes ends {begin + size - len(content)} bytes after the end")
        yield kind, content[begin : begin + size]


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, LARGEST)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("a packed variable has no proper end")
    return content


def _variable(content: bytes, order: str) -> tuple[str, np.ndarray | None]:
    """Name and value of a variable: elements for its class, dimensions, name and numbers; those of other classes go on."""
    elements = _elements(content, order)
    flags, dimensions, name = (part for _, part in (next(elements), next(elements), next(elements)))
    (flag,) = struct.unpack_from(f"{order}I", flags)
    shape = np.frombuffer(dimensions, f"{order}i4").tolist()
    text = name.decode("ascii")
    if flag & 0xFF not in _CLASSES or flag & _COMPLEX:
        return text, None
    kind, part = next(elements, (2, b""))
    values = np.frombuffer(part, order + _STORED[kind])
    if len(shape) < 2 or min(shape) < 0 or math.prod(shape) != len(values) or next(elements, None):
        raise ValueError(f"{text} should be {' x '.join(map(str, shape))}, and it holds {len(values)} numbers")
    return text, values.astype(_CLASSES[flag & 0xFF]).reshape(shape, order="F")
