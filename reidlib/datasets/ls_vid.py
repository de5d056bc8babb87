"""LS-VID (J. Li et al., "Global-Local Temporal Representations for Video Person Re-Identification", ICCV 2019).

    <root>/list_sequence/list_seq_train.txt         lines: <beginning of the frames' path> <person>
    <root>/list_sequence/list_seq_test.txt          the same
    <root>/test/data/info_test.mat                  HDF5, `query`: lines of list_seq_test.txt (from 1)

A tracklet's frames are the images <beginning>_*; where one listed beginning is also the start of another, an image belongs to the longest
that fits. The third field of an image's name, between underscores, is the camera. The queries join the gallery. The validation
people (200, in lists of their own) are not read.
"""

import dataclasses
from functools import partial
from pathlib import Path, PurePosixPath

from reidlib.datasets import video_files
from reidlib.datasets.tracklets import JOINED
from reidlib.datasets.video_files import find, images_in, read_lines, read_positions, tracklet

NAME = "ls_vid"
JUNK = -1
LISTS = {part: f"list_sequence/list_seq_{part}.txt" for part in ("train", "test")}

#: People by part: our specification quotes them from memory. Whole set, validation people included: R. Hou's thesis, Table 1.1.
PUBLISHED = {
    NAME: {
        "train": {"people": 842},
        "query + gallery": {"people": 2_730},
        "train + query + gallery": {"people": 3_772, "tracklets": 14_943, "frames": 2_982_685, "cameras": 15},
    }
}
compare = partial(video_files.compare, published=PUBLISHED)


@dataclasses.dataclass(frozen=True)
class LsVidSettings:
    """queries_join: the queries join the gallery, the usual protocol.
    test_offset: added to the test people's numbers, for lists that number them from the start again."""

    queries_join: bool = True
    test_offset: int = 0

    def __post_init__(self) -> None:
        if self.test_offset < 0:
            raise ValueError(f"test_offset must be 0 or more, not {self.test_offset}")


def rows(root: Path, settings: LsVidSettings) -> list[dict]:
    """One row per tracklet (see `video_files.tracklet`), training first, in the order of the lists.

    Raises FileNotFoundError for absent lists, folders and tracklets without images, ValueError for lists and names that are not as
    described above, or the same people in both lists. A list cut at the end of a line is a shorter list: see `compare`."""
    root = Path(root)
    lists = {part: _read_list(find(root, name)) for part, name in LISTS.items()}
    people = {part: {person for _, person in listed if person != JUNK} for part, listed in lists.items()}
    shared = people["train"] & {person + settings.test_offset for person in people["test"]}
    if shared:
        raise ValueError(
            f"{len(shared)} people are in both lists, the first is {min(shared)}: if the test people are others and numbered from the "
            "start again, give them other numbers with the option test_offset"
        )
    asked = set(read_positions(find(root, "test/data/info_test.mat"), "query", len(lists["test"])))
    frames = _Frames(root, [beginning for part in lists.values() for beginning, _ in part])
    query = JOINED if settings.queries_join else "query"
    found = []
    for part, listed in lists.items():
        for line, (beginning, person) in enumerate(listed, start=1):
            if person == JUNK:
                continue
            subset = "train" if part == "train" else query if line - 1 in asked else "gallery"
            files = frames.of(beginning)
            number = person + (settings.test_offset if part == "test" else 0)
            found.append(tracklet(NAME, subset, number, _camera(files), f"{part}{line:05d}", beginning, files))
    return found


def _read_list(path: Path) -> list[tuple[str, int]]:
    lines = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            beginning, person = line.rsplit(maxsplit=1)
            lines.append((PurePosixPath(beginning).as_posix().rstrip("_"), int(person)))
        except ValueError:
            raise ValueError(f"line {number} of {path} is {line[:60]!r}: expected the beginning of a path and a person's number") from None
    return lines


class _Frames:
    """The images of each folder, read once and given to the listed beginnings."""

    def __init__(self, root: Path, beginnings: list[str]):
        self._root, self._beginnings = root, frozenset(beginnings)
        self._folders: dict[str, dict[str, list[str]]] = {}

    def of(self, beginning: str) -> list[str]:
        """Paths of a tracklet's frames relative to the root, in time order."""
        folder = beginning.rpartition("/")[0]
        if folder not in self._folders:
            self._folders[folder] = self._share_out(folder)
        if beginning not in self._folders[folder]:
            raise FileNotFoundError(f"empty tracklet: {self._root} holds no image {beginning}_*. Is the download whole?")
        return self._folders[folder][beginning]

    def _share_out(self, folder: str) -> dict[str, list[str]]:
        shared: dict[str, list[str]] = {}
        for name in images_in(self._root / folder):
            path = f"{folder}/{name}" if folder else name
            beginning = path.rpartition("_")[0]
            while beginning and beginning not in self._beginnings:
                beginning = beginning.rpartition("_")[0]
            if beginning:
                shared.setdefault(beginning, []).append(path)
        return shared


def _camera(files: list[str]) -> int:
    fields = {tuple(file.rpartition("/")[2].split("_")[2:3]) for file in files}
    (camera,) = next(iter(fields)) or ("",)
    if len(fields) > 1 or not camera.isdecimal():
        raise ValueError(f"{files[0]}: expected the tracklet's camera as the third field between underscores, found {sorted(fields)}")
    return int(camera)
