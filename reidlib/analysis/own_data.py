"""Your own data before anything is learned from it: an example in its form, what was found in it, and what to run next."""

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from reidlib.datasets import TrackletStore, load_dataset
from reidlib.datasets.walkers import WalkersSettings, make_tracklet
from reidlib.events import event_frames
from reidlib.files import write_text

PEOPLE, CAMERAS = 6, ("entrance", "yard")
LOST = (5, 1)  # (person, camera): nobody comes there
GAP = (3, 1, range(20, 25))  # (person, camera, frames of the passage) whose boxes are missing
CUT = (1, 1, 10)  # (person, camera, pixels): passes so far to the left that the picture ends inside the box


def example(folder: str | Path, seed: int = 0) -> Path:
    """Two "cameras", walkers passing each one after the other, as someone might have them on disk: pictures, boxes in MOT format, and the
    table `cameras.csv` that is returned. With flaws for the checks to find: `LOST`, `GAP`, `CUT`. Made once."""
    folder = Path(folder)
    table = folder / "cameras.csv"
    if table.exists():
        return table
    settings = WalkersSettings(people=PEOPLE, train_people=2, seed=seed, height=64, width=32, fps=60, seconds=0.8)
    for camera, name in enumerate(CAMERAS):
        boxes, count = [], 0
        films = [(person, *_filmed(settings, person, camera)) for person in range(PEOPLE) if (person, camera) != LOST]
        size = [max(film.shape[axis] for _, film, _ in films) for axis in (1, 2)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        for person, film, corner in films:
            shift = CUT[2] + int(corner[:, 0].min()) if (person, camera) == CUT[:2] else 0
            for i, (picture, (x, y)) in enumerate(zip(film, corner - [shift, 0], strict=True)):
                wide = np.full(size, 128, np.uint8)
                wide[: picture.shape[0], : picture.shape[1] - shift] = picture[:, shift:]
                Image.fromarray(wide).save(folder / name / f"{count + i + 1:06d}.png")
                if (person, camera) != GAP[:2] or i not in GAP[2]:
                    boxes.append(f"{count + i + 1},{person + 1},{x + 1},{y + 1},{settings.width},{settings.height},1\n")
            count += len(film)
        write_text(folder / f"{name}.txt", "".join(boxes))
    lines = [f"{name},{name},{name}.txt,{settings.fps}\n" for name in CAMERAS]
    write_text(table, "".join(["camera,source,boxes,fps\n", *lines]))
    return table


def _filmed(settings: WalkersSettings, person: int, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """(whole picture `[N, H, W]`, corner (x, y) of the box `[N, 2]`) of a passage."""
    seen = []

    def keep(film: np.ndarray, corner: np.ndarray) -> np.ndarray:
        seen.append((film, corner))
        return film

    make_tracklet(settings, person, camera, 0, alter=keep)
    return seen[0]


def store_of(data: str | Path, output_dir: str | Path, is_example: bool) -> TrackletStore:
    """The store of own data; the example's lies under OUTPUT_DIR, yours where every other notebook finds it."""
    cache = Path(output_dir) / "example" / "store" if is_example else None
    workers = 1 if is_example else None  # so few tracklets are made before other processes have started
    return load_dataset("own", data=data, cache_dir=cache, workers=workers, quiet=True).load()


def tracklet_table(store: TrackletStore, most: int = 40) -> pd.DataFrame:
    """The first tracklets, one line each: key, person and camera as the data names them, source, frames of it, subset, seconds, events, and
    the size they were brought to."""
    lines = []
    for row in store.index.head(most).itertuples():
        facts = store.attributes(row.key)
        frames = "–".join(map(str, facts["frames"])) if "frames" in facts else "all"
        named = {"person": facts["person"], "camera": facts["camera"] or "unknown", "source": row.source, "of frames": frames}
        sizes = {"seconds": round(row.duration, 2), "video frames": row.frames, "events": row.events, "size": f"{row.width} × {row.height}"}
        lines.append({"tracklet": row.key} | named | {"subset": row.subset} | sizes)
    return pd.DataFrame(lines).set_index("tracklet")


def strip(store: TrackletStore, key: str, steps: int = 8) -> tuple[np.ndarray | None, np.ndarray, float]:
    """(video frames `[T, H, W(, 3)]` or None, event frames `[T, 2, H, W]`, milliseconds of a step) of a whole tracklet."""
    start, stop = store.interval(key)
    events = event_frames(store.events(key), steps, start, max(stop, start + 1))
    video = store.frames(key)
    if video is not None:
        video = video[np.round((np.arange(steps) + 0.5) / steps * (len(video) - 1)).astype(int)]
    return video, events, (stop - start) / 1000 / steps


def next_commands(data: str | Path, index: pd.DataFrame) -> list[str]:
    """What to run with the data, one shell line each: a first look, then the whole report."""
    method = "" if (index["frames"] > 0).all() else " METHOD=s3ce_net"
    given = f"make report DATASET=own DATA={shlex.quote(str(data))}{method}"
    return [f"python -m reidlib.datasets.own_data check {shlex.quote(str(data))}", f"{given} PRESET=tiny", given]
