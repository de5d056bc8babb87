"""Every plot test runs with the library's style, and leaves matplotlib as it was."""

import matplotlib as mpl
import pytest

from reidlib.plots import use_style


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context():
        use_style()
        yield
