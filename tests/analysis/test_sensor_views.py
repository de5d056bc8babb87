"""Terms of the simulated sensor, and windows of two sets side by side."""

from dataclasses import asdict, fields
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reidlib.analysis import sensor_views as views
from reidlib.datasets import walkers
from reidlib.events import REALISTIC, Events, SimulatorSettings

SMALL = {"people": 4, "train_people": 2, "seconds": 0.2, "height": 64, "width": 32}


def test_every_variant_changes_what_its_name_says_and_no_term_is_forgotten():
    stored = SimulatorSettings(positive_threshold=0.21, negative_threshold=0.33)
    found = {name: asdict(settings) for name, settings in views.variants(stored).items()}
    ideal = found.pop("ideal")
    assert found.pop("realistic") == asdict(stored)
    for name, settings in found.items():
        assert {field for field in settings if settings[field] != ideal[field]} == set(views.TERMS[name][0])
    explained = {field for names, _ in views.TERMS.values() for field in names}
    shared = {"positive_threshold", "negative_threshold", "upsample", "max_upsample"}
    assert explained | shared == {field.name for field in fields(SimulatorSettings)}
    assert all(ideal[field] == 0 for field in explained)


@pytest.fixture(scope="module")
def small():
    settings = walkers.WalkersSettings(**SMALL)
    key = "p0001/c1/t0"
    sample, _ = walkers.make_tracklet(settings, 1, 1, 0)
    index = pd.DataFrame({"key": [key], "person": [1], "camera": [1]})
    stored = asdict(settings) | {"code": walkers.CODE_VERSION}
    store = SimpleNamespace(attributes=lambda key: {"shot": asdict_of(sample.attributes["shot"])}, settings=stored)
    experiment = SimpleNamespace(dataset="walkers", generated=True, index=index, store=store)
    return experiment, key, sample.events


def asdict_of(shot):
    return shot if isinstance(shot, dict) else asdict(shot)


def test_the_film_is_seen_again_and_the_realistic_sensor_gives_the_stored_events(small):
    experiment, key, events = small
    seen = views.filmed_again(experiment, key)
    assert list(seen) == ["ideal", *views.TERMS, "realistic"]
    assert seen["realistic"] == events
    assert seen["+ shot noise"] != seen["ideal"]
    table = views.sensor_table(seen)
    assert table.loc["ideal", "of ideal (%)"] == 100
    assert table.loc["realistic", "events"] == len(events)
    assert table.loc["+ shot noise", "isolated (%)"] > table.loc["ideal", "isolated (%)"]
    frames = views.sensor_frames(seen, 100_000)
    assert frames.shape == (7, 2, 64, 32)
    assert frames[-1].sum() == len(events.window(100_000, 150_000))


def test_late_share_tells_where_in_a_step_of_the_film_events_lie(small):
    def at(*t):
        return Events(np.zeros(len(t), int), np.zeros(len(t), int), np.array(t), np.zeros(len(t), int), 1, 1)

    assert views.late_share(at(0, 4_999, 5_000, 9_999, 10_000, 10_001), fps=100) == pytest.approx(2 / 6)
    assert np.isnan(views.late_share(Events.empty(1, 1), fps=100))
    assert views.late_share(small[2], fps=120) > 0.6  # why the notebook says so


def test_only_generated_films_can_be_seen_again():
    with pytest.raises(ValueError, match="not 'event_reid'"):
        views.walkers_settings(SimpleNamespace(dataset="event_reid", generated=False))


def test_the_realistic_preset_is_what_a_shot_in_daylight_uses():
    shot = walkers.scene.draw_shot(np.random.default_rng(0), walkers.camera_of(walkers.WalkersSettings(), 0), 10)
    found = asdict(walkers.sensor_of(walkers.WalkersSettings(), shot))
    different = {name for name, value in asdict(REALISTIC).items() if found[name] != value}
    assert different <= {"positive_threshold", "negative_threshold"}


class Windows:
    """A set of one tracklet per camera with `counts` events each, all ON at one pixel."""

    def __init__(self, counts, seconds, side):
        self.index = pd.DataFrame({"key": [str(i) for i in range(len(counts))], "camera": range(len(counts)), "events": counts})
        self.counts, self.seconds, self.side = counts, seconds, side

    def interval(self, key):
        return 0, round(self.seconds * 1e6)

    def events(self, key):
        t = np.linspace(0, self.interval(key)[1] - 1, self.counts[int(key)]).astype(np.int64)
        ones = np.ones(len(t), np.int64)
        return Events(ones, ones, t, ones, width=self.side, height=self.side)


def test_windows_of_both_sets_in_numbers():
    table = views.window_table(Windows([1000, 2000], 1.0, 10), Windows([333], 0.0333, 20))
    assert table.index.tolist() == [("simulated", "camera 0"), ("simulated", "camera 1"), ("real", "camera 0")]
    np.testing.assert_allclose(table["thousand events/s"], [1.0, 2.0, 10.0], atol=0.1)
    np.testing.assert_allclose(table["events/s and pixel"], [10, 20, 25], rtol=0.1)
    assert table["ON (%)"].tolist() == [100, 100, 100]
    assert table["silent pixels (%)"].tolist() == [99.0, 99.0, pytest.approx(99.75, abs=0.06)]


def test_columns_of_the_comparison_hold_windows_of_one_length():
    records = views.simulated_beside_real(Windows([1000, 2000], 1.0, 10), Windows([333, 33, 50, 60], 0.0333, 20))
    assert [record["kind"] for record in records] == ["simulated"] * 2 + ["real"] * 3
    for record in records:
        assert record["counts"].shape == (11, 2) and record["bin_seconds"] == 0.003
    assert records[0]["frame"].sum() == pytest.approx(33.3, abs=1)
    assert records[2]["frame"].sum() == 333
    assert records[2]["counts"].sum() == pytest.approx(330, abs=1)


def test_without_a_path_there_is_nothing_to_compare():
    assert views.both_stores(SimpleNamespace(dataset="walkers")) is None
