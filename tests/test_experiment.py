"""The notebooks' way in: what is shown, caching of trained rows and embeddings, conditions, seeds, and the command line."""

import copy

import numpy as np
import pytest

from reidlib import experiment as module
from reidlib.ablations import BASELINE, MAIN, ROWS, SYSTEMS, VIDEO_SYSTEMS, row
from reidlib.config import preset
from reidlib.datasets import ClipDataset, Degradation, DegradedStore, RepairedStore
from reidlib.evaluation import embed
from reidlib.experiment import Experiment


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("experiment")
    patch = pytest.MonkeyPatch()
    patch.setenv("REIDLIB_DATA", str(folder / "data"))
    yield Experiment("walkers", "tiny", 0, folder / "runs")
    patch.undo()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("walkers", "huge"), "unknown preset 'huge'; choose one of tiny, demo"),
        (("market", "tiny"), "unknown data set 'market'; choose one of walkers, walkers_occluded, event_reid, own, prid2011"),
    ],
)
def test_unknown_names_are_refused_with_the_legal_ones(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Experiment(*arguments, 0, tmp_path)
    with pytest.raises(ValueError, match="unknown ablation row 'nothing'; choose one of resnet18_events"):
        row("nothing")


def test_without_a_method_all_systems_of_the_preset_are_shown(tmp_path):
    shown = Experiment("walkers", "study", 0, tmp_path)
    assert shown.systems == tuple(SYSTEMS.values()) and shown.shows("s3ce_net") and shown.shows("sdcl")
    assert shown.rows == shown.settings.all_rows == tuple(ROWS)
    assert shown.centre == "s3ce_net" and shown.main_rows[:6] == (*MAIN, "sdcl", "psta", "sdcl_events")
    assert set(shown.main_rows[6:]) == {BASELINE.name, *(system.name for system in VIDEO_SYSTEMS)}
    demo = Experiment("walkers", "demo", 0, tmp_path)
    assert [system.name for system in demo.systems] == ["s3ce_net", "sdcl"] and demo.main_rows == shown.main_rows[:6]
    assert Experiment("walkers", "demo", 0, tmp_path, method="all").main_rows == shown.main_rows
    events_alone = Experiment("event_reid", "study", 0, tmp_path)
    assert events_alone.systems == (SYSTEMS["s3ce_net"],) and not events_alone.shows("sdcl") and events_alone.main_rows == MAIN


@pytest.mark.parametrize(
    ("method", "system", "main"),
    [
        ("sdcl", "sdcl", ("sdcl", "psta", "sdcl_events")),
        ("fusion_none", "sdcl", ("fusion_none", "sdcl", "psta", "sdcl_events")),
        ("s3ce_net", "s3ce_net", MAIN),
        ("stfs", "s3ce_net", ("stfs", *MAIN)),
        ("sew_resnet18", "s3ce_net", ("sew_resnet18", "s3ce_net", "resnet18_events")),  # named once, and first
    ],
)
def test_a_method_stands_in_the_centre_of_its_own_system(method, system, main, tmp_path):
    shown = Experiment("walkers", "tiny", 0, tmp_path, method=method)
    assert shown.systems == (SYSTEMS[system],) and [name for name in SYSTEMS if shown.shows(name)] == [system]
    assert shown.rows == shown.settings.rows[system] and set(shown.rows) < set(shown.settings.all_rows)
    assert shown.centre == method and shown.main_rows == main
    assert shown.at(4).centre == method and shown.at(4).rows == shown.rows
    assert shown.folder(method) == Experiment("walkers", "tiny", 0, tmp_path).folder(method)  # the same runs, whoever looks


@pytest.mark.parametrize("name", ["tiny", "demo", "study", "paper"])
def test_a_method_without_its_inputs_is_refused(name, tmp_path):
    legal = ", ".join(preset(name, "event_reid").rows["s3ce_net"])
    with pytest.raises(ValueError) as refused:
        Experiment("event_reid", name, 0, tmp_path, method="sdcl")
    assert str(refused.value) == f"METHOD 'sdcl' is not a row of preset '{name}' of event_reid; choose one of {legal}"


def test_a_row_that_is_not_trained_is_refused_with_those_that_are(tmp_path):
    tiny = Experiment("walkers", "tiny", 0, tmp_path)
    assert [tiny.check_trained(name, "BASELINE") for name in tiny.settings.all_rows] == list(tiny.settings.all_rows)
    for unknown in ("steps16", "nothing"):  # known, but of other presets; not known at all
        with pytest.raises(ValueError) as refused:
            tiny.check_trained(unknown, "BASELINE")
        told = f"BASELINE '{unknown}' is not a row of preset 'tiny' of walkers; choose one of {', '.join(tiny.settings.all_rows)}"
        assert str(refused.value) == told
        with pytest.raises(ValueError, match=f"METHOD '{unknown}' is not a row"):
            Experiment("walkers", "tiny", 0, tmp_path, method=unknown)
    only = Experiment("walkers", "tiny", 0, tmp_path, method="sdcl")
    assert only.check_trained("stfs", "BASELINE") == "stfs"  # of another system, but trained by the preset all the same


def test_recorded_gaits_are_for_walkers_only(tmp_path):
    with pytest.raises(ValueError, match="GAIT drives the built-in walkers only"):
        Experiment("event_reid", "tiny", 0, tmp_path, gait=str(tmp_path))


def test_a_trained_row_is_found_again_and_its_embeddings_are_the_models_own(tiny):
    first = tiny.embeddings("sew_resnet18")
    model_file = tiny.folder("sew_resnet18") / "model.pt"
    written = model_file.stat().st_mtime_ns
    again = Experiment("walkers", "tiny", 0, tiny.output_dir)
    np.testing.assert_array_equal(again.embeddings("sew_resnet18"), first)
    (tiny.folder("sew_resnet18") / "embeddings.npz").unlink()
    np.testing.assert_allclose(again.embeddings("sew_resnet18"), first, atol=1e-6)
    assert model_file.stat().st_mtime_ns == written
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


def test_another_seed_is_another_run(tiny):
    assert tiny.folder("sew_resnet18", 1) != tiny.folder("sew_resnet18", 0)
    assert not np.allclose(tiny.embeddings("sew_resnet18", 1), tiny.embeddings("sew_resnet18", 0), atol=1e-3)


BLUR, BLOCK = Degradation("motion_blur", 3), Degradation("occlusion", 4)


@pytest.fixture
def embedded(monkeypatch) -> list:
    """Degradation and shuffling seed of every `embed` since the test began."""
    calls = []

    def noted(*arguments, **seen):
        store = arguments[1]
        calls.append((store.degradation if isinstance(store, DegradedStore) else None, seen.get("shuffled")))
        return embed(*arguments, **seen)

    monkeypatch.setattr(module, "embed", noted)
    return calls


def test_a_condition_is_asked_once_and_never_passes_for_another(tiny, embedded):
    clean = tiny.degraded_embeddings("sdcl")
    np.testing.assert_array_equal(clean, tiny.embeddings("sdcl"))
    assert len(embedded) == 1  # the clean condition is the same thing
    conditions = [
        (BLUR, None),
        (Degradation("motion_blur", 4), None),
        (BLOCK, None),
        (Degradation("occlusion", 4, seed=1), None),
        (Degradation("occlusion", 4, events="resimulated"), None),
        (None, 0),
        (None, 1),
        (BLOCK, 0),
    ]
    found = [clean, *(tiny.degraded_embeddings("sdcl", *condition) for condition in conditions)]
    assert embedded[1:] == conditions
    again = Experiment("walkers", "tiny", 0, tiny.output_dir, method="sdcl")
    for condition, vectors in zip(conditions, found[1:], strict=True):
        np.testing.assert_array_equal(again.degraded_embeddings("sdcl", *condition), vectors)
    assert len(embedded) == 1 + len(conditions)
    for i, one in enumerate(found):
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
        assert all(np.abs(one - other).max() > 1e-4 for other in found[:i])


def test_a_condition_is_what_the_loader_shows_under_it(tiny, embedded):
    run, model = tiny.run_settings("sdcl"), tiny.model("sdcl")
    dataset = ClipDataset(tiny.store, tiny.test_index, run.clips, train=False, modalities=model.modalities, degradation=BLOCK, shuffled=3)
    clips = dataset[5]
    vector = model(**{name: clips[name] for name in model.modalities}).mean(0).detach().numpy()
    found = tiny.degraded_embeddings("sdcl", BLOCK, 3)[5]
    np.testing.assert_allclose(found, vector / np.linalg.norm(vector), atol=1e-5)


def test_another_seed_and_other_settings_are_asked_anew(tiny, embedded):
    first = tiny.degraded_embeddings("psta", BLUR)
    other = tiny.degraded_embeddings("psta", BLUR, seed=1)
    assert len(embedded) == 2 and first.shape == other.shape and not np.allclose(first, other, atol=1e-3)
    np.testing.assert_array_equal(tiny.at(1).degraded_embeddings("psta", BLUR), other)
    assert len(embedded) == 2
    (kept,) = tiny.folder("psta").glob("????*.npz")
    with np.load(kept) as saved:
        arrays = dict(saved)
    np.savez(kept, **arrays | {"key": "of other settings", "embeddings": 0 * first})
    np.testing.assert_array_equal(tiny.degraded_embeddings("psta", BLUR), first)
    assert len(embedded) == 3


def test_a_row_of_events_alone_sees_what_reaches_its_events(tiny):
    clean = tiny.embeddings("sdcl_events")
    for degradation in (BLUR, BLOCK, Degradation("motion_blur", 3, events="resimulated")):
        np.testing.assert_array_equal(tiny.degraded_embeddings("sdcl_events", degradation), clean)
    for condition in ((Degradation("occlusion", 4, events="resimulated"),), (None, 0)):
        assert np.abs(tiny.degraded_embeddings("sdcl_events", *condition) - clean).max() > 1e-3


def test_test_people_are_never_trained_on(tiny):
    train = set(tiny.train_index["person"])
    held_out = set(tiny.validation.index["person"])
    test = set(tiny.test_index["person"])
    assert train and held_out and test
    assert not train & test and not train & held_out and not held_out & test


def test_a_real_set_without_people_to_spare_trains_on_all_and_says_so(tiny, capsys):
    train = tiny.index[tiny.index["subset"] == "train"]
    real = Experiment("mars", "tiny", 0, tiny.output_dir)
    real.__dict__["index"] = train[train["person"].isin(sorted(set(train["person"]))[:3])]  # two must be left to train on
    assert real.validation is None and real.train_index["person"].nunique() == 3
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("nobody is held out for validation, the last step is what is reported: cannot hold out 2 of 3 training people")


def test_paired_scores_line_up_with_their_people(tiny):
    scores, people = tiny.average_precisions("counts"), tiny.query_people()
    assert scores.shape == (len(tiny.seeds), len(people))
    assert np.nanmin(scores) >= 0 and np.nanmax(scores) <= 100
    assert scores.mean() > 0


def test_every_seed_draws_its_own_people_and_shares_nothing_else(tiny):
    other = tiny.at(1)
    assert tiny.at(None) is tiny.at(0) is tiny and tiny.at(1) is other and other.at(0).seed == 0
    assert other.store.cache_key != tiny.store.cache_key and other.store.settings["seed"] == 1
    assert other.folder("stfs") == tiny.folder("stfs", 1) and other.run_settings("stfs") == tiny.run_settings("stfs", 1)
    for name, protocol in tiny.protocols.items():  # query i of one draw stands beside query i of another
        for column in ("person", "camera", "subset"):
            assert (protocol.index[column] == other.protocols[name].index[column]).all()
    assert not np.array_equal(tiny.embeddings("counts", 1), tiny.embeddings("counts"))
    np.testing.assert_array_equal(tiny.embeddings("counts", 1), other.embeddings("counts"))
    assert tiny.evaluation("counts", seed=1).mAP == other.evaluation("counts").mAP


def test_a_real_set_is_the_same_for_every_seed(tiny):
    real = copy.copy(tiny)
    real.dataset, real._others = "event_reid", {}
    assert real.at(5).store is tiny.store and real.at(5).seed == 5


def test_unknown_protocol(tiny):
    with pytest.raises(ValueError, match="unknown protocol 'sideways'; this set has query to gallery"):
        tiny.evaluation("counts", "sideways")


def test_a_row_that_completes_video_sees_it_completed(tiny):
    assert not tiny.is_trained("vrstc") and not list(tiny.folder("vrstc").glob("*.pt"))  # asking trains nothing
    first = tiny.embeddings("vrstc")
    assert tiny.is_trained("vrstc") and tiny.repairing("vrstc").finished()
    seen = tiny.seen_store("vrstc")
    assert isinstance(seen, RepairedStore) and seen.cache_key != tiny.store.cache_key and tiny.made_of("vrstc")["data"] == seen.cache_key
    np.testing.assert_allclose(embed(tiny.model("vrstc"), seen, tiny.test_index, tiny.run_settings("vrstc").clips), first, atol=1e-6)
    again = Experiment("walkers", "tiny", 0, tiny.output_dir, method="vrstc")
    np.testing.assert_array_equal(again.embeddings("vrstc"), first)
    degraded = tiny.seen_store("vrstc", degradation=BLUR)
    assert isinstance(degraded, RepairedStore) and degraded.store.degradation == BLUR  # degraded first, then repaired


def test_only_a_row_that_completes_video_has_the_three_steps(tiny):
    for name in ("non_local", "sdcl"):
        with pytest.raises(ValueError, match=f"row '{name}' sees the video as it is"):
            tiny.repairing(name)
    assert tiny.seen_store("sdcl") is tiny.store


def test_a_supervised_row_depends_on_the_labels_of_the_parts(tiny):
    assert tiny.parts is not None and tiny.made_of("ianet")["parts"] == tiny.parts.cache_key
    assert "parts" not in tiny.made_of("sdcl") and "parts" not in tiny.made_of("resnet_frames")
    assert not tiny.is_trained("ianet")
