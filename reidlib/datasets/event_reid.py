"""Event-ReId (Ahmad et al., "Person Re-Identification without Identification via Event Anonymization", ICCV 2023).

Real Prophesee 640 x 480 recordings of 33 walking people under 4 cameras. Two layouts are read:

* the public sample: `train_list.txt`, `query_list.txt`, `gallery_list.txt` with lines `PATH ID` and files `ID_cCAM_WINDOW.txt` with rows
  `t x y p`, one per window of 33.3 ms. Each file is a tracklet; rows of query_list are queries, rows of gallery_list the gallery.
* the whole set: `<ID>/<camera>/events.txt`, a first line `width height`, then rows `t x y p`. Test ids are 2, 5, 8, ..., 32; the rest is
  training. One tracklet per recording, or per window with `window_ms`. Lists at the top of the folder (lines `ID/camera/events.txt ID`)
  decide where they exist; else, by our reading, each test person's first camera is the query and the others are the gallery.

Train and test ids are separate name spaces in the sample: test people are stored as id + 1000 in both layouts. The events are cut
to their own bounding box, widened or heightened to 1:2 (width to height) so that people are not distorted; the box is in the attributes.
"""

import dataclasses
import hashlib
import math
import re
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from reidlib.datasets.store import Sample, TrackletStore
from reidlib.datasets.store_build import build_store
from reidlib.datasets.video_files import read_text
from reidlib.events import Events, read

CODE_VERSION = 1
TEST_OFFSET = 1000
TEST_IDS = frozenset(range(2, 33, 3))
WINDOW_SECONDS = 0.0333
SENSOR = (640, 480)
LISTS = {"train": "train_list.txt", "query": "query_list.txt", "gallery": "gallery_list.txt"}
_TIME_UNITS = (1.0, 1e-3, 1e-4, 1e-6)
_RECORDING_SECONDS = 5.0  # the sample's window numbers reach 155, about 5 s


@dataclasses.dataclass(frozen=True)
class EventReIdSettings:
    """window_ms: the whole set in consecutive windows of this length (None: one tracklet per recording; the sample is already cut).
    query_camera: the whole set's query camera where there are no lists (None: each person's first).
    time_unit: seconds per unit of t (None: found from the data, see `find_time_unit`)."""

    window_ms: float | None = None
    query_camera: int | None = None
    time_unit: float | None = None

    def __post_init__(self) -> None:
        for name in ("window_ms", "time_unit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0 or None, not {value}")


def build(data: str | Path, settings: EventReIdSettings, path: Path, workers: int | None = None) -> TrackletStore:
    """The store of the recordings in folder `data`, built at `path` if it is not up to date.

    Raises FileNotFoundError for a missing folder, list or listed file, ValueError for names, lists or rows that cannot be read."""
    root = Path(data)
    if not root.is_dir():
        raise FileNotFoundError(f"no Event-ReId folder at {root}: check the path (data/README.md says where the set comes from)")
    sample = (root / LISTS["train"]).is_file() and not any(root.glob("*/*/events.txt"))
    rows = _sample_rows(root) if sample else _recording_rows(root, settings)
    unit = settings.time_unit or find_time_unit([root / row["source"] for row in rows], WINDOW_SECONDS if sample else _RECORDING_SECONDS)
    if settings.window_ms and not sample:
        rows = _window_rows(root, rows, unit, settings.window_ms)
    source = _fingerprint(root, sorted({row["source"] for row in rows}))
    layout = "sample" if sample else "recordings"
    facts = {**dataclasses.asdict(settings), "code": CODE_VERSION, "layout": layout, "time_unit": unit, "source": source}
    return build_store(path, rows, partial(make, root, unit), facts, workers, "Event-ReId")


def make(root: Path, unit: float, row: dict) -> Sample:
    """One tracklet: read, time from zero, cut to the people's box."""
    events = _read_whole(root / row["source"], unit)
    if "window" in row:
        events = events.window(*row["window"])
    if len(events) == 0:
        raise ValueError(f"{root / row['source']} has no events{' in window ' + str(row['window']) if 'window' in row else ''}")
    left, top, width, height = person_box(events)
    origin = int(events.t[0])
    cut = Events(*_moved(events, left, top), events.t - origin, events.p, width=width, height=height)
    attributes = {"box": [left, top, width, height], "sensor": [events.width, events.height], "first_event_us": origin, "time_unit": unit}
    return Sample(cut, attributes=attributes)


def _moved(events: Events, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    return (events.x.astype(np.int64) - left).astype(np.uint16), (events.y.astype(np.int64) - top).astype(np.uint16)


def person_box(events: Events) -> tuple[int, int, int, int]:
    """left, top, width, height of the smallest 1:2 box (width:height) centred on the events' bounding box; it may leave the sensor."""
    x0, x1, y0, y1 = int(events.x.min()), int(events.x.max()) + 1, int(events.y.min()), int(events.y.max()) + 1
    width = max(x1 - x0, math.ceil((y1 - y0) / 2))
    return x0 - (width - (x1 - x0)) // 2, y0 - (2 * width - (y1 - y0)) // 2, width, 2 * width


def find_time_unit(paths: list[Path], seconds: float) -> float:
    """Seconds per unit of t: of 1 s, 1 ms, 0.1 ms and 1 us the one that brings the files' median span nearest to `seconds` (in ratio).

    The sample's windows of 33.3 ms span about 333 units: 0.1 ms."""
    spans = [last - first for first, last in map(_first_and_last, sorted(set(paths))) if last > first]
    if not spans:
        raise ValueError(f"cannot find the time unit: none of {len(paths)} files spans any time; give the option time_unit (seconds)")
    span = float(np.median(spans))
    return min(_TIME_UNITS, key=lambda unit: abs(math.log(span * unit / seconds)))


@lru_cache(maxsize=1)  # consecutive windows come from the same recording
def _read_whole(path: Path, unit: float) -> Events:
    with open(path, "rb") as file:
        headed = len(file.readline().split()) == 2
    size = {} if headed else {"width": SENSOR[0], "height": SENSOR[1]}
    return read(path, **size, time_unit=round(unit * 1e6, 6))


def _first_and_last(path: Path) -> tuple[float, float]:
    """First and last time stamp of a text file, without reading what lies between; equal for an empty one (refused when it is read)."""
    with open(path, "rb") as file:
        first = file.readline().split()
        if len(first) == 2:  # width height
            first = file.readline().split()
        file.seek(max(0, file.seek(0, 2) - 4096))
        rows = [line.split() for line in file.read().splitlines() if line.strip()]
    if not first or not rows:
        return 0.0, 0.0
    try:
        return float(first[0]), float(rows[-1][0])
    except ValueError:
        raise ValueError(f"{path}: rows must be `t x y p`, found {b' '.join(first).decode(errors='replace')[:60]!r}") from None


def _sample_rows(root: Path) -> list[dict]:
    rows = []
    for subset in LISTS:
        for name in read_list(root, subset):
            match = re.fullmatch(r"(\d+)_c(\d+)_(\d+)", Path(name).stem)
            if not match:
                raise ValueError(f"{root / LISTS[subset]} names {name!r}: expected ID_cCAM_WINDOW.txt")
            rows.append(_row(subset, int(match[1]), int(match[2]), f"w{match[3]}", name))
    return rows


def read_list(root: Path, subset: str) -> list[str]:
    """Files named in a list (`PATH ID` per line), in its order, each checked to exist. A list cut behind a line is a shorter list.

    Raises FileNotFoundError for a missing or empty list or an absent file."""
    path = root / LISTS[subset]
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {root}: Event-ReId's sample has the three files {', '.join(LISTS.values())}")
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    bad = [" ".join(words)[:60] for words in lines if len(words) != 2]
    if bad:
        raise ValueError(f"{path} holds the line {bad[0]!r}: expected PATH ID; was it cut off?")
    names = [name for name, _ in lines]
    absent = [name for name in names if not (root / name).is_file()]
    if absent:
        raise FileNotFoundError(f"{path} names {len(absent)} absent files, the first is {absent[0]}: is the download whole?")
    if not names:
        raise ValueError(f"{path} is empty")
    return names


def _recording_rows(root: Path, settings: EventReIdSettings) -> list[dict]:
    """Rows of the whole set; subsets from the lists where they exist, else from the camera."""
    files = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*/events.txt"))
    if not files:
        raise FileNotFoundError(f"no Event-ReId data in {root}: neither {', '.join(LISTS.values())} nor <ID>/<camera>/events.txt")
    listed = {name: subset for subset in LISTS if (root / LISTS[subset]).is_file() for name in read_list(root, subset)}
    found = [(name, _number(name.split("/")[0], name), _number(name.split("/")[1], name)) for name in files]
    first: dict[int, int] = {}
    for _, person, camera in found:
        first[person] = min(camera, first.get(person, camera))
    rows = []
    for name, person, camera in found:
        query = first[person] if settings.query_camera is None else settings.query_camera
        subset = "train" if person not in TEST_IDS else "query" if camera == query else "gallery"
        if listed and name not in listed and (subset != "train" or "train" in listed.values()):
            continue  # the lists decide; without a train list, all recordings of training people train
        rows.append(_row(listed.get(name, subset), person, camera, "t0", name))
    return rows


def _number(text: str, name: str) -> int:
    match = re.search(r"\d+", text)
    if not match:
        raise ValueError(f"no number in {text!r} of {name}: expected <ID>/<camera>/events.txt")
    return int(match[0])


def _row(subset: str, person: int, camera: int, tracklet: str, source: str) -> dict:
    person += 0 if subset == "train" else TEST_OFFSET
    key = f"p{person:04d}/c{camera}/{tracklet}"
    return {"key": key, "dataset": "event_reid", "split": 0, "subset": subset, "person": person, "camera": camera, "source": source}


def _window_rows(root: Path, rows: list[dict], unit: float, window_ms: float) -> list[dict]:
    """Each recording in consecutive windows; those without any event, and a last one shorter than half, are left out."""
    cut, length = [], round(window_ms * 1000)
    for row in rows:
        t = _read_whole(root / row["source"], unit).t
        for i, a in enumerate(range(int(t[0]), int(t[-1]) + 1 - length // 2, length) if len(t) else []):
            if np.searchsorted(t, a) < np.searchsorted(t, a + length):
                cut.append({**row, "key": row["key"][: -len("t0")] + f"w{i:04d}", "window": [a, a + length]})
    return cut


def _fingerprint(root: Path, names: list[str]) -> str:
    """sha256 over each file's name, size, and first and last 64 KiB: notices changed data without reading gigabytes."""
    digest = hashlib.sha256()
    for name in names:
        with open(root / name, "rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{name} {size}".encode())
            for start in (0, max(0, size - 65536)):
                file.seek(start)
                digest.update(file.read(65536))
    return digest.hexdigest()
