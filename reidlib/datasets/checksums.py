"""Checksums of what a store holds, compared whenever it is read: HDF5's own cover neither short texts nor attributes nor shapes."""

import zlib
from collections.abc import Mapping

import numpy as np


def checksum(value: np.ndarray | str) -> int:
    """CRC-32 of an array, its type and its shape; or of a text."""
    if isinstance(value, str):
        return zlib.crc32(value.encode())
    return zlib.crc32(value.tobytes(), zlib.crc32(f"{value.dtype.str} {value.shape}".encode()))


def compare(sums: Mapping[str, int], name: str, value: np.ndarray | str) -> None:
    """ValueError where `value` is not what was summed; stores of before there were checksums have none."""
    if name in sums and sums[name] != checksum(value):
        raise ValueError(f"wrong checksum of its {name}")
