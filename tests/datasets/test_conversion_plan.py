"""The plan of a conversion: measured, printed before a large build, and a disk that is too small refused."""

import shutil
from collections import namedtuple
from dataclasses import replace
from functools import partial

import pytest
from picture_sets import write_set

from reidlib.datasets import conversion_plan
from reidlib.datasets.conversion_plan import Plan
from reidlib.datasets.video_events import ConversionSettings, build, estimate, make

SMALL = ConversionSettings(height=32, width=16)
MARS_LIKE = Plan(tracklets=20_000, frames=1_200_000, seconds=0.003, stored=5_000, workers=2, free=10**12)


def test_a_plan_adds_up():
    assert MARS_LIKE.total_seconds == pytest.approx(1800) and MARS_LIKE.total_bytes == 6e9 and MARS_LIKE.needed_bytes == 12e9
    assert str(MARS_LIKE) == (
        "20,000 tracklets of 60 frames on the average: 0.18 s of one core and 300.0 kB each (measured), about 30.0 minutes with 2 "
        "workers; store 6.0 GB, while it is built 12.0 GB; 1000.0 GB of disk are free"
    )
    assert replace(MARS_LIKE, done=5 * 10**9).needed_bytes == 7e9
    assert replace(MARS_LIKE, done=8 * 10**9).needed_bytes == 6e9  # merging is still to come


def test_a_disk_that_is_plainly_too_small_is_refused(tmp_path):
    replace(MARS_LIKE, free=11 * 10**9).check(tmp_path)  # an estimate: close is tried
    with pytest.raises(OSError, match=r"has 9.0 GB free, and this conversion needs about 12.0 GB \(6.0 GB for the store"):
        replace(MARS_LIKE, free=9 * 10**9).check(tmp_path)


def test_an_estimate_is_near_what_the_build_takes_and_leaves_nothing(tmp_path):
    rows = write_set(tmp_path / "set", people=4, count=8)
    rows = [{**row, "files": row["files"][: 3 + i % 6]} for i, row in enumerate(rows)]
    several = [*rows, *({**row, "split": 1} for row in rows)]  # a tracklet of two splits is one
    plan = estimate(several, tmp_path / "set", SMALL, tmp_path / "deep" / "down" / "s.h5", workers=2)
    assert (plan.tracklets, plan.frames, plan.workers) == (8, sum(len(row["files"]) for row in rows), 2)
    assert plan.seconds > 0 and plan.free > 0 and plan.done == 0
    store = build("made_up", tmp_path / "set", rows, SMALL, tmp_path / "s.h5", workers=1)
    assert plan.total_bytes == pytest.approx(store.path.stat().st_size, rel=0.05)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.h5", "set"]
    few = estimate(rows, tmp_path / "set", SMALL, tmp_path / "s.h5", sample=3, workers=1)
    assert few.total_bytes == pytest.approx(store.path.stat().st_size, rel=0.5)


def test_a_large_build_begins_with_its_plan_and_one_that_is_there_does_not(tmp_path, monkeypatch, capsys):
    rows = write_set(tmp_path / "set")
    convert = partial(build, "made_up", tmp_path / "set", rows, SMALL, tmp_path / "s.h5", 1)
    monkeypatch.setattr(conversion_plan, "LARGE", 9)
    convert()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(conversion_plan, "LARGE", 8)
    convert()
    assert capsys.readouterr().out == ""  # it is there
    (tmp_path / "s.h5").unlink()
    convert()
    out = capsys.readouterr().out
    assert out.startswith("made_up: 8 tracklets of 6 frames") and "with 1 worker;" in out


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    rows = write_set(tmp_path / "set")
    usage, asked = namedtuple("usage", "total used free"), shutil.disk_usage
    full = str(tmp_path / "cache")
    monkeypatch.setattr(conversion_plan, "LARGE", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 10, 1000) if str(folder).startswith(full) else asked(folder))
    with pytest.raises(OSError, match=r"the disk of .*cache has 1.0 kB free"):
        build("made_up", tmp_path / "set", rows, SMALL, tmp_path / "cache" / "s.h5", 1)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_an_interrupted_build_left_counts(tmp_path):
    rows = write_set(tmp_path / "set", people=1)
    parts = tmp_path / "s.h5.parts"
    parts.mkdir()
    (parts / "a.h5").write_bytes(bytes(1234))
    assert conversion_plan.measure(rows, partial(make, tmp_path / "set", SMALL), tmp_path / "s.h5", workers=1).done == 1234
