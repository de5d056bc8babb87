"""A store under a condition: its video degraded or repaired, its events exchanged. All read like the store they stand before."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from reidlib.datasets.degrade import COVERED, Degradation, block, covered, degrade
from reidlib.datasets.store import StoreLike
from reidlib.events import Events

_Made = TypeVar("_Made")


class StoreView:
    """Reads as `store` does; its cache key names the condition, so that results under it never pass for others."""

    def __init__(self, store: StoreLike, condition: str) -> None:
        self.store, self.cache_key = store, f"{getattr(store, 'cache_key', '')} {condition}"

    @property
    def index(self) -> pd.DataFrame:
        return self.store.index

    @property
    def settings(self) -> dict:
        return self.store.settings

    def events(self, key: str) -> Events:
        return self.store.events(key)

    def frames(self, key: str) -> np.ndarray | None:
        return self.store.frames(key)

    def interval(self, key: str) -> tuple[int, int]:
        return self.store.interval(key)

    def attributes(self, key: str) -> dict:
        return self.store.attributes(key) if hasattr(self.store, "attributes") else {}


class DegradedStore(StoreView):
    """The store with degraded video and, where the degradation changes them, the events of that video.

    memory: keep what was made (training reads every tracklet many times). Resimulation starts from the film, not from the stored video.
    Walkers store 30 frames per second, cut by a moving box; their events come from 120 frames per second of a still camera. Simulated
    from the stored video they would be others: 0.5 to 0.9 of their number, and event frames that correlate with the true ones at 0.2
    to 0.6 (six default tracklets), since the box would move the background over the sensor and 33 ms of motion would jump. So the
    tracklet is generated again, the block is put into the full-rate film of the whole picture, where it goes along with the
    box, and the same sensor (settings and seed) looks at it; its edges fire against the still background.
    Raises ValueError, when such events are asked for, for a set that cannot be filmed again."""

    def __init__(self, store: StoreLike, degradation: Degradation, memory: bool = False) -> None:
        super().__init__(store, repr(degradation))
        if degradation.changes_events and isinstance(store, ShuffledEvents):
            raise ValueError("resimulated events would replace the shuffled ones: shuffle the degraded store, not the other way round")
        self.degradation, self.memory = degradation, memory
        self._videos: dict[str, np.ndarray | None] = {}
        self._recordings: dict[str, Events] = {}

    def frames(self, key: str) -> np.ndarray | None:
        return self._once(self._videos, key, self._degraded)

    def events(self, key: str) -> Events:
        return self._once(self._recordings, key, self._resimulated) if self.degradation.changes_events else self.store.events(key)

    def _once(self, kept: dict[str, _Made], key: str, make: Callable[[str], _Made]) -> _Made:
        if key in kept:
            return kept[key]
        made = make(key)
        if self.memory:
            kept[key] = made
        return made

    def _degraded(self, key: str) -> np.ndarray | None:
        video = self.store.frames(key)
        return None if video is None else degrade(video, self.degradation, key)

    def _resimulated(self, key: str) -> Events:
        from reidlib.datasets import walkers  # with its renderer, which few need

        name = self.index["dataset"].iloc[0]
        if name != "walkers":
            cause = "its film is not at hand, and its stored video is too slow to simulate from"
            raise ValueError(f"tracklet {key!r} of data set {name!r} cannot be simulated again: {cause}. Choose events='clean'")
        size = (self.settings["height"], self.settings["width"])
        left, top, right, bottom, grey = block(size, COVERED[self.degradation.severity - 1], self.degradation.rng(key))
        box = left, top, right, bottom
        return walkers.film_again(self.store, key, lambda film, corner: covered(film, corner, box, grey)).events


class RepairedStore(StoreView):
    """The store with completed video: where `repaired`, a store of the same keys, has frames of a tracklet, they stand for its own.

    `reidlib.repairing` makes such stores. Degraded video is repaired after it was degraded: `store` is then the `DegradedStore`."""

    def __init__(self, store: StoreLike, repaired: StoreLike) -> None:
        super().__init__(store, f"repaired {repaired.cache_key}")
        self.repaired = repaired

    def frames(self, key: str) -> np.ndarray | None:
        completed = self.repaired.frames(key)
        return self.store.frames(key) if completed is None else completed


class ShuffledEvents(StoreView):
    """The control of a model of frames and events: every tracklet of `index` has the events of another one, never of the same person.

    Which, is a permutation, a function of the seed and the keys and persons of `index` in any order. The donor's recording is moved to the
    receiver's clock; a longer one is cut, a shorter one repeated. Donors of one person's tracklets are drawn one by one: were
    they all of one other person, the events would still say who is who.
    Raises ValueError where one person has more than half of the tracklets."""

    def __init__(self, store: StoreLike, index: pd.DataFrame, seed: int = 0) -> None:
        super().__init__(store, f"events shuffled with seed {seed}")
        table = index.sort_values("key")
        keys = table["key"].to_numpy()
        self.donors: dict[str, str] = dict(zip(keys, keys[foreign_permutation(table["person"].to_numpy(), seed)], strict=True))

    def events(self, key: str) -> Events:
        if key not in self.donors:
            raise KeyError(f"tracklet {key!r} has no donor: it was not in the index whose events were shuffled")
        donor = self.donors[key]
        return moved(self.store.events(donor), self.store.interval(donor), self.store.interval(key))


def foreign_permutation(persons: np.ndarray, seed: int) -> np.ndarray:
    """A random permutation p of the rows with persons[p[i]] != persons[i] for all i."""
    count = len(persons)
    names, counts = np.unique(persons, return_counts=True)
    if count and 2 * counts.max() > count:
        largest = names[counts.argmax()]
        raise ValueError(f"person {largest} has {counts.max()} of {count} tracklets: with more than half, some must keep their own events")
    rng = np.random.default_rng((seed, 0x5EED))
    donors = rng.permutation(count)
    for i in np.flatnonzero(persons[donors] == persons):
        if persons[donors[i]] == persons[i]:  # an earlier exchange may have mended it
            # Exchanging with j suits both. Such a j exists: of the others' rows, at least as many as this person's have donors of others.
            fit = np.flatnonzero((persons[donors] != persons[i]) & (persons != persons[donors[i]]))
            j = rng.choice(fit)
            donors[[i, j]] = donors[[j, i]]
    return donors


def moved(events: Events, own: tuple[int, int], to: tuple[int, int]) -> Events:
    """The recording of the interval `own` on the interval `to` (microseconds): cut where it is longer, repeated where shorter (at most
    a hundred times: a recording of one event has a length of 1 microsecond)."""
    length = max(own[1] - own[0], 1)
    rounds = min(max(-(-(to[1] - to[0]) // length), 1), 100)
    times = np.concatenate([events.t + (to[0] - own[0] + i * length) for i in range(rounds)])
    x, y, p = (np.tile(column, rounds) for column in (events.x, events.y, events.p))
    return Events(x, y, times, p, events.width, events.height).window(*to)
