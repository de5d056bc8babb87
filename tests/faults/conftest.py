"""One thread on the CPU for everything that is started here, and the two forms of the suite."""

import os

import pytest

#: `make test-full`: the long form.
FULL = bool(os.environ.get("REIDLIB_FULL"))


@pytest.fixture(autouse=True)
def one_thread_on_the_cpu(one_thread, monkeypatch):
    """Children inherit it; a GPU would not give the same bytes."""
    import reidlib.training as training

    fabric = training.Fabric
    monkeypatch.setattr(training, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))
