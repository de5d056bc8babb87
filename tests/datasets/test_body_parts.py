"""Labels of body parts: those of walkers are the renderer's, those of a public set the user's files, and they go where their frame goes."""

import numpy as np
import pytest
import torch
from paired import HEIGHT, WIDTH, PairedStore, moving_rectangles
from PIL import Image
from replicas import mars
from test_paired_clips import ALL, ROWS_AND_DRAWS, clips, greys

from reidlib.datasets import ClipDataset, load_dataset, part_labels, walkers
from reidlib.datasets.body_parts import LABELS, UNKNOWN, read_labels
from reidlib.datasets.walkers_body import PARTS

SMALL = {"people": 4, "train_people": 2, "repeats": 1, "seconds": 0.25, "height": 64, "width": 32}
KEY = "p0001/c0/t0"


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walkers")
    stores = [load_dataset(name, cache_dir=folder / name, options=SMALL, workers=1, quiet=True) for name in ("walkers", "walkers_occluded")]
    return [(store, part_labels(store, workers=1)) for store in stores]


def test_labels_of_walkers_are_the_renderers(walking):
    store, labels = walking[0]
    assert labels.index["key"].tolist() == store.index["key"].tolist()
    found = labels.frames(KEY)
    _, drawn = walkers.make_tracklet(walkers.WalkersSettings(**SMALL), 1, 0, 0, want_parts=True)
    assert found.shape == store.frames(KEY).shape and found.dtype == np.uint8
    np.testing.assert_array_equal(found == 0, drawn == PARTS.index("background"))
    for label, parts in {"head": ("head", "hair"), "shoes": ("foot",), "lower body": ("pelvis", "thigh", "shin")}.items():
        np.testing.assert_array_equal(found == LABELS.index(label), np.isin(drawn, [PARTS.index(part) for part in parts]))
    rows = [np.nonzero(found == label)[1].mean() for label in range(1, len(LABELS))]
    assert rows == sorted(rows)  # from head to shoes


def test_what_stands_in_front_of_a_person_is_background(walking):
    (_, plain), (occluded_store, occluded) = walking
    hidden = 0
    for key in occluded_store.index["key"]:
        before, after = plain.frames(key), occluded.frames(key)
        assert ((after == before) | (after == 0)).all()  # the same people on the same ways
        hidden += (before > 0).sum() - (after > 0).sum()
    assert hidden > 0


def test_the_companion_is_built_once(walking):
    store, labels = walking[0]
    written = labels.path.stat().st_mtime_ns
    assert part_labels(store, workers=1).cache_key == labels.cache_key and labels.path.stat().st_mtime_ns == written
    assert labels.path != store.path and store.cache_key != labels.cache_key


@pytest.fixture
def labelled(tmp_path):
    """A replica of MARS with a label image for every frame: the upper half of one part, its number drawn from the file's name."""
    root = tmp_path / "mars"
    expected = mars(root)
    for *_, files in expected:
        for name in files:
            picture = np.zeros((16, 8), np.uint8)
            picture[:8] = part_of(name)
            path = (root / "parts" / name).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return root, expected


def part_of(name: str) -> int:
    return 1 + sum(name.encode()) % 4


def load(root, tmp_path):
    options = {"height": 32, "width": 16}
    store = load_dataset("mars", data=root, cache_dir=tmp_path / "cache", options=options, unmatched="drop", workers=1, quiet=True)
    return store, options


def test_label_images_of_a_public_set_stand_beside_their_frames(labelled, tmp_path):
    root, expected = labelled
    store, options = load(root, tmp_path)
    found = part_labels(store, str(root), options, workers=1)
    wanted = sorted([part_of(name) for name in files] for *_, files in expected)
    seen = [found.frames(key) for key in dict.fromkeys(found.index["key"])]
    assert sorted(video[:, 0, 0].tolist() for video in seen) == wanted
    for video in seen:
        assert video.shape[1:] == (32, 16) and (video[:, :16] == video[:, :1, :1]).all() and not video[:, 16:].any()


def test_without_label_images_nobody_knows_the_parts(tmp_path):
    mars(tmp_path / "mars")
    store, options = load(tmp_path / "mars", tmp_path)
    assert part_labels(store, str(tmp_path / "mars"), options) is None
    assert part_labels(PairedStore()) is None


def test_a_missing_label_image_is_named(labelled, tmp_path):
    root, expected = labelled
    store, options = load(root, tmp_path)
    lost = (root / "parts" / expected[0][4][0]).with_suffix(".png")
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=f"no label image at {lost}"):
        part_labels(store, str(root), options, workers=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Image.fromarray(np.full((4, 2), 7, np.uint8)), "holds label 7; legal are 0 background, 1 head"),
        (Image.fromarray(np.zeros((4, 2, 3), np.uint8)), "has mode RGB: labels are one whole number per pixel"),
        (b"\x89PNG\r\n\x1a\n and no more", "cannot be read as a picture"),
        (b"", "cannot be read as a picture"),
    ],
)
def test_a_file_that_is_no_label_image_is_refused(content, message, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(content) if isinstance(content, bytes) else content.save(path)
    with pytest.raises(ValueError, match=message) as refused:
        read_labels(path)
    assert str(path) in str(refused.value)


class Labels:
    """A companion of the paired set: the label of a pixel follows from its grey."""

    def __init__(self, store: PairedStore):
        self.store = store

    def frames(self, key: str) -> np.ndarray:
        return label_of(moving_rectangles(self.store._number(key), self.store.count))


def label_of(grey: np.ndarray) -> np.ndarray:
    return (grey % 5).astype(np.uint8)


def with_labels(**options) -> ClipDataset:
    dataset = clips(**options)
    dataset.parts = Labels(dataset.store)
    return dataset


def test_labels_follow_their_frames_under_every_draw():
    dataset = with_labels(**ALL)
    unknown = 0
    for row_and_draw in ROWS_AND_DRAWS:
        item = dataset[row_and_draw]
        picture, labels = greys(item["frames"]), item["parts"].numpy()
        assert item["parts"].dtype == torch.int64 and labels.shape == picture.shape
        np.testing.assert_array_equal(labels, np.where(picture < 0, UNKNOWN, label_of(picture)))
        unknown += (labels == UNKNOWN).sum()
    assert unknown > 0


def test_labels_of_test_clips_are_those_of_their_frames():
    item = with_labels(train=False)[3]
    np.testing.assert_array_equal(item["parts"].numpy(), label_of(greys(item["frames"])))
    smaller = with_labels(train=False, size=(HEIGHT // 2, WIDTH // 2))[3]["parts"]
    assert smaller.shape[2:] == (HEIGHT // 2, WIDTH // 2)
    assert set(smaller.unique().tolist()) <= set(item["parts"].unique().tolist())  # nearest: no label is made up


def test_labels_that_fit_no_frame_are_refused():
    dataset = with_labels()
    dataset.parts.frames = lambda key: np.zeros((1, HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ValueError, match=r"tracklet 'p0/t0': labels \(1, 40, 24\) do not fit its frames \(12, 40, 24\)"):
        dataset[0, 0]
    with pytest.raises(ValueError, match="parts are labels of frames, and these clips have none"):
        ClipDataset(dataset.store, dataset.store.index, dataset.settings, True, modalities=("events",), parts=Labels(dataset.store))
