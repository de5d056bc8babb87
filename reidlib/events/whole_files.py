"""Whether a recording is whole, in the formats of which EventCV reads as much as there is and says nothing.

What a format does not say cannot be found: raw (EVT2, EVT3), DAT and AEDAT2 files cut between two events, and text cut at the end of a row,
look like shorter recordings. Only npz and our HDF5 files hold checksums: a bit flipped in an event of another format is another event."""

import zipfile
from pathlib import Path
from typing import BinaryIO


def check_whole(path: Path) -> None:
    """Raises ValueError, with the path, for a file that was cut off or whose checksums are wrong."""
    kind, size = path.suffix.lower(), path.stat().st_size
    if kind == ".npz":
        _check_archive(path)
    with open(path, "rb") as file:
        if kind == ".bag":
            _check_bag(path, file.read(4096), size)
        elif kind in (".raw", ".dat", ".aedat"):
            start, word = _events_begin(file, kind)
            if rest := max(size - start, 0) % word:
                raise ValueError(f"{path} ends in the middle of an event ({rest} of {word} bytes): it was cut off while copied or recorded")


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # zlib.error, struct.error, NotImplementedError: whatever the damage makes of the file
        raise ValueError(f"{path} cannot be read: {error} (is the file cut off or damaged?)") from error
    if broken is not None:
        raise ValueError(f"{path} cannot be read: the checksum of {broken} is wrong (is the file damaged?)")


def _check_bag(path: Path, start: bytes, size: int) -> None:
    """The first record tells where the index begins, at the end of the file."""
    place = start.find(b"index_pos=") + len(b"index_pos=")
    index = int.from_bytes(start[place : place + 8], "little")
    if b"index_pos=" in start and not 0 < index < size:
        raise ValueError(f"{path} is cut off: its index should begin at byte {index}, but it has {size} bytes")


def _events_begin(file: BinaryIO, kind: str) -> tuple[int, int]:
    """(where the events begin, bytes of an event or of a word) of a camera's file with lines of text at its beginning."""
    mark, header = b"#" if kind == ".aedat" else b"%", b""
    while (line := file.readline(4096)).startswith(mark) and line.endswith(b"\n") and line.isascii():
        header += line.lower()
        if line.strip().lower() in (b"% end", b"#end of ascii header"):
            break
    if kind == ".dat":
        return len(header) + 2, 8  # two bytes tell the type and the length of an event
    if kind == ".aedat":
        return len(header), 8
    return len(header), 4 if b"evt 2" in header or b"evt2" in header else 2
