"""What the Snakefile would run, asked by dry runs: which trainings and which notebooks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reidlib.ablations import SYSTEMS, row
from reidlib.ablations.plan import main as list_trainings
from reidlib.ablations.plan import plan
from reidlib.events import Events, write

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
VIDEO = "05_attention_video"


def dry_run(folder: Path, *settings: str, target: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """A dry run in a folder that only points to the checkout and holds no results."""
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("notebooks", "reidlib"):
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-n", *target, "--config", *settings]
    return subprocess.run(command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200)


def planned(folder: Path, *settings: str, target: tuple[str, ...] = ()) -> tuple[set[str], set[str]]:
    """Trainings as "ROW SEED", and notebooks."""
    done = dry_run(folder, *settings, target=target)
    said = done.stdout + done.stderr
    assert not done.returncode, said
    trainings = re.findall(r"^rule train(?:_first)?:.*?wildcards: row=(\w+), seed=(\d+)", said, re.MULTILINE | re.DOTALL)
    notebooks = set(re.findall(r"^notebook_(\w+)\s", said, re.MULTILINE))
    return {f"{name} {seed}" for name, seed in trainings}, notebooks


def test_a_method_plans_the_trainings_of_its_system_alone(tmp_path):
    rows = [one.name for one in SYSTEMS["sdcl"].rows]
    trainings, _ = planned(tmp_path, "preset=study", "method=sdcl", "seed=4")
    assert trainings == {f"{name} {seed}" for name in rows for seed in (4, 5, 6)}


def test_without_a_method_the_trainings_of_the_systems_shown_are_planned(tmp_path):
    found = plan("demo", "walkers")
    rows = [name for system in found.shown for name in found.rows[system]]
    starts = {row(name).start for name in rows} - {""}
    trainings, notebooks = planned(tmp_path, "preset=demo", "method=")
    assert trainings == {f"{name} 0" for name in {*rows, *starts}} and {"sdcl 0", "s3ce_net 0", "s3ce_net_relu 0"} <= trainings
    assert notebooks == NOTEBOOKS - {"00_your_data", VIDEO}


def test_a_notebook_about_one_system_waits_for_no_other(tmp_path):
    notebook = ("reports/walkers-demo/notebooks/05_attention_sdcl.ipynb",)
    assert planned(tmp_path, "preset=demo", target=notebook) == ({"sdcl 0", "psta 0", "sdcl_events 0"}, {"01_data", "05_attention_sdcl"})


def test_every_system_is_planned_for_the_method_all(tmp_path):
    trainings, notebooks = planned(tmp_path, "preset=demo", "method=all")
    assert {name.split()[0] for name in trainings} >= set(SYSTEMS) and notebooks == NOTEBOOKS - {"00_your_data"}


def test_own_data_is_shown_first_and_both_systems_are_trained(tmp_path):
    trainings, notebooks = planned(tmp_path, "preset=demo", "dataset=own", "data=somewhere")
    assert notebooks == NOTEBOOKS - {VIDEO} and {"sdcl 0", "s3ce_net 0"} <= trainings


def test_own_recordings_without_video_need_a_method_that_does_without(tmp_path, capsys):
    for i, place in enumerate(f"{person}/{camera}" for person in "abcd" for camera in "12"):
        t = np.arange(50) * 1000
        (tmp_path / place).mkdir(parents=True)
        write(Events(t % 7, t % 5, t + i, t % 2, 20, 30), tmp_path / place / "walk.h5")
    asked = ["--dataset", "own", "--preset", "demo", "--data", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        list_trainings(asked)
    said = capsys.readouterr()
    assert ended.value.code == 1 and not said.out
    assert f"all tracklets of {tmp_path} hold events without video, which sdcl needs: add METHOD=s3ce_net" in said.err
    list_trainings([*asked, "--method", "s3ce_net"])
    assert "s3ce_net 0 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        (("method=sdcl",), {"05_attention", VIDEO}),
        (("method=ssam",), {"05_attention_sdcl", "06_robustness", VIDEO}),
        (("method=tclnet",), {"05_attention", "05_attention_sdcl", "06_robustness"}),
        (("dataset=event_reid",), {"05_attention_sdcl", "06_robustness", VIDEO}),  # no video
    ],
)
def test_a_notebook_whose_system_is_not_trained_is_left_out(tmp_path, settings, left_out):
    assert planned(tmp_path, "preset=tiny", *settings)[1] == NOTEBOOKS - left_out


def test_a_method_that_is_not_trained_is_named_before_anything_runs(tmp_path):
    done = dry_run(tmp_path, "preset=tiny", "method=nonsense")
    assert done.returncode and "METHOD 'nonsense' is not a row of preset 'tiny' of walkers" in done.stdout + done.stderr
