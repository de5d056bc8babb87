"""Views of a data set before anything is learned: what it is, how it is divided, its rates, its samples."""

import numpy as np
import pandas as pd

from reidlib.analysis.ranked import WINDOW
from reidlib.analysis.samples import tracklet_clips
from reidlib.datasets import GENERATED, TrackletStore, describe, unmatched_queries
from reidlib.datasets.degrade import KINDS, Degradation, degrade
from reidlib.datasets.frames import video_of
from reidlib.events import Events, event_frames
from reidlib.experiment import Experiment

BINS = 40  # of a curve over time, at most
FINEST = 1000  # microseconds of a bin, at least
SPREAD = (0.05, 0.5, 0.95)  # quantiles of tables
_WITHDRAWN = "DukeMTMC was withdrawn by its owner: ask your institution before you use it"


def _of_video(source: str, terms: str = "those of the release") -> dict[str, str]:
    return {
        "what": "video of walking people; the events are simulated from it, unless recorded ones were given",
        "source": source,
        "terms": terms,
    }


ABOUT = {
    "walkers": {
        "what": "generated people walking past still cameras: 3-D bodies rendered to video, video turned into events",
        "source": "made by this library from its settings and seed, no download",
        "terms": "generated: no recorded person is shown",
    },
    "walkers_occluded": {
        "what": "the people of walkers, behind posts, low obstacles and things that pass by: the built-in stand-in for Occluded-Duke-Video",
        "source": "made by this library from its settings and seed, no download",
        "terms": "generated: no recorded person is shown",
    },
    "event_reid": {
        "what": "recordings of walking people by Prophesee event cameras, events outside the person's box removed",
        "source": "Ahmad, Morerio and Del Bue, ICCV 2023",
        "terms": "no licence stated: local use only",
    },
    "own": {"what": "recordings of your own", "source": "yours", "terms": "yours: think of the people in them"},
    "prid2011": _of_video("Hirzer et al. 2011"),
    "ilids_vid": _of_video("T. Wang et al., ECCV 2014"),
    "mars": _of_video("L. Zheng et al., ECCV 2016"),
    "duke_video": _of_video("Y. Wu et al., CVPR 2018", _WITHDRAWN),
    "occluded_duke_video": _of_video("derived from DukeMTMC-VideoReID", _WITHDRAWN),
    "ls_vid": _of_video("J. Li et al., ICCV 2019"),
    "evreid": {
        "what": "video of walking people and pictures of the events of each frame",
        "source": "X. Wang et al., AAAI 2026",
        "terms": "those of the release",
    },
}


def data_card(experiment: Experiment) -> pd.DataFrame:
    """What the set is, one fact a line, read off its store: column "value", index "fact"."""
    index, settings = experiment.index, experiment.store.settings
    known = index.loc[index["camera"] != -1, "camera"]
    facts = dict(ABOUT.get(experiment.dataset, {}))
    facts |= {
        "people": f"{index['person'].nunique()}",
        "cameras": f"{known.nunique()}" + _angles(settings),
        "tracklets": f"{len(index):,}, of {_range(index.groupby(['person', 'camera']).size())} per person and camera",
        "duration of a tracklet": f"{_range(index['duration'], '.3g')} s",
        "events of a tracklet": f"{_range(index['events'], ',.0f')}, median {index['events'].median():,.0f}",
        "picture (height × width)": f"{_range(index['height'])} × {_range(index['width'])} pixels",
        "video": _video(index),
    }
    if experiment.dataset in GENERATED:
        recorded = "recorded walks (BVH files) drive the generated bodies" if settings["gait"] else "generated, each person their own"
        facts |= {"gait": recorded, "harder": _harder(settings)}
    return pd.DataFrame({"value": facts}).rename_axis("fact")


def _angles(settings: dict) -> str:
    if "yaw" not in settings:
        return ""
    angles = " and ".join(f"{yaw:g}°" for yaw in settings["yaw"])
    return f", yaw {angles} ± {settings['yaw_jitter']:g}° (0° = the person comes towards it, 90° = passes it)"


def _harder(settings: dict) -> str:
    options = {name: settings[name] for name in ("occluder", "shake", "dim") if settings[name]}
    return ", ".join(f"{name} {value:g}" for name, value in options.items()) or "no occluder, no camera shake, daylight"


def _video(index: pd.DataFrame) -> str:
    frames = index.loc[index["frames"] > 1]
    if frames.empty:
        return "none, events alone"
    rate = ((frames["frames"] - 1) / frames["duration"]).median()
    return f"{_range(frames['frames'])} frames of each tracklet, {rate:.0f} per second"


def _range(values: pd.Series, form: str = "d") -> str:
    low, high = values.min(), values.max()
    return f"{low:{form}}" if f"{low:{form}}" == f"{high:{form}}" else f"{low:{form}} to {high:{form}}"


def split_table(experiment: Experiment) -> pd.DataFrame:
    """`describe` of the parts as they are used: training people, held-out validation people, test queries, test gallery, all."""
    test = describe(experiment.index).drop("train")
    parts = [describe(experiment.train_index).loc[["train"]]]
    if experiment.validation is not None:
        held_out = describe(experiment.validation.index).loc[["query", "gallery"]]
        parts.append(held_out.rename(index=lambda name: f"validation {name}"))
    parts.append(test.rename(index={"query": "test query", "gallery": "test gallery"}))
    return pd.concat(parts).rename_axis("part")


def split_sentences(experiment: Experiment) -> list[str]:
    """What holds for the split: no person on two sides, and which queries have no gallery match."""
    index = experiment.index
    sides = {name: set(part["person"]) for name, part in index.groupby(np.where(index["subset"] == "train", "train", "test"))}
    shared = len(sides["train"] & sides["test"])
    lost = unmatched_queries(index)
    matched = f"Queries without a gallery match: {', '.join(lost) if lost else 'none'}."
    return [f"People on both sides of the split: {shared}.", matched]


def camera_name(camera: int) -> str:
    """How a camera is called in figures."""
    return "camera unknown" if camera < 0 else f"camera {camera}"


def by_camera(index: pd.DataFrame, values: np.ndarray) -> dict[str, np.ndarray]:
    """`values` `[N]` of the index's rows, one array per camera."""
    cameras = index["camera"].to_numpy()
    return {camera_name(camera): np.asarray(values)[cameras == camera] for camera in np.unique(cameras)}


def event_rates(index: pd.DataFrame) -> np.ndarray:
    """Mean events per second of every tracklet, `[N]`."""
    return index["events"].to_numpy() / np.maximum(index["duration"].to_numpy(), 1e-6)


def on_shares(store: TrackletStore, index: pd.DataFrame) -> np.ndarray:
    """Share of ON events of every tracklet, `[N]`, NaN where there are no events."""
    return np.array([_on_share(store.events(key)) for key in index["key"]])


def _on_share(events: Events) -> float:
    return float(events.p.mean()) if len(events) else np.nan


def camera_table(index: pd.DataFrame, shares: np.ndarray) -> pd.DataFrame:
    """One line per camera: tracklets, people, rate (5 %, median, 95 % of the tracklets, thousand events per second), mean ON share (%)."""
    rates, on = by_camera(index, event_rates(index) / 1000), by_camera(index, shares)
    people = {camera_name(camera): part["person"].nunique() for camera, part in index.groupby("camera")}
    lines = {
        name: {"tracklets": len(rates[name]), "people": people[name]}
        | {f"rate, {label}": value for label, value in zip(("5 %", "median", "95 %"), np.quantile(rates[name], SPREAD), strict=True)}
        | {"ON (%)": 100 * np.nanmean(on[name])}
        for name in rates
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("camera").round(1).astype({"tracklets": int, "people": int})


def common_cameras(index: pd.DataFrame, people: int, most: int = 4) -> tuple[list[int], list[int]]:
    """(cameras, people) for a grid without holes: cameras from the busiest on, as long as `people` persons were seen by all of them;
    then that many of those persons, evenly spaced."""
    seen = {camera: set(part["person"]) for camera, part in index.groupby("camera")}
    order = sorted(seen, key=lambda camera: (-len(seen[camera]), camera))
    cameras, common = order[:1], seen[order[0]]
    for camera in order[1:]:
        if len(cameras) < most and len(common & seen[camera]) >= people:
            cameras, common = [*cameras, camera], common & seen[camera]
    persons = sorted(common)
    places = np.unique(np.linspace(0, len(persons) - 1, min(people, len(persons))).round().astype(int))
    return sorted(cameras), [persons[place] for place in places]


def pictures(store: TrackletStore, key: str) -> tuple[np.ndarray | None, np.ndarray]:
    """(the middle video frame or None, the events of 0.1 s around it `[2, H, W]`) of a tracklet; all events of a shorter one.

    The events keep the sensor's pixels: fewer, larger pixels would draw a grid into fine outlines."""
    video, (start, stop) = store.frames(key), store.interval(key)
    middle = (start + stop) // 2
    start, stop = max(start, middle - WINDOW // 2), min(stop, middle + WINDOW // 2)
    events = event_frames(store.events(key), 1, start, max(stop, start + 1))[0]
    return (None if video is None else video[len(video) // 2]), events


def degraded_pictures(store: TrackletStore, key: str) -> dict[str, dict[int, np.ndarray]]:
    """Kind -> severity -> the middle video frame of a tracklet, as it is shown under that degradation; severity 0 is the clean one.

    Raises ValueError for a tracklet without video."""
    video = video_of(store, key)
    middle = len(video) // 2
    return {
        kind: {0: video[middle]} | {severity: degrade(video, Degradation(kind, severity), key)[middle] for severity in range(1, 6)}
        for kind in KINDS
    }


def sample_cells(store: TrackletStore, index: pd.DataFrame, people: int = 4) -> tuple[list[tuple], int]:
    """(cells, columns) for `plots.events.sample_grid`: one row per person, one column per camera, `pictures` of the first tracklet of
    each."""
    cameras, chosen = common_cameras(index, people)
    cells = []
    for person in chosen:
        for camera in cameras:
            key = index.loc[(index["person"] == person) & (index["camera"] == camera), "key"].iloc[0]
            cells.append((f"{person}, {camera_name(camera)}", *pictures(store, key)))
    return cells, len(cameras)


def median_tracklets(index: pd.DataFrame) -> dict[int, str]:
    """Camera -> key of its tracklet with the median number of events (the lower one of two): a rule in place of a hand that picks."""
    ordered = {camera: part.sort_values(["events", "key"])["key"].tolist() for camera, part in index.groupby("camera")}
    return {camera: keys[(len(keys) - 1) // 2] for camera, keys in ordered.items()}


def counts_over_time(events: Events, start: int, stop: int, most: int = BINS) -> tuple[np.ndarray, float]:
    """(events per bin `[n, 2]`, OFF and ON; seconds of a bin) of [start, stop) microseconds, in up to `most` bins of whole milliseconds."""
    width = max(FINEST, -(-(stop - start) // most // FINEST) * FINEST)
    bins = max(1, (stop - start) // width)  # a last bin that is not full is left out
    inside = events.window(start, min(stop, start + bins * width))
    place = 2 * ((inside.t - start) // width) + inside.p
    return np.bincount(place, minlength=2 * bins).reshape(bins, 2), width / 1e6


def rate_curves(store: TrackletStore, index: pd.DataFrame, keys: list[str]) -> tuple[dict[str, np.ndarray], float]:
    """`counts` and `bin_seconds` for `plots.events.event_rate`, on common bins: those of the shortest tracklet's length."""
    intervals = [store.interval(key) for key in keys]
    shortest = min(stop - start for start, stop in intervals)
    titles = index.set_index("key").loc[keys]
    names = [f"person {person}, {camera_name(camera)}" for person, camera in zip(titles["person"], titles["camera"], strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({key})" for name, key in zip(names, keys, strict=True)]
    curves = [counts_over_time(store.events(key), start, start + shortest) for key, (start, _) in zip(keys, intervals, strict=True)]
    return {name: counts for name, (counts, _) in zip(names, curves, strict=True)}, curves[0][1]


def first_clip(experiment: Experiment, key: str) -> tuple[np.ndarray, float]:
    """(event frames `[T, 2, H, W]` of a tracklet's first test clip, scaled as the networks get them; milliseconds of a step)."""
    settings = experiment.run_settings("s3ce_net").clips
    clips = tracklet_clips(experiment.store, experiment.index[experiment.index["key"] == key], settings)[0]
    start, stop = experiment.store.interval(key)
    return clips[0].numpy(), (stop - start) / 1000 / len(clips) / settings.steps
