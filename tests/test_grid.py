"""A grid of trainings: what is planned, its leaderboard, and the same leaderboard from a one-node Slurm cluster."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from checkouts import ROOT

from reidlib.analysis.grid import board, main, page, planned

SLURM = {name: shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") for name in ("munged", "slurmctld", "slurmd", "sbatch")}
CONFIGURATION = Path("/etc/slurm/slurm.conf")  # its default place: jobs do not inherit another from the environment
MUNGE = Path("/run/munge")  # where its socket is looked for
GRID = ("preset=tiny", "datasets=walkers walkers_occluded", "rows=sew_resnet18 resnet_frames", "seeds=0 1")


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The grid's workflow in `folder`, where its runs and reports go."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "REIDLIB_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "grid.smk"), "--directory", str(folder), *arguments, "--config", *GRID]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=2400)


def test_a_start_is_planned_before_who_needs_it():
    assert list(planned("walkers", "study", ["s3ce_net"]).items()) == [("s3ce_net_relu", ""), ("s3ce_net", "s3ce_net_relu")]
    with pytest.raises(ValueError, match="rows 'nothing' is not a row of preset 'tiny' of walkers; choose one of"):
        planned("walkers", "tiny", ["nothing"])
    with pytest.raises(ValueError, match="rows 'sdcl' is not a row of preset 'tiny' of event_reid"):
        planned("event_reid", "tiny", ["sdcl"])


def test_a_place_without_its_data_set_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--dataset", "mars", "--rows", "s3ce_net", "--data", "/sets/mars"])
    assert "'/sets/mars' does not say which data set lies where: write it as mars=/folder/of/mars" in capsys.readouterr().err


def test_cells_that_are_not_trained_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table, missing = board(["walkers", "walkers_occluded"], ["sew_resnet18"], [0, 1], "tiny")
    assert table.empty and missing == [f"{name}, sew_resnet18, seed {seed}" for name in ("walkers", "walkers_occluded") for seed in (0, 1)]
    assert not (tmp_path / "data").exists()  # nothing was built to find that out
    cells = [{"dataset": "walkers", "title": "A", "seed": seed, "mAP": value, "Rank-1": value} for seed, value in ((0, 10.0), (1, 30.0))]
    text = page(pd.DataFrame([*cells, cells[0] | {"title": "B", "mAP": 25.0}]), missing[:1], "tiny")
    assert text.index("| walkers | B | 1 | 25.0 |") < text.index("| walkers | A | 2 | 20.0 | 14.1 |")
    assert "## Missing\n\n* walkers, sew_resnet18, seed 0" in text


def test_the_workflow_plans_one_job_per_cell(tmp_path):
    done = snakemake(tmp_path, "--dry-run", "--cores", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    counts = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
    # sew_resnet18 begins with the weights of its ReLU twin
    assert counts["data"] == "4" and counts["train"] == "12" and counts["leaderboard"] == "1"


@pytest.fixture
def slurm(tmp_path):
    """A cluster of this machine alone, gone when the test ends."""
    name, folder = socket.gethostname().split(".")[0], tmp_path / "slurm"
    for part in ("state", "spool"):
        (folder / part).mkdir(parents=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    lines = f"""ClusterName=one
        SlurmctldHost={name}
        SlurmUser=root
        SlurmdUser=root
        StateSaveLocation={folder}/state
        SlurmdSpoolDir={folder}/spool
        SlurmctldPidFile={folder}/slurmctld.pid
        SlurmdPidFile={folder}/slurmd.pid
        SlurmctldLogFile={folder}/slurmctld.log
        SlurmdLogFile={folder}/slurmd.log
        ProctrackType=proctrack/pgid
        TaskPlugin=task/none
        SelectType=select/cons_tres
        SelectTypeParameters=CR_CPU
        ReturnToService=2
        NodeName={name} CPUs={os.cpu_count()} RealMemory={memory}
        PartitionName=main Nodes={name} Default=YES MaxTime=INFINITE State=UP
        """
    CONFIGURATION.write_text("\n".join(line.strip() for line in lines.splitlines()))
    MUNGE.mkdir(exist_ok=True)
    shutil.chown(MUNGE, "munge", "munge")
    started = [subprocess.Popen([SLURM["munged"], "--foreground"], stderr=subprocess.DEVNULL, user="munge", group="munge")]
    try:
        time.sleep(2)
        started += [
            subprocess.Popen([SLURM[daemon], "-D"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for daemon in ("slurmctld", "slurmd")
        ]
        until = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
            assert time.monotonic() < until, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(1)
        yield
    finally:
        for daemon in reversed(started):
            daemon.terminate()
        for daemon in started:
            daemon.wait(30)
        CONFIGURATION.unlink()


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("REIDLIB_FULL"), reason="the long form: make test-full")
@pytest.mark.skipif(
    None in SLURM.values() or os.geteuid() != 0, reason="needs Slurm and munge (Debian: slurm-wlm, munge), and root to start them"
)
@pytest.mark.skipif(CONFIGURATION.exists(), reason=f"{CONFIGURATION} is somebody's")
def test_slurm_gives_the_leaderboard_of_the_local_run(tmp_path, slurm):
    """2 data sets x 2 rows x 2 seeds, byte for byte."""
    boards = {}
    for name, arguments in (("local", ("--cores", "2")), ("slurm", ("--profile", str(ROOT / "profiles/slurm"), "--latency-wait", "10"))):
        (folder := tmp_path / "grid" / name).mkdir(parents=True)
        done = snakemake(folder, *arguments)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        boards[name] = (folder / "reports/grid-tiny/leaderboard.csv").read_bytes()
    table = pd.read_csv(tmp_path / "grid/local/reports/grid-tiny/leaderboard.csv")
    assert len(table) == 8 and table["mAP"].between(0, 100).all()
    assert boards["local"] == boards["slurm"]
