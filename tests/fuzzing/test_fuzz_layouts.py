"""Damaged lists, .mat files, windows and chunks of the public sets; pictures that are missing or named in another encoding."""

import os

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layout_files import FORMATS, chunk_values
from reading import CASES, REFUSALS, Reader, fuzz
from scipy.io import loadmat, savemat

from reidlib.datasets.sdcl_events import read_chunk

MAT = [name for name, one in FORMATS.items() if one.file.endswith(".mat") and "7.3" not in name and name != "ls_vid queries"]
FOLDERS = ["prid2011 splits", "ilids_vid splits", "mars names", "ls_vid list", "evreid names"]
EVERY_CASE = settings(max_examples=CASES, deadline=None, derandomize=CASES <= 25, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def reader():
    process = Reader("layout_files")
    yield process
    process.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_lists_and_tables(reader, name, tmp_path):
    fuzz(reader, name, FORMATS[name], tmp_path)


def refusal(read) -> str:
    """The text of the clear error that reading ends in; "" where it does not."""
    try:
        read()
    except Exception as error:
        assert type(error) in REFUSALS, repr(error)
        return str(error)
    return ""


@pytest.mark.parametrize("name", MAT)
def test_wrong_keys_and_values_of_mat_files(name, tmp_path):
    """Every variable in turn renamed, of another shape or kind: an error that names the file, or the same rows."""
    found = FORMATS[name]
    found.write(tmp_path)
    path, whole = tmp_path / found.file, found.read(tmp_path)
    values = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    changes = st.sampled_from(["renamed", "missing", "text", "fractions", "flat", "empty", "cube", "complex", "negative", "huge"])

    @EVERY_CASE
    @given(key=st.sampled_from(sorted(values)), change=changes)
    def every_case(key, change):
        other, old = dict(values), values[key].astype(float)
        new = {"text": "text", "fractions": old + 0.5, "flat": old.reshape(1, -1), "empty": old[:0], "cube": old[..., None].repeat(2, 2),
               "complex": old + 1j, "negative": -old - 2, "huge": old * 1e18}.get(change)  # fmt: skip
        del other[key]
        if change != "missing":
            other[key[:20] + "_x" if change == "renamed" else key] = values[key] if change == "renamed" else new
        savemat(path, other)
        message = refusal(lambda: found.read(tmp_path))
        if not message:
            assert found.read(tmp_path) == whole or "sdcl" in name  # a chunk's times may be fractions, large, and without events at all
        else:
            assert path.name in message or any(word in message for word in found.named), message

    every_case()


@pytest.mark.parametrize("name", FOLDERS)
def test_missing_pictures_and_names_that_are_not_utf8(name, tmp_path):
    """Some pictures are gone, or renamed to bytes that are not UTF-8: an error, or rows without them where no list names them."""
    found = FORMATS[name]
    found.write(tmp_path)
    whole = found.read(tmp_path)
    listed = {file for row in whole for file in row[5]}
    pictures = sorted(path for path in tmp_path.rglob("*") if path.relative_to(tmp_path).as_posix() in listed)

    @EVERY_CASE
    @given(gone=st.sets(st.sampled_from(pictures), min_size=1, max_size=3), renamed=st.booleans())
    def every_case(gone, renamed):
        kept = {path: path.read_bytes() for path in gone}
        strange = {path: os.fsencode(path.with_suffix("")) + b"\xff\xfe" + os.fsencode(path.suffix) for path in gone}
        for path in gone:
            os.rename(path, strange[path]) if renamed else path.unlink()
        try:
            rows = []
            message = refusal(lambda: rows.extend(found.read(tmp_path)))
        finally:
            for path in gone:
                if renamed:
                    os.unlink(strange[path])
                path.write_bytes(kept[path])
        if message:
            assert str(tmp_path) in message or any(path.name in message for path in gone), message
            message.encode()  # it can be printed
        else:
            assert not renamed and not name.startswith(("mars", "evreid")), "listed pictures are missing in silence"
            lost = {path.relative_to(tmp_path).as_posix() for path in gone}
            assert {file for row in rows for file in row[5]} == listed - lost

    every_case()


def test_chunks_of_version_7_3_are_refused_whatever_their_state(tmp_path):
    path = tmp_path / "chunk.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in chunk_values().items():
            file[key] = value.T
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(content), min(CASES, 200)).tolist():
        path.write_bytes(content[:cut])
        assert "chunk.mat" in refusal(lambda: read_chunk(path))
    path.write_bytes(content)
    assert "save it with -v6 or -v7" in refusal(lambda: read_chunk(path))
