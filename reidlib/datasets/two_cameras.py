"""What PRID-2011 and iLIDS-VID share: one sequence per person and camera, and ten splits of the people in halves."""

import re
from pathlib import Path

from reidlib.datasets.video_files import frames_in, tracklet

SPLITS = 10


def check_split(split: int | None) -> None:
    """Raises ValueError for a split that is neither 0 to 9 nor None."""
    if split is not None and (isinstance(split, bool) or split not in range(SPLITS)):
        raise ValueError(f"split must be 0 to {SPLITS - 1}, or None for all {SPLITS}, not {split!r}")


def split_rows(
    root: Path, dataset: str, cameras: tuple[str, str], splits: dict[int, tuple[list[str], list[str]]], min_frames: int = 1
) -> list[dict]:
    """Rows of splits: number -> (training, test) names of people's folders.

    cameras: the two cameras' folders relative to `root`. A training person is seen by both; a test person is asked under the first camera
    and searched under the second. People with fewer than `min_frames` frames under either camera are left out.
    Raises FileNotFoundError for a person who lacks a folder or frames."""
    names = sorted({str(name) for sides in splits.values() for side in sides for name in side}, key=_number)
    files = {name: [frames_in(root, f"{camera}/{name}") for camera in cameras] for name in names}
    long = [name for name in names if min(map(len, files[name])) >= min_frames]
    rows = []
    for split, (train, test) in sorted(splits.items()):
        for subset, side, seen in (("train", train, (0, 1)), ("query", test, (0,)), ("gallery", test, (1,))):
            members = frozenset(side)
            chosen = [(name, camera) for name in long if name in members for camera in seen]
            rows += [
                tracklet(dataset, subset, _number(name), camera + 1, "s1", f"{cameras[camera]}/{name}", files[name][camera], split)
                for name, camera in chosen
            ]
    return rows


def _number(name: str) -> int:
    found = re.fullmatch(r"person_?([0-9]+)", name)
    if not found:
        raise ValueError(f"{name!r} is no person's folder: expected the word person and a number")
    return int(found[1])
