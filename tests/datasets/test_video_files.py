"""Time order, list files and .mat files."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from reidlib.datasets.video_files import find, folders_in, frames_in, images_in, read_lines, read_mat, read_positions, time_order


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 10**6), unique=True, max_size=20),
    st.integers(0, 8),
    st.sampled_from(["{}.jpg", "0001C2F{}X7.jpg", "a_{}_b.png"]),
)
def test_time_order_is_the_order_of_the_numbers(numbers, width, pattern):
    names = {pattern.format(f"{number:0{width}d}"): number for number in numbers}
    assert [names[name] for name in sorted(names, key=time_order)] == sorted(numbers)


@given(st.lists(st.text("a1_0.²", max_size=6), unique=True, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_time_order_is_total_for_any_names(names, random):
    """Digits at the start, none at all, the same number written in two ways: never an error, never a tie."""
    shuffled = names[:]
    random.shuffle(shuffled)
    assert sorted(shuffled, key=time_order) == sorted(names, key=time_order)


def test_images_are_told_from_other_files(tmp_path):
    for name in ("10.jpg", "9.JPG", "2.jpeg", "1.png", "3.bmp", ".DS_Store", "._1.png", "Thumbs.db", "4.txt", "jpg"):
        (tmp_path / name).touch()
    assert images_in(tmp_path) == ["1.png", "2.jpeg", "3.bmp", "9.JPG", "10.jpg"]
    assert frames_in(tmp_path.parent, tmp_path.name)[0] == f"{tmp_path.name}/1.png"
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no folders"):
        folders_in(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*gone"):
        images_in(tmp_path / "gone")


def test_the_first_place_that_exists_is_found(tmp_path):
    (tmp_path / "b").mkdir()
    assert find(tmp_path, "a", "b") == tmp_path / "b"
    with pytest.raises(FileNotFoundError, match=r"holds no a and no c; it holds 'b'\. Is this"):
        find(tmp_path, "a", "c")


def test_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n second \r\nthird\r\n\r\n")
    assert read_lines(path) == ["first", "second", "third"]
    path.write_text("first\n\nthird\n")
    with pytest.raises(ValueError, match=r"line 2 of .*list.txt is empty"):
        read_lines(path)
    path.write_text("")
    with pytest.raises(ValueError, match=r"line 1 of .*list.txt is empty"):
        read_lines(path)
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"list.txt is not UTF-8 text"):
        read_lines(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.txt"):
        read_lines(tmp_path / "gone.txt")


def write(path, key, array, version):
    """`array` as MATLAB has it, in either version of the format."""
    if version == 5:
        savemat(path, {key: array})
    else:
        with h5py.File(path, "w") as file:
            file[key] = np.transpose(array)
            file.create_group("#refs#")


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8])
def test_a_mat_file_is_read_in_matlabs_orientation(tmp_path, version, dtype):
    table = np.arange(6).reshape(2, 3)
    write(tmp_path / "a.mat", "table", table.astype(dtype), version)
    found = read_mat(tmp_path / "a.mat", "table")
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, table)
    with pytest.raises(ValueError, match=r"a.mat has no array 'tabel'; it has table"):
        read_mat(tmp_path / "a.mat", "tabel")


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize("values", [[[1.5]], [[np.nan]], [[np.inf]], [[1 + 1j]]])
def test_only_whole_numbers_are_taken(tmp_path, version, values):
    write(tmp_path / "a.mat", "table", np.array(values), version)
    with pytest.raises(ValueError, match=r"table of .*a.mat must be a table of whole numbers, not (float|complex)"):
        read_mat(tmp_path / "a.mat", "table")


def test_other_files_are_no_mat_files(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"a": np.arange(5000.0) ** 1.5}, do_compression=True)
    whole = path.read_bytes()
    for content in (b"", b"<html>sign in</html>", b"<" * 500, whole[: len(whole) // 2], b"\x89HDF\r\n\x1a\n" + b"\0" * 40):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.mat cannot be read as a .mat file|a.mat has no array 'a'"):
            read_mat(path, "a")
    with pytest.raises(FileNotFoundError, match=r"no file .*b.mat"):
        read_mat(tmp_path / "b.mat", "a")


@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_positions_count_from_zero(tmp_path, shape):
    def positions(*numbers):
        savemat(tmp_path / "a.mat", {"query": np.reshape(np.array(numbers, float), shape)})
        return read_positions(tmp_path / "a.mat", "query", 5)

    assert positions(5, 1, 2) == [4, 0, 1]
    with pytest.raises(ValueError, match="names row 0 of 5: rows are numbered from 1"):
        positions(0, 1, 2)
    with pytest.raises(ValueError, match="names row 6 of 5"):
        positions(6, 1, 2)
    with pytest.raises(ValueError, match="names a row twice"):
        positions(2, 1, 2)
