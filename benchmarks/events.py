"""Time `reidlib.events.event_frames` against other ways of counting events, in alternating rounds.

    python benchmarks/events.py [--events 2000000] [--width 640] [--height 480] [--steps 8] [--rounds 7]

Each way gets the layout it likes best, prepared outside the clock. The ways marked = must give the same frames; EventCV makes a
signed voxel grid and tonic's ToFrame loses events on bin borders, so those two are timed only. tonic is optional.
"""

import argparse
import time

import eventcv
import numba
import numpy as np

from reidlib.events import Events, event_frames

try:
    from tonic.functional import to_frame_numpy
except ImportError:
    to_frame_numpy = None


def random_events(count: int, width: int, height: int) -> Events:
    """Events at random places, at random times within one second."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 10**6, count))
    return Events(rng.integers(0, width, count), rng.integers(0, height, count), t, rng.integers(0, 2, count), width, height)


def with_bincount(events: Events, steps: int) -> np.ndarray:
    """One flat index per event, counted by numpy."""
    start, span = int(events.t[0]), int(events.t[-1]) + 1 - int(events.t[0])
    index = (events.t - start) * steps // span
    for column, side in ((events.p, 2), (events.y, events.height), (events.x, events.width)):
        index = index * side + column
    shape = (steps, 2, events.height, events.width)
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)


@numba.njit(nogil=True)
def _plain_loop(x, y, t, p, start, span, frames):
    steps = frames.shape[0]
    for i in range(len(t)):
        frames[(t[i] - start) * steps // span, p[i], y[i], x[i]] += 1


def with_plain_loop(events: Events, steps: int) -> np.ndarray:
    """The loop one would write first, compiled by numba."""
    frames = np.zeros((steps, 2, events.height, events.width), np.float32)
    start = int(events.t[0])
    _plain_loop(events.x, events.y, events.t, events.p, start, int(events.t[-1]) + 1 - start, frames)
    return frames


def ways(events: Events, steps: int) -> dict:
    """Name -> function without arguments."""
    columns = np.stack([events.x, events.y, events.t, events.p], axis=1).astype(np.int64)
    stream = eventcv.from_numpy(columns, sensor_size=(events.width, events.height), time_unit="us")
    found = {
        "reidlib event_frames": lambda: event_frames(events, steps),
        "= plain numba loop": lambda: with_plain_loop(events, steps),
        "= numpy bincount": lambda: with_bincount(events, steps),
        "reidlib event_frames, 128 x 64": lambda: event_frames(events, steps, size=(128, 64)),
        "EventCV voxel (signed)": lambda: stream.voxel(bins=steps).numpy(),
    }
    if to_frame_numpy is not None:
        kinds = [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)]
        table = np.zeros(len(events), kinds)
        for name, _ in kinds:
            table[name] = getattr(events, name)
        found["tonic ToFrame"] = lambda: to_frame_numpy(table, (events.width, events.height, 2), n_time_bins=steps)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("events", 2_000_000), ("width", 640), ("height", 480), ("steps", 8), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    events = random_events(options.events, options.width, options.height)
    found = ways(events, options.steps)
    results = {name: way() for name, way in found.items()}  # also compiles
    ours = results["reidlib event_frames"]
    assert ours.sum() == len(events)
    for name in ("= plain numba loop", "= numpy bincount"):
        np.testing.assert_array_equal(results[name], ours)
    seconds = {name: [] for name in found}
    for _ in range(options.rounds):
        for name, way in found.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    base = np.array(seconds["reidlib event_frames"])
    print(f"{len(events):,} events, {options.width} x {options.height}, {options.steps} steps, {options.rounds} rounds")
    print(f"{'':32}{'median ms':>10}{'events/s':>12}{'time / ours (median of pairs)':>32}")
    for name, values in seconds.items():
        median = float(np.median(values))
        print(f"{name:32}{median * 1e3:10.2f}{len(events) / median / 1e6:10.0f} M{np.median(values / base):32.2f}")


if __name__ == "__main__":
    main()
