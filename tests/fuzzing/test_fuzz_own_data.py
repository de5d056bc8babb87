"""Damaged tables, boxes, pictures, videos and motion files: one clear error, or what is left is well formed and was warned of."""

import pytest
from own_data_files import FORMATS
from reading import Reader, fuzz


@pytest.fixture(scope="module")
def reader():
    process = Reader("own_data_files")
    yield process
    process.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_data_of_ones_own(reader, name, tmp_path):
    fuzz(reader, name, FORMATS[name], tmp_path)
