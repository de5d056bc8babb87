"""Random changes of recordings for training: pure functions of (events, parameters, seed, index).

The same seed and index give the same result in any order and any process. Every function draws from a stream of its own, so
that one augmentation switched off leaves the draws of the others as they were. All of them keep the sensor's size."""

import math
import zlib
from dataclasses import dataclass

import numpy as np

from reidlib.events.stream import Events

Range = tuple[float, float]


def generator(seed: int, index: int, name: str) -> np.random.Generator:
    """The random numbers of one augmentation (`name`) for one sample (`index`) of one run (`seed`)."""
    return np.random.default_rng((seed, index, zlib.crc32(name.encode())))


def flip(events: Events, seed: int, index: int, probability: float = 0.5) -> Events:
    """Mirror left and right, with the given probability."""
    if not _happens(probability, seed, index, "flip"):
        return events
    return _replaced(events, x=np.uint16(events.width - 1) - events.x)


def polarity_flip(events: Events, seed: int, index: int, probability: float = 0.5) -> Events:
    """Exchange ON and OFF of all events, with the given probability: the scene with inverted contrast."""
    if not _happens(probability, seed, index, "polarity_flip"):
        return events
    return _replaced(events, p=np.uint8(1) - events.p)


def reverse(events: Events, seed: int, index: int, probability: float = 0.5) -> Events:
    """Play the recording backwards, with the given probability; what grew brighter then grows darker, so polarities flip too.

    The first and the last time stay what they were."""
    if not _happens(probability, seed, index, "reverse") or not len(events):
        return events
    t = events.t[0] + (events.t[-1] - events.t[::-1])
    p = np.uint8(1) - events.p[::-1]
    return _replaced(events, x=np.ascontiguousarray(events.x[::-1]), y=np.ascontiguousarray(events.y[::-1]), t=t, p=p)


def time_shift(events: Events, seed: int, index: int, microseconds: int = 10_000) -> Events:
    """Move the whole recording by one random time of up to +-`microseconds`, but not to before 0."""
    if isinstance(microseconds, bool) or not isinstance(microseconds, (int, np.integer)) or not 0 <= microseconds < 2**62:
        raise ValueError(f"microseconds must be a whole number from 0 to 2**62 - 1, got {microseconds!r}")
    shift = int(generator(seed, index, "time_shift").integers(-microseconds, microseconds, endpoint=True))
    if not len(events):
        return events
    shift = min(max(shift, -int(events.t[0])), np.iinfo(np.int64).max - int(events.t[-1]))
    return _replaced(events, t=events.t + shift)


def event_drop(events: Events, seed: int, index: int, largest: float = 0.3) -> Events:
    """Drop each event with a probability that is itself drawn from 0 to `largest`: recordings of lower event rate."""
    _check_share("largest", largest)
    rng = generator(seed, index, "event_drop")
    share = rng.uniform(0.0, largest)
    return events.take(rng.random(len(events), np.float32) >= share) if share > 0 else events


def erase(events: Events, seed: int, index: int, probability: float = 0.5, area: Range = (0.02, 0.4), aspect: Range = (0.3, 3.3)) -> Events:
    """Drop the events in one random box, with the given probability: an occlusion.

    area: range of the box's share of the sensor's area. aspect: range of its height / width, drawn evenly on the log scale. A box
    that is longer than the sensor is cut to it, so it may be smaller than asked for.
    Source: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020 (their area and aspect ranges)."""
    _check_range("area", area, 1.0)
    _check_range("aspect", aspect, math.inf)
    if not _happens(probability, seed, index, "erase"):
        return events
    left, top, right, bottom = erased_box(events.width, events.height, seed, index, area, aspect)
    # Unsigned differences wrap round, so one comparison per axis tests both sides of the box.
    outside = (events.x - np.uint16(left) >= right - left) | (events.y - np.uint16(top) >= bottom - top)
    return events.take(outside)


def erased_box(
    width: int, height: int, seed: int, index: int, area: Range = (0.02, 0.4), aspect: Range = (0.3, 3.3)
) -> tuple[int, int, int, int]:
    """left, top, right, bottom (the latter two excluded) of the box that `erase` empties."""
    rng = generator(seed, index, "erased_box")
    surface = rng.uniform(*area) * width * height
    ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
    box_height = min(max(round(math.sqrt(surface * ratio)), 1), height)
    box_width = min(max(round(math.sqrt(surface / ratio)), 1), width)
    left, top = rng.integers((width - box_width, height - box_height), endpoint=True)
    return int(left), int(top), int(left) + box_width, int(top) + box_height


def crop(events: Events, seed: int, index: int, pixels: tuple[int, int] = (4, 8)) -> Events:
    """Move the picture by up to +-pixels (in x, in y); events that leave the sensor are dropped.

    This is what padding by `pixels` and cropping to the old size does to an image."""
    return shift(events, *crop_offset(seed, index, pixels))


def crop_offset(seed: int, index: int, pixels: tuple[int, int] = (4, 8)) -> tuple[int, int]:
    """(dx, dy) by which `crop` moves the picture."""
    if len(pixels) != 2 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 <= n <= 65535 for n in pixels):
        raise ValueError(f"pixels must be two whole numbers (x, y) from 0 to 65535, got {pixels!r}")
    dx, dy = generator(seed, index, "crop").integers((-pixels[0], -pixels[1]), pixels, endpoint=True)
    return int(dx), int(dy)


def shift(events: Events, dx: int, dy: int) -> Events:
    """Move the picture by dx columns to the right and dy rows down; events that leave the sensor are dropped."""
    x, y = events.x.astype(np.int32) + dx, events.y.astype(np.int32) + dy
    keep = (x >= 0) & (x < events.width) & (y >= 0) & (y < events.height)
    return _replaced(events, x=x.astype(np.uint16), y=y.astype(np.uint16)).take(keep)


@dataclass(frozen=True)
class Geometry:
    """Where `flip`, `crop` and `erase`, one after the other, put a picture: for other pictures of the same moments.

    flipped: mirrored left and right. Then dx, dy: moved by so many pixels to the right and down. Then box: left, top, right, bottom
    (the latter two excluded) of what is emptied, or None."""

    flipped: bool = False
    dx: int = 0
    dy: int = 0
    box: tuple[int, int, int, int] | None = None


def geometry(
    width: int, height: int, seed: int, index: int, probability: float, pixels: tuple[int, int], erased: float, area: Range
) -> Geometry:
    """What `flip(probability)`, `crop(pixels)` and `erase(erased, area)` do to the events of this sensor, seed and index."""
    box = erased_box(width, height, seed, index, area) if _happens(erased, seed, index, "erase") else None
    return Geometry(_happens(probability, seed, index, "flip"), *crop_offset(seed, index, pixels), box)


def _happens(probability: float, seed: int, index: int, name: str) -> bool:
    _check_share("probability", probability)
    return bool(generator(seed, index, name).random() < probability)


def _replaced(events: Events, **columns: np.ndarray) -> Events:
    parts = {name: columns.get(name, getattr(events, name)) for name in "xytp"}
    return Events._trusted(**parts, width=events.width, height=events.height)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value!r}")


def _check_range(name: str, value: Range, most: float) -> None:
    if len(value) != 2 or not 0 < value[0] <= value[1] <= most or not math.isfinite(value[1]):
        limit = f" <= {most:g}" if most < math.inf else ""
        raise ValueError(f"{name} must be a range (low, high) with 0 < low <= high{limit}, got {value!r}")
