"""One tracklet of your own data, read from its files: pictures and video become events by simulation, boxes cut both."""

import hashlib
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from reidlib.datasets import own_boxes, own_files
from reidlib.datasets.event_reid import person_box
from reidlib.datasets.own_checks import Problems
from reidlib.datasets.own_settings import OwnSettings
from reidlib.datasets.own_shots import PICTURES_PER_SECOND, Counted, Shot, opened
from reidlib.datasets.own_video import Pictures, Video
from reidlib.datasets.pictures import resize_picture, to_grey
from reidlib.datasets.store import Sample
from reidlib.events import REALISTIC, Events, read, simulate


def make(root: Path, shots: tuple[Shot, ...], settings: OwnSettings, row: dict) -> Sample:
    """The tracklet of a row."""
    what = row["what"]
    facts = {"person": row["names"][0], "camera": row["names"][1]}
    seed = int.from_bytes(hashlib.sha256(f"{settings.seed} {row['key']}".encode()).digest()[:8], "little")
    if what["kind"] == "boxes":
        return _boxed_sample(shots[what["shot"]], what, settings, facts, seed)
    if what["kind"] == "recording":
        return _recorded_sample(root / what["file"], settings, facts)
    film: Pictures | Video
    if what["kind"] == "pictures":
        rate = what.get("fps") or (PICTURES_PER_SECOND if settings.fps is None else settings.fps)
        film = Pictures(own_files.pictures(root, what), Fraction(rate).limit_denominator(10**6))
        width, height = (int(side) for side in np.ceil(np.median(film.sizes(), axis=0)))
    else:
        film = Video(root / what["file"], Fraction(what["fps"]).limit_denominator(10**6) if "fps" in what else None)
        width, height = film.size
    frames = np.stack([resize_picture(picture, height, width) for picture in film.frames(0, film.length)])
    events = simulate(to_grey(frames), float(film.fps), REALISTIC, seed)
    step = _step(film.fps, settings)
    return _filmed(events, frames[::step], film.length, film.fps, settings, facts)


def _recorded_sample(path: Path, settings: OwnSettings, facts: dict) -> Sample:
    events = read(path)
    origin = int(events.t[0])
    events = replace(events, t=events.t - origin)
    facts |= {"first_event_us": origin, "sensor": [events.width, events.height]}
    if settings.tighten:
        box = person_box(events)
        facts["box"] = list(box)
        events = own_boxes.cut_events(events, np.array([box]), Fraction(1), box[2:])
    return Sample(events, attributes=facts)


@lru_cache(maxsize=2)
def _tracks(shot: Shot, first_pixel: float, changed: int) -> dict[str, own_boxes.Track]:
    return own_boxes.tracks(shot, first_pixel, Problems())


def _boxed_sample(shot: Shot, what: dict, settings: OwnSettings, facts: dict, seed: int) -> Sample:
    """A tracklet out of a long recording: only its own frames or events are read, and of frames only the part that its boxes cross."""
    track = _tracks(shot, settings.first_pixel, shot.boxes.stat().st_mtime_ns)[what["id"]]
    boxes, film = track.boxes(what["first"], what["last"]), opened(shot)
    facts |= {"box": boxes, "frames": [what["first"] + 1, what["last"] + 1]}
    if isinstance(film, Counted):
        return Sample(own_boxes.recorded_events(film, boxes, what["first"]), attributes=facts, duration=float(len(boxes) / film.fps))
    size, step, frames, seen = own_boxes.typical_size(boxes), _step(film.fps, settings), [], []
    (left, top), (right, bottom) = np.maximum(boxes[:, :2].min(axis=0), 0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    for i, picture in enumerate(film.frames(what["first"], what["last"] + 1)):
        if picture.shape[1::-1] != tuple(film.size):
            raise ValueError(f"{shot.source}: frame {what['first'] + i + 1} is {picture.shape[1::-1]} large, the first one {film.size}")
        seen.append(to_grey(picture[None, top:bottom, left:right])[0])
        if i % step == 0:
            frames.append(own_boxes.cut_picture(picture, boxes[i], size))
    wide = simulate(np.stack(seen), float(film.fps), REALISTIC, seed)
    wide = Events(wide.x.astype(np.int64) + left, wide.y.astype(np.int64) + top, wide.t, wide.p, *film.size)
    events = own_boxes.cut_events(wide, boxes, Fraction(10**6, _period(film.fps)), size)
    return _filmed(events, np.stack(frames), len(boxes), film.fps, settings, facts)


def _step(fps: Fraction, settings: OwnSettings) -> int:
    """Every how manieth frame is stored."""
    return max(1, round(float(fps) / settings.stored_fps))


def _filmed(events: Events, frames: np.ndarray, count: int, fps: Fraction, settings: OwnSettings, facts: dict) -> Sample:
    """Events and stored frames of a film of `count` frames, with the times of these."""
    period = _period(fps)
    times = [i * period for i in range(0, count, _step(fps, settings))]
    return Sample(events, frames, facts | {"frame_times": times, "fps": float(fps)}, duration=(count - 1) * period / 1e6)


def _period(fps: Fraction) -> int:
    """Microseconds from frame to frame as the simulator counts them: whole ones."""
    return round(10**6 / fps)
