"""The registry of public video sets: options find their settings, events their source, counts their published ones."""

import dataclasses
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import replicas
from picture_sets import write_set
from test_sdcl_events import random_chunk

from reidlib.ablations.plan import DATASETS as PLANNED
from reidlib.datasets import DATASETS, GENERATED, VIDEO_SETS, load_dataset, video_sets


@dataclasses.dataclass(frozen=True)
class MarsSettings:
    people: int = 4


PUBLISHED = {"tracklets": 8, "frames": 50}


def stub_compare(rows):
    """As a set's own: columns subset, count, published, ours, difference."""
    ours = {"tracklets": len(rows), "frames": sum(len(row["files"]) for row in rows)}
    table = [("whole set", count, published, ours[count], ours[count] - published) for count, published in PUBLISHED.items()]
    return pd.DataFrame(table, columns=["subset", "count", "published", "ours", "difference"])


@pytest.fixture
def mars(monkeypatch, tmp_path):
    """A made-up set in the place of MARS."""
    stub = ModuleType("reidlib.datasets.mars")
    stub.MarsSettings, stub.compare = MarsSettings, stub_compare
    stub.rows = lambda root, settings: write_set(root, people=settings.people)
    monkeypatch.setitem(sys.modules, "reidlib.datasets.mars", stub)
    root = tmp_path / "original"
    root.mkdir()

    def load(quiet=True, **options):
        options = {"height": 32, "width": 16} | options
        return load_dataset("mars", data=root, cache_dir=tmp_path / "cache", options=options, workers=1, quiet=quiet)

    return root, load


def test_every_video_set_is_known_everywhere():
    assert set(VIDEO_SETS) == set(video_sets.SETS) == set(DATASETS) - {*GENERATED, "event_reid", "own"}
    assert set(PLANNED) == set(DATASETS) and all(PLANNED[name] for name in VIDEO_SETS)


def test_options_reach_the_settings_they_belong_to(mars):
    _, load = mars
    store = load(people=6, frames="grey", sensor={"positive_threshold": 0.4})
    assert len(store) == 12 and store.settings["sensor"]["positive_threshold"] == 0.4
    assert store.frames(store.index["key"][0]).shape == (6, 32, 16) and store.index["events"].min() > 0
    assert load().path != store.path
    with pytest.raises(ValueError, match=r"unknown option 'fsp' of data set 'mars'; legal: people, fps, height, .* seed, recorded, tick$"):
        load(fsp=30)


def test_the_published_counts_stand_beside_ours(mars, capsys):
    load = mars[1]
    load(quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == ["whole", "set", "tracklets", "8", "8", "0"]
    assert lines[-2].split() == ["whole", "set", "frames", "50", "48", "-2"]
    assert lines[-1] == "1 of 2 published counts are not met"
    load(quiet=False, frames="none")
    assert capsys.readouterr().out.splitlines()[-1] == "every published count is met"  # of frames nothing is known then


def test_recorded_events_of_sdcl(mars, tmp_path):
    root, load = mars
    rng = np.random.default_rng(0)
    for row in write_set(root):
        for i in range(6):
            random_chunk(tmp_path / "chunks" / row["source"] / f"{i}.mat", rng, 40_000 * i, count=5)
    store = load(recorded=str(tmp_path / "chunks"))
    assert store.settings["events"] == "recorded (SDCL)" and store.index["events"].tolist() == [42] * 8


def test_sets_without_recorded_events_take_no_such_option(tmp_path):
    with pytest.raises(ValueError, match=r"unknown option 'recorded' of data set 'evreid'; legal: video, pictures"):
        load_dataset("evreid", data=tmp_path, options={"recorded": "x"})
    with pytest.raises(ValueError, match=r"'ls_vid' needs data=<folder of the original files>"):
        load_dataset("ls_vid")


@pytest.mark.filterwarnings("ignore:.*frame numbers are missing")
@pytest.mark.parametrize("name", sorted(set(VIDEO_SETS) - {"evreid"}))
def test_a_replica_of_every_set_becomes_a_store(name, tmp_path, capsys):
    getattr(replicas, video_sets.SETS[name].module)(tmp_path / "original")
    store = load_dataset(
        name, data=tmp_path / "original", cache_dir=tmp_path, options={"height": 16, "width": 8}, workers=1, unmatched="keep"
    )
    assert set(store.index["dataset"]) == {name} and (store.index["frames"] > 0).all()
    assert {store.frames(key).shape[1:] for key in store.index["key"]} == {(16, 8, 3)}
    out = capsys.readouterr().out
    assert "published  ours  difference" in out and "published counts are not met" in out
