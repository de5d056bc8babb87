"""Boxes around what moves in a film of a still camera, in MOT format: a stand-in for a detector and a tracker, good enough for tests."""

import numpy as np
from scipy import ndimage

from reidlib.datasets.pictures import to_grey

LEAST = 600  # pixels of a person's box
DIFFERENT = 25  # grey levels from the background
OVERLAP = 0.3  # of two boxes, intersection over union, to be the same person


def moving_boxes(film, frames: int, scale: int = 4) -> list[tuple]:
    """Rows (frame, id, x, y, w, h, conf, -1, -1, -1) of the first `frames` frames of a film (see `own_video`), all counts from 1.

    scale: only every so manieth pixel is looked at."""
    pictures = to_grey(np.stack([picture[::scale, ::scale] for picture in film.frames(0, frames)])).astype(np.int16)
    background = np.median(pictures[:: max(1, frames // 12)], axis=0)
    rows, last, count = [], {}, 0
    for i, picture in enumerate(pictures):
        labels, _ = ndimage.label(ndimage.binary_dilation(np.abs(picture - background) > DIFFERENT))
        seen = {}
        for down, across in ndimage.find_objects(labels):
            box = tuple(scale * side for side in (across.start, down.start, across.stop, down.stop))
            width, height = box[2] - box[0], box[3] - box[1]
            if width * height < LEAST or not 1.2 < height / width < 4:
                continue
            near = [name for name, old in last.items() if overlap(old, box) > OVERLAP and name not in seen]
            name = max(near, key=lambda one, box=box: overlap(last[one], box), default=None)
            if name is None:
                name = count = count + 1
            seen[name] = box
            rows.append((i + 1, name, box[0] + 1, box[1] + 1, width, height, 1, -1, -1, -1))
        last = last | seen
    return rows


def overlap(a: tuple, b: tuple) -> float:
    """Intersection over union of (left, top, right, bottom)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)
