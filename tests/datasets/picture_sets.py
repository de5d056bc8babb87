"""Small video sets on disk for the tests: folders of pictures of a moving pattern, and the rows a set's module would make of them."""

from pathlib import Path

import numpy as np
from PIL import Image


def moving(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Colour frames uint8 [N, H, W, 3] of a smooth pattern that moves 2 pixels per frame."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, (width + 2 * count) // 8 + 2, 3)).astype(np.uint8)
    wide = np.array(Image.fromarray(noise).resize((width + 2 * count, height), Image.Resampling.BICUBIC))
    return np.stack([wide[:, 2 * i : 2 * i + width] for i in range(count)])


def write_frames(folder: Path, frames, suffix: str = ".png", first: int = 1) -> list[str]:
    """Writes frames as PICTURES 0001.png, ...; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i + first:04d}{suffix}" for i in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(folder / name)
    return names


def write_set(root: Path, people: int = 4, count: int = 6, size: tuple[int, int] = (32, 16), suffix: str = ".png") -> list[dict]:
    """Two cameras per person; half of the people train. Writes `cam_a/person_0001/0001.png` ...; the rows."""
    rows = []
    for person in range(people):
        for camera, name in enumerate(("cam_a", "cam_b")):
            folder = f"{name}/person_{person:04d}"
            names = write_frames(root / folder, moving(count, *size, seed=10 * person + camera), suffix)
            subset = "train" if person < people // 2 else "query" if camera == 0 else "gallery"
            row = {"key": f"p{person:04d}/c{camera}/t0", "dataset": "made_up", "split": 0, "subset": subset, "person": person}
            rows.append({**row, "camera": camera, "source": folder, "files": [f"{folder}/{one}" for one in names]})
    return rows
