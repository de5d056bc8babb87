"""iLIDS-VID (T. Wang et al., "Person Re-Identification by Video Ranking", ECCV 2014).

    <root>/i-LIDS-VID/sequences/{cam1,cam2}/personXXX/*.png
    <root>/train-test people splits/train_test_splits_ilidsvid.mat          `ls_set`, 10 x 300

A row of `ls_set` is a split: positions from 1 in the sorted list of people, the first half to test, the second to train. Camera 1
asks, camera 2 is searched; scores are means over the ten splits.
"""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from reidlib.datasets import video_files
from reidlib.datasets.two_cameras import SPLITS, check_split, split_rows
from reidlib.datasets.video_files import find, folders_in, read_mat

NAME = "ilids_vid"
SPLIT_FILE = "train-test people splits/train_test_splits_ilidsvid.mat"

#: Of each split; whole set: R. Hou's thesis, Table 1.1.
PUBLISHED = {
    NAME: {
        "train": {"people": 150, "tracklets": 300},
        "query": {"people": 150, "tracklets": 150},
        "gallery": {"people": 150, "tracklets": 150},
        "train + query + gallery": {"people": 300, "tracklets": 600, "frames": 42_460, "cameras": 2},
    }
}
compare = partial(video_files.compare, published=PUBLISHED)


@dataclasses.dataclass(frozen=True)
class IlidsVidSettings:
    """split: one of the ten, 0 to 9; None: all of them, told apart by the column `split`."""

    split: int | None = 0

    def __post_init__(self) -> None:
        check_split(self.split)


def rows(root: Path, settings: IlidsVidSettings) -> list[dict]:
    """One row per sequence and split (see `video_files.tracklet`).

    Raises FileNotFoundError for an absent folder, file or person, ValueError for cameras with different people or a wrong `ls_set`."""
    root = Path(root)
    folder = find(root, "i-LIDS-VID/sequences", "sequences")
    people, others = folders_in(folder / "cam1"), folders_in(folder / "cam2")
    if people != others:
        lone = sorted({*people} ^ {*others})
        raise ValueError(f"{folder}: {len(lone)} people have one camera only, the first is {lone[0]}: is the download whole?")
    splits = read_splits(find(root, SPLIT_FILE), people)
    chosen = splits if settings.split is None else {settings.split: splits[settings.split]}
    relative = folder.relative_to(root).as_posix()
    return split_rows(root, NAME, (f"{relative}/cam1", f"{relative}/cam2"), chosen)


def read_splits(path: Path, people: list[str]) -> dict[int, tuple[list[str], list[str]]]:
    """Split number -> (training, test) folder names."""
    table = read_mat(path, "ls_set")
    if table.shape != (SPLITS, len(people)) or (np.sort(table, axis=1) != 1 + np.arange(len(people))).any():
        raise ValueError(
            f"ls_set of {path} is {list(table.shape)}: expected {SPLITS} rows, each with the numbers 1 to {len(people)} once "
            f"(there are {len(people)} people). Is the download whole?"
        )
    half = len(people) // 2
    return {number: ([people[i - 1] for i in row[half:]], [people[i - 1] for i in row[:half]]) for number, row in enumerate(table)}
