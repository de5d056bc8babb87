"""Several processes against one: the same gradients, statistics, losses and weights; every tracklet embedded once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_every_model import SMALL

from reidlib import processes
from reidlib.models import MODELS
from reidlib.models.layers.synced_norm import synced

HERE = Path(__file__).parent
HELPERS = [str(folder) for folder in (HERE, HERE.parent, HERE.parent / "models")]


def run_group(count: int, folder: Path) -> dict:
    """What `group_member.py` finds in `count` processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(HELPERS), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, str(HERE / "group_member.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("one")
    return folder, run_group(1, folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("two")
    return folder, run_group(2, folder)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_two_processes_is_that_of_one(one, two, name):
    """Losses that compare clips see the whole batch, and so does every BatchNorm; in double precision, where no spike is on the edge."""
    alone, together = one[1]["steps"][name], two[1]["steps"][name]
    assert one[1]["processes"] == 1 and two[1]["processes"] == 2
    assert alone.keys() == together.keys() and any(key.startswith("gradient") for key in alone)
    for key, expected in alone.items():
        scale = max(1e-3, float(expected.double().abs().max()))
        torch.testing.assert_close(together[key], expected, rtol=1e-6, atol=1e-8 * scale, msg=lambda text, key=key: f"{key}: {text}")


def test_training_and_embeddings_agree(one, two):
    (alone, found), (together, others) = one, two
    histories = [pd.read_csv(folder / "training" / "metrics.csv") for folder in (alone, together)]
    rates = [column for column in histories[0] if column.startswith("rate/")]  # shares of unequal size count equally in their means
    pd.testing.assert_frame_equal(*(table.drop(columns=rates) for table in histories), rtol=1e-3, atol=1e-4)
    pd.testing.assert_frame_equal(*(table[rates] for table in histories), rtol=0.2, atol=1e-3)
    assert histories[0]["validation_mAP"].notna().sum() == 2
    weights = [torch.load(folder / "training" / "model.pt", weights_only=True) for folder in (alone, together)]
    assert weights[0].keys() == weights[1].keys()
    np.testing.assert_allclose(others["embeddings"], found["embeddings"], atol=1e-3)
    assert len(found["embeddings"]) == len(others["embeddings"]) and sorted(path.name for path in together.iterdir()) == [
        "found.pt",
        "training",
    ]


@given(st.integers(0, 40), st.integers(1, 9))
def test_shares_are_everything_once_and_nearly_equal(items, count):
    shares = []
    for place in range(count):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "count", lambda: count)
            patch.setattr(processes, "rank", lambda place=place: place)
            shares.append(processes.own_range(items))
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 4)
    with pytest.raises(ValueError, match="a batch of 6 clips cannot be shared equally by 4 processes"):
        processes.OwnBatches([[0] * 6], 6)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    assert list(processes.OwnBatches([list(range(8)), list(range(8, 16))], 8)) == [[2, 3], [10, 11]]


def test_without_a_group_everything_is_as_it_was():
    rows = torch.rand(3, 2, requires_grad=True)
    assert processes.count() == 1 and processes.fabric_options() == {"devices": 1}
    assert processes.gathered(rows) is rows and processes.summed(rows) is rows and processes.from_first(lambda: 7) == 7
    assert processes.own_range(5) == range(5) and processes.joined(np.eye(2)).shape == (2, 2)
    assert processes.mean_numbers({"a": 2.0}) == {"a": 2.0} and set(SMALL) == set(MODELS)
    with pytest.raises(ValueError, match="table of tracklets empty"):
        processes.joined(None)


def test_a_norm_that_keeps_no_statistics_is_synchronised_too(monkeypatch):
    norm, x = torch.nn.BatchNorm1d(3, track_running_stats=False), torch.rand(8, 3)
    alone = norm(x)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "summed", lambda values: 2 * values)  # the other process holds the same rows
    torch.testing.assert_close(synced(norm)(x), alone)
