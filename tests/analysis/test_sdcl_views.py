"""Looking into SDCL: what is shown and averaged, against plain counts; and what a notebook does that is not shown."""

import json
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from reidlib.analysis import sdcl_profile, sdcl_views, shown
from reidlib.datasets import ClipDataset, ClipSettings, eval_batches, make_index
from reidlib.datasets.frames import normalised
from reidlib.events import Events
from reidlib.experiment import Experiment
from reidlib.models import build_model
from reidlib.models.sdcl import InnerViews

T, SIZE = 4, (32, 16)
CLIPS = ClipSettings(steps=T, size=SIZE, seconds=0.25, scale="raw")
STEPS = [(dy, dx) for dy, dx in product((-1, 0, 1), repeat=2)]


class Store:
    """Two tracklets of each of three people: sparse events and a grey video, both random, of half a second."""

    cache_key = "made"

    def __init__(self):
        about = {"dataset": "made", "split": 0, "subset": "query", "frames": 15, "duration": 0.5, "events": 0, "source": "test"}
        about |= {"width": SIZE[1], "height": SIZE[0]}
        self.index = make_index({"key": f"p{p}/t{t}", "person": p, "camera": t} | about for p in range(3) for t in range(2))

    def events(self, key: str) -> Events:
        rng, count = np.random.default_rng(list(key.encode())), 600
        x, y = rng.integers(0, SIZE[1], count).astype(np.uint16), rng.integers(0, SIZE[0], count).astype(np.uint16)
        return Events(x, y, np.sort(rng.integers(0, 500_000, count)), rng.integers(0, 2, count).astype(np.uint8), SIZE[1], SIZE[0])

    def frames(self, key: str) -> np.ndarray:
        return np.random.default_rng(list(key.encode())).integers(0, 255, (15, *SIZE)).astype(np.uint8)

    def interval(self, key: str) -> tuple[int, int]:
        return 0, 500_000


def network(name: str = "sdcl"):
    """Random BatchNorm states too: at their initial values nothing lifts a silent position."""
    torch.manual_seed(3)
    options = {"neuron": {"kind": "lif", "tau": 2.0, "decay_input": False}} if name == "sdcl" else {}
    model = build_model(name, 3, backbone="resnet18", width=8, size=SIZE, levels=2, **options).eval()
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.bias.data.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module")
def store() -> Store:
    return Store()


@pytest.fixture(scope="module")
def batches(store) -> list[dict]:
    return list(eval_batches(ClipDataset(store, store.index, CLIPS, train=False, modalities=("events", "frames")), 5))


@pytest.fixture(scope="module")
def profile(batches) -> sdcl_profile.InnerProfile:
    return sdcl_profile.inner_profile(network(), batches)


def nine(mask: np.ndarray, y: int, x: int) -> list[tuple[int, int]]:
    """The nine nearest places of a mask by brute force: Manhattan, Euclid, then reading order."""
    found = [(abs(b - y) + abs(a - x), (b - y) ** 2 + (a - x) ** 2, b, a) for b, a in zip(*np.nonzero(mask), strict=True)]
    return [place[2:] for place in sorted(found)[:9]]


def test_pictures_undo_the_normalisation(store):
    grey = store.frames("p0/t0")
    again = sdcl_views.pictures(torch.from_numpy(normalised(grey)))
    np.testing.assert_allclose(again, np.repeat(grey[..., None] / 255, 3, 3), atol=1e-6)


def test_rows_of_a_clip_are_the_mean_over_channels(store):
    model, clip = network(), sdcl_views.first_clip(store, store.index.iloc[2:3], CLIPS)
    rows = sdcl_views.clip_rows(model, clip, steps=2)
    assert list(rows) == ["step 1", "step 4"]
    names = ["frame", "events", "spiking 1", "spiking 2", "mapping 1", "mapping 2", "mapping 3"]
    assert list(rows["step 1"]) == [*names, "events map", "frames map", "events aligned", "frames aligned"]
    maps = model.inner_views(**clip).maps
    torch.testing.assert_close(torch.from_numpy(rows["step 4"]["events map"]), maps["events"][0, 3].abs().mean(0))
    torch.testing.assert_close(torch.from_numpy(rows["step 4"]["frames aligned"]), maps["frames aligned"][0, 3].abs().mean(0))
    assert torch.equal(torch.from_numpy(rows["step 1"]["events"]), clip["events"][0, 0])


def test_activity_is_what_counting_gives(profile, batches):
    model = network()
    assert profile.owners.tolist() == [row for row in range(6) for _ in range(2)]
    clip = {name: batches[0][name][1:2] for name in ("events", "frames")}
    maps = {name: values[0].numpy() for name, values in model.inner_views(**clip).maps.items()}
    mask = (clip["events"][0] != 0).any(1).numpy()  # [T, H, W]
    reached = None
    for name in ("spiking1", "spiking2", "mapping1", "mapping2", "mapping3"):
        active = (maps[name] != 0).any(1)
        if name.startswith("spiking"):
            reached = active & mask
        else:
            places = [(t, y, x) for t, y, x in np.argwhere(mask)]
            into = {(t, y, x): any(reached[t, b, a] for b, a in nine(mask[t], y, x)) for t, y, x in places}
            reached = np.array([[[into.get((t, y, x), False) for x in range(SIZE[1])] for y in range(SIZE[0])] for t in range(T)])
        wanted = {
            "with events": active[mask].mean(),
            "whole picture": active.mean(),
            "channels": (maps[name] != 0).mean(1)[mask].mean(),
            "reached": reached[mask].mean(),
        }
        found = {measure: profile.activity[measure][name][1] for measure in sdcl_profile.MEASURES}
        np.testing.assert_allclose([found[m] for m in wanted], list(wanted.values()), rtol=1e-5, err_msg=name)
    assert found["reached"] > 0 and profile.activity["reached"]["mapping1"][1] < 1  # else the test could not fail


def test_distances_to_the_ninth_event_are_what_searching_gives(profile, batches):
    mask = (batches[0]["events"][1] != 0).any(1).numpy()
    found = [(t, y, x, nine(mask[t], y, x)) for t, y, x in np.argwhere(mask)]
    far = [abs(chosen[-1][0] - y) + abs(chosen[-1][1] - x) for _, y, x, chosen in found]
    assert profile.ninth[1].tolist() == np.bincount(far, minlength=sum(SIZE) - 1).tolist()
    regular = [set(chosen) == {(y + dy, x + dx) for dy, dx in STEPS} for _, y, x, chosen in found]
    np.testing.assert_allclose(profile.regular[1], np.mean(regular))


def test_a_full_event_frame_has_the_plain_neighbourhood_inside_and_silence_has_none():
    events = torch.ones(2, 1, 2, *SIZE)
    events[1] = 0
    batch = {"events": events, "frames": torch.zeros(2, 1, 3, *SIZE), "owner": torch.tensor([0, 1])}
    found = sdcl_profile.inner_profile(network(), [batch])
    inner = (SIZE[0] - 2) * (SIZE[1] - 2)
    assert found.regular[0] == pytest.approx(inner / (SIZE[0] * SIZE[1])) and np.isnan(found.regular[1])
    assert found.ninth[1].sum() == 0 and np.isnan(found.activity["with events"]["spiking1"][1])
    with pytest.raises(ValueError, match="no clips"):
        sdcl_profile.inner_profile(network(), [])


def test_sampling_distances_are_weighted_by_the_scores():
    """One position of a 2 x 3 map, (0, 1), whose first head looks 3 places down with a score of 0.25 and stays with the rest."""
    points = torch.zeros(1, 1, 2, 2, 2, 2, 3) + torch.stack(torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij"))
    points[0, 0, 0, 1, 0, 0, 1] += 3
    scores = torch.tensor([0.75, 0.25])[:, None, None].expand(1, 1, 2, 2, 2, 3)
    distance, outside = sdcl_profile._sampled(InnerViews({}, {}, {"e2f": points}, {"e2f": scores}))
    np.testing.assert_allclose(distance["e2f"], [[3 * 0.25 / 6, 0]])
    np.testing.assert_allclose(outside["e2f"], [[0.25 / 6, 0]])
    points[0, 0, 0, 1, 0, 0, 1] -= 1.5  # to row 1.5, the border of the map's last position
    assert sdcl_profile._sampled(InnerViews({}, {}, {"e2f": points}, {"e2f": scores}))[1]["e2f"].sum() == 0


def test_tables_and_sentences_say_what_the_profile_holds(profile, store):
    people = store.index["person"].to_numpy()[profile.owners]
    table = sdcl_profile.activity_table(profile, people).set_index(["layer", "measure"])
    values = profile.activity["with events"]["spiking2"]
    assert table.loc[("spiking 2", "with events"), "mean"] == pytest.approx(100 * values.mean())
    assert (table["low"] <= table["mean"] + 1e-9).all() and (table["mean"] <= table["high"] + 1e-9).all()
    readable = sdcl_profile.readable_activity(table.reset_index())
    assert list(readable.index) == ["input", "spiking 1", "spiking 2", "mapping 1", "mapping 2", "mapping 3"]
    assert readable.loc["input", "with events"] == "100.0 [100.0, 100.0]"
    first, second, third = sdcl_profile.activity_sentences(profile, people)
    ends = [100 * profile.activity["with events"][name].mean() for name in ("spiking1", "spiking2")]
    assert f"{ends[0]:.1f} % after spiking 1, {ends[1]:.1f} % after spiking 2" in first
    assert "after mapping 3" in second and "after mapping 3" in third
    mapped = sdcl_profile.mapping_table(profile, people)
    assert mapped["mean"].tolist()[1] == pytest.approx(100 * profile.regular.mean())
    sampled = sdcl_profile.sampling_table(profile, people)
    assert sampled.groupby("direction", sort=False).size().to_dict() == {"events to frames": 8, "frames to events": 8}
    assert sampled["mean"].tolist() == pytest.approx([*profile.distance["e2f"].mean(0), *profile.distance["f2e"].mean(0)])


def test_a_change_is_named_by_its_interval():
    shares = {"spiking1": np.full(6, 0.5), "spiking2": np.full(6, 0.25), "spiking3": np.full(6, 0.75)}
    people = np.repeat(range(3), 2)
    fewer, more = (sdcl_profile._change("Spikes", shares, ("spiking1", late), people) for late in ("spiking2", "spiking3"))
    assert fewer == "Spikes: 50.0 % after spiking 1, 25.0 % after spiking 2: **fewer**, −25.0 points [−25.0, −25.0]."
    assert "**more**, +25.0 points" in more
    shares["spiking2"] = np.array([0, 0, 0.5, 0.5, 1, 1])
    assert "not told apart" in sdcl_profile._change("Spikes", shares, ("spiking1", "spiking2"), people)


def test_arrows_lead_to_the_nine_nearest_events(store):
    clip = sdcl_views.first_clip(store, store.index, CLIPS)
    counts = (clip["events"][0] != 0).any(1).sum((1, 2)).tolist()
    step = sdcl_views.median_step(clip["events"][0])
    assert sorted(counts)[2] == counts[step]
    mask = (clip["events"][0, step] != 0).any(0).numpy()
    shown_places = sdcl_views.neighbours(network().inner_views(**clip).offsets["mapping1"][0, step])
    assert [place.rule for place in shown_places] == ["10 % quantile", "median", "90 % quantile", "farthest"]
    for place in shown_places:
        assert [tuple(to) for to in place.chosen] == nine(mask, *place.centre) and tuple(place.chosen[0]) == place.centre
        assert place.distance == np.abs(place.chosen[-1] - place.centre).sum()
    far = [np.abs(np.subtract(nine(mask, y, x)[-1], (y, x))).sum() for y, x in np.argwhere(mask)]
    assert [place.distance for place in shown_places][1::2] == [sorted(far)[round(0.5 * (len(far) - 1))], max(far)]
    with pytest.raises(ValueError, match="no position has nine events"):
        sdcl_views.neighbours(torch.full((9, 2, 4, 4), torch.nan))


def test_sampling_panels_show_the_giver_and_its_points(store):
    clip = sdcl_views.first_clip(store, store.index, CLIPS)
    seen = sdcl_profile.views(network(), clip)
    e2f, f2e = sdcl_views.sampling_panels(seen, clip, 1)
    assert [panel["place"] for panel in e2f] == [(0, 0), (1, 0)] and e2f[0]["size"] == (2, 1)
    assert np.array_equal(e2f[0]["picture"], clip["events"][0, 1].numpy()) and f2e[0]["picture"].shape == (*SIZE, 3)
    assert np.array_equal(f2e[1]["points"], seen.points["f2e"][0, 1, :, :, :, 1, 0].numpy())
    np.testing.assert_allclose(f2e[1]["scores"].sum(1), 1, rtol=1e-5)
    assert sdcl_profile.starting_distance(seen) == np.mean([0.25, 0.5, 0.75, 1])


def test_degraded_rows_change_the_frame_and_leave_the_events(store):
    sdcl, psta = network(), network("psta")
    rows = sdcl_views.degraded_rows(sdcl, psta, store, store.index.iloc[1:2], CLIPS, step=2)
    assert list(rows) == ["clean", "motion blur 3", "occlusion 3"]
    clean, blurred, occluded = rows.values()
    assert list(clean) == ["frame", "events", *sdcl_views.STREAMS]
    for one in (blurred, occluded):
        assert np.array_equal(one["events"], clean["events"]) and not np.array_equal(one["frame"], clean["frame"])
        assert all(not np.array_equal(one[name], clean[name]) for name in sdcl_views.STREAMS)
    clip = sdcl_views.first_clip(store, store.index.iloc[1:2], CLIPS)
    with torch.no_grad():
        alone = psta.frame_branch(clip["frames"])[0, 2].abs().mean(0)
    np.testing.assert_allclose(clean[sdcl_views.STREAMS[0]], alone, rtol=1e-5)
    before, after = (network().inner_views(**clip).maps[name][0, 2].abs().mean(0) for name in ("frames", "frames aligned"))
    np.testing.assert_allclose(clean[sdcl_views.STREAMS[1]], before, rtol=1e-5)
    np.testing.assert_allclose(clean[sdcl_views.STREAMS[2]], after, rtol=1e-5)


def test_how_far_embeddings_turn(store):
    models = {name: network(name) for name in ("psta", "sdcl")}
    experiment = SimpleNamespace(store=store, model=models.get, run_settings=lambda name: SimpleNamespace(clips=CLIPS))
    turn = sdcl_views.embedding_turn(experiment, store.index)
    people = store.index["person"].to_numpy()
    for name in models:
        assert list(turn.similarity[name]) == ["motion blur 3", "occlusion 3"]
        assert all((values < 1 - 1e-6).all() for values in turn.similarity[name].values())
    clean = sdcl_views.embed(models["sdcl"], store, store.index, CLIPS)
    np.testing.assert_allclose(turn.apart["sdcl"][0], (clean[0] @ clean[2:].T).mean(), rtol=1e-5)
    table = sdcl_views.turn_table(turn, people).set_index(["row", "compared"])["mean"]
    assert table["sdcl", "clean and occlusion 3"] == pytest.approx(turn.similarity["sdcl"]["occlusion 3"].mean())
    assert table["psta", "two people, clean"] == pytest.approx(turn.apart["psta"].mean())
    differences = sdcl_views.turn_differences(turn, people).set_index("name")["mean"]
    for words in ("motion blur 3", "occlusion 3"):
        assert differences[words] == pytest.approx(
            100 * (table["sdcl", f"clean and {words}"] - table["psta", f"clean and {words}"]), abs=1e-3
        )


@pytest.mark.parametrize(
    ("dataset", "method", "system", "why"),
    [
        ("walkers", "", "sdcl", ""),
        ("walkers", "psta", "sdcl", ""),
        ("walkers", "ssam", "sdcl", "METHOD is 'ssam', a row of S3CE-Net"),
        ("walkers", "psta", "s3ce_net", "METHOD is 'psta', a row of SDCL"),
        ("event_reid", "", "sdcl", "it needs video, of which this set has none"),
        ("event_reid", "", "s3ce_net", ""),
    ],
)
def test_why_a_system_is_not_shown(tmp_path, dataset, method, system, why):
    found = shown.why_hidden(Experiment(dataset, "tiny", 0, tmp_path, method=method), system)
    assert found == why if why == "" else why in found


def test_a_notebook_that_is_not_shown_ends_well_and_records_a_note(tmp_path, monkeypatch, capsys):
    shell = InteractiveShell()
    monkeypatch.setattr(shown, "get_ipython", lambda: shell)
    experiment = Experiment("walkers", "tiny", 7, tmp_path, method="ssam")
    shown.end_unless_shown(experiment, "s3ce_net", "05_attention", "A title")
    assert shell.run_cell("before = 1").success and shell.user_ns["before"] == 1
    shown.end_unless_shown(experiment, "sdcl", "05_attention_sdcl", "Inside SDCL")
    assert shell.run_cell("after = 1 / 0").success and "after" not in shell.user_ns
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["05_attention_sdcl.json"]
    kept = json.loads((tmp_path / "results" / "05_attention_sdcl.json").read_text(encoding="utf-8"))
    assert kept["title"] == "Inside SDCL" and len(kept["notes"]) == 1 and "METHOD is 'ssam'" in kept["notes"][0]
    assert kept["seed"] == 7 and not kept["figures"] and not kept["headline"] and not kept["tables"]
