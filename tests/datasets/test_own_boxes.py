"""Own data in long recordings with boxes: which tracklets, which events, which pixels, and every problem of the boxes."""

import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_boxes import moving_boxes, overlap
from own_samples import STREET, walk, write_boxes, write_events, write_street
from PIL import Image

from reidlib.datasets.own_boxes import Track, cut_events, cut_picture, typical_size
from reidlib.datasets.own_checks import Problems
from reidlib.datasets.own_data import OwnSettings, build, check, find, make
from reidlib.datasets.own_video import Pictures, Video
from reidlib.datasets.walkers import crop_events
from reidlib.events import Events, Recording, read

VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
HEADER = "frame,id,x,y,w,h,conf\n"


def built(data, tmp_path, **options):
    return build(data, OwnSettings(**options), tmp_path / "own.h5", workers=1)


def two_cameras(root, frames=30, people=("1", "2", "3", "4")):
    """Two streets, each with people on the same path, one box a frame; 10 frames a second."""
    for camera in ("left", "right"):
        write_street(root / camera, frames)
        write_boxes(root / f"{camera}.txt", [row for person in people for row in walk(person, range(1, frames + 1))])
    return write_boxes(root / "cameras.csv", [(c, c, f"{c}.txt", 10) for c in ("left", "right")], "camera,source,boxes,fps\n")


def test_videos_with_boxes_become_these_tracklets(tmp_path):
    store = built(two_cameras(tmp_path), tmp_path)
    assert store.index["key"].tolist() == [f"p000{person}/c{camera}/t0" for camera in (0, 1) for person in (1, 2, 3, 4)]
    assert store.index["subset"].value_counts().to_dict() == {"train": 4, "query": 2, "gallery": 2}
    assert (store.index["width"] == 8).all() and (store.index["height"] == 16).all() and (store.index["frames"] == 30).all()
    key = "p0001/c0/t0"
    facts = store.attributes(key)
    assert facts["frames"] == [1, 30] and facts["camera"] == "left" and store.interval(key) == (0, 2_900_000)
    assert facts["box"][:2] == [[0, 10, 8, 16], [1, 10, 8, 16]]
    assert (store.frames(key) == 120).all()  # the box holds the block and nothing else


def test_a_background_at_rest_is_silent_in_a_moving_box(tmp_path):
    """Boxes that move over a still street: only the sensor's own noise is left. The same film as crops is full of events."""
    write_street(tmp_path / "still", 1)
    for i in range(2, 31):
        (tmp_path / "still" / f"{i:06d}.png").write_bytes((tmp_path / "still" / "000001.png").read_bytes())
    rows = [row for person in "1234" for row in walk(person, range(1, 31), x=10, y=20)]
    write_boxes(tmp_path / "still.csv", rows)
    store = built(tmp_path / "still.csv", tmp_path)
    crops = tmp_path / "crops"
    for key in store.index["key"]:
        (crops / key).mkdir(parents=True)
        for i, picture in enumerate(store.frames(key)):
            Image.fromarray(picture).save(crops / key / f"{i}.png")
    moving = build(crops, OwnSettings(cameras=False), tmp_path / "crops.h5", 1)
    assert 20 * store.index["events"].sum() < moving.index["events"].sum()


def test_one_recording_is_found_by_name_and_tracks_are_halved(tmp_path):
    write_street(tmp_path / "street", 40)
    write_boxes(tmp_path / "street.csv", [row for person in "1234" for row in walk(person, range(1, 41))], HEADER)
    store = built(tmp_path / "street.csv", tmp_path, fps=20)
    assert store.index["key"].tolist() == [f"p000{person}/t{n}" for person in (1, 2, 3, 4) for n in (0, 1)]
    assert [store.attributes(key)["frames"] for key in store.index["key"][:2]] == [[1, 20], [21, 40]]
    assert any("one camera only (street)" in what for what in check(tmp_path / "street.csv", fps=20)["what"])


def test_a_column_source_names_the_recordings(tmp_path):
    path = two_cameras(tmp_path)
    rows = [(*row, c) for c in ("left", "right") for person in "1234" for row in walk(person, range(1, 31))]
    path = write_boxes(tmp_path / "all.csv", rows, "frame,person,x,y,w,h,conf,source\n")
    first, second = built(tmp_path / "cameras.csv", tmp_path, fps=None), build(path, OwnSettings(fps=10), tmp_path / "all.h5", 1)
    assert second.index.drop(columns="events").equals(first.index.drop(columns="events"))
    for key in first.index["key"]:
        assert second.events(key) == first.events(key)
    write_boxes(path, [(*row[:-1], "") if i == 3 else row for i, row in enumerate(rows)], "frame,person,x,y,w,h,conf,source\n")
    assert check(path)[["where", "what"]].values.tolist()[0] == ["all.csv, row 5", "boxes without a source"]


def tracklets(tmp_path, rows, header="", **options):
    """[(id, first, last)] of boxes on a street of 60 frames at 10 per second, and the problems."""
    if not (tmp_path / "street").is_dir():
        write_street(tmp_path / "street", 60)
    data = write_boxes(tmp_path / "street.csv", rows, header)
    problems = Problems()
    found = find(data, OwnSettings(fps=10, **options), problems).rows
    return [(r["what"]["id"], r["what"]["first"] + 1, r["what"]["last"] + 1) for r in found], problems.table()


def test_tracks_are_split_at_long_gaps_and_bridged_over_short_ones(tmp_path):
    rows = walk("1", [*range(1, 11), *range(14, 21), *range(41, 51)]) + walk("2", range(1, 41)) + walk("3", [7, 8])
    found, problems = tracklets(tmp_path, rows)
    assert found == [("1", 1, 20), ("1", 41, 50), ("2", 1, 20), ("2", 21, 40)]
    said = dict(zip(problems["what"], problems["where"], strict=True))
    assert said["gaps of more than 10 frames, where tracks are split (the first: id 1, frames 21 to 40)"] == "street.csv, row 18"
    assert said["gaps of up to 10 frames, bridged by linear interpolation"] == "street.csv, row 11"
    assert said["tracks of fewer than 5 frames, left out"] == "street.csv, rows 68, 69"
    assert tracklets(tmp_path, rows, max_gap=2)[0] == [("1", 1, 10), ("1", 14, 20), ("1", 41, 50), ("2", 1, 20), ("2", 21, 40)]
    assert tracklets(tmp_path, rows, max_gap=20)[0][:2] == [("1", 1, 25), ("1", 26, 50)]
    assert tracklets(tmp_path, rows, shortest=1, longest=1.5)[0] == [
        ("1", 1, 10), ("1", 11, 20), ("1", 41, 50), ("2", 1, 13), ("2", 14, 26), ("2", 27, 40)]  # fmt: skip


def test_every_problem_of_boxes_is_named_with_its_row(tmp_path):
    rows = [
        *walk("1", range(1, 31)), *walk("2", range(1, 31)),  # 2 to 61
        (5, "1", 1, 1, 8, 16, 1), (6, -1, 1, 1, 8, 16, 1), (7, "3", 1, 1, 8, 16, 0), ("8.5", "3", 1, 1, 8, 16, 1), (0, "3", 1, 1, 8, 16, 1),
        (9, "3", "left", 1, 8, 16, 1), (9, "3", 1, 1, 0, 16, 1), (61, "3", 1, 1, 8, 16, 1), (9, "3", 61, 1, 8, 16, 1),
        (9, "4", -7.5, 1, 8, 16, 1), (9, "5", -6.4, 35, 8, 16, 1), (9, "5"),
    ]  # fmt: skip
    _, problems = tracklets(tmp_path, rows, HEADER)
    said = dict(zip(problems["what"], problems["where"], strict=True))
    expected = {
        "two boxes of one id in one frame (the first: id 1, frame 5)": "rows 6, 62",
        "boxes without an identity (-1: a detector's, not a tracker's)": "row 63",
        "frame is not a whole number from 1 on: '8.5'": "rows 65, 66",
        "x is not a number: 'left'": "row 67",
        "w is not a number above 0: '0'": "row 68",
        "frames after the last one, 60": "row 69",
        "rows without the 7 cells of the table": "row 73",
        "conf 0: marked as not to be used, left out": "row 64",
        "empty crops: boxes wholly outside the picture (60 x 40), left out": "rows 70, 71",
        "boxes partly outside the picture (60 x 40): the missing part stays empty": "row 72",
        "tracks of fewer than 5 frames, left out": "row 72",
    }
    assert {what: said.get(what) for what in expected} == {what: f"street.csv, {rows}" for what, rows in expected.items()}
    assert (problems["severity"] == "error").sum() == 8
    with pytest.raises(ValueError, match=r"street.csv has 8 errors:(?s:.*)rows 65, 66"):
        built(tmp_path / "street.csv", tmp_path, fps=10)


def test_files_that_do_not_fit_are_named(tmp_path):
    write_boxes(tmp_path / "a.csv", walk("1", range(1, 9)))
    assert check(tmp_path / "a.csv")["what"].tolist()[0] == "no recording to these boxes"
    assert "no such recording" in check(tmp_path / "a.csv", source="b.avi")["what"].iloc[0]
    table = write_boxes(tmp_path / "t.csv", [("gone.avi", "a.csv", 10), ("a.csv", "gone.csv", "x")], "source,boxes,fps\n")
    assert check(table)[["where", "what"]].values.tolist()[:2] == [
        ["t.csv, row 3", "fps is not a number from 0.001 on: 'x'"],
        ["t.csv, row 2", "no such file: 'gone.avi'"],
    ]
    write_street(tmp_path / "a", 3)
    write_events(tmp_path / "a.h5")
    assert "several recordings bear its name: a, a.h5" in set(check(tmp_path / "a.csv")["what"])
    assert any("has no frames: give fps" in what for what in check(tmp_path / "a.csv", source="a.h5")["what"])
    (tmp_path / "empty").mkdir()
    assert any("holds no pictures" in what for what in check(tmp_path / "a.csv", source="empty")["what"])
    write_boxes(tmp_path / "a.csv", [(1, 2, 3)], "frame,id,x\n")
    assert "are no known table" in check(tmp_path / "a.csv")["what"].iloc[0]


def test_boxes_half_outside_leave_the_missing_part_empty():
    picture = np.full((40, 60, 3), 7, np.uint8)
    cut = cut_picture(picture, np.array([-3, 30, 8, 16]), (8, 16))
    assert cut.shape == (16, 8, 3) and (cut[:10, 3:] == 7).all()
    assert cut[10:].sum() == cut[:, :3].sum() == 0
    assert cut_picture(picture[..., 0], np.array([55, -4, 8, 16]), (8, 16)).sum() == 7 * 5 * 12
    assert not cut_picture(picture, np.array([60, 0, 8, 16]), (8, 16)).any()
    assert cut_picture(picture, np.array([4, 4, 8, 16]), (4, 8)).shape == (8, 4, 3)


def test_boxes_round_to_whole_pixels_and_gaps_are_interpolated():
    edges = np.array([[0.4, 1.5, 4.4, 9.5], [4.4, 1.5, 10.4, 9.5], [10.0, 0.0, 10.2, 0.3]])
    track = Track(np.array([0, 2, 9]), edges, np.arange(3))
    assert track.boxes(0, 2).tolist() == [[0, 2, 4, 8], [2, 2, 5, 8], [4, 2, 6, 8]]
    assert track.boxes(9, 9).tolist() == [[10, 0, 1, 1]]  # never thinner than a pixel
    assert typical_size(np.array([[0, 0, 3, 5], [0, 0, 4, 8], [0, 0, 20, 9]])) == (4, 8)


def reference_cut(events, boxes, rate, size, centred):
    """One event after the other."""
    kept = []
    for x, y, t, p in zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True):
        frame = int(t * rate / 10**6 + Fraction(int(centred), 2))  # the floor: nothing is negative
        left, top, width, height = map(int, boxes[min(frame, len(boxes) - 1)])
        if left <= x < left + width and top <= y < top + height:
            kept.append(((x - left) * size[0] // width, (y - top) * size[1] // height, t, p))
    return kept


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 80), st.integers(1, 9), st.sampled_from(["10", "30000/1001", "29.97", "1000"]), st.booleans()
)
def test_no_event_inside_the_moving_box_is_lost_and_none_outside_is_kept(seed, count, frames, rate, centred):
    rng, rate = np.random.default_rng(seed), Fraction(rate)
    t = np.sort(rng.integers(0, int(frames * 10**6 / rate) + 1, count))
    events = Events(rng.integers(0, 20, count), rng.integers(0, 12, count), t, rng.integers(0, 2, count), 20, 12)
    boxes = np.concatenate([rng.integers(-6, 20, (frames, 2)), rng.integers(1, 14, (frames, 2))], axis=1)
    cut = cut_events(events, boxes, rate, (5, 7), centred)
    assert list(zip(cut.x.tolist(), cut.y.tolist(), cut.t.tolist(), cut.p.tolist(), strict=True)) == reference_cut(
        events, boxes, rate, (5, 7), centred
    )
    assert (cut.width, cut.height) == (5, 7)


def test_boxes_of_one_size_cut_as_the_walkers_are_cut():
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 500_000, 3000))
    events = Events(rng.integers(0, 90, 3000), rng.integers(0, 40, 3000), t, rng.integers(0, 2, 3000), 90, 40)
    corner = np.stack([np.arange(61), np.arange(61) % 7], axis=1)
    boxes = np.concatenate([corner, np.full((61, 2), (30, 33))], axis=1)
    assert cut_events(events, boxes, Fraction(120), (30, 33)) == crop_events(events, corner, 120, (33, 30))


@pytest.mark.parametrize("ext", ["h5", "npz"])
def test_a_long_recording_with_boxes_is_cut_without_loss(tmp_path, ext):
    """Boxes that tile the sensor, in consecutive tracklets: together they hold every event of their time, once."""
    events = write_events(tmp_path / f"hall.{ext}", count=4000, seconds=4, start=123_456)
    tiles = [(str(n), 20 * (n % 3), 20 * (n // 3)) for n in range(6)]
    rows = [(frame, name, 1 + x, 1 + y, 20, 20) for frame in range(1, 41) for name, x, y in tiles]
    write_boxes(tmp_path / "hall.csv", rows)
    store = built(tmp_path / "hall.csv", tmp_path, fps=10, source=f"hall.{ext}")
    assert len(store.index) == 12 and (store.index["frames"] == 0).all()
    origin = int(events.t[0])
    inside = events.window(0, origin + 3_950_000)  # the last frame's period ends half a frame after it
    assert store.index["events"].sum() == len(inside)
    for name, x, y in tiles:
        mine = inside.take((inside.x >= x) & (inside.x < x + 20) & (inside.y >= y) & (inside.y < y + 20))
        halves = [store.events(f"p000{name}/t{n}") for n in (0, 1)]
        assert sum(map(len, halves)) == len(mine) > 0
        begin = origin - 50_000  # half a frame before the first
        np.testing.assert_array_equal(np.concatenate([halves[0].t, halves[1].t + 2_000_000]) + begin, mine.t)
        np.testing.assert_array_equal(np.concatenate([half.x for half in halves]) + x, mine.x)
        assert store.interval(f"p000{name}/t0") == (0, 2_000_000)


def test_a_stated_start_moves_the_boxes_of_a_recording(tmp_path):
    events = write_events(tmp_path / "hall.h5", count=2000, seconds=4, start=0)
    write_boxes(tmp_path / "hall.csv", [(frame, person, 1, 1, 60, 40) for frame in range(1, 21) for person in "1234"])
    table = write_boxes(tmp_path / "cameras.csv", [("hall.h5", "hall.csv", 10, 1_000_000)], "source,boxes,fps,start_us\n")
    store = built(table, tmp_path)
    first = store.events("p0001/t0")
    np.testing.assert_array_equal(first.t + 950_000, events.window(950_000, 1_950_000).t)
    write_boxes(tmp_path / "hall.csv", [(frame, person, 1, 1, 60, 40) for frame in range(1, 60) for person in "1234"])
    assert any("frames after the last one" in what for what in check(table)["what"])


def test_windows_of_a_recording_are_those_of_the_whole(tmp_path):
    for ext in ("h5", "npz", "txt"):
        path = tmp_path / f"a.{ext}"
        whole, recording = write_events(path), Recording(path)
        assert (recording.width, recording.height, recording.span) == (60, 40, (int(whole.t[0]), int(whole.t[-1])))
        for start, stop in ((0, 10**7), (200_000, 300_000), (int(whole.t[3]), int(whole.t[9])), (5_000_000, 6_000_000)):
            assert recording.read(start, stop) == read(path).window(start, stop)
    with pytest.raises(FileNotFoundError, match="no recording at"):
        Recording(tmp_path / "gone.h5")
    (tmp_path / "b.h5").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no events"):
        Recording(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"c.h5 cannot be read"):
        Recording(tmp_path / "c.h5")


LARGE = (320, 240)


def ends(frames) -> list[tuple]:
    """Boxes at the beginning and at the end of a film of LARGE pictures."""
    return [row for start in (1, frames - 19) for row in walk("1", range(start, start + 20), step=0, w=200, h=200)]


def peak_of(data) -> int:
    """Peak bytes while the tracklets are found and made."""
    settings = OwnSettings(fps=25, max_gap=2)
    tracemalloc.start()
    try:
        source = find(data, settings, Problems())
        samples = [len(make(source.root, source.shots, settings, row).frames) for row in source.rows]
        assert samples == [20, 20]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length_of_a_film(tmp_path):
    peaks = []
    for frames in (50, 50, 400):  # the first one warms up
        folder = tmp_path / f"{frames}-{len(peaks)}"
        (folder / "street").mkdir(parents=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 255, LARGE[::-1]).astype(np.uint8)).save(folder / "street" / "000001.png")
        for i in range(2, frames + 1):  # the same picture under many names
            os.link(folder / "street" / "000001.png", folder / "street" / f"{i:06d}.png")
        peaks.append(peak_of(write_boxes(folder / "street.csv", ends(frames))))
    assert peaks[2] < 1.1 * peaks[1], peaks


# --- Video files: where PyAV is there --------------------------------------------------------------------------------
def write_video(path, frames, codec="libx264", size=STREET, options=None):
    """A film whose n-th picture is grey at level 5 n mod 200, except for its first column of blocks, which tells n in 8 bits."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(frames):
            picture = np.full((size[1], size[0], 3), 128, np.uint8)
            for bit in range(8):
                picture[:8, 6 * bit : 6 * bit + 6] = 235 if n >> bit & 1 else 16
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def number_of(picture) -> int:
    """The number that a picture of `write_video` tells."""
    return sum((int(picture[4, 6 * bit + 3].mean()) > 128) << bit for bit in range(8))


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.mp4", "libx264", {"g": "12", "bf": "3"}), ("a.mkv", "libx264", {"g": "30", "bf": "2"}), ("a.avi", "mpeg4", {"g": "10"}),
    ("b.mpg", "mpeg2video", {"g": "9"}),
])  # fmt: skip
def test_frames_of_a_video_are_found_by_number_whatever_its_keyframes(tmp_path, name, codec, options):
    film = Video(write_video(tmp_path / name, 70, codec, options=options))
    assert (film.length, film.size, film.fps, film.colour) == (70, STREET, 25, True)
    for start, stop in ((0, 70), (0, 3), (37, 52), (69, 70), (12, 13)):
        assert [number_of(picture) for picture in film.frames(start, stop)] == list(range(start, stop))
    with pytest.raises(ValueError, match="has frames 1 to 70, not 70 to 71"):
        next(film.frames(69, 71))


def test_broken_videos_and_a_missing_decoder_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.avi").write_bytes(b"nothing")
    write_boxes(tmp_path / "a.csv", walk("1", range(1, 9)))
    with monkeypatch.context() as hidden:
        hidden.setitem(__import__("sys").modules, "av", None)
        assert "needs PyAV: install it (pip install av)" in check(tmp_path / "a.csv")["what"].iloc[0]
    pytest.importorskip("av")
    assert "a.avi cannot be decoded" in check(tmp_path / "a.csv")["what"].iloc[0]


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path):
    peaks = []
    for frames in (40, 40, 320):
        write_video(tmp_path / f"v{len(peaks)}.mp4", frames, size=LARGE, options={"g": "40", "preset": "ultrafast"})
        peaks.append(peak_of(write_boxes(tmp_path / f"v{len(peaks)}.csv", ends(frames))))
    assert peaks[2] < 1.1 * peaks[1], peaks


def test_moving_boxes_follow_the_block(tmp_path):
    write_street(tmp_path, 50)
    large = [
        np.kron(picture, np.ones((4, 4), np.uint8)) for picture in Pictures(sorted(tmp_path.glob("*.png")), Fraction(25)).frames(0, 50)
    ]
    film = type("Film", (), {"frames": lambda self, a, b: iter(large[a:b])})()
    rows = moving_boxes(film, 50)
    assert len({row[1] for row in rows}) == 1 and len(rows) > 40
    assert all(overlap(4 * np.array([f - 1, 10, f + 7, 26]), (x - 1, y - 1, x - 1 + w, y - 1 + h)) > 0.5 for f, _, x, y, w, h, *_ in rows)


@pytest.mark.skipif(not VTEST.is_file(), reason="Debian's opencv-doc is not installed")
def test_the_street_of_opencv_becomes_tracklets(tmp_path):
    pytest.importorskip("av")
    write_boxes(tmp_path / "boxes.csv", moving_boxes(Video(VTEST), 60))
    table = write_boxes(tmp_path / "cameras.csv", [("street", VTEST, "boxes.csv")], "camera,source,boxes\n")
    store = built(table, tmp_path, shortest=1, stored_fps=5)
    assert store.index["person"].nunique() >= 4 and (store.index["events"] > 1000).all() and (store.index["frames"] >= 5).all()
