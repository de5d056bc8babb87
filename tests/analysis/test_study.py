"""Tables of an unfinished study: only rows whose every seed is trained, with what is missing named."""

from dataclasses import replace

import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis import study


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    found = SmallExperiment(tmp_path, seeds=2)
    found.settings = replace(found.settings, rows=("resnet18_events", "sew_resnet18", "s3ce_net", "joint"))
    done = {(name, seed) for name in ("resnet18_events", "sew_resnet18", "s3ce_net") for seed in (0, 1)} | {("joint", 0)}
    folders = {found.folder(name, seed) for name, seed in done}
    monkeypatch.setattr(study, "finished", lambda folder, plain: folder in folders)
    return found


def test_a_row_counts_when_all_its_seeds_are_there(experiment):
    assert study.finished_rows(experiment) == ["resnet18_events", "sew_resnet18", "s3ce_net"]


def test_tables_and_page(experiment, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["before", *study.MARKS, "after"]))
    study.publish_finished(experiment, tmp_path / "kept", readme)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after") and "| S3CE-Net (SSAM + STFS) |" in text and " ± " in text
    assert {path.name for path in (tmp_path / "kept").glob("*.png")} == {"differences.png", "spread.png"}
    scores = pd.read_csv(tmp_path / "kept" / "scores.csv")
    assert set(scores["row"]) == {"counts", "resnet18_events", "sew_resnet18", "s3ce_net"} and set(scores["seed"]) == {0, 1}
    differences = pd.read_csv(tmp_path / "kept" / "differences.csv")
    means = scores[scores["protocol"] == "query to gallery"].groupby("row")["mAP"].mean()
    assert (differences["low"] <= differences["difference"]).all() and (differences["difference"] <= differences["high"]).all()
    assert means.between(0, 100).all() and len(differences) == 3
    page = (tmp_path / "kept" / "README.md").read_text()
    assert "rows not finished yet: joint" in page and "S3CE-Net (SSAM + STFS)" in page


def test_nothing_to_compare_with_is_refused(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "finished", lambda folder, plain: False)
    with pytest.raises(ValueError, match=r"sew_resnet18 and resnet18_events must be trained first; finished in .*: nothing"):
        study.publish_finished(experiment, tmp_path)
