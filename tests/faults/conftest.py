"""One thread on the CPU for everything that is started here: neither a GPU nor more threads give the same bytes."""

from collections.abc import Iterator

import pytest
import torch

import reidlib.training as training


@pytest.fixture(autouse=True, scope="module")
def one_thread_on_the_cpu() -> Iterator[None]:
    before, fabric = torch.get_num_threads(), training.Fabric
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))
        yield
    torch.set_num_threads(before)
