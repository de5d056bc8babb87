"""Pictures on disk as arrays, checked: a damaged file gives one clear error or the right pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

MODES = ("1", "L", "P", "RGB")  # bilevel, grey, palette, colour: what converts to 8-bit colour without a loss
LARGEST_SIDE = 8192  # pixels; a crop of a person is far smaller, a damaged header promises more


def read_picture(path: str | Path) -> np.ndarray:
    """A picture file (PNG, JPEG, whatever Pillow reads) as colours, uint8 `[H, W, 3]`.

    The checksums of a PNG are compared, so that a flipped bit is found; JPEG has none, and a bit flipped in its data shows as wrong
    pixels that nobody can tell. Raises FileNotFoundError for a missing file, and ValueError, with the path, for a file that is no
    picture or damaged, of a mode outside `MODES` (16 bits, transparency) or of an implausible size."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}: is the download whole?")
    with opened_picture(path) as picture:
        if picture.mode not in MODES:
            raise ValueError(f"mode {picture.mode} is none of {', '.join(MODES)}; convert it to 8-bit colour or grey first")
        return np.array(picture.convert("RGB"))


@contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture, its checksums compared where it has some, and of a plausible size; errors, also those inside, are ValueErrors with the
    path."""
    try:
        with Image.open(path) as picture:
            if max(picture.size) > LARGEST_SIDE:
                raise ValueError(f"{picture.width} x {picture.height} pixels, more than {LARGEST_SIDE} on a side")
            picture.verify()  # after which the file has to be opened again
        with Image.open(path) as picture:
            yield picture
    except Exception as error:  # Pillow's plugins raise whatever their parsing ran into, struct.error and SyntaxError included
        empty = path.is_file() and path.stat().st_size == 0
        cause = "it is empty" if empty else f"{error} (is the file cut off or damaged?)"
        raise ValueError(f"{path} cannot be read as a picture: {cause}") from error


def resize_picture(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 `[h, w]` or `[h, w, 3]` -> `[H, W]` or `[H, W, 3]`, bilinear, low-pass filtered where it shrinks.

    The same array where nothing changes."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def to_grey(frames: np.ndarray) -> np.ndarray:
    """uint8 `[N, H, W, 3]` -> `[N, H, W]`: luma after ITU-R 601, as Pillow rounds it; grey ones stay as they are."""
    return frames if frames.ndim == 3 else np.stack([np.array(Image.fromarray(frame).convert("L")) for frame in frames])
