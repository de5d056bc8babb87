"""The index table: one row per tracklet, its checks, its summary, and the validation part of the training people."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

SUBSETS = ("train", "query", "gallery")
JOINED = "query+gallery"  # subset of a query that is searched for as well (MARS, LS-VID); it belongs to both

#: Column -> dtype. `subset` is one of `SUBSETS`, or `JOINED` (see `in_subset`).
#: `camera` is -1 where unknown; `frames` is 0 where a tracklet has events alone; `duration` in seconds.
COLUMNS = {
    "key": str,
    "dataset": str,
    "split": np.int64,
    "subset": str,
    "person": np.int64,
    "camera": np.int64,
    "frames": np.int64,
    "duration": np.float64,
    "events": np.int64,
    "width": np.int64,
    "height": np.int64,
    "source": str,
}


def make_index(rows: Iterable[dict]) -> pd.DataFrame:
    """Index table of the rows' known columns, in the fixed order and dtypes; other entries of a row are left out.

    Raises ValueError where a column is missing."""
    rows = list(rows)
    missing = [column for column in COLUMNS if any(column not in row for row in rows)]
    if missing:
        raise ValueError(f"index rows lack the columns {missing}; every row needs {list(COLUMNS)}")
    return typed_index({column: [row[column] for row in rows] for column in COLUMNS})


def typed_index(columns: dict) -> pd.DataFrame:
    """Index table of whole columns, in the fixed order and dtypes."""
    return pd.DataFrame({column: pd.Series(columns[column], dtype=dtype) for column, dtype in COLUMNS.items()})


def in_subset(index: pd.DataFrame, subset: str) -> pd.Series:
    """Whether each row belongs to a subset; a query that joins the gallery belongs to "query" and to "gallery"."""
    return index["subset"].isin((subset,) if subset == "train" else (subset, JOINED))


def cameras_or_none(index: pd.DataFrame) -> np.ndarray | None:
    """Camera ids for the same-camera rule, or None for a data set without cameras (all -1), where the rule is off.

    Raises ValueError where only some tracklets have a camera."""
    cameras = index["camera"].to_numpy()
    unknown = int((cameras == -1).sum())
    if unknown == 0:
        return cameras
    if unknown < len(cameras):
        raise ValueError(f"{unknown} of {len(cameras)} tracklets have no camera id (-1): give every tracklet its camera, or none of them")
    return None


def unmatched_queries(index: pd.DataFrame) -> list[str]:
    """Keys of the queries whose person no gallery tracklet shows: under another camera, or at all where cameras are unknown."""
    keys: list[str] = []
    for _, part in index.groupby("split", sort=True):
        gallery: dict[int, set[int]] = {}
        for person, camera in part.loc[in_subset(part, "gallery"), ["person", "camera"]].itertuples(index=False):
            gallery.setdefault(person, set()).add(camera)
        for row in part[in_subset(part, "query")].itertuples(index=False):
            others = gallery.get(row.person, set())
            if not (others if row.camera == -1 else others - {row.camera}):
                keys.append(row.key)
    return keys


def check_index(index: pd.DataFrame, unmatched: str = "error", subsets: tuple[str, ...] = SUBSETS) -> pd.DataFrame:
    """The index, checked, with its rows renumbered; the caller's table is untouched.

    unmatched: what happens to queries without a gallery match: "error" names them, "drop" removes them (one that joins the gallery
        is still searched), "keep" leaves them (the metrics exclude them). subsets: those that must be there.
    Raises ValueError for missing columns, an unknown subset, duplicate keys, partly missing camera ids, queries that join the gallery
        without camera ids, one identity, an empty subset, a person both in train and in test, or unmatched queries."""
    if unmatched not in ("error", "drop", "keep"):
        raise ValueError(f'unmatched must be "error", "drop" or "keep", not {unmatched!r}')
    missing = [column for column in COLUMNS if column not in index.columns]
    if missing:
        raise ValueError(f"the index lacks the columns {missing}; it needs {list(COLUMNS)}")
    strange = sorted(set(index["subset"]) - {*SUBSETS, JOINED})
    if strange:
        raise ValueError(f"unknown subset {strange[0]!r} in the index; legal: {', '.join((*SUBSETS, JOINED))}")
    if cameras_or_none(index) is None and (index["subset"] == JOINED).any():
        raise ValueError(f"the index has {JOINED} rows but no camera ids (-1): without the same-camera rule such a query finds itself")
    if index["person"].nunique() == 1:
        raise ValueError(f"the data set has one identity ({index['person'].iloc[0]}): re-identification needs two or more people")
    for split, part in index.groupby("split", sort=True) if len(index) else [(0, index)]:
        _check_split(split, part, subsets)
    return _resolve_unmatched(index, unmatched)


def _check_split(split: int, part: pd.DataFrame, subsets: tuple[str, ...]) -> None:
    twice = part.loc[part["key"].duplicated(), "key"]
    if len(twice):
        raise ValueError(f"{len(twice)} duplicate keys in split {split} of the index: {_some(twice)}")
    for subset in subsets:
        people = part.loc[in_subset(part, subset), "person"].nunique()
        if people == 0:
            raise ValueError(f"no {subset} tracklets in split {split} of the index: found {dict(part['subset'].value_counts())}")
        if people == 1 and subset in ("train", "gallery"):
            raise ValueError(f"the {subset} part of split {split} has one identity: it needs two or more people")
    train = set(part.loc[part["subset"] == "train", "person"])
    shared = sorted(train & set(part.loc[part["subset"] != "train", "person"]))
    if shared:
        raise ValueError(f"{len(shared)} people are both in train and test of split {split}: {_some(shared)}; give test people other ids")


def _resolve_unmatched(index: pd.DataFrame, unmatched: str) -> pd.DataFrame:
    keys = [] if unmatched == "keep" else unmatched_queries(index)
    if keys and unmatched == "error":
        people = sorted(set(index.loc[index["key"].isin(keys), "person"]))
        raise ValueError(
            f"{len(keys)} queries have no gallery tracklet of the same person (under another camera, where cameras are known): "
            f"{_some(keys)}; people {_some(people)}. Choose unmatched='drop' (leave them out) or unmatched='keep' (the metrics skip them)"
        )
    lost = index["key"].isin(keys)
    left = index.assign(subset=index["subset"].mask(lost & (index["subset"] == JOINED), "gallery"))
    left = left[~(lost & (left["subset"] == "query"))].reset_index(drop=True)
    if keys and not in_subset(left, "query").any():
        raise ValueError(f"none of the {len(keys)} queries has a gallery match: nothing is left to test")
    return left


def _some(values: Iterable, most: int = 10) -> str:
    values = list(values)
    return ", ".join(str(v) for v in values[:most]) + (f", ... ({len(values)} in all)" if len(values) > most else "")


def describe(index: pd.DataFrame) -> pd.DataFrame:
    """People, tracklets, cameras, frames and events per subset (and split, where there are several); a last row "all" sums up, each
    tracklet once. Queries that join the gallery are counted in both subsets."""
    several = index["split"].nunique() > 1
    parts = [
        (f"{split} {subset}" if several else subset, index[(index["split"] == split) & in_subset(index, subset)])
        for split in sorted(index["split"].unique())
        for subset in SUBSETS
    ]
    parts = [(name, part) for name, part in parts if len(part)]
    parts.append(("all", index.drop_duplicates("key")))
    rows = {
        name: {
            "people": part["person"].nunique(),
            "tracklets": len(part),
            "cameras": part.loc[part["camera"] != -1, "camera"].nunique(),
            "frames": int(part["frames"].sum()),
            "events": int(part["events"].sum()),
        }
        for name, part in parts
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("subset")


def validation_split(index: pd.DataFrame, people: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows without `people` held-out identities, and those identities' rows as a query / gallery test of their own.

    Only people who can be both query and gallery are held out: seen by two cameras or more (two tracklets or more where cameras
    are unknown). A person's first camera (first tracklet) is the query. The choice is a function of `seed` and the set of people.
    Raises ValueError where too few such people exist or fewer than two identities would be left to train on."""
    train = index[index["subset"] == "train"]
    cameras = cameras_or_none(train)
    counted = train.groupby("person")["key" if cameras is None else "camera"].nunique()
    candidates = counted.index[counted >= 2].to_numpy()  # ascending
    if not 1 <= people <= min(len(candidates), len(counted) - 2):
        raise ValueError(
            f"cannot hold out {people} of {len(counted)} training people: {len(candidates)} of them were seen "
            f"{'twice' if cameras is None else 'by two cameras'} and can be tested, and two must be left to train on"
        )
    held = np.random.default_rng((seed, people)).choice(candidates, people, replace=False)
    out = train["person"].isin(held)
    validation = train[out].copy()
    if cameras is None:
        query = ~validation["person"].duplicated()
    else:
        query = validation["camera"] == validation.groupby("person")["camera"].transform("min")
    validation["subset"] = np.where(query, "query", "gallery")
    return train[~out].reset_index(drop=True), validation.reset_index(drop=True)
