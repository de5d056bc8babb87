"""What the loaders of the public video sets share: folders and frames in time order, list and .mat files, counts beside the published.

Every folder is read by `_entries`, which sorts, so no row depends on the order in which a file system lists names.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.datasets.mat_files import read_mat_arrays
from reidlib.datasets.tracklets import JOINED

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_SHOWN = 8  # names quoted in an error


def find(root: Path, *places: str) -> Path:
    """The first of the paths `root/place` that exists.

    Raises FileNotFoundError that names what was expected and what lies in `root`."""
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: check the path of the data set")
    for place in places:
        if (root / place).exists():
            return root / place
    names = sorted(os.listdir(root))
    found = ", ".join(map(ascii, names[:_SHOWN])) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
    raise FileNotFoundError(f"{root} holds no {' and no '.join(places)}; it holds {found or 'nothing'}. Is this the set's top folder?")


def time_order(name: str) -> tuple:
    """Sorting key: runs of digits count as numbers, so that frame 10 follows frame 9 with or without leading zeros."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are passed over. Raises FileNotFoundError where there is none."""
    names = [entry.name for entry in _entries(folder) if entry.is_dir() and entry.name[0] != "."]
    if not names:
        raise FileNotFoundError(f"{folder} holds no folders: is the download whole?")
    return names


def images_in(folder: Path) -> list[str]:
    """Names of the images in a folder, in time order; other files and hidden ones are passed over."""
    return [entry.name for entry in _entries(folder) if Path(entry.name).suffix.lower() in IMAGES and entry.name[0] != "."]


def frames_in(root: Path, folder: str) -> list[str]:
    """Paths of a tracklet's frames relative to `root`, in time order. Raises FileNotFoundError where the folder holds no image."""
    frames = [f"{folder}/{name}" for name in images_in(root / folder)]
    if not frames:
        raise FileNotFoundError(f"empty tracklet: {root / folder} holds no image ({', '.join(sorted(IMAGES))}). Is the download whole?")
    return frames


def _entries(folder: Path) -> list[os.DirEntry]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: is the download whole?")
    with os.scandir(folder) as listing:
        entries = list(listing)
    for entry in entries:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{folder} holds the name {os.fsencode(entry.name)!r}, which is not UTF-8: rename or remove it") from None
    return sorted(entries, key=lambda entry: time_order(entry.name))


def read_text(path: Path) -> str:
    """A text file. Raises FileNotFoundError, or ValueError where it is not UTF-8."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: is the download whole?")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): is it the right file?") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a list file, in order (the sets refer to them by number). Raises ValueError for an empty file or an empty line."""
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} of {path} is empty: lines are referred to by number, so none may be missing")
    return lines


def read_mat(path: Path, key: str) -> np.ndarray:
    """The array `key` of a .mat file, version 5 or 7.3 (HDF5), as whole numbers in MATLAB's orientation, int64 `[rows, columns]`.

    Raises FileNotFoundError, or ValueError for another kind of file, an absent key or values that are not whole numbers."""
    arrays = read_mat_arrays(path)
    if key not in arrays:
        raise ValueError(f"{path} has no array {key!r}; it has {', '.join(sorted(arrays)) or 'none'}")
    values = arrays[key]
    if values is None:
        raise ValueError(f"{key} of {path} must be a table of whole numbers, not complex numbers, text or a structure")
    if not values.size:
        raise ValueError(f"{key} of {path} is empty: is the download whole?")
    whole = values.ndim == 2 and values.dtype.kind in "iuf" and (np.abs(values) < 2**53).all() and (values == np.floor(values)).all()
    if not whole:
        raise ValueError(f"{key} of {path} must be a table of whole numbers, not {values.dtype} {list(values.shape)}")
    return values.astype(np.int64)


def read_positions(path: Path, key: str, count: int) -> list[int]:
    """Positions from 0 that a .mat file numbers from 1. Raises ValueError outside 1 to `count` and for one named twice."""
    numbers = read_mat(path, key).ravel().tolist()
    wrong = [number for number in numbers if not 1 <= number <= count]
    if wrong or len(set(numbers)) < len(numbers):
        problem = f"names row {wrong[0]} of {count}" if wrong else "names a row twice"
        raise ValueError(f"{key} of {path} {problem}: rows are numbered from 1; are the files of one release?")
    return [number - 1 for number in numbers]


def tracklet(dataset: str, subset: str, person: int, camera: int, name: str, source: str, files: list[str], split: int = 0) -> dict:
    """One row: the index columns that a loader knows, and "files", the frames' paths relative to the root, in time order.

    name: last part of the key p<person>/c<camera>/<name>."""
    key = f"p{person:04d}/c{camera}/{name}"
    row = {"key": key, "dataset": dataset, "split": split, "subset": subset, "person": person, "camera": camera}
    return {**row, "source": source, "files": files}


def compare(rows: Iterable[dict], published: dict[str, dict[str, dict[str, int]]]) -> pd.DataFrame:
    """Our counts beside the published ones: columns subset, count, published, ours, difference (ours - published).

    published: data set -> subset, or several joined by " + " -> people, tracklets, frames or cameras -> number. A query that
    joins the gallery counts as a query alone. Rows of several splits are counted split by split."""
    rows = list(rows)
    splits = sorted({row["split"] for row in rows})
    lines = []
    for split in splits:
        for name, numbers in published[rows[0]["dataset"]].items():
            ours = _counts([row for row in rows if row["split"] == split and row["subset"].replace(JOINED, "query") in name.split(" + ")])
            label = f"{split} {name}" if len(splits) > 1 else name
            lines += [(label, count, number, ours[count], ours[count] - number) for count, number in numbers.items()]
    return pd.DataFrame(lines, columns=["subset", "count", "published", "ours", "difference"])


def _counts(rows: list[dict]) -> dict[str, int]:
    people, cameras = ({row[column] for row in rows} for column in ("person", "camera"))
    frames = sum(len(row["files"]) for row in rows)
    return {"people": len(people), "tracklets": len(rows), "frames": frames, "cameras": len(cameras)}
