"""Damaged files: bytes flipped, cut off, replaced. Each is found, named, and refused or made again; nothing wrong is ever used."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import samples
import torch
import toy_training
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import FULL, content
from test_evaluation import ToyStore

from reidlib.asking import load_run
from reidlib.checkpoints import History, read_checkpoint, save_state, write_checkpoint
from reidlib.datasets import TrackletStore, build_store
from reidlib.experiment import Experiment, _read_kept
from reidlib.losses import ReidLoss
from reidlib.training import load_history
from reidlib.weights import load_weights

STORE = ToyStore(toy_training.INDEX)
RUN = toy_training.short(checkpoint_every=1)
EXAMPLES = settings(max_examples=400 if FULL else 40, deadline=None)
pytestmark = pytest.mark.full


def flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    return bytes(changed)


FLIP = {"place": st.integers(0, 2**40), "bit": st.integers(0, 7)}


def train(folder: Path):
    return toy_training.run_training(STORE, folder, RUN, validate=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("done") / "run"
    train(folder)
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A run that was stopped after its second step."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        toy_training.Interruption(patch, after=2)
        train(folder)
    return folder


# --- Tensors: checkpoints and models ----------------------------------------------------------------------------------
TENSORS = {"model": {f"w{i}": torch.arange(30.0) + i for i in range(3)}, "step": 7}


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_state(TENSORS, tmp_path / f"{name}.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@EXAMPLES
@given(**FLIP)
def test_a_flipped_bit_of_a_checkpoint_is_found_or_changes_nothing(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("flip") / "checkpoint.pt"
    save_state(TENSORS, path)
    path.write_bytes(flipped(path.read_bytes(), place, bit))
    try:
        found = load_weights(path)
    except ValueError as error:
        assert str(path) in str(error) and "is damaged or cut off" in str(error)
    else:
        assert found["step"] == 7 and toy_training.same_weights(found["model"], TENSORS["model"])


@pytest.mark.parametrize("size", [0, 10, 0.5, -1])
def test_a_cut_off_checkpoint_stops_the_run_and_stays(begun, tmp_path, size):
    """It is not thrown away: whoever removes it decides so."""
    folder = shutil.copytree(begun, tmp_path / "run")
    path = folder / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: round(size * len(whole)) if isinstance(size, float) else size])
    before = content(folder)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged.*remove it and the run starts again"):
        train(folder)
    assert content(folder) == before and not list(tmp_path.glob("*.lock"))
    path.write_bytes(whole)
    train(folder)


def test_a_checkpoint_of_other_settings_says_what_is_thrown_away(begun, tmp_path, capsys):
    folder = shutil.copytree(begun, tmp_path / "run")
    toy_training.run_training(STORE, folder, toy_training.short(learning_rate=1e-3), validate=False)
    assert f"{folder}: settings or data changed since its checkpoint; training starts again" in (said := capsys.readouterr().out)
    assert "the checkpoint of step 2 is thrown away" in said


def test_a_model_of_other_settings_says_so_too(done, tmp_path, capsys):
    folder = shutil.copytree(done, tmp_path / "run")
    toy_training.run_training(STORE, folder, toy_training.short(learning_rate=1e-3), validate=False)
    assert f"{folder}: settings or data changed since its model was trained; that model is thrown away" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["model.pt", "settings.json"])
def test_a_damaged_result_is_refused_and_stays(done, tmp_path, name):
    folder = shutil.copytree(done, tmp_path / "run")
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    before = content(folder)
    for use in (train, load_run):
        with pytest.raises(ValueError, match=rf"{name} is damaged"):
            use(folder)
    assert content(folder) == before


def test_a_flipped_weight_is_refused(done, tmp_path):
    """Torch alone would load it."""
    path = shutil.copytree(done, tmp_path / "run") / "model.pt"
    data = path.read_bytes()
    weight = next(iter(torch.load(path, weights_only=True).values())).numpy().tobytes()
    path.write_bytes(flipped(data, data.index(weight) + 2, 6))
    torch.load(path, weights_only=True)
    with pytest.raises(ValueError, match=r"model\.pt is damaged.*the checksum of .* is wrong.*remove it and the run starts again"):
        train(path.parent)


@pytest.mark.parametrize("damage", [b"", b"step,total\n", b"\0" * 40, b"step,total\n3,0.5", b"step,total\n3\n", b"step,total\n3,x\n"])
def test_a_damaged_history_is_named(done, tmp_path, damage):
    folder = shutil.copytree(done, tmp_path / "run")
    assert len(load_history(folder)) == 1
    (folder / "metrics.csv").write_bytes(damage)
    with pytest.raises(ValueError, match=r"metrics\.csv is damaged"):
        load_history(folder)


def test_the_history_of_an_unfinished_run_comes_from_its_checkpoint(begun, done, tmp_path):
    folder = shutil.copytree(begun, tmp_path / "run")
    (folder / "metrics.csv").write_bytes(b"\0")
    train(folder)
    assert content(folder) == content(done)


# --- A loss, or a weight, that is not a number ------------------------------------------------------------------------
def test_weights_that_are_not_finite_reach_no_checkpoint_and_no_model(tmp_path):
    """The loss is fine at the step that breaks the weights: what is kept must be the checkpoint before it."""
    plain, history = {"a": 1}, History()
    good = {"step": 1, "model": {"w": torch.ones(2)}}
    write_checkpoint(tmp_path, plain, good, history)
    with pytest.raises(FloatingPointError, match=rf"w is not finite after step 2 of {tmp_path}: lower the learning rate"):
        write_checkpoint(tmp_path, plain, {"step": 2, "model": {"w": torch.tensor([1, np.inf])}}, history)
    assert read_checkpoint(tmp_path, plain)["step"] == 1


@pytest.mark.parametrize("step", [2, 3])
def test_a_gradient_that_is_not_finite_stops_the_run_at_a_good_checkpoint(done, tmp_path, monkeypatch, step):
    """Whatever the step, the last one included, the run stops and then goes on to the usual result."""
    original, calls = ReidLoss.__call__, []

    def broken(self, output, labels):
        calls.append(1)
        terms = original(self, output, labels)
        return terms | {"total": terms["total"] + (output.logits[0].sum() * 0).sqrt() * 0} if len(calls) == step else terms

    with monkeypatch.context() as patch, pytest.raises(FloatingPointError, match=rf"after step {step} of {tmp_path / 'run'}"):
        patch.setattr(ReidLoss, "__call__", broken)
        train(tmp_path / "run")
    assert load_weights(tmp_path / "run" / "checkpoint.pt")["step"] == step - 1
    train(tmp_path / "run")
    assert content(tmp_path / "run") == content(done)


# --- Stores -----------------------------------------------------------------------------------------------------------
def build(path: Path) -> TrackletStore:
    return build_store(path, samples.rows(count=400), samples.make, samples.SETTINGS, workers=1)


def everything(store: TrackletStore) -> list:
    found = [store.index.to_csv(), store.cache_key, store.data_hash]
    for key in store.index["key"]:
        found += [store.events(key), store.interval(key), store.frames(key).tobytes(), store.attributes(key)]
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[bytes, list]:
    store = build(tmp_path_factory.mktemp("built") / "small.h5")
    return store.path.read_bytes(), everything(store)


@EXAMPLES
@given(**FLIP)
def test_a_flipped_bit_of_a_store_is_named(built, tmp_path_factory, place, bit):
    """Arrays and the index carry checksums. HDF5's own tables carry none: where one of them breaks, something must fail to be read."""
    path = tmp_path_factory.mktemp("flip") / "small.h5"
    path.write_bytes(flipped(built[0], place, bit))
    try:
        with TrackletStore(path) as store:
            found = everything(store)
    except ValueError as error:
        assert str(path) in str(error) and "build it again" in str(error)
    else:
        assert found == built[1]


def test_a_flipped_event_names_its_tracklet(built, tmp_path):
    path = tmp_path / "small.h5"
    data = built[0]
    with TrackletStore(build(path).path) as store:
        key = store.index["key"][5]
        offset = store._group(key)["t"].id.get_chunk_info(0).byte_offset
    path.write_bytes(flipped(data, offset + 20, 3))
    with pytest.raises(ValueError, match=rf"tracklet {key} of .*small\.h5 is damaged .*remove it and build it again"):
        TrackletStore(path).events(key)


def test_a_flipped_person_is_found(built, tmp_path):
    path = tmp_path / "small.h5"
    persons = np.array([row["person"] for row in samples.rows()], np.int64).tobytes()
    path.write_bytes(flipped(built[0], built[0].index(persons) + 8, 0))
    with pytest.raises(ValueError, match=r"its index of .*small\.h5 is damaged"):
        TrackletStore(path)
    assert everything(build(path)) == built[1] and path.read_bytes() == built[0]  # and made again


# --- What is kept beside a model --------------------------------------------------------------------------------------
@EXAMPLES
@given(**FLIP)
def test_a_flipped_bit_of_kept_embeddings_is_told_or_changes_nothing(tmp_path_factory, place, bit):
    path, vectors = tmp_path_factory.mktemp("flip") / "embeddings.npz", np.arange(12.0).reshape(3, 4)
    np.savez(path, embeddings=vectors, key="k")
    path.write_bytes(flipped(path.read_bytes(), place, bit))
    found = _read_kept(path, "k")
    assert found is None or np.array_equal(found, vectors)


def test_damaged_embeddings_are_computed_again_with_a_note(tmp_path, monkeypatch, capsys):
    experiment = Experiment("walkers", "tiny", 0, tmp_path)
    experiment.__dict__["store"] = STORE
    vectors = np.ones((2, 3), np.float32)
    path = experiment.folder("sew_resnet18") / "embeddings.npz"
    experiment._kept("sew_resnet18", "embeddings", lambda: vectors)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    np.testing.assert_array_equal(experiment._kept("sew_resnet18", "embeddings", lambda: vectors), vectors)
    said = capsys.readouterr().out
    assert said.startswith(f"{path} is damaged (") and said.endswith("its embeddings are computed again\n")
    assert path.read_bytes() == whole
    np.testing.assert_array_equal(experiment._kept("sew_resnet18", "embeddings", pytest.fail), vectors)
