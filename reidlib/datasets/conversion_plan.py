"""The plan of a large build: time and disk, measured on a few tracklets before it starts."""

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reidlib.datasets.parallel import cpu_count
from reidlib.datasets.store import Sample, TrackletStore
from reidlib.datasets.store_build import build_store, cache_key

LARGE = 100  # tracklets from which a build begins with its plan
_SURE = 0.8  # share of the estimated disk below which a build is refused


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a conversion will take, from a measured sample. tracklets, frames: of the whole set. seconds, stored: of one frame, on one
    core and on disk (bytes). workers: processes. free: bytes left on the disk. done: bytes of an interrupted build that are kept."""

    tracklets: int
    frames: int
    seconds: float
    stored: float
    workers: int
    free: int
    done: int = 0

    @property
    def total_seconds(self) -> float:
        """Of the whole conversion, if every worker has a core to itself."""
        return self.seconds * self.frames / self.workers

    @property
    def total_bytes(self) -> float:
        """Of the finished store."""
        return self.stored * self.frames

    @property
    def needed_bytes(self) -> float:
        """Still to be written: the parts, and beside them the store they are merged into."""
        return max(2 * self.total_bytes - self.done, self.total_bytes)

    def __str__(self) -> str:
        mean = self.frames / self.tracklets
        return (
            f"{self.tracklets:,} tracklets of {mean:.0f} frames on the average: {self.seconds * mean:.2f} s of one core and "
            f"{_size(self.stored * mean)} each (measured), about {_duration(self.total_seconds)} with {self.workers} "
            f"worker{'s' * (self.workers > 1)}; store {_size(self.total_bytes)}, while it is built {_size(2 * self.total_bytes)}; "
            f"{_size(self.free)} of disk are free"
        )

    def check(self, folder: Path) -> None:
        """Raises OSError where the disk is plainly too small."""
        if self.free < _SURE * self.needed_bytes:
            raise OSError(
                f"the disk of {folder} has {_size(self.free)} free, and this conversion needs about {_size(self.needed_bytes)} "
                f"({_size(self.total_bytes)} for the store, as much for its parts until they are merged): free some, choose "
                f'another cache_dir, a smaller height and width, frames="grey" or "none"'
            )


def build_planned(
    name: str, rows: list[dict], make: Callable[[dict], Sample], facts: dict, path: Path, workers: int | None = None
) -> TrackletStore:
    """`build_store`, before which the plan of a large build is measured, printed and checked against the disk."""
    path = Path(path)
    tracklets = len({row["key"] for row in rows})
    if tracklets >= LARGE and not _is_whole(path, cache_key(facts, rows)):
        path.parent.mkdir(parents=True, exist_ok=True)
        plan = measure(rows, make, path, workers=workers)
        print(f"{name}: {plan}")
        plan.check(path.parent)
    return build_store(path, rows, make, facts, workers, name)


def measure(rows: list[dict], make: Callable[[dict], Sample], path: Path, sample: int = 8, workers: int | None = None) -> Plan:
    """The plan of a build of `rows` (each with "files") by `make`: of tracklets from the shortest to the longest, in equal steps."""
    unique = sorted({row["key"]: row for row in rows}.values(), key=lambda row: (len(row["files"]), row["key"]))
    chosen = [unique[i] for i in np.unique(np.linspace(0, len(unique) - 1, min(sample, len(unique))).round().astype(int))]
    make(chosen[0])  # what is done once per process is not measured
    with tempfile.TemporaryDirectory(prefix="reidlib-sample-") as folder:
        file, start = Path(folder) / "sample.h5", time.perf_counter()
        build_store(file, [{**row, "split": 0} for row in chosen], make, {"code": 1}, 1, "measuring a sample").close()
        seconds, stored = time.perf_counter() - start, file.stat().st_size
    measured, frames = (sum(len(row["files"]) for row in some) for some in (chosen, unique))
    processes = min(cpu_count() if workers is None else max(workers, 1), len(unique))
    kept = sum(part.stat().st_size for part in Path(f"{path}.parts").glob("*.h5"))
    return Plan(len(unique), frames, seconds / measured, stored / measured, processes, shutil.disk_usage(_existing(path)).free, kept)


def _is_whole(path: Path, key: str) -> bool:
    try:
        with TrackletStore(path) as store:
            return store.cache_key == key
    except (FileNotFoundError, ValueError):
        return False


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    return next(folder for folder in Path(path).resolve().parents if folder.is_dir())


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
