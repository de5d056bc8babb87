"""PRID-2011, its multi-shot part (M. Hirzer et al., "Person Re-Identification by Descriptive and Discriminative Classification", 2011).

    <root>/prid_2011/multi_shot/{cam_a,cam_b}/person_XXXX/*.png
    <root>/splits_prid2011.json                     ten times {"train": [folder names], "test": [folder names]}

200 people are seen by both cameras; the customary splits hold the 178 of them with enough frames, 89 to train and 89 to test. The split
file is no part of the download; it comes with public re-identification code. Camera a (1) asks, camera b (2) is searched; scores
are means over the ten splits.
"""

import dataclasses
import json
from functools import partial
from pathlib import Path

from reidlib.datasets import video_files
from reidlib.datasets.two_cameras import SPLITS, check_split, split_rows
from reidlib.datasets.video_files import find, read_text

NAME = "prid2011"
SPLIT_FILE = "splits_prid2011.json"

#: Of each split: documentation of public loaders, and the split file.
PUBLISHED = {
    NAME: {
        "train": {"people": 89, "tracklets": 178},
        "query": {"people": 89, "tracklets": 89},
        "gallery": {"people": 89, "tracklets": 89},
        "train + query + gallery": {"people": 178, "cameras": 2},
    }
}
compare = partial(video_files.compare, published=PUBLISHED)


@dataclasses.dataclass(frozen=True)
class Prid2011Settings:
    """split: one of the ten, 0 to 9; None: all of them, told apart by the column `split`.
    min_frames: people with fewer frames under either camera are left out (the split file already chooses)."""

    split: int | None = 0
    min_frames: int = 1

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.min_frames < 1:
            raise ValueError(f"min_frames must be at least 1, not {self.min_frames}")


def rows(root: Path, settings: Prid2011Settings) -> list[dict]:
    """One row per sequence and split (see `video_files.tracklet`).

    Raises FileNotFoundError for an absent folder, file or person, ValueError for a split file that is not as described above."""
    root = Path(root)
    folder = find(root, "prid_2011/multi_shot", "multi_shot").relative_to(root).as_posix()
    splits = read_splits(find(root, SPLIT_FILE))
    chosen = splits if settings.split is None else {settings.split: splits[settings.split]}
    return split_rows(root, NAME, (f"{folder}/cam_a", f"{folder}/cam_b"), chosen, settings.min_frames)


def read_splits(path: Path) -> dict[int, tuple[list[str], list[str]]]:
    """Split number -> (training, test) folder names."""
    try:
        splits = json.loads(read_text(path))
        found = {number: (list(split["train"]), list(split["test"])) for number, split in enumerate(splits)}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is no list of {{"train": [...], "test": [...]}} ({type(error).__name__}: {error})') from None
    if len(found) != SPLITS:
        raise ValueError(f"{path} holds {len(found)} splits: expected {SPLITS}")
    for number, (train, test) in found.items():
        if len({*map(str, train), *map(str, test)}) < len(train) + len(test):
            raise ValueError(f"split {number} of {path} names a person twice")
    return found
