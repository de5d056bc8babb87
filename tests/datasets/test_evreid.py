"""EvReID, on a replica in the layout of the authors' loader."""

from pathlib import Path

import numpy as np
import pytest
from picture_sets import moving
from PIL import Image
from scipy.io import savemat

from reidlib.datasets.evreid import EvReIdSettings, background_of, build, compare, make, picture_events, rows
from reidlib.datasets.video_events import ConversionSettings

SIZES = ConversionSettings(height=32, width=16)
SETTINGS = EvReIdSettings()
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def event_picture(rng, size=(32, 16), background=WHITE) -> np.ndarray:
    """A picture with 30 red and 20 blue pixels."""
    picture = np.full((*size, 3), background, np.uint8)
    chosen = rng.permutation(size[0] * size[1])[:50]
    picture.reshape(-1, 3)[chosen[:30]], picture.reshape(-1, 3)[chosen[30:]] = RED, BLUE
    return picture


def write_part(root: Path, part: str, tracklets: list[tuple[int, int]], count: int = 3, video: str = "rgb") -> None:
    """A part with tracklets (person, camera) of `count` frames each, PNG under the names of the release's JPEG."""
    rng, names, info = np.random.default_rng(0), [], root / video / "info"
    info.mkdir(parents=True, exist_ok=True)
    for number, (person, camera) in enumerate(tracklets):
        for i, frame in enumerate(moving(count, 36, 18, seed=number)):
            names.append(f"{max(person, 0):04d}C{camera}T{number:04d}F{i + 1:03d}.png")
            for folder, picture in ((video, frame), ("event", event_picture(rng))):
                place = root / folder / part / names[-1][:4]
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(place / names[-1])
    (info / f"{part}_name.txt").write_text("".join(f"{name}\n" for name in names))
    first = count * np.arange(len(tracklets))
    people, cameras = np.array(tracklets).T
    columns = {"start_frame": first, "end_frame": first + count - 1, "person_id": people, "cam_id": cameras}
    savemat(info / f"tracks_{part}_info.mat", columns)


@pytest.fixture
def replica(tmp_path):
    write_part(tmp_path, "train", [(1, 1), (1, 2), (2, 1), (2, 2)])
    write_part(tmp_path, "test", [(3, 1), (3, 2), (4, 1), (4, 3), (-1, 1)])
    savemat(tmp_path / "rgb" / "info" / "query_IDX.mat", {"query_IDX": np.array([[1, 3]])})
    return tmp_path


def test_rows_of_the_replica(replica):
    found = rows(replica, SETTINGS)
    assert [(row["subset"], row["person"], row["camera"]) for row in found] == [
        ("train", 1, 1), ("train", 1, 2), ("train", 2, 1), ("train", 2, 2),
        ("query", 3, 1), ("gallery", 3, 2), ("query", 4, 1), ("gallery", 4, 3),
    ]  # fmt: skip
    assert found[1]["files"] == [f"rgb/train/0001/0001C2T0001F00{i}.png" for i in (1, 2, 3)]  # lines from 0, the last one included
    assert len({row["key"] for row in found}) == 8
    assert [row["subset"] for row in rows(replica, EvReIdSettings(queries_join=True))[4:6]] == ["query+gallery", "gallery"]
    table = compare(found).set_index("count")
    assert table.loc["people", "published"] == 1_200 and table.loc["people", "ours"] == 4
    assert table.loc["frames", "difference"] == 24 - 118_988


def test_every_lit_pixel_is_one_event_of_its_sign(replica):
    row = rows(replica, SETTINGS)[0]
    sample = make(replica, SIZES, SETTINGS, row)
    assert len(sample.events) == 150 and sample.events.p.sum() == 90
    assert sample.attributes["frame_times"].tolist() == [20_000, 60_000, 100_000] and sample.interval() == (0, 120_000)
    assert sorted(set(sample.events.t)) == [20_000, 60_000, 100_000]
    picture = np.array(Image.open(replica / row["files"][1].replace("rgb", "event")))
    second = sample.events.window(60_000, 60_001)
    lit = np.zeros((32, 16, 3), np.uint8) + 255
    lit[second.y, second.x] = np.where(second.p[:, None], RED, BLUE)
    np.testing.assert_array_equal(lit, picture)
    reverse = make(replica, SIZES, EvReIdSettings(on="blue"), row)
    np.testing.assert_array_equal(reverse.events.p, 1 - sample.events.p)
    smaller = make(replica, ConversionSettings(height=16, width=8), SETTINGS, row)
    assert len(smaller.events) == 150 and smaller.events.width == 8
    np.testing.assert_array_equal(smaller.events.x, sample.events.x // 2)


@pytest.mark.parametrize("background", [WHITE, (0, 0, 0), (128, 128, 128)])
def test_colours_on_any_background(background):
    rng = np.random.default_rng(1)
    pictures = [event_picture(rng, background=background) for _ in range(3)]
    np.testing.assert_allclose(background_of(pictures), background)
    for picture in pictures:
        noisy = np.clip(picture + rng.integers(-10, 11, picture.shape), 0, 255).astype(np.uint8)  # as compression leaves
        y, x, p = picture_events(noisy, background_of(pictures), SETTINGS)
        assert len(x) == 50 and p.sum() == 30
        np.testing.assert_array_equal(p, (picture[y, x] == RED).all(axis=1))


def test_grey_pictures_and_empty_ones():
    picture = np.full((4, 4, 3), 128, np.uint8)
    assert len(picture_events(picture, background_of([picture]), SETTINGS)[0]) == 0
    picture[1, 2], picture[3, 0] = 250, 10
    y, x, p = picture_events(picture, background_of([picture]), SETTINGS)
    assert list(zip(y, x, p, strict=True)) == [(1, 2, True), (3, 0, False)]


def test_the_store(replica, tmp_path):
    found = rows(replica, SETTINGS)
    store = build(replica, found, SIZES, SETTINGS, tmp_path / "s.h5", 1)
    assert store.index["events"].tolist() == [150] * 8 and store.index["frames"].tolist() == [3] * 8
    assert store.settings["events"] == "recorded (pictures)" and store.settings["fps"] == 25
    (replica / "event" / "test" / "0003").rename(replica / "event" / "test" / "0033")
    with pytest.raises(FileNotFoundError, match=r"no picture at .*event/test/0003/0003C1T0000F001.png"):
        build(replica, found, SIZES, SETTINGS, tmp_path / "s.h5", 1)


def test_refused_tables_and_settings(replica):
    info = replica / "rgb" / "info"
    shifted = {"start_frame": [1, 4], "end_frame": [3, 6], "person_id": [1, 1], "cam_id": [1, 2]}
    savemat(info / "tracks_train_info.mat", shifted)
    with pytest.raises(ValueError, match=r"row 1 of tracks_train_info.mat says person 1, camera 1, but spans .*counted from 1"):
        rows(replica, SETTINGS)
    savemat(info / "tracks_train_info.mat", {**shifted, "start_frame": [0, 4], "end_frame": [2, 12]})
    with pytest.raises(ValueError, match=r"row 2 of tracks_train_info.mat spans lines 4 to 12 of train_name.txt, whose lines are 0 to 11"):
        rows(replica, SETTINGS)
    savemat(info / "tracks_train_info.mat", {**shifted, "cam_id": [1]})
    with pytest.raises(ValueError, match=r"differ in length: \[2, 2, 2, 1\]"):
        rows(replica, SETTINGS)
    with pytest.raises(FileNotFoundError, match=r"rgb_degrade/info"):
        rows(replica, EvReIdSettings(video="rgb_degrade"))
    for options, message in (
        ({"video": "grey"}, "video must be one of rgb, rgb_degrade"),
        ({"on": "green"}, "on must be one of red, blue"),
    ):
        with pytest.raises(ValueError, match=message):
            EvReIdSettings(**options)
    with pytest.raises(ValueError, match="threshold must be from 1 to 254"):
        EvReIdSettings(threshold=0)
