"""People in files of their own: a folder `person/camera/...`, or a table of files. Each becomes a list of tracklets, not yet read."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pandas as pd

from reidlib.datasets.own_checks import Problems, numbers
from reidlib.datasets.own_video import PICTURES, VIDEOS, Pictures, Video, pictures_of
from reidlib.datasets.tracklets import SUBSETS
from reidlib.events import Recording
from reidlib.events.recordings import READABLE_FORMATS

PARTS = (*SUBSETS, "test")  # what a column `subset`, or the first level of folders, may say
KINDS = {"pictures": PICTURES, "video": VIDEOS, "recording": READABLE_FORMATS}
_FORMATS = f"pictures ({', '.join(PICTURES)}), videos ({', '.join(VIDEOS)}) or event recordings ({', '.join(READABLE_FORMATS)})"


@dataclass
class Found:
    """A tracklet before it is read. person, camera: their names (camera "": unknown). subset: one of `PARTS`, "" for not given.
    source: shown to readers. what: plain values that `own_data.make` builds it from. file, row: where it was found."""

    person: str
    camera: str
    subset: str
    source: str
    what: dict
    file: str
    rows: list[int] = field(default_factory=list)


def kind_of(path: Path) -> str:
    """ "pictures", "video" or "recording", by the file's extension; "" for anything else."""
    return next((kind for kind, known in KINDS.items() if path.suffix.lower() in known), "")


def first_rows(found: list[Found]) -> list[int]:
    """Where the tracklets begin in their table; [] for a folder's."""
    return [row for one in found for row in one.rows[:1]]


def from_folder(root: Path, cameras: bool, problems: Problems) -> list[Found]:
    """`person/...` or, where every folder is called train, query, gallery or test, `subset/person/...`.

    cameras: the folders inside a person's are cameras, and folders inside those single tracklets; else they are tracklets at once. A video
    or a recording is a tracklet; the pictures of one folder together are one. Files and folders that begin with "." are passed over."""
    people = _folders(root)
    if people and all(folder.name in PARTS for folder in people):
        found = [one for subset in people for person in _folders(subset) for one in _person(root, person, subset.name, cameras, problems)]
    else:
        found = [one for person in people for one in _person(root, person, "", cameras, problems)]
    loose = [path.name for path in _files(root) if kind_of(path)]
    if loose:
        problems.error(root.name, f"files outside a person's folder: {_few(loose)}", "put them into PERSON/ or PERSON/CAMERA/")
    if not found:
        problems.error(root.name, "holds no people", f"the layout is PERSON/CAMERA/ with {_FORMATS}")
    return found


def _person(root: Path, folder: Path, subset: str, cameras: bool, problems: Problems) -> list[Found]:
    found = _tracklets(root, folder, folder.name, "", subset, problems)
    for inner in _folders(folder):
        camera = inner.name if cameras else ""
        for place in (inner, *(_below(inner))):
            found += _tracklets(root, place, folder.name, camera, subset, problems)
    if not found:
        problems.warning(folder.relative_to(root), "empty: no usable file, left out", f"it takes {_FORMATS}")
    return found


def _below(folder: Path) -> list[Path]:
    return [inner for one in _folders(folder) for inner in (one, *_below(one))]


def _tracklets(root: Path, folder: Path, person: str, camera: str, subset: str, problems: Problems) -> list[Found]:
    """The tracklets that lie directly in a folder."""
    here, found = folder.relative_to(root).as_posix(), []
    pictures = pictures_of(folder)
    if len(pictures) == 1:
        problems.warning(here, "one picture alone: nothing moves, left out", "a tracklet needs two pictures or more")
    elif pictures:
        found.append(Found(person, camera, subset, here, {"kind": "pictures", "folder": here}, here))
    others = [path for path in _files(folder) if path.suffix.lower() not in PICTURES]
    for path in others:
        name = path.relative_to(root).as_posix()
        if kind_of(path):
            found.append(Found(person, camera, subset, name, {"kind": kind_of(path), "file": name}, name))
        else:
            problems.warning(name, f"files of kind {path.suffix!r} are not read, left out", f"known are {_FORMATS}")
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")


def from_table(path: Path, table: pd.DataFrame, problems: Problems) -> list[Found]:
    """Rows `person, path` and, if they are known, `camera`, `subset`, `fps` (of pictures) and `tracklet`. path: from the table's folder on.

    A row is a video, a recording or a folder of pictures; rows of single pictures with the same person, camera, subset and tracklet are
    one tracklet, in the order of the rows."""
    name = path.name
    for column in ("camera", "subset", "fps", "tracklet"):
        if column not in table:
            table = table.assign(**{column: ""})
    usable = _checked(path, table, problems)
    found: list[Found] = []
    open_ones: dict[tuple, Found] = {}
    for row in usable.itertuples(index=False):
        file, kind = path.parent / row.path, "pictures"
        what = {"kind": kind, "folder": row.path} if file.is_dir() else {"kind": kind_of(file), "file": row.path}
        if row.fps:
            what["fps"] = row.fps
        one = Found(row.person, row.camera, row.subset, row.path, what, name, [int(row.row)])
        if file.is_dir() or kind_of(file) != "pictures":
            found.append(one)
            continue
        key = (row.person, row.camera, row.subset, row.tracklet)
        if key not in open_ones:
            del what["file"]
            found.append(open_ones.setdefault(key, one))
            one.what["files"] = []
        open_ones[key].what["files"].append(row.path)
        open_ones[key].rows += one.rows if open_ones[key] is not one else []
    alone = [one for one in found if len(one.what.get("files", "ab")) < 2]
    if alone:
        problems.warning(name, "one picture alone: nothing moves, left out", "a tracklet needs two pictures or more", first_rows(alone))
    return [one for one in found if one not in alone]


def _checked(path: Path, table: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The rows that can be used."""
    name, bad = path.name, pd.Series(False, index=table.index)

    def refuse(rows: pd.Series, what: str, suggestion: str) -> None:
        nonlocal bad
        if rows.any():
            problems.error(name, what, suggestion, table["row"][rows])
            bad = bad | rows

    refuse(table["person"] == "", "no person", "name the person, or remove the row")
    refuse(table["path"] == "", "no path", "name the file, or remove the row")
    given = ~table["subset"].isin(["", *PARTS])
    refuse(given, "unknown subset" + (f" {table['subset'][given].iloc[0]!r}" if given.any() else ""), f"it is one of {', '.join(PARTS)}")
    refuse(table.duplicated("path", keep=False) & (table["path"] != ""), "the same file twice", "keep one of the rows")
    places = table["path"].map(lambda text: path.parent / text)
    missing = (table["path"] != "") & ~places.map(Path.exists)
    refuse(missing, f"no such file{': ' + table['path'][missing].iloc[0] if missing.any() else ''}", f"paths count from {path.parent} on")
    unknown = ~missing & (table["path"] != "") & ~places.map(lambda place: place.is_dir() or bool(kind_of(place)))
    refuse(unknown, "a file of an unknown kind", f"known are {_FORMATS}")
    rates = table[table["fps"] != ""]
    if len(rates):
        numbers(rates, "fps", name, problems, least=1e-3)
    return table[~bad]


def pictures(root: Path, what: dict) -> list[Path]:
    """The picture files of a tracklet."""
    return [root / name for name in what["files"]] if "files" in what else pictures_of(root / what["folder"])


def files(root: Path, what: dict) -> list[Path]:
    """Every file of a tracklet."""
    return pictures(root, what) if what["kind"] == "pictures" else [root / what["file"]]


def check_files(root: Path, found: list[Found], deep: bool, problems: Problems) -> None:
    """Empty files and folders; with `deep`, also whether every file can be opened, and the sizes of pictures."""
    for one in found:
        paths = files(root, one.what)
        empty = [path.name for path in paths if path.stat().st_size == 0]
        if not paths or empty:
            what = f"empty files: {_few(empty)}" if empty else "a folder without pictures"
            problems.error(one.file, f"{what} ({one.source})", "copy it again, or remove it", one.rows)
        elif deep:
            try:
                if one.what["kind"] == "pictures":
                    Pictures(paths, Fraction(1)).sizes()
                elif one.what["kind"] == "video":
                    Video(paths[0])
                else:
                    Recording(paths[0])
            except (ValueError, OSError, ModuleNotFoundError) as error:
                problems.error(one.file, str(error), "copy it again, or remove it", one.rows)
