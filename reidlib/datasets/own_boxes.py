"""People in a long video or recording, by the boxes of a tracker: MOT-format rows -> tracks -> parts -> what lies in the moving box.

Boxes: `frame, id, x, y, w, h[, conf, ...]` as in the MOT challenge (motchallenge.net/instructions): frames count from 1, and so do the
pixels (`OwnSettings.first_pixel`); x and y may be fractions, negative or outside; conf 0 marks a row that is not to be used. The same id
in two recordings means the same person."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd

from reidlib.datasets.own_checks import Problems, numbers, read_table
from reidlib.datasets.own_settings import OwnSettings
from reidlib.datasets.own_shots import MOT, NAMES, Counted, Shot, extent
from reidlib.datasets.pictures import resize_picture
from reidlib.events import Events


@dataclass(frozen=True)
class Track:
    """The boxes of one person in one shot. frames `[n]` from 0 on, ascending; edges `[n, 4]` left, top, right, bottom, where 0 is the
    picture's border; rows `[n]` of their table."""

    frames: np.ndarray
    edges: np.ndarray
    rows: np.ndarray

    def part(self, where: np.ndarray | slice) -> "Track":
        """The boxes of a slice or a mask."""
        return Track(self.frames[where], self.edges[where], self.rows[where])

    def boxes(self, first: int, last: int) -> np.ndarray:
        """(left, top, width, height) in whole pixels at the frames first, ..., last: int64 `[N, 4]`, missing ones linearly interpolated."""
        wanted = np.arange(first, last + 1)
        edges = np.stack([np.interp(wanted, self.frames, edge) for edge in self.edges.T], axis=1)
        corner, far = np.split(np.floor(edges + 0.5).astype(np.int64), 2, axis=1)
        return np.concatenate([corner, np.maximum(far - corner, 1)], axis=1)  # [N, 4]


def tracks(shot: Shot, first_pixel: float, problems: Problems) -> dict[str, Track]:
    """Id -> its usable boxes. What is wrong is told to `problems`: rows that cannot be read or stand twice, no identity, frames that the
    recording has not, boxes outside the picture."""
    table = read_table(shot.boxes, problems, MOT).rename(columns=NAMES)
    name = shot.boxes.name
    missing = [column for column in MOT[:6] if column not in table]
    if missing:
        if len(table):
            suggestion = "boxes are rows frame,id,x,y,w,h[,conf,...], with or without these names above them"
            problems.error(name, f"has no column {', '.join(missing)}", suggestion, [1])
        return {}
    if shot.only:
        table = table[table["source"] == shot.only]
    table = _usable(table, name, problems)
    size, length, _ = extent(shot)
    table = _inside(_once(table, name, problems), name, size, length, first_pixel, problems)
    found, edges = {}, ["left", "top", "right", "bottom"]
    for person, part in table.sort_values(["frame", "row"]).groupby("id", sort=True):
        found[person] = Track(part["frame"].to_numpy(np.int64) - 1, part[edges].to_numpy(np.float64), part["row"].to_numpy())
    return found


def _usable(table: pd.DataFrame, name: str, problems: Problems) -> pd.DataFrame:
    """Rows whose cells can be read, with numbers in them."""
    read = {"frame": numbers(table, "frame", name, problems, least=1, whole=True)}
    read |= {column: numbers(table, column, name, problems) for column in ("x", "y")}
    read |= {column: numbers(table, column, name, problems, positive=True) for column in ("w", "h")}
    if "conf" in table:
        read["conf"] = pd.to_numeric(table["conf"], errors="coerce").to_numpy(np.float64)
    people = table["id"].str.replace(r"\.0+$", "", regex=True)
    nobody = people.isin(["", "-1"]).to_numpy()
    if nobody.any():
        what = "boxes without an identity (-1: a detector's, not a tracker's)"
        problems.error(name, what, "run a tracker, or number the people", table["row"][nobody])
    whole = ~nobody & np.all([np.isfinite(read[column]) for column in ("frame", "x", "y", "w", "h")], axis=0)
    unused = whole & (read["conf"] == 0) if "conf" in read else np.zeros(len(table), bool)
    if unused.any():
        problems.warning(name, "conf 0: marked as not to be used, left out", "set conf to 1 where they are meant", table["row"][unused])
    return table.assign(**read, id=people)[whole & ~unused]


def _once(table: pd.DataFrame, name: str, problems: Problems) -> pd.DataFrame:
    """Rows of which there is one per id and frame."""
    twice = table.duplicated(["frame", "id"], keep=False)
    if twice.any():
        first = table[twice].iloc[0]
        what = f"two boxes of one id in one frame (the first: id {first['id']}, frame {first['frame']:.0f})"
        problems.error(name, what, "keep one of them, or number the people apart", table["row"][twice])
    return table[~twice]


def _inside(table: pd.DataFrame, name: str, size: tuple[int, int], length: int, first_pixel: float, problems: Problems) -> pd.DataFrame:
    """Rows of frames that exist with a box that shows some of the picture; adds left, top, right, bottom."""
    late = (table["frame"] > length).to_numpy()
    if late.any():
        what = f"frames after the last one, {length}"
        problems.error(name, what, "do boxes and recording belong together, and is fps right?", table["row"][late])
    left, top = table["x"] - first_pixel, table["y"] - first_pixel
    table = table.assign(left=left, top=top, right=left + table["w"], bottom=top + table["h"])
    box = np.floor(table[["left", "top", "right", "bottom"]].to_numpy(np.float64) + 0.5)
    gone = (box[:, 0] >= size[0]) | (box[:, 1] >= size[1]) | (box[:, 2] <= 0) | (box[:, 3] <= 0)
    cut = ~gone & ((box[:, :2] < 0).any(axis=1) | (box[:, 2] > size[0]) | (box[:, 3] > size[1]))
    picture = f"the picture ({size[0]} x {size[1]})"
    if (gone & ~late).any():
        problems.warning(name, f"empty crops: boxes wholly outside {picture}, left out", "remove the rows", table["row"][gone & ~late])
    if (cut & ~late).any():
        what = f"boxes partly outside {picture}: the missing part stays empty"
        problems.warning(name, what, "nothing to do, unless boxes and recording do not belong together", table["row"][cut & ~late])
    return table[~(late | gone)]


def parts(
    found: dict[str, Track], name: str, rate: Fraction, settings: OwnSettings, pieces: int, problems: Problems
) -> list[tuple[str, int, int]]:
    """(id, first frame, last frame) of every tracklet: tracks are split at gaps of more than `settings.max_gap` frames, then into equal
    pieces, none longer than `settings.longest` seconds, and at least `pieces` of a track without gaps that is not too short for it; what is
    shorter than `settings.shortest` seconds is left out. name: the file of boxes, for `problems`."""
    cut, gaps, bridged, short = [], [], [], []
    least = max(2, math.ceil(rate * Fraction(settings.shortest)))
    for person, track in found.items():
        missing = np.diff(track.frames) - 1
        wide = np.flatnonzero(missing > settings.max_gap)
        gaps += [(person, track.frames[place] + 2, track.frames[place + 1], track.rows[place + 1]) for place in wide]
        bridged += track.rows[1:][(missing > 0) & (missing <= settings.max_gap)].tolist()
        spans = []
        for whole in np.split(np.arange(len(track.frames)), wide + 1):
            first, last = int(track.frames[whole[0]]), int(track.frames[whole[-1]])
            if last + 1 - first < least:
                short += track.rows[whole].tolist()
            else:
                spans.append((first, last + 1 - first))
        for first, length in spans:
            count = max(math.ceil(length / (rate * Fraction(settings.longest))), min(pieces, length // least) if len(spans) == 1 else 1)
            cut += [(person, a, b - 1) for a, b in pairwise(first + length * i // count for i in range(count + 1))]
    if gaps:
        person, a, b, _ = gaps[0]
        what = f"gaps of more than {settings.max_gap} frames, where tracks are split (the first: id {person}, frames {a} to {b})"
        problems.warning(name, what, "raise max_gap to bridge them", [row for *_, row in gaps])
    if bridged:
        what = f"gaps of up to {settings.max_gap} frames, bridged by linear interpolation"
        problems.warning(name, what, "lower max_gap to split there", bridged)
    if short:
        problems.warning(name, f"tracks of fewer than {least} frames, left out", f"lower shortest ({settings.shortest:g} s)", short)
    return cut


def cut_events(events: Events, boxes: np.ndarray, rate: Fraction, size: tuple[int, int], centred: bool = True) -> Events:
    """The events inside the moving box, each box brought to `size` (width, height): no event inside is lost, none outside is kept.

    boxes int64 `[N, 4]` (left, top, width, height), each in force for 1 / rate seconds, the first and the last beyond. centred: box i
    belongs to time i / rate, the middle of its period; else to its beginning. Times stay. The sensor is still and only the box moves: a
    background at rest stays silent, as in front of a real camera."""
    period = 2 * 10**6 * rate.denominator  # box i from the first t on with 2 t rate + (half a period, if centred) >= i periods
    starts = [-((centred * (period // 2) - i * period) // (2 * rate.numerator)) for i in range(1, len(boxes))]
    edges = [0, *np.searchsorted(events.t, starts).tolist(), len(events)]
    kept = [np.zeros((3, 0), np.int64)]
    for (left, top, width, height), (a, b) in zip(boxes.tolist(), pairwise(edges), strict=True):
        x, y = events.x[a:b].astype(np.int64) - left, events.y[a:b].astype(np.int64) - top
        inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
        kept.append(np.stack([x[inside] * size[0] // width, y[inside] * size[1] // height, a + inside]))
    x, y, rows = np.concatenate(kept, axis=1)
    return Events(x, y, events.t[rows], events.p[rows], *size)


def cut_picture(picture: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a picture `[H, W]` or `[H, W, 3]` inside one box, black outside the picture, at `size` (width, height)."""
    left, top, width, height = (int(side) for side in box)
    out = np.zeros((height, width, *picture.shape[2:]), picture.dtype)
    rows, columns = (slice(max(a, 0), max(a + n, 0)) for a, n in ((top, height), (left, width)))
    part = picture[rows, columns]
    down, across = rows.start - top, columns.start - left
    out[down : down + part.shape[0], across : across + part.shape[1]] = part
    return resize_picture(out, size[1], size[0])


def typical_size(boxes: np.ndarray) -> tuple[int, int]:
    """(width, height) that a tracklet is brought to: the medians of its boxes."""
    width, height = np.ceil(np.median(boxes[:, 2:], axis=0))
    return int(width), int(height)


def recorded_events(recorded: Counted, boxes: np.ndarray, first: int) -> Events:
    """Events of an event recording inside the moving box, whose first one belongs to frame `first` and begins half a frame before it; times
    from there on."""
    fps = recorded.fps
    begin, stop = (recorded.start + round((2 * (first + shift) - 1) * 10**6 / (2 * fps)) for shift in (0, len(boxes)))
    events = recorded.recording.read(max(begin, 0), max(stop, 0))
    return cut_events(replace(events, t=events.t - begin), boxes, fps, typical_size(boxes), centred=False)
