"""Damaged recordings in every format: one clear error or well-formed events, and a cut is never a shorter recording in silence."""

import pytest
from reading import Reader, fuzz
from recording_files import EVENTS, FORMATS, well_formed


@pytest.fixture(scope="module")
def reader():
    process = Reader("recording_files")
    yield process
    process.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_recordings(reader, name, tmp_path):
    fuzz(reader, name, FORMATS[name], tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_whole_recordings(reader, name, tmp_path):
    FORMATS[name].write(tmp_path)
    assert reader.read(name, tmp_path).value[2:] == well_formed(EVENTS)[2:]
