"""Which queries are shown, and that what is shown is the ranking."""

import numpy as np
import pytest
from small_experiment import SmallExperiment

from reidlib.analysis import ranked
from reidlib.events import Events
from reidlib.plots.ranking import side_by_side


def test_middle_best_and_worst_queries_are_chosen_once():
    precision = np.array([0.5, 0.9, 0.1, np.nan, 0.3, 0.7, 0.2])
    assert ranked.choose_queries(precision) == [("middle", 0), ("middle", 4), ("best", 1), ("worst", 2), ("worst", 6)]


def test_few_queries_make_few_rows_and_queries_without_a_match_none():
    assert ranked.choose_queries(np.array([0.5, np.nan])) == [("middle", 0)]
    assert ranked.choose_queries(np.array([0.5, 0.5, 0.5])) == [("middle", 0), ("middle", 1), ("best", 2)]
    assert ranked.choose_queries(np.array([np.nan])) == []


@pytest.mark.parametrize("name", ["query to gallery", "all cameras"])
def test_rows_show_the_nearest_entries_that_count(tmp_path, name):
    experiment = SmallExperiment(tmp_path)
    protocol = experiment.protocols[name]
    vectors = np.random.default_rng(0).normal(size=(len(protocol.index), 5))
    precision = np.linspace(0, 1, len(protocol.queries))
    (row,) = ranked.ranked_rows(experiment.store, vectors, protocol, precision, [("best", 5)], length=4)
    query = protocol.queries[5]
    people, cameras = protocol.index["person"].to_numpy(), protocol.index["camera"].to_numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = {g: 1 - unit[query] @ unit[g] for g in protocol.gallery if people[g] != people[query] or cameras[g] != cameras[query]}
    nearest = sorted(distances, key=distances.get)[:4]
    assert row["ids"] == [f"person {people[g]}" for g in nearest]
    assert row["correct"] == [people[g] == people[query] for g in nearest]
    assert list(row["distances"]) == pytest.approx([distances[g] for g in nearest])
    assert row["query_id"] == f"best\nperson {people[query]}\nAP = {100 * precision[5]:.0f} %"
    assert row["query"][0].shape == (2, 48, 24) and row["query"][0].sum() > 0


class Store:
    """One tracklet of a second, an event every millisecond."""

    def __init__(self, video=None, height=480, width=240):
        self.video = video
        t = np.arange(1000) * 1000
        self.recording = Events(np.zeros(1000, np.uint16), np.zeros(1000, np.uint16), t, np.ones(1000, np.uint8), width, height)

    def events(self, key):
        return self.recording

    def frames(self, key):
        return self.video

    def interval(self, key):
        return 0, 1_000_000


def test_a_picture_holds_a_tenth_of_a_second_from_the_middle():
    (picture,) = ranked.tracklet_picture(Store(), "k")
    assert picture.shape == (2, 120, 60)  # a large sensor is drawn smaller, in whole steps
    assert picture.sum() == 100 == picture[1, 0, 0]


def test_video_stands_beside_the_events_at_its_size():
    video = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((5, 12, 6), np.uint8)
    frame, picture = ranked.tracklet_picture(Store(video), "k")
    assert (frame == 2).all() and picture.shape == (2, 12, 6)


def test_a_frame_and_its_events_are_drawn_as_one_picture():
    video, events = np.full((4, 2), 51, np.uint8), np.zeros((2, 4, 5))
    picture = side_by_side("query", (video, events))
    assert picture.shape == (4, 2 + 1 + 5, 3)
    assert (picture[:, :2] == 0.2).all() and (picture[:, 3:] == 1).all()  # no events: white
    with pytest.raises(ValueError, match="height_0 4, height_1 5"):
        side_by_side("query", (video, np.zeros((2, 5, 5))))
