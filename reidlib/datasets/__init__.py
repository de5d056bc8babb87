"""Data sets: one HDF5 store and one index table each, batches of clips, and `load_dataset`, the way in.

What needs torch (clips) and what only tests of robustness need is imported at first use: the processes that build a store do
without.
"""

import dataclasses
import hashlib
import importlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from reidlib.datasets.store import Sample, StoreLike, TrackletStore, to_json
from reidlib.datasets.store_build import build_store
from reidlib.datasets.tracklets import (
    COLUMNS,
    SUBSETS,
    cameras_or_none,
    check_index,
    describe,
    in_subset,
    make_index,
    unmatched_queries,
    validation_split,
)

if TYPE_CHECKING:  # what `__getattr__` imports at first use
    from _typeshed import DataclassInstance

    from reidlib.datasets.body_parts import part_labels
    from reidlib.datasets.clips import ClipDataset, ClipSettings, PKSampler, collate, eval_batches, train_loader
    from reidlib.datasets.degrade import Degradation
    from reidlib.datasets.frames import frame_times
    from reidlib.datasets.views import DegradedStore, RepairedStore, ShuffledEvents

__all__ = [
    "COLUMNS",
    "DATASETS",
    "GENERATED",
    "VIDEO_SETS",
    "ClipDataset",
    "ClipSettings",
    "Degradation",
    "DegradedStore",
    "PKSampler",
    "RepairedStore",
    "Sample",
    "ShuffledEvents",
    "StoreLike",
    "TrackletStore",
    "build_store",
    "cameras_or_none",
    "check_index",
    "collate",
    "dataset_folder",
    "describe",
    "eval_batches",
    "frame_times",
    "in_subset",
    "load_dataset",
    "make_index",
    "part_labels",
    "train_loader",
    "unmatched_queries",
    "validation_split",
]
_Settings = TypeVar("_Settings", bound="DataclassInstance")
_LATER = {
    "body_parts": ("part_labels",),
    "clips": ("ClipDataset", "ClipSettings", "PKSampler", "collate", "eval_batches", "train_loader"),
    "degrade": ("Degradation",),
    "frames": ("frame_times",),
    "views": ("DegradedStore", "RepairedStore", "ShuffledEvents"),
}


def __getattr__(name: str) -> object:
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _walkers(fixed: dict, data: str | None, folder: Path, options: dict, workers: int | None) -> TrackletStore:
    from reidlib.datasets import walkers

    if data:
        raise ValueError(f"walkers are generated and take no data ({data}); recorded gaits are the option gait=<folder of BVH files>")
    settings = _settings(walkers.WalkersSettings, fixed | options, "walkers")
    return walkers.build(settings, _file(folder, "walkers", settings), workers)


def _event_reid(data: str | None, folder: Path, options: dict, workers: int | None) -> TrackletStore:
    from reidlib.datasets import event_reid

    if not data:
        raise ValueError('"event_reid" needs data=<folder with train_list.txt, or with <ID>/<camera>/events.txt> (see data/README.md)')
    settings = _settings(event_reid.EventReIdSettings, options, "event_reid")
    return event_reid.build(data, settings, _file(folder, "event_reid", settings, str(Path(data).resolve())), workers)


def _video_set(name: str, data: str | None, folder: Path, options: dict, workers: int | None) -> TrackletStore:
    from reidlib.datasets import video_sets

    if not data:
        raise ValueError(f"{name!r} needs data=<folder of the original files> (see data/README.md)")
    return video_sets.load(name, data, options, _file(folder, name, options, str(Path(data).resolve())), workers)


def _own(data: str | None, folder: Path, options: dict, workers: int | None) -> TrackletStore:
    from reidlib.datasets import own_data

    if not data:
        raise ValueError('"own" needs data=<folder PERSON/CAMERA/, table of files, or file of boxes> (see data/README.md)')
    settings = _settings(own_data.OwnSettings, options, "own")
    return own_data.build(data, settings, _file(folder, "own", settings, str(Path(data).resolve())), workers)


#: Sets that are generated, each seed with people and cameras of its own -> what they change of `WalkersSettings`.
GENERATED: dict[str, dict[str, float]] = {"walkers": {}, "walkers_occluded": {"occluder": 0.7}}
VIDEO_SETS = ("prid2011", "ilids_vid", "mars", "duke_video", "occluded_duke_video", "ls_vid", "evreid")
#: Name -> function (data, folder, options, workers) -> store. A new set is one file and one line here; a set of video frames, one line
#: in `video_sets.SETS`.
DATASETS: dict[str, Callable[[str | None, Path, dict, int | None], TrackletStore]] = {
    **{name: partial(_walkers, fixed) for name, fixed in GENERATED.items()},
    "event_reid": _event_reid,
    "own": _own,
    **{name: partial(_video_set, name) for name in VIDEO_SETS},
}


def load_dataset(
    name: str,
    *,
    data: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    options: dict | None = None,
    unmatched: str = "error",
    subsets: tuple[str, ...] = SUBSETS,
    workers: int | None = None,
    memory: bool = False,
    quiet: bool = False,
) -> TrackletStore:
    """The data set's store, built on first use, opened and checked; prints its table, for a public video set the published counts
    beside ours, and the queries without a gallery match.

    data: folder of the original files, for sets that are not generated. cache_dir: folder of the store (None: `dataset_folder`).
    options: fields of the set's settings. unmatched, subsets: see `check_index`. workers: processes of a build (None: one per core).
    memory: read all events into memory now. quiet: print nothing.
    Raises ValueError for an unknown name or option, missing `data`, or an index that fails its checks."""
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; legal: {', '.join(sorted(DATASETS))}")
    folder = dataset_folder(name) if cache_dir is None else Path(cache_dir)
    store = DATASETS[name](None if data is None else os.fspath(data), folder, dict(options or {}), workers)
    lost = unmatched_queries(store.index)
    published = _published(name, store.index)
    store.index = check_index(store.index, unmatched, subsets)
    if not quiet:
        splits = sorted(store.index["split"].unique())
        more = f"\nsplit {splits[0]} of {len(splits)}" if len(splits) > 1 else ""
        shown = describe(store.index[store.index["split"] == splits[0]])
        print(f"{name} ({store.path.name}){more}\n{shown.to_string()}{published}")
        if lost:
            print(f"{len(lost)} queries without a gallery match ({unmatched}): {', '.join(lost)}")
    return store.load() if memory else store


def _published(name: str, index: pd.DataFrame) -> str:
    """Our counts of a public video set beside the published ones, as text, and what differs; nothing for another set."""
    if name not in VIDEO_SETS:
        return ""
    from reidlib.datasets import video_sets

    table = video_sets.compared(name, index)
    other = table[table["difference"] != 0]
    verdict = "every published count is met" if other.empty else f"{len(other)} of {len(table)} published counts are not met"
    shown = other if index["split"].nunique() > 1 else table  # ten splits fill a page
    return "".join(f"\n{part}" for part in ([shown.to_string(index=False)] if len(shown) else []) + [verdict]) if len(table) else ""


def dataset_folder(name: str) -> Path:
    """Where a set's store is kept: `$REIDLIB_DATA/<name>`, else `data/<name>` in the repository, else in the working directory."""
    if root := os.environ.get("REIDLIB_DATA"):
        return Path(root) / name
    repository = Path(__file__).resolve().parents[2]
    return (repository if (repository / "pyproject.toml").is_file() else Path.cwd()) / "data" / name


def _settings(kind: type[_Settings], options: dict, name: str) -> _Settings:
    legal = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(options) - set(legal))
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r} of data set {name!r}; legal: {', '.join(legal)}")
    return kind(**options)


def _file(folder: Path, name: str, *what: object) -> Path:
    """One file per choice of options, so that presets do not overwrite one another."""
    return folder / f"{name}-{hashlib.sha256(to_json(what).encode()).hexdigest()[:8]}.h5"
