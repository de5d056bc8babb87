"""Small recordings in every format that `reidlib.events.read` knows, the camera makers' formats written from their specifications."""

import hashlib
import re
import struct
from functools import partial
from itertools import pairwise
from pathlib import Path

import eventcv
import numpy as np
import pyarrow
from event_strategies import some_events
from reading import Format

from reidlib.events import Events, Recording, read, write

SENSOR = (346, 260)  # of a DAVIS 346, whose chip AEDAT 2 knows by name
EVENTS = some_events(300, *SENSOR, last=40_000, seed=3)


def columns() -> tuple[np.ndarray, ...]:
    """x, y, t and p as int64."""
    return tuple(getattr(EVENTS, name).astype(np.int64) for name in "xytp")


def write_dat(path: Path) -> None:
    """Prophesee DAT 2: 32 bits of time, then 14 of x, 14 of y, 4 of polarity."""
    x, y, t, p = columns()
    words = np.stack([t, x | (y << 14) | (p << 28)], axis=1).astype("<u4")
    header = f"% Data file containing CD events.\n% Version 2\n% Width {SENSOR[0]}\n% Height {SENSOR[1]}\n"
    path.write_bytes(header.encode() + bytes([0x0C, 8]) + words.tobytes())


def raw_header(version: int) -> bytes:
    """Of Prophesee's raw files."""
    return f"% evt {version}.0\n% format EVT{version}\n% geometry {SENSOR[0]}x{SENSOR[1]}\n% end\n".encode()


def write_evt2(path: Path) -> None:
    """EVT 2.0: words of 32 bits; type 8 holds the time's upper 28 bits, types 0 and 1 an event with the lower 6."""
    words, high = [], None
    for x, y, t, p in zip(*map(np.ndarray.tolist, columns()), strict=True):
        if t >> 6 != high:
            high = t >> 6
            words.append((8 << 28) | high)
        words.append((p << 28) | ((t & 63) << 22) | (x << 11) | y)
    path.write_bytes(raw_header(2) + np.array(words, "<u4").tobytes())


def write_evt3(path: Path) -> None:
    """EVT 3.0: words of 16 bits; types 8 and 6 hold the upper and the lower 12 bits of the time, 0 the row, 2 the column and polarity."""
    words, last = [], (None, None, None)
    for x, y, t, p in zip(*map(np.ndarray.tolist, columns()), strict=True):
        now = (t >> 12, t & 4095, y)
        kinds = [kind << 12 | value for kind, value, before in zip((8, 6, 0), now, last, strict=True) if value != before]
        words += [*kinds, 2 << 12 | p << 11 | x]
        last = now
    path.write_bytes(raw_header(3) + np.array(words, "<u2").tobytes())


def write_aedat2(path: Path) -> None:
    """jAER's AEDAT 2.0 of a DAVIS: big-endian words, an address (row, counted from below, from bit 22, column from 12, polarity bit 11)
    and a time."""
    x, y, t, p = columns()
    words = np.stack([(SENSOR[1] - 1 - y) << 22 | x << 12 | p << 11, t], axis=1).astype(">u4")
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis346B\r\n" + words.tobytes())


def aedat4_header(compression: int, table: int, description: bytes) -> bytes:
    """Flatbuffer IOHeader with its size before it: compression int32, position of the data table int64, description string."""
    # 0: root offset, identifier; 8: vtable (4 + 3 fields); 20: table (vtable offset, compression, string offset, position)
    vtable = struct.pack("<5H2x", 10, 24, 4, 16, 8)
    body = struct.pack("<I4s", 20, b"IOHE") + vtable + struct.pack("<iiI4xq", 12, compression, 32 - 20 + 12 - 8, table)
    string_at = len(body)
    body = bytearray(body + struct.pack("<I", len(description)) + description + b"\0" * (4 - len(description) % 4))
    struct.pack_into("<I", body, 28, string_at - 28)
    return struct.pack("<I", len(body)) + bytes(body)


def aedat4_packet(part: Events) -> bytes:
    """Flatbuffer EventPacket with its size before it: a vector of (t int64, x int16, y int16, on bool, 3 bytes of nothing)."""
    rows = np.zeros(len(part), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("", "V3")])
    rows["t"], rows["x"], rows["y"], rows["on"] = part.t, part.x, part.y, part.p
    body = struct.pack("<I4s", 16, b"EVTS") + struct.pack("<3H2x", 6, 8, 4) + struct.pack("<iI", 8, 4) + struct.pack("<I", len(part))
    body += b"\0" * ((4 - len(body)) % 8)  # the length stands right before its 8-aligned structures, counted from behind the size
    return struct.pack("<I", len(body) + rows.nbytes) + body + rows.tobytes()


def aedat4_table(packets: list[tuple[int, int, Events]]) -> bytes:
    """Flatbuffer FileDataTable with its size before it: a vector of (stream and size, position, number of events, first and last time)."""
    body = struct.pack("<I4s3H2xiI", 16, b"FTAB", 6, 8, 4, 8, 4) + struct.pack("<I", len(packets))
    fields_at = len(body) + 4 * len(packets)  # of the field table that all entries share
    entries_at = (fields_at + 14 + 4 + 7) // 8 * 8 - 4  # aligned as counted from the size on
    body += b"".join(struct.pack("<I", entries_at + 48 * i - (28 + 4 * i)) for i in range(len(packets)))
    body += struct.pack("<7H", 14, 48, 16, 4, 24, 32, 40).ljust(entries_at - fields_at, b"\0")
    for i, (place, size, part) in enumerate(packets):
        facts = (0, size, place, len(part), int(part.t[0]), int(part.t[-1]))
        body += struct.pack("<iii4xqqqq", entries_at + 48 * i - fields_at, *facts)
    return struct.pack("<I", len(body)) + body


def write_aedat4(path: Path, codec: str = "", closed: bool = True) -> None:
    """iniVation's AEDAT 4.0: three packets of events and, if it was closed, a table of them; plain or compressed (codec "lz4", "zstd")."""
    node = '<node name="0" path="/mainloop/Recorder/outInfo/0/">{}</node>'
    attribute = '<attr key="{}" type="{}">{}</attr>'
    size = '<node name="info">' + "".join(attribute.format(f"size{a}", "int", n) for a, n in zip("XY", SENSOR, strict=True)) + "</node>"
    stream = node.format(attribute.format("typeIdentifier", "string", "EVTS") + size)
    description = f'<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">{stream}</node></dv>'.encode()

    def packed(content: bytes) -> bytes:
        return pyarrow.compress(content, codec=codec, asbytes=True) if codec else content

    kind = {"": 0, "lz4": 1, "zstd": 3}[codec]
    content, table = b"", []
    start = len(b"#!AER-DAT4.0\r\n") + len(aedat4_header(kind, 0, description))
    for part in (EVENTS.take(slice(i, i + 100)) for i in (0, 100, 200)):
        packet = packed(aedat4_packet(part))
        content += struct.pack("<II", 0, len(packet))
        table.append((start + len(content), len(packet), part))
        content += packet
    header = aedat4_header(kind, start + len(content) if closed else -1, description)
    path.write_bytes(b"#!AER-DAT4.0\r\n" + header + content + (packed(aedat4_table(table)) if closed else b""))


def write_bag(path: Path) -> None:
    """A rosbag, by EventCV."""
    eventcv.save(eventcv.from_numpy(np.stack(columns(), axis=1), sensor_size=SENSOR, time_unit="us"), str(path))


def write_text(path: Path, head: str, separator: str, order: str = "txyp") -> None:
    """Rows of numbers under a first line."""
    rows = zip(*({"x": x, "y": y, "t": t, "p": p}[name].tolist() for x, y, t, p in [columns()] for name in order), strict=True)
    path.write_text(head + "".join(separator.join(map(str, row)) + "\n" for row in rows))


def well_formed(events: Events) -> tuple:
    """Size, number and digest of events, whose contract is checked anew; nothing of a kind may be missing."""
    checked = Events(events.x, events.y, events.t, events.p, events.width, events.height)
    assert len(checked), "a recording without events"
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(getattr(checked, name)).tobytes() for name in "xytp"))
    return checked.width, checked.height, len(checked), digest.hexdigest()[:12]


def read_whole(name: str, folder: Path) -> tuple:
    return well_formed(read(folder / name))


def read_windows(name: str, folder: Path) -> tuple:
    """By windows, as boxes cut a long recording; the first and the last event belong to them."""
    recording = Recording(folder / name)
    first, last = recording.span
    edges = np.linspace(first, last + 1, 4).astype(np.int64).tolist()
    parts = [recording.read(a, b) for a, b in pairwise(edges)]
    return well_formed(Events(*(np.concatenate([getattr(part, c) for part in parts]) for c in "xytp"), recording.width, recording.height))


def words(size: int, header: bytes):
    """Cuts that leave whole words behind a header: the camera's formats do not say how many there are."""
    return lambda cut, whole: len(cut) > whole.index(header) + len(header) and (len(whole) - len(cut)) % size == 0


def line_end(cut: bytes, whole: bytes) -> bool:
    """Cuts behind a whole row of text."""
    return cut.endswith(b"\n") or whole[len(cut) : len(cut) + 1] == b"\n"


def file_format(name: str, write, read=read_whole, **facts) -> Format:
    """A format of one file."""
    return Format(lambda folder: write(folder / name), name, partial(read, name), **facts)


def raw_end(cut: bytes, whole: bytes) -> bool:
    head = re.search(rb"% end\n", whole).end()
    return len(cut) > head and (len(whole) - len(cut)) % (4 if b"evt 2" in whole else 2) == 0


FORMATS = {
    "npz": file_format("recording.npz", partial(write, EVENTS), sealed=True),
    "hdf5": file_format("recording.h5", partial(write, EVENTS)),
    "hdf5 by windows": file_format("recording.h5", partial(write, EVENTS), read_windows),
    "text": file_format("recording.txt", partial(write, EVENTS), unseen=line_end),
    "text with a size line": file_format("recording.txt", partial(write_text, head="346 260\n", separator=" "), unseen=line_end),
    "csv with names": file_format("recording.csv", partial(write_text, head="x,y,p,t\n", separator=",", order="xypt"), unseen=line_end),
    "dat": file_format("recording.dat", write_dat, unseen=words(8, b"\x0c\x08")),
    "evt2": file_format("recording.raw", write_evt2, unseen=raw_end),
    "evt3": file_format("recording.raw", write_evt3, unseen=raw_end),
    "evt3 by windows": file_format("recording.raw", write_evt3, read_windows, unseen=raw_end),
    "aedat2": file_format("recording.aedat", write_aedat2, unseen=words(8, b"Davis346B\r\n")),
    "aedat4": file_format("recording.aedat4", write_aedat4),
    "aedat4 not closed": file_format("recording.aedat4", partial(write_aedat4, closed=False), warns=True),
    "aedat4 lz4": file_format("recording.aedat4", partial(write_aedat4, codec="lz4")),
    "aedat4 zstd": file_format("recording.aedat4", partial(write_aedat4, codec="zstd")),
    "bag": file_format("recording.bag", write_bag),
}
