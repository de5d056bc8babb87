"""Long recordings that hold many people: which video, folder of pictures or event recording belongs to which file of boxes."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import pandas as pd

from reidlib.datasets.own_checks import Problems, numbers
from reidlib.datasets.own_video import VIDEOS, Pictures, Video, pictures_of
from reidlib.events import Recording
from reidlib.events.recordings import READABLE_FORMATS

MOT = ("frame", "id", "x", "y", "w", "h", "conf")
NAMES = {"person": "id", "bb_left": "x", "bb_top": "y", "bb_width": "w", "bb_height": "h"}  # other names of the same columns
PICTURES_PER_SECOND = Fraction(25)  # where nobody says it
QUIET = 1  # seconds that boxes may go on after the last event of a recording: people who stand still make none


@dataclass(frozen=True)
class Shot:
    """One recording with its boxes. camera: its name. source: video, folder of pictures or event recording. boxes: their file.
    only: those rows alone whose column `source` says this ("": all). fps: of the boxes' frames (None: as the video states).
    start: time of frame 1 on an event recording's clock, microseconds (None: its first event)."""

    camera: str
    source: Path
    boxes: Path
    only: str = ""
    fps: str | None = None
    start: int | None = None

    @property
    def recorded(self) -> bool:
        """Whether it holds events, not pictures."""
        return self.source.suffix.lower() in READABLE_FORMATS and self.source.is_file()

    @property
    def rate(self) -> Fraction | None:
        """`fps`, exactly."""
        return None if self.fps is None else Fraction(self.fps).limit_denominator(10**6)


@dataclass(frozen=True)
class Counted:
    """An event recording whose time is counted in frames, as its boxes do: read like a film. start: time of frame 1, microseconds."""

    recording: Recording
    fps: Fraction
    start: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the sensor."""
        return self.recording.width, self.recording.height

    @property
    def length(self) -> int:
        """Number of frames that boxes may count."""
        seconds = Fraction(self.recording.span[1] - self.start, 10**6) + QUIET
        return max(int(seconds * self.fps) + 1, 0)


@lru_cache(maxsize=2)
def open_source(shot: Shot, changed: int) -> Pictures | Video | Counted:
    """The shot's film or recording. changed: its time of change, so that nothing stale is kept.

    Raises ValueError for a file or folder that is neither, and as their readers."""
    if shot.source.is_dir():
        files = pictures_of(shot.source)
        if not files:
            raise ValueError(f"{shot.source} holds no pictures")
        return Pictures(files, shot.rate or PICTURES_PER_SECOND)
    if shot.recorded:
        if shot.rate is None:
            raise ValueError(f"{shot.source} is an event recording, which has no frames: give fps, the rate at which the boxes count them")
        recording = Recording(shot.source)
        return Counted(recording, shot.rate, recording.span[0] if shot.start is None else shot.start)
    if shot.source.suffix.lower() in VIDEOS:
        return Video(shot.source, shot.rate)
    raise ValueError(f"{shot.source} is neither a video ({', '.join(VIDEOS)}), nor a folder of pictures, nor an event recording")


def opened(shot: Shot) -> Pictures | Video | Counted:
    """`open_source` as the file is now."""
    return open_source(shot, shot.source.stat().st_mtime_ns)


def extent(shot: Shot) -> tuple[tuple[int, int], int, Fraction]:
    """((width, height), number of frames, frames per second) of a shot."""
    source = opened(shot)
    return source.size, source.length, source.fps


def shots_of_table(path: Path, table: pd.DataFrame, fps: float | None, problems: Problems) -> list[Shot]:
    """Rows `source, boxes` and, if they are known, `camera` (else the source's name), `fps` and `start_us`. Paths count from the table's
    folder on."""
    name, found = path.name, []
    table = table.assign(**{column: table.get(column, "") for column in ("camera", "fps", "start_us")})
    readable = pd.Series(True, index=table.index)
    for column, least, whole in (("fps", 1e-3, False), ("start_us", 0, True)):
        given = table[table[column] != ""]
        readable[given.index] &= ~pd.isna(numbers(given, column, name, problems, least, whole=whole))
    for row in table[readable].itertuples(index=False):
        places = [path.parent / text for text in (row.source, row.boxes)]
        absent = [text for text, place in zip((row.source, row.boxes), places, strict=True) if not text or not place.exists()]
        for text in absent:
            problems.error(name, f"no such file: {text!r}", f"paths count from {path.parent} on", [row.row])
        rate = row.fps or (None if fps is None else str(fps))
        start = int(float(row.start_us)) if row.start_us else None
        shot = Shot(row.camera or Path(row.source).stem, places[0], places[1], fps=rate, start=start)
        if not absent and _opens(shot, name, [row.row], problems):
            found.append(shot)
    return found


def shots_of_boxes(path: Path, table: pd.DataFrame, source: str, fps: float | None, problems: Problems) -> list[Shot]:
    """The recordings that a file of boxes is about: those its column `source` names; else `source`; else what bears its own name.

    A column `camera` names the cameras, else the sources do."""
    rate = None if fps is None else str(fps)
    if "source" in table:
        table = table.assign(camera=table.get("camera", ""))
        nowhere, several = table["source"] == "", table.groupby("source")["camera"].transform("nunique") > 1
        for rows, what in ((nowhere, "boxes without a source"), (several, "one source under several cameras")):
            if rows.any():
                problems.error(path.name, what, "name the recording, and one camera for each", table["row"][rows])
        pairs = table[~nowhere].drop_duplicates("source")
        wanted = [(path.parent / row.source, row.source, row.camera, [row.row]) for row in pairs.itertuples(index=False)]
    else:
        wanted = [(place, "", "", []) for place in ([path.parent / source] if source else _beside(path))]
    if len(wanted) > 1 and "source" not in table:
        names = ", ".join(place.name for place, *_ in wanted)
        problems.error(path.name, f"several recordings bear its name: {names}", "give the option source, or add a column source")
        return []
    if not wanted:
        suggestion = "give the option source, add a column source, name both alike, or write a table camera,source,boxes,fps"
        problems.error(path.name, "no recording to these boxes", suggestion)
    found = []
    for place, only, camera, rows in wanted:
        shot = Shot(camera or place.stem, place, path, only, rate)
        if not place.exists():
            problems.error(path.name, f"no such recording: {place}", f"paths count from {path.parent} on", rows)
        elif _opens(shot, path.name, rows, problems):
            found.append(shot)
    return found


def _beside(path: Path) -> list[Path]:
    """Recordings and folders of pictures with the name of a file of boxes."""
    found = [other for other in path.parent.glob(f"{path.stem}.*") if other.suffix.lower() in (*VIDEOS, *READABLE_FORMATS)]
    return sorted(other for other in (*found, path.with_suffix("")) if other != path and other.exists())


def _opens(shot: Shot, name: str, rows: list[int], problems: Problems) -> bool:
    """Whether the shot's recording can be opened; if not, that is an error."""
    try:
        source = opened(shot)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        problems.error(name, str(error), "correct the file or its path", rows)
        return False
    if isinstance(source, Pictures) and shot.rate is None:
        what = f"no rate of the pictures in {shot.source.name}: {PICTURES_PER_SECOND} per second are assumed"
        problems.warning(name, what, "give fps", rows)
    return True
