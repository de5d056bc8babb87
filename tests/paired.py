"""A set in memory whose events mark the edges of its video at the very moments of the frames, so that either half tells on the other."""

import numpy as np

from reidlib.datasets import make_index
from reidlib.events import Events

WIDTH, HEIGHT, PERIOD = 24, 40, 50_000  # one frame per 50 ms, the first after 25 ms


class PairedStore:
    """The part of a `TrackletStore` that clips use. Frame n shows rectangles that move, at (n + 1/2) PERIOD; each of its edge pixels fires
    then, once. read: which arrays were asked for."""

    cache_key = "paired"

    def __init__(self, people: int = 4, tracklets: int = 3, count: int = 12, video: bool = True):
        self.count, self.video, self.read = count, video, []
        rows = []
        for person in range(people):
            for t in range(tracklets):
                row = {"key": f"p{person}/t{t}", "dataset": "paired", "split": 0, "subset": "train", "person": person, "camera": t % 2}
                row |= {"frames": count, "duration": count * PERIOD / 1e6, "events": 0, "width": WIDTH, "height": HEIGHT, "source": "made"}
                rows.append(row)
        self.index = make_index(rows)

    def frames(self, key: str) -> np.ndarray | None:
        self.read.append("frames")
        return moving_rectangles(self._number(key), self.count) if self.video else None

    def events(self, key: str) -> Events:
        self.read.append("events")
        marks = np.stack([edges(frame) for frame in moving_rectangles(self._number(key), self.count)])
        n, y, x = np.nonzero(marks)
        return Events(x, y, n * PERIOD + PERIOD // 2, (x + y) % 2, WIDTH, HEIGHT)

    def interval(self, key: str) -> tuple[int, int]:
        return 0, self.count * PERIOD

    def attributes(self, key: str) -> dict:
        return {"frame_times": [n * PERIOD + PERIOD // 2 for n in range(self.count)]}

    def _number(self, key: str) -> int:
        return self.index.index[self.index["key"] == key][0]


def moving_rectangles(number: int, count: int) -> np.ndarray:
    """uint8 `[N, H, W]`: six rectangles of different greys, each on a course of its own."""
    rng = np.random.default_rng(number)
    video = np.full((count, HEIGHT, WIDTH), 40, np.uint8)
    for grey in (90, 130, 160, 190, 220, 250):
        (x, y), (dx, dy), (w, h) = rng.uniform(0, 20, 2), rng.uniform(-1, 1, 2), rng.integers(3, 12, 2)
        for n in range(count):
            left, top = max(round(x + dx * n), 0), max(round(y + dy * n), 0)
            video[n, top : top + h, left : left + w] = grey
    return video


def edges(picture: np.ndarray) -> np.ndarray:
    """Where a pixel `[H, W]` differs from one of its four neighbours."""
    marks = np.zeros(picture.shape, bool)
    for axis in (0, 1):
        differs = np.diff(picture.astype(int), axis=axis) != 0
        marks |= np.insert(differs, 0, False, axis) | np.insert(differs, differs.shape[axis], False, axis)
    return marks
