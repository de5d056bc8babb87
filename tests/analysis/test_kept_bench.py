"""The benchmark that the repository keeps: read, counted, refused where it is none."""

import pandas as pd
import pytest

from reidlib.analysis.kept_bench import COLUMNS, bench_sentence, kept_bench, readable_bench

LINES = [
    {"subject": "frames", "what": "ours", "against": "tonic", "ratio": 12.3456, "target": ">= 10", "met": "yes", "note": "2 M events"},
    {"subject": "frames", "what": "ours", "against": "loop", "ratio": 0.8, "target": ">= 1", "met": "missed by 20 %", "note": "memory"},
    {"subject": "ranking", "what": "failed", "against": "", "ratio": None, "target": "", "met": "", "note": "out of luck"},
]
ABOUT = {"hardware": "a machine", "versions": "torch 2", "commit": "abc"}


def write(path, lines=LINES, columns=COLUMNS):
    pd.DataFrame([line | ABOUT for line in lines], columns=list(columns)).to_csv(path, index=False)
    return path


def test_a_kept_benchmark_is_counted_and_shown(tmp_path):
    bench = kept_bench(write(tmp_path / "bench.csv"))
    assert bench_sentence(bench) == "1 targets met, 1 missed, 1 lines not measured. a machine; torch 2; commit abc."
    assert "; commit abc, def." in bench_sentence(bench.assign(commit=["abc", "def", "abc"]))
    aimed, others = readable_bench(bench)
    assert aimed["ratio"].tolist() == ["12.3", "0.8"] and aimed["met"].tolist() == ["yes", "missed by 20 %"]
    assert aimed["against"].tolist() == ["tonic", "loop"] and others["note"].tolist() == ["out of luck"] and "met" not in others


def test_without_a_benchmark_the_sentence_says_how_to_make_one(tmp_path):
    assert kept_bench(tmp_path / "bench.csv") is None
    assert "make bench" in bench_sentence(None) and readable_bench(None) == []


def test_a_table_that_is_no_benchmark_is_refused_with_its_name(tmp_path):
    path = write(tmp_path / "bench.csv", columns=[name for name in COLUMNS if name != "met"])
    with pytest.raises(ValueError, match=r"bench\.csv must have rows and the columns .*; missing: met"):
        kept_bench(path)


def test_the_kept_one_says_why_a_target_is_missed():
    if (bench := kept_bench()) is None:
        pytest.skip("no benchmark is kept in this copy")
    missed = bench[bench["met"].fillna("").str.startswith("missed")]
    assert missed["note"].str.len().gt(0).all() and bench["ratio"].gt(0).any()
