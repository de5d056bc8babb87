"""Pictures: what is written is read, and a damaged file gives one error or the right pixels."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_sets import moving
from PIL import Image

from reidlib.datasets.pictures import read_picture, resize_picture, to_grey

FRAME = moving(1, 24, 16, seed=0)[0]
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_round_trip(tmp_path):
    Image.fromarray(FRAME).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), FRAME)
    Image.fromarray(FRAME).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - FRAME).mean() < 8
    grey = FRAME[..., 0]
    Image.fromarray(grey).save(tmp_path / "g.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "g.png"), np.repeat(grey[..., None], 3, axis=2))
    flat = Image.fromarray(FRAME // 64 * 64).quantize(64)
    flat.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), np.array(flat.convert("RGB")))


def test_refused_pictures(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no picture at .*none.png"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("0001.png")
    with pytest.raises(ValueError, match=r"text.png cannot be read as a picture: cannot identify"):
        read_picture(tmp_path / "text.png")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.jpg cannot be read as a picture"):
        read_picture(tmp_path / "empty.jpg")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep.png .*mode I;16 is none of 1, L, P, RGB"):
        read_picture(tmp_path / "deep.png")
    Image.new("1", (9000, 1)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"9000 x 1 pixels, more than 8192"):
        read_picture(tmp_path / "wide.png")


@FEW
@given(st.integers(0, 10**9), st.integers(0, 7))
def test_a_png_with_a_flipped_bit_is_refused_or_right(tmp_path, place, bit):
    Image.fromarray(FRAME).save(tmp_path / "whole.png")
    data = bytearray((tmp_path / "whole.png").read_bytes())
    data[place % len(data)] ^= 1 << bit
    assert_refused_or_right(tmp_path / "flipped.png", data, FRAME)


@FEW
@given(st.integers(0, 10**9))
def test_a_truncated_png_is_refused_or_right(tmp_path, place):
    Image.fromarray(FRAME).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    assert_refused_or_right(tmp_path / "cut.png", data[: place % len(data)], FRAME)


def assert_refused_or_right(path, data, expected):
    path.write_bytes(data)
    try:
        found = read_picture(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        np.testing.assert_array_equal(found, expected)


@FEW
@given(st.integers(0, 10**9), st.integers(0, 7), st.booleans())
def test_a_damaged_jpeg_is_refused_or_a_picture(tmp_path, place, bit, cut):
    """JPEG has no checksum: wrong pixels cannot be told, another kind of failure can."""
    Image.fromarray(FRAME).save(tmp_path / "whole.jpg")
    data = bytearray((tmp_path / "whole.jpg").read_bytes())
    data[place % len(data)] ^= 1 << bit
    (tmp_path / "bad.jpg").write_bytes(data[: place % len(data)] if cut else data)
    try:
        found = read_picture(tmp_path / "bad.jpg")
    except ValueError as error:
        assert "bad.jpg" in str(error)
    else:
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3 and (not cut or found.shape == FRAME.shape)


def test_resizing_keeps_what_needs_none_and_the_mean():
    assert resize_picture(FRAME, 24, 16) is FRAME
    small = resize_picture(FRAME, 12, 8)
    assert small.shape == (12, 8, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small.mean(axis=(0, 1)), FRAME.mean(axis=(0, 1)), atol=3)
    flat = np.full((10, 7, 3), (10, 200, 90), np.uint8)
    assert (resize_picture(flat, 31, 5) == (10, 200, 90)).all()


def test_grey_is_the_luma_of_its_colours():
    expected = FRAME.astype(float) @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(to_grey(FRAME[None])[0], expected, atol=1)
    equal = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)[None]  # [1, 256, 1, 3]
    np.testing.assert_array_equal(to_grey(equal)[0, :, 0], np.arange(256))
