"""What the benchmarks share: targets, alternating rounds, and a table that a failing benchmark does not spoil."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """`pairs` and the module that `python benchmarks` runs."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    spec = importlib.util.spec_from_file_location("benchmarks_main", FOLDER / "__main__.py")
    collected = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(collected)
    yield sys.modules["pairs"], collected
    del sys.modules["pairs"]


@pytest.mark.parametrize(
    "ratio, target, met",
    [
        (12.0, ">= 10", "yes"),
        (10.0, ">= 10", "yes"),
        (9.0, ">= 10", "missed by 10 %"),
        (1.25, "<= 1.25", "yes"),
        (1.5, "<= 1.25", "missed by 20 %"),
        (3.0, "", ""),
        (math.nan, ">= 1", ""),
    ],
)
def test_a_line_says_whether_and_by_how_much(modules, ratio, target, met):
    pairs, _ = modules
    assert pairs.Line("a", "b", "c", ratio, target).met == met


def test_ways_take_turns_and_the_fastest_round_counts(modules):
    pairs, _ = modules
    order = []
    clock = iter([0, 0, 10, 13, 20, 25, 30, 32, 40, 47])  # a and b begin a round that is not timed, then begin and end two that are
    best = pairs.fastest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, clock=lambda: next(clock))
    assert order == ["a", "b"] * 3
    assert best == {"a": 2, "b": 5}


def test_a_peer_that_is_absent_is_a_line_and_no_failure(modules):
    pairs, _ = modules
    assert pairs.peer("no_such_peer_anywhere") is None
    line = pairs.absent("event frames", "reidlib", "tonic", ">= 10")
    assert math.isnan(line.ratio) and line.met == "" and "make bench" in line.note


def test_the_table_names_what_it_was_made_with_and_a_failure(modules, tmp_path, monkeypatch, capsys):
    _, collected = modules
    (tmp_path / "good.py").write_text(
        "import sys, json\n"
        "line = dict(subject='s', what='w', against='a', ratio=2.0, target='>= 1', note='n')\n"
        "open(sys.argv[2], 'w').write(json.dumps([line]))\n"
    )
    (tmp_path / "bad.py").write_text("raise RuntimeError('out of luck')\n")
    monkeypatch.setattr(collected, "FOLDER", tmp_path)
    monkeypatch.setattr(collected, "NAMES", ("good", "bad"))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--out", str(tmp_path / "reports" / "bench.csv")])
    collected.main()
    table = pd.read_csv(tmp_path / "reports" / "bench.csv")
    assert list(table.columns) == collected.COLUMNS
    assert table["met"][0] == "yes" and table["ratio"][0] == 2 and table["benchmark"].tolist() == ["good", "bad"]
    assert table["what"][1] == "failed" and "out of luck" in table["note"][1]
    assert table["hardware"].notna().all() and table["versions"].str.contains("torch").all()
    assert "1 targets met, 0 missed, 1 lines not measured" in capsys.readouterr().out
    (tmp_path / "bad.py").write_text((tmp_path / "good.py").read_text().replace("2.0", "3.0"))
    sys.argv.append("bad")  # one alone: the line of the other stays
    collected.main()
    again = pd.read_csv(tmp_path / "reports" / "bench.csv")
    assert again["ratio"].tolist() == [2, 3] and again["benchmark"].tolist() == ["good", "bad"]


def test_every_benchmark_is_run_by_make_bench_or_says_that_it_is_not(modules):
    _, collected = modules
    scripts = {path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text() and path.stem not in ("__main__", "pairs")}
    assert scripts - set(collected.NAMES) == {"walkers"} and set(collected.NAMES) <= scripts
    assert "not among those" in (FOLDER / "walkers.py").read_text()


def test_lines_survive_the_way_through_json(modules):
    pairs, _ = modules
    line = pairs.Line("a", "b", "c", 2.5, ">= 1", "note")
    assert pairs.Line(**json.loads(json.dumps(line.__dict__))) == line
