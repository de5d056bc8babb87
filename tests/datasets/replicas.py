"""Miniature replicas of the public video sets' official layouts: names, list files, .mat keys, HDF5.

Each builder writes one below `root` and returns what a loader must find there, as plain tuples (split, subset, person, camera, files),
sorted; `files` are relative to `root`, in time order. Images are valid, 16 x 8 pixels (height x width) and a function of their name;
they are written in a shuffled order, next to files that are no frames.
"""

import json
import random
import zlib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from reidlib.datasets.tracklets import JOINED

SIZE = (16, 8)
STRAY = (".DS_Store", "Thumbs.db", "._0001.png", "notes.txt")

Expected = list[tuple[int, str, int, int, tuple[str, ...]]]


def picture(name: str) -> np.ndarray:
    """uint8 [16, 8, 3]: a bright bar whose place and colour follow from the file's path."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    image = np.full((*SIZE, 3), 40, np.uint8)
    image[:, rng.integers(0, SIZE[1] - 2) :][:, :2] = rng.integers(120, 255, 3)
    return image


def write_images(root: Path, files: Iterable[str]) -> None:
    """The images, and beside them what lies about in real downloads."""
    files = sorted(files)
    random.Random(len(files)).shuffle(files)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(file)).save(root / file)
    for folder in {(root / file).parent for file in files}:
        for name in STRAY:
            (folder / name).write_bytes(b"\0")


def prid2011(root: Path) -> Expected:
    """Six people in ten splits, and two whom one camera sees; person 8 has 12 frames named without leading zeros, person 13 has one."""
    people = (1, 2, 3, 5, 8, 13)
    names = {8: [f"{i}.png" for i in range(1, 13)], 13: ["0001.png"]}
    folder = {camera: f"prid_2011/multi_shot/cam_{camera}" for camera in "ab"}

    def frames(person: int, camera: str) -> tuple[str, ...]:
        own = names.get(person, [f"{i:04d}.png" for i in range(1, 4)])
        return tuple(f"{folder[camera]}/person_{person:04d}/{name}" for name in own)

    write_images(root, [file for person in people for camera in "ab" for file in frames(person, camera)])
    write_images(root, [f"{folder[camera]}/person_{300 + i:04d}/0001.png" for i, camera in enumerate("ab")])
    splits, expected = [], []
    for split in range(10):
        order = list(np.random.default_rng(split).permutation(people))
        train, test = order[:3], order[3:]
        splits.append({side: [f"person_{person:04d}" for person in part] for side, part in (("train", train), ("test", test))})
        expected += [(split, "train", int(person), i + 1, frames(person, camera)) for person in train for i, camera in enumerate("ab")]
        expected += [(split, "query", int(person), 1, frames(person, "a")) for person in test]
        expected += [(split, "gallery", int(person), 2, frames(person, "b")) for person in test]
    (root / "splits_prid2011.json").write_text(json.dumps(splits))
    return sorted(expected)


def ilids_vid(root: Path) -> Expected:
    """Six people whose numbers have holes, ten splits of their positions; person 10 has 12 frames."""
    people = (1, 2, 3, 5, 10, 13)

    def frames(person: int, camera: int) -> tuple[str, ...]:
        numbers = range(95, 95 + (12 if person == 10 else 3))
        folder = f"i-LIDS-VID/sequences/cam{camera}/person{person:03d}"
        return tuple(f"{folder}/cam{camera}_person{person:03d}_{number:05d}.png" for number in numbers)

    write_images(root, [file for person in people for camera in (1, 2) for file in frames(person, camera)])
    table, expected = [], []
    for split in range(10):
        positions = np.random.default_rng(split).permutation(len(people))
        table.append(positions + 1)
        test, train = ([people[i] for i in half] for half in (positions[:3], positions[3:]))
        expected += [(split, "train", person, camera, frames(person, camera)) for person in train for camera in (1, 2)]
        expected += [
            (split, subset, person, camera, frames(person, camera)) for person in test for subset, camera in (("query", 1), ("gallery", 2))
        ]
    path = root / "train-test people splits" / "train_test_splits_ilidsvid.mat"
    path.parent.mkdir()
    savemat(path, {"ls_set": np.array(table, np.float64)})
    return sorted(expected)


#: MARS: (person, camera, frames) per row of the tables; of the test rows, the positions that are asked.
MARS_TRAIN = ((2, 1, 3), (2, 5, 2), (4, 2, 2), (4, 2, 1), (6, 3, 12))
MARS_TEST = ((-1, 1, 2), (0, 2, 3), (1, 1, 3), (1, 1, 2), (1, 3, 2), (3, 2, 12), (3, 6, 1), (-1, 4, 1), (0, 1, 1), (5, 1, 2), (5, 2, 2))
MARS_QUERIES = (2, 5, 6, 9)


def mars(root: Path, nested: bool = False) -> Expected:
    """Three training people, three test people, two rows of distractors, two of junk (their images are absent). Person 3 is seen in
    queries alone. nested: bbox_train/bbox_train/, as some archives unpack."""
    (root / "info").mkdir(parents=True)
    expected = []
    for part, tracks in (("train", MARS_TRAIN), ("test", MARS_TEST)):
        folder = f"bbox_{part}/bbox_{part}" if nested else f"bbox_{part}"
        names: list[str] = []
        table = []
        for position, (person, camera, count) in enumerate(tracks):
            label = "00-1" if person == -1 else f"{person:04d}"
            own = [f"{label}C{camera}T{position + 1:04d}F{frame:03d}.jpg" for frame in range(1, count + 1)]
            table.append((len(names) + 1, len(names) + count, person, camera))
            names += own
            files = tuple(f"{folder}/{label}/{name}" for name in own)
            subset = "train" if part == "train" else JOINED if position in MARS_QUERIES else "gallery"
            if person != -1:
                write_images(root, files)
                expected.append((0, subset, person, camera, files))
        (root / "info" / f"{part}_name.txt").write_text("\n".join(names) + "\n")
        savemat(root / "info" / f"tracks_{part}_info.mat", {f"track_{part}_info": np.array(table, np.int32)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([[i + 1 for i in MARS_QUERIES]], np.float64)})
    return sorted(expected)


#: Duke: (subset, person, tracklet, camera, frame numbers).
DUKE = (
    ("train", 1, 1, 2, (1, 2, 3)),
    ("train", 1, 2, 6, (1,)),
    ("train", 7, 15, 6, tuple(range(1, 13))),
    ("query", 2, 30, 1, (1, 2)),
    ("query", 4, 31, 8, (1, 2, 4, 7)),
    ("gallery", 2, 30, 3, (2, 3)),
    ("gallery", 2, 33, 1, (1, 2)),
    ("gallery", 4, 34, 5, (1, 2)),
    ("gallery", 1404, 35, 7, (1,)),
)
DUKE_GAPS = (4, 2)  # missing numbers, tracklets with some


def duke_video(root: Path, underscores: bool = False) -> Expected:
    """Three folders; frame numbers are missing in two tracklets, and tracklet 30 stands in two folders."""
    gap = "_" if underscores else ""
    expected = []
    for subset, person, number, camera, frames in DUKE:
        folder = f"{subset}/{person:04d}/{number:04d}"
        files = tuple(
            f"{folder}/{gap.join((f'{person:04d}', f'C{camera}', f'F{frame:04d}', f'X{30000 + 8 * frame}'))}.jpg" for frame in frames
        )
        write_images(root, files)
        expected.append((0, subset, person, camera, files))
    return sorted(expected)


#: LS-VID: (person, tracklet, camera, frames); of the test tracklets, the positions that are asked.
LS_VID_TRAIN = ((0, 0, 1, 3), (0, 1, 15, 2), (5, 2, 2, 12), (5, 3, 3, 1))
LS_VID_TEST = ((8, 1, 1, 3), (8, 1, 10, 2), (8, 2, 1, 2), (9, 3, 4, 2), (9, 4, 5, 1), (-1, 5, 2, 2))
LS_VID_QUERIES = (0, 3, 4)


def ls_vid(root: Path) -> Expected:
    """Two training and two test people and a row of junk; one tracklet's beginning is the start of another's (..._1 and ..._10), and
    frames are numbered without leading zeros."""
    (root / "list_sequence").mkdir(parents=True)
    expected = []
    for part, tracks in (("train", LS_VID_TRAIN), ("test", LS_VID_TEST)):
        lines = []
        for position, (person, number, camera, count) in enumerate(tracks):
            beginning = f"tracklet_{part}/{person:04d}/{person:04d}_{number}_{camera}"
            lines.append(f"{beginning} {person}")
            files = tuple(f"{beginning}_{frame}.jpg" for frame in range(98, 98 + count))
            subset = "train" if part == "train" else JOINED if position in LS_VID_QUERIES else "gallery"
            if person != -1:
                write_images(root, files)
                expected.append((0, subset, person, camera, files))
        (root / "list_sequence" / f"list_seq_{part}.txt").write_text("\n".join(lines) + "\n")
    path = root / "test" / "data" / "info_test.mat"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["query"] = np.array([[i + 1 for i in LS_VID_QUERIES]], np.float64)
        file.create_group("#refs#")
    return sorted(expected)
