"""The public video sets by name: whose rows, which settings, and where their events come from."""

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd

from reidlib.datasets import evreid, sdcl_events, video_events
from reidlib.datasets.store import TrackletStore


class VideoSet(NamedTuple):
    """module: file of the set in this package. settings: name of its settings in there. fixed: options that the set's name implies.
    chunks: whether SDCL's authors recorded events of it."""

    module: str
    settings: str
    fixed: dict
    chunks: bool


SETS = {
    "prid2011": VideoSet("prid2011", "Prid2011Settings", {}, True),
    "ilids_vid": VideoSet("ilids_vid", "IlidsVidSettings", {}, True),
    "mars": VideoSet("mars", "MarsSettings", {}, True),
    "duke_video": VideoSet("duke_video", "DukeVideoSettings", {}, False),
    "occluded_duke_video": VideoSet("duke_video", "DukeVideoSettings", {"occluded": True}, False),
    "ls_vid": VideoSet("ls_vid", "LsVidSettings", {}, False),
    "evreid": VideoSet("evreid", "EvReIdSettings", {}, False),
}


def load(name: str, data: str, options: dict, path: Path, workers: int | None = None) -> TrackletStore:
    """The store of a video set at `path`, converted unless it is there already.

    options: fields of the set's own settings, of `video_events.ConversionSettings` and, where SDCL's events may be had, of
    `sdcl_events.RecordedSettings`. Raises ValueError that lists the legal ones for another."""
    found, module, chosen = _chosen(name, options)
    rows = module.rows(Path(data), chosen[0])
    if found.chunks and chosen[2].recorded:
        return sdcl_events.build(name, data, rows, chosen[1], chosen[2], path, workers)
    if name == evreid.NAME and chosen[0].pictures:
        return evreid.build(data, rows, chosen[1], chosen[0], path, workers)
    return video_events.build(name, data, rows, chosen[1], path, workers)


def conversion(name: str, data: str, options: dict) -> tuple[video_events.ConversionSettings, list[dict]]:
    """How the frames of a set are stored, and its rows with the frames' files; arguments and errors as for `load`."""
    _, module, chosen = _chosen(name, options)
    return chosen[1], module.rows(Path(data), chosen[0])


def _chosen(name: str, options: dict) -> tuple[VideoSet, ModuleType, list]:
    """The set, its module, and its settings of each kind."""
    found = SETS[name]
    module = importlib.import_module(f"{__package__}.{found.module}")
    kinds = [getattr(module, found.settings), video_events.ConversionSettings] + [sdcl_events.RecordedSettings] * found.chunks
    fields = [[field.name for field in dataclasses.fields(kind)] for kind in kinds]
    legal = [field for some in fields for field in some if field not in found.fixed]
    unknown = sorted(set(options) - set(legal))
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r} of data set {name!r}; legal: {', '.join(legal)}")
    given = {**options, **found.fixed}
    return found, module, [kind(**{key: given[key] for key in some if key in given}) for kind, some in zip(kinds, fields, strict=True)]


def compared(name: str, index: pd.DataFrame) -> pd.DataFrame:
    """The counts of a video set's index beside the published ones: columns subset, count, published, ours, difference.

    Frames are left out where the store holds none."""
    module = importlib.import_module(f"{__package__}.{SETS[name].module}")
    table = module.compare([{**row, "files": range(row["frames"])} for row in index.to_dict("records")])
    return table if index["frames"].any() else table[table["count"] != "frames"].reset_index(drop=True)
