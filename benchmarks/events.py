"""Time event frames and voxel grids against other ways of making them.

    python benchmarks/events.py [--events 2000000] [--width 640] [--height 480] [--steps 8] [--rounds 5]

Each way gets the layout it likes best, prepared outside the clock. What each keeps of a clip of 1,003 events is counted as well: the
number of events in frames, ON minus OFF in a voxel grid.
"""

import numba
import numpy as np
from pairs import Line, absent, fastest, main, milliseconds, peer  # first: it sets the number of threads
from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number

from reidlib.events import Events, event_frames, voxel_grid

ODD = 1_003  # events of the clip in which lost events show


def random_events(count: int, width: int, height: int, seed: int = 0) -> Events:
    """Events at random places, at random times within one second."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 10**6, count))
    return Events(rng.integers(0, width, count), rng.integers(0, height, count), t, rng.integers(0, 2, count), width, height)


@numba.njit(nogil=True)
def _count(x, y, t, p, start, span, frames):
    steps = frames.shape[0]
    for i in range(len(t)):
        frames[(t[i] - start) * steps // span, p[i], y[i], x[i]] += 1


@numba.njit(nogil=True)
def _spread(x, y, t, p, start, span, grid):
    last = grid.shape[0] - 1
    for i in range(len(t)):
        place = (t[i] - start) / span * last
        low = min(int(place), max(last - 1, 0))
        value = 2.0 * p[i] - 1.0
        grid[low, y[i], x[i]] += value * (1 - (place - low))
        if place > low:
            grid[low + 1, y[i], x[i]] += value * (place - low)


def frames_by_loop(events: Events, steps: int) -> np.ndarray:
    """The loop one would write first, compiled by numba."""
    frames = np.zeros((steps, 2, events.height, events.width), np.float32)
    start = int(events.t[0])
    _count(events.x, events.y, events.t, events.p, start, int(events.t[-1]) + 1 - start, frames)
    return frames


def grid_by_loop(events: Events, bins: int) -> np.ndarray:
    """The same for the voxel grid."""
    grid = np.zeros((bins, events.height, events.width), np.float32)
    start = int(events.t[0])
    _spread(events.x, events.y, events.t, events.p, start, max(int(events.t[-1]) - start, 1), grid)
    return grid


def by_bincount(events: Events, steps: int) -> np.ndarray:
    """One flat index per event, counted by numpy."""
    start, span = int(events.t[0]), int(events.t[-1]) + 1 - int(events.t[0])
    index = (events.t - start) * steps // span
    for column, side in ((events.p, 2), (events.y, events.height), (events.x, events.width)):
        index = index * side + column
    shape = (steps, 2, events.height, events.width)
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)


def tonic_table(events: Events) -> np.ndarray:
    table = np.zeros(len(events), [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
    for name in table.dtype.names:
        table[name] = getattr(events, name)
    return table


def frame_ways(events: Events, steps: int) -> dict:
    """Name -> function without arguments that gives frames."""
    columns = {name: getattr(events, name) for name in "xytp"}
    ways = {
        "": lambda: event_frames(events, steps),
        "a numba loop": lambda: frames_by_loop(events, steps),
        "numpy bincount": lambda: by_bincount(events, steps),
        "SpikingJelly": lambda: integrate_events_by_fixed_frames_number(columns, "time", steps, events.height, events.width),
    }
    if tonic := peer("tonic.functional"):
        table = tonic_table(events)
        ways["tonic"] = lambda: tonic.to_frame_numpy(table, (events.width, events.height, 2), n_time_bins=steps)
    return ways


def grid_ways(events: Events, bins: int) -> dict:
    import eventcv

    columns = np.stack([events.x, events.y, events.t, events.p], axis=1).astype(np.int64)
    stream = eventcv.from_numpy(columns, sensor_size=(events.width, events.height), time_unit="us")
    ways = {
        "": lambda: voxel_grid(events, bins),
        "a numba loop": lambda: grid_by_loop(events, bins),
        "EventCV": lambda: stream.voxel(bins=bins).numpy(),
    }
    if tonic := peer("tonic.functional"):
        table = tonic_table(events)  # tonic writes into its polarities: every call gets a copy
        ways["tonic"] = lambda: tonic.to_voxel_grid_numpy(table.copy(), (events.width, events.height, 2), n_time_bins=bins)
    return ways


TARGETS = {"tonic": ">= 10", "EventCV": ">= 1", "SpikingJelly": ">= 1", "a numba loop": ">= 1"}


def compared(subject: str, ways: dict, count: int, rounds: int, kept: dict[str, str]) -> list[Line]:
    best = fastest(ways, rounds)
    own = best.pop("")
    lines = []
    for name, seconds in best.items():
        note = f"{milliseconds(own, seconds)}; ours {count / own / 1e6:.0f} M events/s; {kept[name]}"
        lines.append(Line(subject, "reidlib", name, seconds / own, TARGETS.get(name, ""), note))
    if "tonic" not in best:
        lines.append(absent(subject, "reidlib", "tonic", TARGETS["tonic"]))
    return lines


def measure(options) -> list[Line]:
    events = random_events(options.events, options.width, options.height)
    few = random_events(ODD, options.width, options.height, seed=1)
    signed = 2 * int(few.p.sum()) - ODD
    frames, grids = ({name: way() for name, way in ways(few, 7).items()} for ways in (frame_ways, grid_ways))
    np.testing.assert_array_equal(frames[""], frames["a numba loop"])
    np.testing.assert_allclose(grids[""], grids["a numba loop"], atol=1e-5)
    counted = {name: f"it keeps {found.sum():.0f} of {ODD} events" for name, found in frames.items()}
    summed = {name: f"its grid sums to {found.sum():.3f}, ON minus OFF is {signed}" for name, found in grids.items()}
    summed["EventCV"] += "; timed apart, the two additions at a random place per event take most of ours"
    off = abs(float(grids[""].sum(dtype=np.float64)) - signed)
    return [
        Line("event frames", "events lost", f"{ODD} given", float(ODD - frames[""].sum()), "<= 0", "7 bins"),
        *compared("event frames", frame_ways(events, options.steps), len(events), options.rounds, counted),
        Line("voxel grid", "error of ON minus OFF", f"{ODD} events given", off, "<= 0.001", f"7 bins; {signed} in all"),
        *compared("voxel grid", grid_ways(events, options.steps), len(events), options.rounds, summed),
    ]


if __name__ == "__main__":
    main(measure, __doc__, events=2_000_000, width=640, height=480, steps=8, rounds=5)
