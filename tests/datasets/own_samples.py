"""Small data of someone's own, written to disk: pictures, recordings, a street with people, and boxes."""

from pathlib import Path

import numpy as np
from PIL import Image

from reidlib.events import Events, write

STREET = (60, 40)  # width, height


def write_pictures(folder: Path, count: int = 4, size: tuple[int, int] = (8, 16), seed: int = 0) -> list[np.ndarray]:
    """Grey pictures 1.png, 2.png, ... (no leading zeros)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 255, size[::-1]).astype(np.uint8) for _ in range(count)]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i + 1}.png")
    return pictures


def write_events(path: Path, seed: int = 0, count: int = 200, start: int = 5000, seconds: float = 1.0, sensor=(60, 40)) -> Events:
    """A random recording."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(start, start + round(seconds * 1e6), count))
    events = Events(rng.integers(0, sensor[0], count), rng.integers(0, sensor[1], count), t, rng.integers(0, 2, count), *sensor)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(events, path)
    return events


def write_street(folder: Path, frames: int) -> None:
    """Pictures of a still street, black and white stripes, where a grey block of 8 x 16 goes to the right, 1 pixel a frame, from x = 0."""
    folder.mkdir(parents=True, exist_ok=True)
    still = np.zeros(STREET[::-1], np.uint8)
    still[:, ::4] = 200
    for i in range(frames):
        picture = still.copy()
        picture[10:26, i % 50 : i % 50 + 8] = 120
        Image.fromarray(picture).save(folder / f"{i + 1:06d}.png")


def write_boxes(path: Path, rows: list[tuple], header: str = "") -> Path:
    """Rows as they are, under a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def walk(person, frames, x=0.0, y=11.0, w=8, h=16, step=1.0) -> list[tuple]:
    """MOT rows of someone who goes to the right; the first pixel is 1."""
    return [(frame, person, 1 + x + step * (frame - 1), y, w, h, 1) for frame in frames]
