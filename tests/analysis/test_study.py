"""Tables of an unfinished study: only rows whose every seed is trained, with what is missing named."""

from dataclasses import replace

import pandas as pd
import pytest
from small_experiment import SmallExperiment

from reidlib.ablations import SYSTEMS
from reidlib.analysis import study
from reidlib.datasets.degrade import KINDS


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    found = SmallExperiment(tmp_path, seeds=2)
    found.settings = replace(found.settings, rows={"s3ce_net": ("resnet18_events", "sew_resnet18", "s3ce_net", "joint")})
    done = {(name, seed) for name in ("resnet18_events", "sew_resnet18", "s3ce_net") for seed in (0, 1)} | {("joint", 0)}
    monkeypatch.setattr(found, "is_trained", lambda name, seed: (name, seed) in done)
    return found


def test_a_row_counts_when_all_its_seeds_are_there(experiment):
    assert study.finished_rows(experiment) == ["resnet18_events", "sew_resnet18", "s3ce_net"]


def test_tables_and_page(experiment, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["before", *study.marks(experiment.systems[0]), "after"]))
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


class Filmed(SmallExperiment):
    """Keeps its models: every condition asks for them anew."""

    def model(self, name, seed=None):
        kept, key = self.__dict__.setdefault("_kept_models", {}), (name, self.seed if seed is None else seed)
        if key not in kept:
            kept[key] = super().model(name, seed)
        return kept[key]


SDCL_ROWS = ["sdcl", "psta", "sdcl_events", "fusion_none", "psta_degraded", "sdcl_degraded"]
KEPT = {"scores.csv", "means.csv", "differences.csv", "differences.png", "spread.png", "README.md"}
UNDER = {"robustness.csv", "claims.csv", "robustness.png"}


def published(folder, monkeypatch, done, method="sdcl"):
    """The files of a study with video of which `done` is trained, and its README."""
    experiment = Filmed(folder, seeds=2, video=True, method=method)
    monkeypatch.setattr(experiment, "is_trained", lambda name, seed: name in done)
    assert 3 in study.SEVERITIES  # what the claims are about
    monkeypatch.setattr(study, "SEVERITIES", (3,))  # every further one takes as long
    readme = folder / "README.md"
    readme.write_text("\n".join(["before", *study.marks(SYSTEMS["s3ce_net"]), "between", *study.marks(SYSTEMS["sdcl"]), "after"]))
    names = study.publish_finished(experiment, folder / "kept", readme)
    assert names == [name for name in experiment.rows if name in done]
    return folder / "kept", readme.read_text(), experiment


def test_a_system_with_video_is_asked_under_every_condition(tmp_path, monkeypatch):
    kept, readme, experiment = published(tmp_path, monkeypatch, SDCL_ROWS)
    assert {path.name for path in kept.iterdir()} == KEPT | UNDER
    scores = pd.read_csv(kept / "robustness.csv")
    rows = ["sdcl", "psta", "sdcl_events", "sdcl_degraded", "psta_degraded"]
    asked = set(zip(scores["kind"], scores["severity"], strict=True))
    assert asked == {("clean", 0), *((kind, 3) for kind in KINDS)}
    assert len(scores) == len(asked) * len(rows) + 1 and scores["row"].drop_duplicates().tolist() == rows
    assert not scores.duplicated(["row", "kind", "severity", "events", "shuffled"]).any()
    assert scores[scores["shuffled"]][["row", "kind"]].values.tolist() == [["sdcl", "clean"]]
    clean = scores[(scores["kind"] == "clean") & ~scores["shuffled"]].set_index("row")["mean"]
    for name in rows:
        assert clean[name] == pytest.approx(experiment.average_precisions(name).mean(), abs=1e-3)
    found = pd.read_csv(kept / "claims.csv")
    assert len(found) == 18 and set(found["verdict"]) <= {"yes", "no", "not told", "not told from its level"} and set(found["seeds"]) == {2}
    assert found["claim"].str.contains("SDCL (frames + events)", regex=False).sum() == 9
    page = (kept / "README.md").read_text()
    assert page.startswith("# The latest study of SDCL\n") and "](robustness.png)" in page and "rows not finished yet: none" in page
    for sentence in (line for line in page.splitlines() if "(low light 3 video)" in line):
        assert sentence in readme
    assert page.count("(low light 3 video)") == 4


def test_only_the_systems_own_part_of_the_readme_is_written(tmp_path, monkeypatch):
    _, readme, _ = published(tmp_path, monkeypatch, ["sdcl", "psta", "fusion_none"])
    first, second = (study.marks(SYSTEMS[name]) for name in ("s3ce_net", "sdcl"))
    assert readme.startswith("\n".join(["before", *first, "between", second[0]])) and readme.endswith("\n".join(["", second[1], "after"]))
    assert "| PSTA (frames alone) |" in readme and "no exchange" in readme


@pytest.mark.parametrize("missing", ["sdcl", "sdcl_events"])
def test_conditions_wait_for_the_main_rows(missing, tmp_path, monkeypatch):
    kept, readme, _ = published(tmp_path, monkeypatch, [name for name in SDCL_ROWS if name != missing])
    assert {path.name for path in kept.iterdir()} == KEPT and "video)" not in readme
    assert "robustness.png" not in (kept / "README.md").read_text()


def test_rows_on_degraded_video_may_still_be_missing(tmp_path, monkeypatch):
    kept, _, _ = published(tmp_path, monkeypatch, SDCL_ROWS[:5])  # half of the second trio
    assert len(pd.read_csv(kept / "claims.csv")) == 9
    assert set(pd.read_csv(kept / "robustness.csv")["row"]) == {"sdcl", "psta", "sdcl_events", "psta_degraded"}


def test_a_system_of_events_has_no_conditions_though_there_is_video(tmp_path, monkeypatch):
    done = ("resnet18_events", "sew_resnet18", "s3ce_net")
    kept, readme, _ = published(tmp_path, monkeypatch, done, method="s3ce_net")
    assert {path.name for path in kept.iterdir()} == KEPT
    assert "| S3CE-Net (SSAM + STFS) |" in readme.split("between")[0] and "SDCL" not in readme.split("between")[1].replace("sdcl", "")


def test_the_command_line_writes_a_folder_per_system(tmp_path, monkeypatch, capsys):
    written = []

    def publish(experiment, folder, readme):
        written.append((experiment.method, experiment.preset, experiment.seeds, folder, readme))
        return ["a", "b"]

    monkeypatch.setattr(study, "publish_finished", publish)
    study.main(["--folder", str(tmp_path), "--readme", "README.md"])
    expected = [(name, "study", [0, 1, 2], tmp_path / name, "README.md") for name in SYSTEMS]
    assert written == expected
    study.main(["--folder", str(tmp_path), "--readme", "README.md", "--method", "fusion_none"])
    assert written == [*expected, expected[1]]
    study.main(["--folder", str(tmp_path), "--dataset", "event_reid"])
    assert [name for name, *_ in written[len(SYSTEMS) + 1 :]] == ["s3ce_net"]
    titles = [system.title for system in SYSTEMS.values()]
    assert capsys.readouterr().out.splitlines() == [f"{title}, finished: a, b" for title in (*titles, "SDCL", "S3CE-Net")]


@pytest.mark.parametrize(("method", "baseline"), [("s3ce_net", "sew_resnet18"), ("sdcl", "psta")])
def test_every_system_waits_for_its_baseline(method, baseline, tmp_path, monkeypatch):
    experiment = SmallExperiment(tmp_path, video=True, method=method)
    monkeypatch.setattr(experiment, "is_trained", lambda name, seed: name == method)
    with pytest.raises(ValueError, match=f"{baseline} must be trained first; finished in .*: {method}"):
        study.publish_finished(experiment, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_nothing_to_compare_with_is_refused(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "is_trained", lambda name, seed: False)
    with pytest.raises(ValueError, match=r"sew_resnet18 must be trained first; finished in .*: nothing"):
        study.publish_finished(experiment, tmp_path)
