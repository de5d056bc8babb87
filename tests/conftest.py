"""Shared fixtures: where the optional real data lies, and how many threads a test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SLOW_FILES = ("test_pipeline.py",)  # minutes long: started last, one core would wait for the other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow files first; the rest keeps its order (`make test` tells xdist not to reorder)."""
    items.sort(key=lambda item: item.path.name not in SLOW_FILES)


@pytest.fixture
def one_thread():
    """One thread for torch, so that sums are taken in one order; for files that ask for it with `usefixtures`."""
    import torch  # most tests do without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with `event_reid_sample/` and `cmu_walks/`; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("REIDLIB_SHARED", ROOT.parent / "shared" / "data"))
    if not (folder / "event_reid_sample").is_dir():
        pytest.skip(f"real data not found at {folder} (set REIDLIB_SHARED to the folder that holds event_reid_sample/)")
    return folder
