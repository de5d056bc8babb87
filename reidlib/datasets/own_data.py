"""Your own data as tracklets, without a loader: files of people, or long recordings with boxes around them.

What `data` is decides (data/README.md shows each):

* a folder: `person/camera/...` or `person/...` with pictures, videos or event recordings (`own_files.from_folder`);
* a table, CSV or parquet, `person, path[, camera, subset, fps, tracklet]` (`own_files.from_table`);
* a file of boxes in MOT format, about the recording of the same name, or about those its column `source` names;
* a table `source, boxes[, camera, fps, start_us]`: several videos or event recordings, each with its boxes (`own_shots`).

Video becomes events by simulation on the part of the picture that a track crosses, at rest, and then the moving box is cut out of both.

Command line: `python -m reidlib.datasets.own_data check PATH` lists every problem with its rows, and ends with 1 if there is an error.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from reidlib.datasets import own_boxes, own_files, own_shots
from reidlib.datasets.own_checks import Problems, read_table
from reidlib.datasets.own_make import make
from reidlib.datasets.own_settings import OwnSettings
from reidlib.datasets.own_split import index_rows
from reidlib.datasets.own_video import pictures_of
from reidlib.datasets.store import TrackletStore
from reidlib.datasets.store_build import build_store

CODE_VERSION = 1  # raise it when the same data gives other bytes
TABLES = (".csv", ".txt", ".parquet")


@dataclass(frozen=True)
class Source:
    """The data as found: root: the folder that paths count from. shots: recordings with boxes, if any. rows: of `build_store`."""

    root: Path
    shots: tuple[own_shots.Shot, ...]
    rows: list[dict]

    def files(self) -> list[Path]:
        """Every file that the tracklets come from, sorted."""
        found = [path for row in self.rows if row["what"]["kind"] != "boxes" for path in own_files.files(self.root, row["what"])]
        for shot in self.shots:
            found += [shot.boxes, *(pictures_of(shot.source) if shot.source.is_dir() else [shot.source])]
        return sorted(set(found))

    def without_video(self) -> int:
        """How many tracklets hold events alone."""
        return sum(_silent(row["what"], self.shots) for row in self.rows)

    def fingerprint(self) -> str:
        """sha256 over each file's path, size and time of change: notices changed data without reading it."""
        digest = hashlib.sha256()
        for path in self.files():
            facts = path.stat()
            digest.update(f"{os.path.relpath(path, self.root)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def check(data: str | Path, deep: bool = True, **options: Any) -> pd.DataFrame:
    """Every problem of the data: columns severity ("error", "warning"), where (file and rows), what, suggestion; errors first.

    Rows are lines of a CSV file, header included, or rows of a parquet file from 1 on. deep: also open every file of the forms without
    boxes. options: fields of `OwnSettings`. Raises FileNotFoundError where there is nothing at `data`."""
    problems = Problems()
    find(data, OwnSettings(**options), problems, deep)
    return problems.table()


def build(data: str | Path, settings: OwnSettings, path: Path, workers: int | None = None) -> TrackletStore:
    """The store of the data, built at `path` if it is not up to date.

    Raises FileNotFoundError for missing data, ValueError with the first errors that `check` finds."""
    problems = Problems()
    source = find(data, settings, problems)
    problems.refuse(data)
    facts = {**asdict(settings), "code": CODE_VERSION, "data": source.fingerprint()}
    return build_store(path, source.rows, partial(make, source.root, source.shots, settings), facts, workers, "own data")


def find(data: str | Path, settings: OwnSettings, problems: Problems, deep: bool = False) -> Source:
    """What the data holds; everything wrong with it is told to `problems`."""
    data = Path(data)
    shots: list[own_shots.Shot] = []
    if not data.exists():
        raise FileNotFoundError(f"no data at {data}: give a folder PERSON/CAMERA/, a table or a file of boxes")
    root = data if data.is_dir() else data.parent
    if data.is_dir():
        found = own_files.from_folder(data, settings.cameras, problems)
    elif data.suffix.lower() in TABLES:
        found, shots = _from_file(data, settings, problems)
    else:
        problems.error(data.name, "neither a folder nor a table", f"tables are {', '.join(TABLES)}; with a video goes a file of boxes")
        found = []
    own_files.check_files(root, [one for one in found if one.what["kind"] != "boxes"], deep, problems)
    _note_kinds(data.name, found, shots, settings, problems)
    if not found and not problems.errors:
        problems.error(data.name, "no tracklets", "see the warnings for what was left out")
    return Source(root, tuple(shots), index_rows(found, settings.seed, settings.test_share, problems) if found else [])


def _from_file(data: Path, settings: OwnSettings, problems: Problems) -> tuple[list[own_files.Found], list[own_shots.Shot]]:
    """(tracklets, recordings with boxes) of a table, of whichever kind its columns say."""
    table = read_table(data, problems, own_shots.MOT)
    columns = set(table.rename(columns=own_shots.NAMES))
    if {"person", "path"} <= set(table):
        return own_files.from_table(data, table, problems), []
    shots = []
    if {"source", "boxes"} <= columns:
        shots = own_shots.shots_of_table(data, table, settings.fps, problems)
    elif set(own_shots.MOT[:6]) <= columns:
        shots = own_shots.shots_of_boxes(data, table, settings.source, settings.fps, problems)
    elif len(table):
        what = f"columns {', '.join(name for name in table if name != 'row')} are no known table"
        problems.error(data.name, what, "person,path[,camera,...]; source,boxes[,camera,fps]; or frame,id,x,y,w,h", [1])
    return _boxed(shots, settings, problems), shots


def _boxed(shots: list[own_shots.Shot], settings: OwnSettings, problems: Problems) -> list[own_files.Found]:
    """The tracklets of long recordings."""
    found = []
    pieces = 2 if len({shot.camera for shot in shots}) == 1 else 1
    for number, shot in enumerate(shots):
        name, rate = shot.boxes.name, own_shots.extent(shot)[2]
        tracks = own_boxes.tracks(shot, settings.first_pixel, problems)
        for person, first, last in own_boxes.parts(tracks, name, rate, settings, pieces, problems):
            track, what = tracks[person], {"kind": "boxes", "shot": number, "id": person, "first": first, "last": last}
            rows = track.rows[(track.frames >= first) & (track.frames <= last)][[0, -1]].tolist()
            found.append(own_files.Found(person, shot.camera, "", shot.source.name, what, name, rows))
    return found


def _note_kinds(name: str, found: list[own_files.Found], shots: list[own_shots.Shot], settings: OwnSettings, problems: Problems) -> None:
    """What follows from the kinds of files: rates that nobody gave, tracklets without video."""
    pictures = [one for one in found if one.what["kind"] == "pictures" and "fps" not in one.what]
    if pictures and settings.fps is None:
        rate = own_shots.PICTURES_PER_SECOND
        problems.warning(name, f"no rate of the pictures: {rate} per second are assumed", "give fps, as an option or a column")
    silent = [one for one in found if _silent(one.what, shots)]
    if silent:
        which = "all" if len(silent) == len(found) else f"{len(silent)} of {len(found)}"
        problems.warning(name, f"{which} tracklets hold events without video", "systems that need video cannot use them: METHOD=s3ce_net")


def _silent(what: dict, shots: Sequence[own_shots.Shot]) -> bool:
    """Whether a tracklet comes from an event recording, which has no video."""
    return what["kind"] == "recording" or (what["kind"] == "boxes" and shots[what["shot"]].recorded)


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.datasets.own_data", description="Check your own data.")
    parser.add_argument("command", choices=("check",))
    parser.add_argument("data", help="folder, table or file of boxes")
    parser.add_argument("--option", "-o", action="append", default=[], metavar="NAME=VALUE", help="a field of OwnSettings, such as fps=30")
    options = parser.parse_args(arguments)
    kinds = {name: type(value) for name, value in asdict(OwnSettings()).items()} | {"fps": float}
    given = dict(text.partition("=")[::2] for text in options.option)
    if unknown := sorted(set(given) - set(kinds)):
        parser.error(f"unknown option {unknown[0]!r}; legal: {', '.join(kinds)}")
    values = {name: text.lower() in ("1", "true", "yes") if kinds[name] is bool else kinds[name](text) for name, text in given.items()}
    table = check(options.data, **values)
    for row in table.itertuples(index=False):
        print(f"{row.severity}: {row.where}: {row.what}\n    {row.suggestion}")
    errors = int((table["severity"] == "error").sum())
    print(f"{errors} errors, {len(table) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
