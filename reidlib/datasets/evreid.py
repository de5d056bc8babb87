"""EvReID (X. Wang et al., "When Person Re-Identification Meets Event Camera", AAAI 2026, arXiv 2507.13659): video and event pictures.

    <root>/rgb/info/train_name.txt, test_name.txt   names of all images, one per line, as MARS names them: 0001C1T0001F001.jpg
    <root>/rgb/info/tracks_train_info.mat           `start_frame`, `end_frame` (lines from 0, inclusive), `person_id`, `cam_id`
    <root>/rgb/info/tracks_test_info.mat            the same; query_IDX.mat: `query_IDX`, its rows (from 1)
    <root>/rgb/train/PPPP/<name>, test/PPPP/<name>  video frames; rgb_degrade holds a degraded copy, with its own info
    <root>/event/train/PPPP/<name>, ...             the events of each frame, drawn as a picture

Read off the loader of the authors' release; we have not seen the data, and this is tested on a replica only. What the colours of the
event pictures mean is not stated: see `picture_events`. How many events a pixel had, and when within a frame they came, a picture
does not say: each lit pixel becomes one event at its picture's moment.
"""

import dataclasses
import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from reidlib.datasets import video_files
from reidlib.datasets.conversion_plan import build_planned
from reidlib.datasets.pictures import read_picture
from reidlib.datasets.store import Sample, TrackletStore
from reidlib.datasets.tracklets import JOINED
from reidlib.datasets.video_events import ConversionSettings, fingerprint, frame_times, kept_frames, read_frames
from reidlib.datasets.video_files import find, read_lines, read_mat, read_positions, time_order, tracklet
from reidlib.events import Events

NAME = "evreid"
CODE_VERSION = 1
JUNK = -1
COLUMNS = ("start_frame", "end_frame", "person_id", "cam_id")

#: The paper's abstract; counts per subset are not known to us.
PUBLISHED = {NAME: {"train + query + gallery": {"people": 1_200, "frames": 118_988}}}
compare = partial(video_files.compare, published=PUBLISHED)


@dataclasses.dataclass(frozen=True)
class EvReIdSettings:
    """video: folder of the frames, "rgb" or "rgb_degrade". pictures: the events are those of the event pictures; without, they are
    simulated from the frames. queries_join: the queries join the gallery; in the release's loader they do not. on: colour of ON events
    in the pictures, "red" or "blue". threshold: grey levels that a pixel must differ from the background by in some channel to be an
    event; compression leaves smaller differences."""

    video: str = "rgb"
    pictures: bool = True
    queries_join: bool = False
    on: str = "red"
    threshold: int = 48

    def __post_init__(self) -> None:
        for name, legal in (("video", ("rgb", "rgb_degrade")), ("on", ("red", "blue"))):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name} must be one of {', '.join(legal)}, got {getattr(self, name)!r}")
        if not 1 <= self.threshold <= 254:
            raise ValueError(f"threshold must be from 1 to 254 grey levels, got {self.threshold!r}")


def rows(root: Path, settings: EvReIdSettings) -> list[dict]:
    """One row per tracklet (see `video_files.tracklet`), training first, in the order of the lists.

    Raises FileNotFoundError for absent folders, ValueError for lists, tables and names that do not fit each other."""
    info = find(Path(root), f"{settings.video}/info")
    train, test = (_read_part(info, part, f"{settings.video}/{part}") for part in ("train", "test"))
    asked = set(read_positions(info / "query_IDX.mat", "query_IDX", len(test)))
    query = JOINED if settings.queries_join else "query"
    subsets = ["train"] * len(train) + [query if i in asked else "gallery" for i in range(len(test))]
    return [tracklet(NAME, subset, **part) for subset, part in zip(subsets, train + test, strict=True) if part["person"] != JUNK]


def _read_part(info: Path, part: str, folder: str) -> list[dict]:
    """What `tracklet` asks for, for every row of a part's table, junk included."""
    names, file = read_lines(info / f"{part}_name.txt"), info / f"tracks_{part}_info.mat"
    columns = [read_mat(file, column).ravel().tolist() for column in COLUMNS]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"{file}: {', '.join(COLUMNS)} differ in length: {[len(column) for column in columns]}")
    found = []
    for number, (first, last, person, camera) in enumerate(zip(*columns, strict=True), start=1):
        if not 0 <= first <= last < len(names):
            raise ValueError(f"row {number} of {file.name} spans lines {first} to {last} of {part}_name.txt, whose lines are 0 to "
                             f"{len(names) - 1}")  # fmt: skip
        shown = sorted(names[first : last + 1], key=time_order)
        wrong = [name for name in shown if name[:4] != f"{person:04d}" or name[5:6] != str(camera)]
        if wrong and person != JUNK:
            raise ValueError(f"row {number} of {file.name} says person {person}, camera {camera}, but spans {wrong[0]}: are its lines "
                             "counted from 1, or the files of another release?")  # fmt: skip
        facts = {"person": person, "camera": camera, "name": f"{part}{number:05d}", "source": f"{folder}#{number}"}
        found.append({**facts, "files": [f"{folder}/{name[:4]}/{name}" for name in shown]})
    return found


def event_file(name: str) -> str:
    """The event picture of a frame: the same path under `event`."""
    return "event/" + name.split("/", 1)[1]


def background_of(pictures: list[np.ndarray]) -> np.ndarray:
    """The most common colour of a tracklet's event pictures (in cells of 32 grey levels): the mean of its cell, float `[3]`."""
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    cells = (pixels >> 5).astype(np.int64) @ (64, 8, 1)
    return pixels[cells == np.bincount(cells).argmax()].mean(axis=0)


def picture_events(picture: np.ndarray, background: np.ndarray, settings: EvReIdSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and polarities of the pixels of an event picture, uint8 `[H, W, 3]`, that differ from the background; our reading.

    Redder than the background is ON and bluer OFF, or the reverse (settings.on); a pixel that is neither is ON where it is brighter."""
    difference = picture.astype(np.float64) - background
    y, x = np.nonzero(np.abs(difference).max(axis=2) > settings.threshold)
    red, _, blue = difference[y, x].T
    warmth = (red - blue) * (1 if settings.on == "red" else -1)
    return y, x, np.where(np.abs(warmth) > settings.threshold, warmth, difference[y, x].sum(axis=1)) > 0


def make(root: Path, conversion: ConversionSettings, settings: EvReIdSettings, row: dict) -> Sample:
    """The tracklet of a row. Frame i and its event picture both belong to the middle of the i-th interval of 1 / fps.

    The event pictures' pixels are moved to height x width, none is lost; where two meet, both events count."""
    frames, sizes = read_frames(root, conversion, row)
    N, H, W = frames.shape[:3]
    pictures = [read_picture(Path(root) / event_file(name)) for name in row["files"]]
    background, times = background_of(pictures), frame_times(conversion.fps, N) + round(5e5 / conversion.fps)
    columns = []
    for time, picture in zip(times, pictures, strict=True):
        y, x, p = picture_events(picture, background, settings)
        columns.append(np.stack([x * W // picture.shape[1], y * H // picture.shape[0], np.full(len(x), time), p]))
    x, y, t, p = np.concatenate(columns, axis=1)
    events = Events(x, y, t, p, width=W, height=H)
    attributes = {"frame_times": times, "fps": conversion.fps, "picture_sizes": sizes, "background": background.round(1)}
    return Sample(events, kept_frames(frames, conversion.frames), attributes, duration=N / conversion.fps)


def build(
    root: str | Path, some: list[dict], conversion: ConversionSettings, settings: EvReIdSettings, path: Path, workers: int | None = None
) -> TrackletStore:
    """The store of frames and recorded event pictures at `path`; see `video_events.build`."""
    pictures = [{"key": row["key"], "files": [event_file(name) for name in row["files"]]} for row in some]
    source = hashlib.sha256((fingerprint(root, some) + fingerprint(root, pictures)).encode()).hexdigest()
    kept = {key: getattr(conversion, key) for key in ("fps", "height", "width", "frames")}
    facts = {**kept, **dataclasses.asdict(settings), "code": CODE_VERSION, "events": "recorded (pictures)", "source": source}
    return build_planned(NAME, some, partial(make, Path(root), conversion, settings), facts, path, workers)
