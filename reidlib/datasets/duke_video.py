"""DukeMTMC-VideoReID (Y. Wu et al., "Exploit the Unknown Gradually", CVPR 2018) and Occluded-Duke-Video.

    <root>/{train,query,gallery}/PPPP/TTTT/*.jpg    person, tracklet

Frames are named 0001C6F0099X30823.jpg or 0001_C6_F0099_X30823.jpg: person, camera, frame of the tracklet (from 1), frame of the recording.
Numbers are missing in some tracklets: what exists is kept, in order, and one warning counts the gaps. The gallery folder is the
whole gallery. Occluded-Duke-Video has no public loader; we assume this layout, which `compare` checks by its counts. DukeMTMC was
withdrawn by its owners in 2019.
"""

import dataclasses
import re
import warnings
from functools import partial
from pathlib import Path

from reidlib.datasets import video_files
from reidlib.datasets.tracklets import SUBSETS
from reidlib.datasets.video_files import find, folders_in, frames_in, tracklet

NAME = "duke_video"
OCCLUDED = "occluded_duke_video"
JUNK = -1
_FRAME = re.compile(r"([0-9]+)_?C([0-9]+)_?F([0-9]+)(_?X[0-9]+)?\.[A-Za-z]+", re.IGNORECASE)

#: Sums leave the queries out. Subsets: public loaders; whole sets: R. Hou's thesis, Table 1.1 (and chapter 4 for the occluded set; its
#: frames by subset come from a third party and add up to the thesis's total).
PUBLISHED = {
    NAME: {
        "train": {"people": 702, "tracklets": 2_196},
        "query": {"people": 702},
        "gallery": {"tracklets": 2_636},
        "train + gallery": {"people": 1_812, "tracklets": 4_832, "frames": 815_420, "cameras": 8},
    },
    OCCLUDED: {
        "train": {"people": 702, "tracklets": 1_702, "frames": 292_343},
        "query": {"people": 661, "tracklets": 661, "frames": 39_526},
        "gallery": {"people": 1_110, "tracklets": 2_636, "frames": 281_114},
        "train + gallery": {"people": 1_812, "tracklets": 4_338, "frames": 573_457, "cameras": 8},
    },
}
compare = partial(video_files.compare, published=PUBLISHED)


@dataclasses.dataclass(frozen=True)
class DukeVideoSettings:
    """occluded: the folder holds Occluded-Duke-Video; only the name and the counts to expect differ."""

    occluded: bool = False


def rows(root: Path, settings: DukeVideoSettings) -> list[dict]:
    """One row per tracklet (see `video_files.tracklet`), sorted by subset, person and tracklet.

    Raises FileNotFoundError for absent folders and empty tracklets, ValueError for names that are not as described above. Warns
    of frame numbers that are missing."""
    root = Path(root)
    dataset = OCCLUDED if settings.occluded else NAME
    found, gaps = [], []
    for subset in SUBSETS:
        find(root, subset)
        for person in folders_in(root / subset):
            if not re.fullmatch(r"-?[0-9]+", person):
                raise ValueError(f"{root / subset} holds the folder {person!r}: expected a person's number")
            for name in folders_in(root / subset / person) if int(person) != JUNK else ():
                source = f"{subset}/{person}/{name}"
                files = frames_in(root, source)
                camera, missing = _read_names(files, int(person), root / source)
                gaps += [missing] if missing else []
                found.append(tracklet(dataset, subset, int(person), camera, f"{subset}{name}", source, files))
    if gaps:
        counts = f"{sum(gaps)} frame numbers are missing in {len(gaps)} tracklets"
        warnings.warn(f"{dataset}: {counts}; every frame that exists is kept, in order", stacklevel=2)
    return found


def _read_names(files: list[str], person: int, folder: Path) -> tuple[int, int]:
    """Camera of a tracklet's frames, and how many numbers from 1 to the last frame's have no image."""
    parsed = []
    for file in files:
        parts = _FRAME.fullmatch(file.rpartition("/")[2])
        if not parts:
            raise ValueError(f"{folder} holds {file.rpartition('/')[2]!r}: expected 0001C6F0099X30823.jpg or 0001_C6_F0099_X30823.jpg")
        parsed.append((int(parts[1]), int(parts[2]), int(parts[3])))
    people, cameras, numbers = (set(values) for values in zip(*parsed, strict=True))
    if people != {person} or len(cameras) > 1:
        raise ValueError(f"{folder} mixes people {sorted(people)} and cameras {sorted(cameras)}: expected person {person}, one camera")
    if len(numbers) < len(files):
        raise ValueError(f"{folder} holds {len(files)} images but {len(numbers)} frame numbers: their order in time is not known")
    return cameras.pop(), max(numbers) - len(numbers)
