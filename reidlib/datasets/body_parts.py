"""Which part of the body every pixel shows: a companion of a tracklet store, for the losses that learn it.

It has the keys and frames of the store it belongs to; its `frames(key)` are labels, uint8 `[N, h, w]`: 0 background, 1 head, 2 upper body,
3 lower body, 4 shoes (`LABELS`), 255 unknown. Of walkers the renderer knows them. Of a public video set they are label images of the user's
own human parser, in the folder `parts` beside the set's, named as the frames are but for the ending: `parts/<path of the frame>.png`.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from reidlib.datasets import video_sets, walkers
from reidlib.datasets.frames import UNKNOWN
from reidlib.datasets.store import Sample, TrackletStore
from reidlib.datasets.store_build import build_store
from reidlib.datasets.walkers_body import PARTS
from reidlib.events import Events

CODE_VERSION = 1  # raise it when the same settings give other labels
FOLDER = "parts"
LABELS = ("background", "head", "upper body", "lower body", "shoes")
# Whatever a person carries hides the upper body.
_OF_WALKERS = {
    "head": ("head", "hair"),
    "upper body": ("torso", "upper arm", "forearm", "hand", "bag"),
    "lower body": ("pelvis", "thigh", "shin"),
    "shoes": ("foot",),
}
# By the renderer's number; whatever stands in front of the person, 255 there, is background as it is to a human parser.
_TABLE = np.zeros(256, np.uint8)
for _label, _parts in _OF_WALKERS.items():
    _TABLE[[PARTS.index(part) for part in _parts]] = LABELS.index(_label)


def part_labels(store: TrackletStore, data: str = "", options: dict | None = None, workers: int | None = None) -> TrackletStore | None:
    """The companion of a store of walkers or of a public video set, built on first use beside it; None where nobody knows the parts.

    data, options: what `load_dataset` made the store from. Raises FileNotFoundError or ValueError, naming the file, where a frame's label
    image is missing, is none, holds another value, or fits no frame."""
    name = store.index["dataset"].iloc[0]
    if name == "walkers":
        drawn = walkers.settings_of(store, "the parts of this store's bodies cannot be drawn")
        make, rows = partial(_drawn, drawn), store.index.to_dict("records")
    elif name in video_sets.SETS and data and (Path(data) / FOLDER).is_dir():
        stored, rows = video_sets.conversion(name, data, options or {})
        make = partial(_read, Path(data) / FOLDER, (stored.height, stored.width))
    else:
        return None
    facts = {"code": CODE_VERSION, "of": store.cache_key}
    return build_store(store.path.with_name(f"{store.path.stem}-parts.h5"), rows, make, facts, workers, f"{name}, parts of the body")


def _drawn(settings: walkers.WalkersSettings, row: dict) -> Sample:
    return _sample(_TABLE[walkers.part_map(settings, *walkers.place_of(row["key"]))])


def _read(folder: Path, size: tuple[int | None, int | None], row: dict) -> Sample:
    return _sample(np.stack([read_labels((folder / name).with_suffix(".png"), size) for name in row["files"]]))


def read_labels(path: Path, size: tuple[int | None, int | None] = (None, None)) -> np.ndarray:
    """A label image, uint8 `[H, W]`, at a new size (None: its own) by the nearest pixel. For errors see `part_labels`."""
    if not path.is_file():
        raise FileNotFoundError(f"no label image at {path}: every frame needs one (an empty one of value {UNKNOWN} where nothing is known)")
    picture: Image.Image
    try:
        with Image.open(path) as picture:
            picture.load()
    except Exception as error:  # whatever Pillow's plugins run into
        raise ValueError(f"{path} cannot be read as a picture: {error} (is the file cut off or damaged?)") from error
    if picture.mode not in ("L", "P"):
        raise ValueError(f"{path} has mode {picture.mode}: labels are one whole number per pixel, grey or palette (L or P)")
    height, width = size
    if height is not None and width is not None:
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
    labels = np.array(picture)
    legal = [*range(len(LABELS)), UNKNOWN]
    if wrong := sorted(set(np.unique(labels).tolist()) - set(legal)):
        named = ", ".join(f"{i} {name}" for i, name in enumerate(LABELS))
        raise ValueError(f"{path} holds label {wrong[0]}; legal are {named}, {UNKNOWN} unknown")
    return labels


def _sample(labels: np.ndarray) -> Sample:
    return Sample(Events.empty(labels.shape[2], labels.shape[1]), labels)
