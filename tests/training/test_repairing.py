"""VRSTC's three steps: stopped anywhere they end in the same bytes; what they repair is what was hidden, and nothing else."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_evaluation import HEIGHT, WIDTH
from toy_repairing import COVERED, FRAMES, INDEX, RUN, SETTINGS, Stop, StripedStore, repairing
from toy_training import same_weights

import reidlib.completion as completion
import reidlib.repairing as steps
import reidlib.training as training
from reidlib.completion import CompletionSettings, Holes, region_scores_of
from reidlib.datasets import ClipDataset
from reidlib.models.layers.occlusion import third_edges
from reidlib.models.stcnet import STCnet
from reidlib.models.vrstc import VRSTC
from reidlib.training import load_history


class FixedScores:
    """A store of scores that are stated, not measured: the lower third is hidden where the toy set covers it."""

    cache_key = "fixed"

    def attributes(self, key: str) -> dict:
        scores = np.full((FRAMES, 3), 0.95)
        if key[4] == "1":
            scores[COVERED, 2] = 0.5
        return {"scores": scores.tolist()}


def on_the_cpu(patch: pytest.MonkeyPatch, fabric=training.Fabric) -> None:
    for module in (completion, steps, training):
        patch.setattr(module, "Fabric", lambda **options: fabric(**options | {"accelerator": "cpu"}))


@pytest.fixture(autouse=True)
def cpu(plain_cpu, monkeypatch):
    on_the_cpu(monkeypatch)


def made(found: steps.Repairing) -> dict:
    """Everything that the steps end in."""
    networks = {name: getattr(found, name).state_dict() for name in ("guider", "stcnet", "model")}
    videos = {key: found.repaired().frames(key) for key in INDEX["key"]}
    return networks | {"videos": videos, "scores": found.scores().data_hash}


def same(one: dict, two: dict) -> bool:
    networks = all(same_weights(one[name], two[name]) for name in ("guider", "stcnet", "model"))
    videos = all(np.array_equal(video, two["videos"][key]) for key, video in one["videos"].items())
    return networks and videos and one["scores"] == two["scores"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> steps.Repairing:
    """The uninterrupted run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        on_the_cpu(patch)
        found = repairing(tmp_path_factory.mktemp("whole"))
        assert found.model is not None
    torch.set_num_threads(threads)
    return found


#: In every step and store one stop, after so many calls of the process that then dies.
STOPS = (
    (training._Trainer, "one_step", 2),  # step 1, at its checkpoint
    (steps, "localise", 2),
    (completion._Completer, "one_step", 3),  # step 2, between checkpoints
    (completion, "write_result", 0),  # its last step done, not yet written
    (steps, "repair", 1),
    (steps, "train", 1),  # between repairing and the last training
    (training._Trainer, "one_step", 1),
)


def test_stopped_in_and_between_all_steps_it_ends_in_the_same(whole, tmp_path):
    for owner, name, after in STOPS:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Stop(patch, owner, name, after)
            _ = repairing(tmp_path).model
        assert not (tmp_path / "model.pt").exists()
    resumed = repairing(tmp_path)
    _ = resumed.model
    assert same(made(resumed), made(whole))
    for name in ("", "identity", "completion"):
        for file in ("metrics.csv", "settings.json"):
            assert (tmp_path / name / file).read_bytes() == (whole.folder / name / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in whole.folder.iterdir())


def test_only_what_is_missing_is_done(whole, tmp_path, monkeypatch):
    """Step 2, stopped after its third step, goes on at its second, the last checkpoint; the finished step 1 is not touched."""
    folder = shutil.copytree(whole.folder, tmp_path / "copy")
    shutil.rmtree(folder / "completion")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Stop(patch, completion._Completer, "one_step", 3)
        _ = repairing(folder).stcnet
    trained, completed = (Stop(monkeypatch, owner, "one_step") for owner in (training._Trainer, completion._Completer))
    localised = Stop(monkeypatch, steps, "localise")
    again = repairing(folder).stcnet
    assert (trained.calls, localised.calls, completed.calls) == (0, 0, 3)
    assert same_weights(again.state_dict(), whole.stcnet.state_dict())


def test_a_finished_run_is_read_and_nothing_is_done(whole, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()}
    stops = [Stop(monkeypatch, owner, "one_step", 0) for owner in (training._Trainer, completion._Completer)]
    stops += [Stop(monkeypatch, steps, name, 0) for name in ("localise", "repair")]
    again = repairing(whole.folder)
    assert not again.model.training and same(made(again), made(whole))
    assert before == {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()}


def test_same_seed_same_network_and_another_seed_another(tmp_path):
    def trained(name: str, seed: int) -> dict:
        torch.manual_seed(len(name))  # whatever was drawn before does not matter
        guider = VRSTC(3, "resnet18", 4, stages=())
        guider.load_state_dict({key: 0.5 * torch.ones_like(value) for key, value in guider.state_dict().items()})
        settings = replace(SETTINGS, iterations=2, seed=seed)
        store, size = StripedStore(), RUN.clips.size
        return completion.train_completion(settings, store, INDEX, FixedScores(), guider, size, tmp_path / name).state_dict()

    assert same_weights(trained("a", 0), trained("bc", 0))
    assert not same_weights(trained("a", 0), trained("d", 1))


def test_changed_settings_of_completion_keep_the_first_step_and_redo_the_second(whole, tmp_path, monkeypatch):
    shutil.copytree(whole.folder, tmp_path / "copy")
    trained, completed = (Stop(monkeypatch, owner, "one_step") for owner in (training._Trainer, completion._Completer))
    other = repairing(tmp_path / "copy", settings=replace(SETTINGS, iterations=2))
    assert not same_weights(other.stcnet.state_dict(), whole.stcnet.state_dict())
    assert (trained.calls, completed.calls) == (0, 2)
    assert other.repaired().cache_key != whole.repaired().cache_key  # so the last network will be trained again


def test_history_of_completion(whole):
    table = load_history(whole.folder / "completion")
    assert table["step"].tolist() == [5]
    terms = table[["reconstruction", "local", "global", "identity"]]
    assert terms.notna().all().all() and table["total"][0] == pytest.approx(terms.sum(axis=1)[0])
    assert table["critics"][0] > 0


def test_the_guider_stays_as_the_first_step_left_it(whole):
    kept = torch.load(whole.folder / "identity" / "model.pt", weights_only=True)
    assert same_weights(kept, whole.guider.state_dict())
    assert set(kept) < set(torch.load(whole.folder / "model.pt", weights_only=True))  # the last one has a Non-local block more


def test_scores_are_those_of_the_network_frame_by_frame(whole):
    key = INDEX["key"][1]
    video = ClipDataset(StripedStore(), INDEX, RUN.clips, train=False, modalities=("frames",)).video
    found = region_scores_of(whole.scores(), key)
    with torch.no_grad():
        pictures = torch.stack([video.clips(1, [(60_000 * t - 10_000, 60_000 * t + 10_000)])[0, 0] for t in range(FRAMES)])
        vectors = torch.stack([whole.guider.regions(one[None, None])[0, 0] for one in pictures])  # [T, 3, D]
    mean = vectors.mean(0)
    for t in range(FRAMES):
        for k in range(3):
            v, m = vectors[t, k], mean[k]
            assert found[t, k] == pytest.approx((v @ m / (v.norm() * m.norm())).item(), abs=1e-5)
    assert found.shape == (FRAMES, 3) and whole.scores().interval(key) == (0, 0)


def test_repaired_video_differs_where_something_was_hidden_and_nowhere_else(whole):
    edges, changed = third_edges(HEIGHT), 0
    repaired = whole.repaired()
    for key in INDEX["key"]:
        before, after = StripedStore().frames(key), repaired.frames(key)
        assert after.dtype == np.uint8 and after.shape == before.shape
        hidden = region_scores_of(whole.scores(), key) < SETTINGS.threshold
        assert repaired.repaired.attributes(key)["hidden"] == hidden.astype(int).tolist()
        for t in range(FRAMES):
            for k in range(3):
                rows = slice(edges[k], edges[k + 1])
                assert np.array_equal(after[t, rows], before[t, rows]) != hidden[t, k], (key, t, k)
        changed += hidden.sum()
    assert 0 < changed < 3 * FRAMES * len(INDEX)
    assert repaired.interval(INDEX["key"][0]) == (0, 300_000) and repaired.index is whole.store.index


@pytest.mark.parametrize("colour", [False, True])
def test_colours_and_two_hidden_thirds_at_once(colour):
    torch.manual_seed(0)
    net, video = STCnet(4, (HEIGHT, WIDTH), (2,)).eval(), StripedStore(colour=colour).frames("p0/c1/t0")
    hidden = np.zeros((FRAMES, 3), bool)
    hidden[1, 0] = hidden[4, 1:] = True
    after = steps.repair(net, video, hidden, SETTINGS)
    differs = (after != video).reshape(FRAMES, HEIGHT, -1).any(2)
    expected = np.zeros((FRAMES, HEIGHT), bool)
    expected[1, :11] = expected[4, 11:] = True
    assert np.array_equal(differs, expected)
    video[4, 11:] = 7  # what hides is not looked at
    assert np.array_equal(steps.repair(net, video, hidden, SETTINGS)[4], after[4])


def test_views_show_a_tracklet_and_name_one_without_anything_hidden(whole):
    hidden = {key: (region_scores_of(whole.scores(), key) < SETTINGS.threshold) for key in INDEX["key"]}
    key = max(hidden, key=lambda one: hidden[one].sum())
    views = whole.views(key)
    n = len(views.chosen)
    assert np.array_equal(views.hidden, hidden[key]) and n == hidden[key].any(1).sum() > 0
    assert views.frames.shape == (n, 3, HEIGHT, WIDTH) and views.mask.shape == (n, 1, HEIGHT, 1)
    assert views.completion.attention.shape == (n, 2, HEIGHT // 4, WIDTH // 4)
    assert np.array_equal(views.repaired, whole.repaired().frames(key))
    kept = ~views.mask.expand_as(views.frames)
    assert torch.equal(views.completion.completed[kept], views.frames[kept])
    strict = repairing(whole.folder, settings=replace(SETTINGS, threshold=-1.0))
    with pytest.raises(ValueError, match=rf"nothing is hidden in tracklet '{key}': its lowest score is"):
        strict.views(key)


def test_a_view_of_the_set_is_repaired_beside_it(whole, tmp_path):
    folder = shutil.copytree(whole.folder, tmp_path / "copy")
    found = repairing(folder)

    class Darker(StripedStore):
        cache_key = "darker"

        def frames(self, key):
            return super().frames(key) // 2

    dark, plain = found.repaired(Darker()), found.repaired()
    key = INDEX["key"][0]
    assert dark.cache_key != plain.cache_key and dark.frames(key).mean() < plain.frames(key).mean()
    assert len(list(folder.glob("repaired-*.h5"))) == len(list(folder.glob("scores-*.h5"))) == 2


def test_ground_truth_hides_nothing_and_batches_are_functions_of_seed_and_step():
    holes = Holes(replace(SETTINGS, batch=64, flip=0.0), StripedStore(), INDEX, FixedScores())
    clear = [(row, t) for row in range(6) for t in range(FRAMES) if row % 2 == 0 or t not in range(FRAMES)[COVERED]]
    assert holes.rows.tolist() == [list(one) for one in clear]
    one, again, other = holes.batch(3), holes.batch(3), holes.batch(4)
    assert all(torch.equal(one[name], again[name]) for name in one) and not torch.equal(one["frames"], other["frames"])
    pixels = {}
    for row, t in clear:
        video = torch.from_numpy(StripedStore().frames(INDEX["key"][row])).float() / 127.5 - 1
        pixels[row, t] = (video[t], video[t - 1 if t else 1], video[t + 1 if t + 1 < FRAMES else t - 1])
    seen = set()
    for i in range(64):
        triple = [one[name][i, 2] for name in ("frames", "previous", "following")]
        found = [place for place, own in pixels.items() if all(torch.allclose(a, b, atol=1e-6) for a, b in zip(triple, own, strict=True))]
        assert len(found) == 1 and INDEX["person"][found[0][0]] == one["label"][i]
        seen.add(found[0])
    assert len(seen) > len(clear) / 2
    masks = {tuple(mask.flatten().nonzero().flatten().tolist()) for mask in one["mask"]}
    assert masks == {tuple(range(11)), tuple(range(11, 21)), tuple(range(21, 32))}


def test_mirroring_mirrors_all_three_frames():
    plain = Holes(replace(SETTINGS, flip=0.0), StripedStore(), INDEX, FixedScores()).batch(0)
    mirrored = Holes(replace(SETTINGS, flip=1.0), StripedStore(), INDEX, FixedScores()).batch(0)
    for name in ("frames", "previous", "following"):
        assert torch.equal(mirrored[name], plain[name].flip(-1))


def test_without_a_clear_frame_the_cause_is_named():
    with pytest.raises(ValueError, match=r"no frame has three scores of 0\.96 or more.*lowest score is 0\.950"):
        Holes(replace(SETTINGS, threshold=0.96), StripedStore(), INDEX, FixedScores())


def test_a_loss_that_is_not_finite_is_named_and_the_checkpoint_stays(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(completion, "network_input", lambda pixels, size: pixels * float("nan"))
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 0 of .*completion: lower the learning rate"):
        args = (whole.scores(), whole.guider, RUN.clips.size, tmp_path / "completion")
        completion.train_completion(SETTINGS, StripedStore(), INDEX, *args)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"iterations": 0}, "iterations 0"),
        ({"batch": 0}, "batch 0"),
        ({"learning_rate": 0.0}, r"learning_rate 0\.0"),
        ({"threshold": 1.5}, r"threshold 1\.5"),
        ({"flip": 2.0}, r"flip 2\.0"),
        ({"neighbours": "next"}, "unknown neighbours 'next'; choose one of adjacent, visible"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        CompletionSettings(**change)


def test_the_steps_end_in_a_vrstc(tmp_path):
    with pytest.raises(ValueError, match="end in a 'vrstc' that starts afresh, not in 'resnet50'"):
        repairing(tmp_path, run=replace(RUN, model="resnet50", options={}))
