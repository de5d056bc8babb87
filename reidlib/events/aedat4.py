"""AEDAT 4.0, the format of iniVation's DV software: events out of its packets, every one of them or one clear error.

Layout (docs.inivation.com, "AEDAT 4.0"): a line, a flatbuffer header (compression, position of the table of packets, an XML description
of the streams), packets of one stream each, `stream int32, size int32` before them, and the table. The table only repeats where the packets
lie: they are read one after another without it, so a damaged one does no harm. EventCV, which reads the other formats, passes over packets
that it cannot understand, and allocates what a damaged table asks for."""

import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np
import pyarrow

MAGIC = b"#!AER-DAT4.0\r\n"
CODECS = {0: None, 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}  # 2 and 4: the same, packed harder
LARGEST_PACKET = 1 << 30  # bytes, unpacked; DV's are under a megabyte
_PIECE = 1 << 20
_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("padding", "V3")])


def read_aedat4(path: Path) -> tuple[np.ndarray, tuple[int, int] | None]:
    """int64 `[N, 4]` of x, y, t (microseconds) and p as they are stored, and (width, height) if it is stated.

    Raises ValueError, with the path, for a file that is cut off or damaged, holds no stream of events or several. Warns where the table of
    packets is missing: its recorder did not close the file, of which a packet or more at the end may be lost."""
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except (struct.error, IndexError, OSError, UnicodeDecodeError, ElementTree.ParseError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} cannot be read: {error} (is the file cut off, damaged or of another format?)") from error


def _read(file: BinaryIO, path: Path) -> tuple[np.ndarray, tuple[int, int] | None]:
    size = file.seek(0, 2)
    codec, table, description = _header(file, size)
    streams = _streams(description)
    chosen = [name for name, (kind, _) in streams.items() if kind == "EVTS"]
    if len(chosen) != 1:
        raise ValueError(f"{path} holds {len(chosen)} streams of events; one is needed: export it with the program that recorded it")
    if table > size:
        raise ValueError(f"{path} is cut off: its table of packets should begin at byte {table}, but it has {size} bytes")
    if table < 0:
        warnings.warn(f"{path} has no table of packets: its recorder did not close it, and its end may be missing", stacklevel=5)
    parts = [np.zeros(0, _EVENT)]
    for stream, packet in _packets(file, size if table < 0 else table):
        if stream not in streams:
            raise IndexError(f"a packet belongs to stream {stream}, which its header does not name")
        if stream == chosen[0]:
            parts.append(_events(_unpacked(packet, codec)))
    events = np.concatenate(parts)
    return np.stack([events[name].astype(np.int64) for name in "xytp"], axis=1), streams[chosen[0]][1]  # [N, 4]


def _header(file: BinaryIO, size: int) -> tuple[str | None, int, str]:
    """Codec, position of the table (-1: none) and description; the file is left where the packets begin."""
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise IndexError("it does not begin like an AEDAT 4.0 file")
    (length,) = struct.unpack("<I", file.read(4))
    header = file.read(min(length, size))
    if len(header) < length or header[4:8] != b"IOHE":
        raise IndexError("its header is not whole")
    compression, table, text = (_field(header, number) for number in range(3))
    kind = struct.unpack_from("<i", header, compression)[0] if compression else 0
    if kind not in CODECS:
        raise IndexError(f"its compression has the unknown number {kind}")
    if not text:
        raise IndexError("its header describes no streams")
    text += struct.unpack_from("<I", header, text)[0]
    (count,) = struct.unpack_from("<I", header, text)
    if text + 4 + count > length:
        raise IndexError("the description of its streams is not whole")
    return CODECS[kind], struct.unpack_from("<q", header, table)[0] if table else -1, header[text + 4 : text + 4 + count].decode()


def _field(buffer: bytes, number: int) -> int:
    """Place of a field of a flatbuffer's root table, 0 where it is left out."""
    (root,) = struct.unpack_from("<I", buffer)
    fields = root - struct.unpack_from("<i", buffer, root)[0]
    if not 0 <= fields < len(buffer):
        raise IndexError("a table of fields lies outside")
    if 4 + 2 * number >= struct.unpack_from("<H", buffer, fields)[0]:
        return 0
    (offset,) = struct.unpack_from("<H", buffer, fields + 4 + 2 * number)
    return root + offset if offset else 0


def _streams(description: str) -> dict[int, tuple[str, tuple[int, int] | None]]:
    """Number of a stream -> (kind, (width, height) if stated)."""
    found: dict[int, tuple[str, tuple[int, int] | None]] = {}
    for node in ElementTree.fromstring(description).iterfind("./node[@name='outInfo']/node"):
        width, height = (node.findtext(f"./node[@name='info']/attr[@key='size{axis}']", "") for axis in "XY")
        stated = (int(width), int(height)) if all(text.isdecimal() and text.isascii() for text in (width, height)) else None
        number = node.get("name", "")
        if not (number.isdecimal() and number.isascii()):
            raise IndexError(f"a stream has the number {number!r}")
        found[int(number)] = (node.findtext("./attr[@key='typeIdentifier']", ""), stated)
    return found


def _packets(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """(stream, content) of every packet, from where the header ends to `end`."""
    file.seek(len(MAGIC))
    place = len(MAGIC) + 4 + struct.unpack("<I", file.read(4))[0]
    while place < end:
        file.seek(place)
        stream, size = struct.unpack("<ii", file.read(8))
        place += 8 + size
        if size < 0 or place > end:
            raise IndexError(f"a packet of {size} bytes does not end before byte {end}")
        yield stream, file.read(size)
    if place != end:
        raise IndexError(f"its packets should end at byte {end}, not {place}")


def _unpacked(packet: bytes, codec: str | None) -> bytes:
    if codec is None:
        return packet
    with pyarrow.input_stream(pyarrow.py_buffer(packet), compression=codec) as stream:
        content = bytearray()
        while piece := stream.read(_PIECE):
            content += piece
            if len(content) > LARGEST_PACKET:
                raise IndexError(f"a packet is larger than {LARGEST_PACKET} bytes")
    return bytes(content)


def _events(packet: bytes) -> np.ndarray:
    """Events of a flatbuffer EventPacket: a vector of structures of 16 bytes."""
    (length,) = struct.unpack_from("<I", packet)
    body = packet[4:]
    if length != len(body) or body[4:8] != b"EVTS":
        raise IndexError("a packet of the events is damaged")
    vector = _field(body, 0)
    if not vector:
        return np.zeros(0, _EVENT)
    vector += struct.unpack_from("<I", body, vector)[0]
    (count,) = struct.unpack_from("<I", body, vector)
    if not 0 <= len(body) - vector - 4 - 16 * count < 16:
        raise IndexError(f"a packet of {len(body)} bytes announces {count} events")
    return np.frombuffer(body, _EVENT, count, vector + 4)
