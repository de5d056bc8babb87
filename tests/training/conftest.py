"""One thread on the CPU, a toy store, and the uninterrupted run that others are compared with."""

import pytest
import torch
from test_evaluation import ToyStore
from toy_training import INDEX, Run, run_training

import reidlib.training as training


@pytest.fixture(autouse=True)
def plain_cpu(monkeypatch):
    """One thread on the CPU, where sums are taken in the same order every time."""
    before, fabric = torch.get_num_threads(), training.Fabric
    torch.set_num_threads(1)
    monkeypatch.setattr(training, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store() -> ToyStore:
    return ToyStore(INDEX)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory) -> Run:
    """The uninterrupted run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    fabric = training.Fabric
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))
        model = run_training(store, folder)
    torch.set_num_threads(threads)
    return Run(folder, {name: value.clone() for name, value in model.state_dict().items()})
