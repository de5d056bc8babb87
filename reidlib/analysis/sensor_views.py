"""What the simulated event camera adds to the film, term by term, and simulated events beside recorded ones."""

from dataclasses import replace

import numpy as np
import pandas as pd

from reidlib.analysis.data_views import camera_name, counts_over_time, median_tracklets
from reidlib.config import preset
from reidlib.datasets import TrackletStore, load_dataset
from reidlib.datasets.walkers import WalkersSettings, make_tracklet, sensor_of, settings_of
from reidlib.datasets.walkers_scene import Shot
from reidlib.events import IDEAL, Events, SimulatorSettings, event_frames, filters
from reidlib.experiment import Experiment

#: Term -> (fields of the settings, the artefact that they stand for).
TERMS = {
    "+ mismatch": (("threshold_spread",), "thresholds differ from pixel to pixel: the same edge makes more events in some pixels"),
    "+ bandwidth": (("cutoff_hz",), "slow photoreceptor, slower in the dark: fast edges lag behind and lose contrast"),
    "+ leak": (("leak_rate_hz",), "leaking reset switch: a sparse background of ON events"),
    "+ shot noise": (("shot_noise_rate_hz",), "photon noise: random events of both polarities, most in dark pixels"),
    "+ dead time": (("refractory_us",), "a pixel is deaf for a moment after each event: large changes make fewer events"),
}
OTHERS = {"ideal": "contrast alone", "realistic": "all terms together: what the set holds"}
PICTURE = 50_000  # microseconds of events in one picture of the strip
WINDOW = 33_300  # microseconds: the length of a window of Event-ReId's sample


def variants(stored: SimulatorSettings) -> dict[str, SimulatorSettings]:
    """Name -> settings: an ideal camera, that camera with one term of `stored` each, and `stored` itself; the thresholds stay the same."""
    thresholds = {name: getattr(stored, name) for name in ("positive_threshold", "negative_threshold", "upsample")}
    ideal = replace(IDEAL, **thresholds)
    single = {name: replace(ideal, **{field: getattr(stored, field) for field in fields}) for name, (fields, _) in TERMS.items()}
    return {"ideal": ideal, **single, "realistic": stored}


def walkers_settings(experiment: Experiment) -> WalkersSettings:
    """The settings that the set of `experiment` was made with. ValueError for a set that was not generated."""
    if not experiment.generated:
        raise ValueError(f"only generated films can be filmed again with another sensor, not {experiment.dataset!r}")
    return settings_of(experiment.store, "the films of this set cannot be filmed again with another sensor")


def filmed_again(experiment: Experiment, key: str) -> dict[str, Events]:
    """The tracklet's film, rendered again and seen by every one of `variants`; "realistic" gives the stored events."""
    settings = walkers_settings(experiment)
    line = experiment.index.set_index("key").loc[key]
    at = (int(line["person"]), int(line["camera"]), int(key.rpartition("/t")[2]))
    shot = Shot(**experiment.store.attributes(key)["shot"])
    return {name: make_tracklet(settings, *at, sensor=sensor)[0].events for name, sensor in variants(sensor_of(settings, shot)).items()}


def sensor_table(seen: dict[str, Events]) -> pd.DataFrame:
    """One line per variant of `filmed_again`: events, per cent of the ideal camera's, ON share, isolated events, and the artefact.

    An event is isolated where none of its eight neighbours fired in the 2 ms before it: noise is, and so is the front of an edge."""
    ideal, lines = max(1, len(next(iter(seen.values())))), {}
    for name, events in seen.items():
        isolated = 1 - len(filters.background_activity(events)) / max(1, len(events))
        lines[name] = {
            "events": len(events),
            "of ideal (%)": round(100 * len(events) / ideal, 1),
            "ON (%)": round(100 * float(events.p.mean()), 1) if len(events) else np.nan,
            "isolated (%)": round(100 * isolated, 1),
            "what it stands for": TERMS[name][1] if name in TERMS else OTHERS[name],
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("sensor")


def late_share(events: Events, fps: float) -> float:
    """Share of the events in the second half of the film's step (from one picture to the next) that they fall in; 0.5 = evenly spread.

    The simulator knows the light at the pictures only, and a pixel that fires once in a step does so towards its end."""
    into = (events.t * fps % 1_000_000) / 1e6  # place in the step, 0..1
    return float((into >= 0.5).mean()) if len(events) else np.nan


def sensor_frames(seen: dict[str, Events], start: int) -> np.ndarray:
    """One picture `[2, H, W]` per variant, of the same `PICTURE` microseconds from `start` on: `[V, 2, H, W]`."""
    return np.concatenate([event_frames(events.window(start, start + PICTURE), 1, start, start + PICTURE) for events in seen.values()])


def middle_window(store: TrackletStore, key: str, length: int = WINDOW) -> tuple[Events, int, int]:
    """(events, start, stop) of `length` microseconds around the middle of a tracklet, or of all of a shorter one."""
    start, stop = store.interval(key)
    if stop - start > length:
        start = (start + stop - length) // 2
        stop = start + length
    return store.events(key).window(start, stop), start, stop


def comparison_record(store: TrackletStore, key: str, kind: str, title: str) -> dict:
    """One column of `plots.events.simulated_vs_real`: the middle window of a tracklet."""
    events, start, stop = middle_window(store, key)
    counts, bin_seconds = counts_over_time(events, start, stop, most=12)
    frame = event_frames(events, 1, start, stop)[0]
    return {"title": title, "kind": kind, "frame": frame, "counts": counts, "bin_seconds": bin_seconds}


def both_stores(experiment: Experiment, real: str = "") -> tuple[TrackletStore, TrackletStore] | None:
    """(simulated, real) stores: the experiment's own set and, beside it, Event-ReId at the path `real` or a small set of walkers.

    None where the experiment's set is simulated and no path is given."""
    if experiment.dataset == "event_reid":
        return load_dataset("walkers", options=preset("tiny", "walkers").data, quiet=True).load(), experiment.store
    return (experiment.store, load_dataset("event_reid", data=real, quiet=True).load()) if real else None


def simulated_beside_real(simulated: TrackletStore, real: TrackletStore, most: int = 3) -> list[dict]:
    """Columns for `plots.events.simulated_vs_real`: of each set, the tracklet with the median number of events of up to `most` cameras."""
    return [
        comparison_record(store, key, kind, camera_name(camera))
        for kind, store in (("simulated", simulated), ("real", real))
        for camera, key in list(median_tracklets(store.index).items())[:most]
    ]


def window_table(simulated: TrackletStore, real: TrackletStore) -> pd.DataFrame:
    """Windows of equal length of both sets in numbers: index (kind, camera), medians over the tracklets.

    Rate per pixel divides by the area of the picture, so that sensors and distances compare; a real picture is the box of its events,
    a simulated one leaves some air around the person."""
    lines = {}
    for kind, store in (("simulated", simulated), ("real", real)):
        facts = pd.DataFrame([_window_facts(store, key) for key in store.index["key"]])
        for camera in sorted(set(store.index["camera"])):
            part = facts[(store.index["camera"] == camera).to_numpy()]
            lines[kind, camera_name(camera)] = {"windows": len(part)} | part.median().round(1).to_dict()
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index=["kind", "camera"])


def _window_facts(store: TrackletStore, key: str) -> dict:
    events, start, stop = middle_window(store, key)
    rate = len(events) / max(stop - start, 1) * 1e6
    return {
        "height (pixels)": events.height,
        "thousand events/s": rate / 1000,
        "events/s and pixel": rate / (events.height * events.width),
        "ON (%)": 100 * float(events.p.mean()) if len(events) else np.nan,
        "silent pixels (%)": 100 * _silent(events),
    }


def _silent(events: Events) -> float:
    places = events.y.astype(np.int64) * events.width + events.x
    return 1 - len(np.unique(places)) / (events.width * events.height)
