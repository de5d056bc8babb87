"""MARS (L. Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-Identification", ECCV 2016).

    <root>/info/train_name.txt, test_name.txt       names of all images, one per line
    <root>/info/tracks_train_info.mat               `track_train_info`, rows: first line, last line (from 1, inclusive), person, camera
    <root>/info/tracks_test_info.mat                `track_test_info`, the same
    <root>/info/query_IDX.mat                       `query_IDX`, rows of `track_test_info` (from 1)
    <root>/bbox_train/PPPP/<name>, bbox_test/...    also bbox_train/bbox_train/PPPP/<name>, as some archives unpack

Person -1 is junk and left out; person 0 holds the distractors, which stay in the gallery. The queries join the gallery: otherwise 140 of
them have no match.
"""

import dataclasses
from functools import partial
from pathlib import Path

from reidlib.datasets import video_files
from reidlib.datasets.tracklets import JOINED
from reidlib.datasets.video_files import find, images_in, read_lines, read_mat, read_positions, time_order, tracklet

NAME = "mars"
JUNK, DISTRACTORS = -1, 0

#: Subsets: public loaders, without junk. Whole set: R. Hou's thesis, Table 1.1, whose tracklets are not the tables' 8,298 + 12,180 rows.
PUBLISHED = {
    NAME: {
        "train": {"people": 625, "tracklets": 8_298},
        "query": {"people": 626, "tracklets": 1_980},
        "gallery": {"tracklets": 9_330},
        "train + query + gallery": {"people": 1_261, "tracklets": 20_715, "frames": 1_067_516, "cameras": 6},
    }
}
compare = partial(video_files.compare, published=PUBLISHED)


@dataclasses.dataclass(frozen=True)
class MarsSettings:
    """queries_join: the queries join the gallery, the usual protocol; without, as SDCL's released event loader, 140 lose their match."""

    queries_join: bool = True


def rows(root: Path, settings: MarsSettings) -> list[dict]:
    """One row per tracklet (see `video_files.tracklet`), training first, in the order of the lists.

    Raises FileNotFoundError for absent folders, lists or images, ValueError for lists, tables and names that do not fit each other."""
    root = Path(root)
    info = find(root, "info")
    train = _read_part(root, info, "train")
    test = _read_part(root, info, "test")
    asked = set(read_positions(info / "query_IDX.mat", "query_IDX", len(test)))
    wrong = [i for i in sorted(asked) if test[i]["person"] in (JUNK, DISTRACTORS)]
    if wrong:
        raise ValueError(f"query_IDX names row {wrong[0] + 1} of track_test_info, which shows person {test[wrong[0]]['person']}, nobody")
    query = JOINED if settings.queries_join else "query"
    subsets = ["train"] * len(train) + [query if i in asked else "gallery" for i in range(len(test))]
    return [tracklet(NAME, subset, **part) for subset, part in zip(subsets, train + test, strict=True) if part["person"] != JUNK]


def _read_part(root: Path, info: Path, part: str) -> list[dict]:
    """What `tracklet` asks for, for every row of a part's table, junk included (its images need not be there)."""
    names, table = read_lines(info / f"{part}_name.txt"), read_mat(info / f"tracks_{part}_info.mat", f"track_{part}_info")
    if table.shape[1] != 4:
        raise ValueError(f"track_{part}_info has {table.shape[1]} columns: expected first line, last line, person, camera")
    folder = find(root, f"bbox_{part}/bbox_{part}", f"bbox_{part}").relative_to(root).as_posix()
    found = []
    for number, (first, last, person, camera) in enumerate(table.tolist(), start=1):
        row = f"row {number} of track_{part}_info"
        if not 1 <= first <= last <= len(names):
            raise ValueError(f"{row} spans lines {first} to {last} of {part}_name.txt, which has {len(names)}")
        shown = sorted(names[first - 1 : last], key=time_order)
        if person != JUNK:
            _check_names(shown, person, camera, row)
        facts = {"person": person, "camera": camera, "name": f"{part}{number:05d}", "source": f"info/tracks_{part}_info.mat:{number}"}
        found.append({**facts, "files": [f"{folder}/{name[:4]}/{name}" for name in shown]})
    _check_images(root, [file for row in found if row["person"] != JUNK for file in row["files"]])
    return found


def _check_images(root: Path, files: list[str]) -> None:
    """Every folder is listed once: a million single look-ups take minutes."""
    present: dict[str, set[str]] = {}
    absent = []
    for file in files:
        folder, _, name = file.rpartition("/")
        if folder not in present:
            present[folder] = set(images_in(root / folder)) if (root / folder).is_dir() else set()
        if name not in present[folder]:
            absent.append(file)
    if absent:
        raise FileNotFoundError(f"{root} lacks {len(absent)} listed images, the first is {absent[0]}: is the download whole?")


def _check_names(names: list[str], person: int, camera: int, row: str) -> None:
    """Names are PPPPC<camera>T<tracklet>F<frame>.jpg: characters 0 to 3 the person, 5 the camera."""
    wrong = [name for name in names if name[:4] != f"{person:04d}" or name[5:6] != str(camera)]
    if wrong:
        raise ValueError(f"{row} says person {person}, camera {camera}, but spans {wrong[0]}: are the files of one release?")
