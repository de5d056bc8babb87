"""Damaged stores, weights, checkpoints, settings and exports of our own: one clear error, or the same."""

import pytest
from kept_files import FORMATS
from reading import Reader, fuzz


@pytest.fixture(scope="module")
def reader():
    process = Reader("kept_files")
    yield process
    process.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_that_reidlib_keeps(reader, name, tmp_path):
    fuzz(reader, name, FORMATS[name], tmp_path)
