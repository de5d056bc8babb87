"""Asking a trained model: embed a recording, are these two the same person, who in the gallery is this?

    asked = ReIdentifier.from_run("runs/walkers-demo/runs/s3ce_net-seed0", store)
    asked.embed("recording.raw")               # a unit vector
    asked.same("p0101/c0/t0", "p0101/c1/t0")   # a Verdict: score, probability, error rates
    asked.search("p0101/c0/t0", top=5)         # a table, the most alike first

What is asked about is a tracklet: one person, cropped, seen by one camera.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.checkpoints import read_settings
from reidlib.datasets import ClipSettings, Sample, StoreLike, cameras_or_none, in_subset, make_index, validation_split
from reidlib.evaluation import embed
from reidlib.events import Events, read
from reidlib.experiment import Experiment
from reidlib.metrics import Interval
from reidlib.metrics.verification import (
    Calibration,
    Pairs,
    equal_error_threshold,
    error_intervals,
    fit_calibration,
    pairs_across_cameras,
    threshold_at,
)
from reidlib.models import ReidModel, build_model
from reidlib.weights import load_weights

#: What can be asked about: a tracklet's key, a recording (path or events), video frames, or both as a `Sample`.
Question = str | os.PathLike | Events | np.ndarray | Sample


@dataclass(frozen=True)
class Calibrated:
    """What a model's similarities mean, learned from pairs of people that it was not trained on, seen by two cameras each.

    pairs: those. calibration: similarity -> probability. threshold: similarity from which on two are called the same person.
    false_match_rate, false_non_match_rate: its errors on those pairs, with 95 % intervals over people (the threshold was chosen on them
    too: for new people expect a little more)."""

    pairs: Pairs
    calibration: Calibration
    threshold: float
    false_match_rate: Interval
    false_non_match_rate: Interval

    @classmethod
    def on(cls, pairs: Pairs, false_match_rate: float | None = None) -> "Calibrated":
        """Fitted to pairs. false_match_rate: the one that the threshold keeps (see `threshold_at`); None: equal error rates."""
        threshold = equal_error_threshold(pairs) if false_match_rate is None else threshold_at(pairs, false_match_rate)
        return cls(pairs, fit_calibration(pairs), threshold, *error_intervals(pairs, threshold))


@dataclass(frozen=True)
class Verdict:
    """Are two tracklets of the same person? score: cosine similarity. probability: of the same person, given the prior that was asked
    with. same: score >= threshold. The error rates are those of the threshold, see `Calibrated`."""

    score: float
    probability: float
    same: bool
    threshold: float
    false_match_rate: Interval
    false_non_match_rate: Interval


class ReIdentifier:
    """A trained model that answers questions. model: in any mode, it is set to `eval`. clips: as it was trained with. store: where keys
    are looked up, None for none. calibrated: None where no people were held out; then `same` cannot answer. name: for messages."""

    def __init__(
        self,
        model: ReidModel,
        clips: ClipSettings,
        store: StoreLike | None = None,
        calibrated: Calibrated | None = None,
        name: str = "model",
    ):
        self.model, self.clips, self.store, self.calibrated, self.name = model.eval(), clips, store, calibrated, name
        self._known: dict[str, np.ndarray] = {}

    @classmethod
    def from_run(cls, folder: str | Path, store: StoreLike | None = None, false_match_rate: float | None = None) -> "ReIdentifier":
        """The model of a finished run. store: the one that it was trained on, needed for keys and for the calibration.
        false_match_rate: see `Calibrated.on`. Raises as `load_run`, and ValueError for a store with other data."""
        model, clips, settings = load_run(folder)
        if store is not None and store.cache_key != settings["data"]:
            raise ValueError(
                f"the run in {folder} was trained on data {settings['data'][:12]}, this store holds {store.cache_key[:12]}: are "
                "its settings or its seed others? Its training people must not be taken for new ones"
            )
        people, held_out = settings["validation_people"], None
        if store is not None and people:
            held_out = validation_split(store.index, people, seed=0)[1]  # as `Experiment` holds them out
        return cls._calibrated_on(model, clips, store, held_out, false_match_rate, Path(folder).name)

    @classmethod
    def from_experiment(
        cls, experiment: Experiment, row: str = "", seed: int | None = None, false_match_rate: float | None = None
    ) -> "ReIdentifier":
        """The trained model of a row (empty: the one in the centre), trained now unless it already was."""
        row, here = row or experiment.centre, experiment.at(seed)
        held_out = None if here.validation is None else here.validation.index
        return cls._calibrated_on(here.model(row), here.run_settings(row).clips, here.store, held_out, false_match_rate, row)

    @classmethod
    def _calibrated_on(
        cls,
        model: ReidModel,
        clips: ClipSettings,
        store: StoreLike | None,
        held_out: pd.DataFrame | None,
        false_match_rate: float | None,
        name: str,
    ) -> "ReIdentifier":
        asked = cls(model, clips, store, name=name)
        if held_out is not None:
            asked.calibrated = Calibrated.on(asked.pairs(held_out), false_match_rate)
        return asked

    def pairs(self, index: pd.DataFrame) -> Pairs:
        """Scores of all pairs across cameras of the tracklets in `index`, rows of the store's table."""
        return pairs_across_cameras(self.embed_index(index), index["person"].to_numpy(), cameras_or_none(index))

    def embed(self, what: Question, fps: float | None = None) -> np.ndarray:
        """Unit vector float32 `[D]` of a tracklet; of one in the store, the very vector that `evaluation.embed` gives.

        what: a key of the store; a path (of recordings, see `events.read`; a text that is no key counts as one where such a file is);
        `Events`; frames uint8 `[N, H, W]` or `[N, H, W, 3]`, with `fps`; or a `Sample`, which holds events, frames and the length of the
        recording. Where that is not given, a recording lasts from its first event to its last.
        Raises ValueError for what the model does not take or where it has nothing to see, KeyError for an unknown key."""
        if isinstance(what, str) and self._is_key(what):
            if what not in self._known:
                table = self._table("the tracklet")
                self.embed_index(table[table["key"] == what].head(1))
            return self._known[what]
        return self._embed_sample(self._sample(what, fps))

    def embed_index(self, index: pd.DataFrame, progress: bool = False) -> np.ndarray:
        """`evaluation.embed` of tracklets of the store, rows of its table: float32 `[N, D]`; each is computed once."""
        if self.store is None:
            raise ValueError(f"{self.name} was built without a store: give store=... for tracklets by key, or ask about recordings")
        keys = index["key"].tolist()
        new = index[~index["key"].isin(list(self._known))].drop_duplicates("key")
        if len(new):
            vectors = embed(self.model, self.store, new, self.clips, progress=progress)
            self._known |= dict(zip(new["key"], vectors, strict=True))
        return np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, 0), np.float32)

    def same(self, a: Question, b: Question, prior: float = 0.5) -> Verdict:
        """Are two tracklets, seen by different cameras, of the same person? prior: how likely that is before looking.

        Raises ValueError where no people were held out to calibrate with."""
        if self.calibrated is None:
            raise ValueError(
                f"{self.name} cannot say how sure it is: no people were held out of its training (validation_people = 0), or its store is "
                "not given. Calibrate it on people it has not seen: asked.calibrated = Calibrated.on(asked.pairs(index))"
            )
        known = self.calibrated
        score = float(similarities(self.embed(a), self.embed(b)[None])[0])
        probability = float(known.calibration.probability(score, prior))
        return Verdict(score, probability, score >= known.threshold, known.threshold, known.false_match_rate, known.false_non_match_rate)

    def search(
        self,
        query: Question,
        gallery: pd.DataFrame | Sequence[str] | Mapping[str, Question] | None = None,
        top: int = 10,
        prior: float = 0.5,
    ) -> pd.DataFrame:
        """The `top` entries of a gallery most like the query: rank, key, person, camera, similarity, probability.

        gallery: rows of the store's table, keys, or recordings by name (whose person and camera are -1, unknown); None: the store's
        gallery part. The query itself is left out. Equal similarities keep the gallery's order. probability: of each entry by itself, as
        `same` gives it for two cameras; NaN without calibration. Raises ValueError for an empty gallery or top below 1."""
        if top < 1:
            raise ValueError(f"top = {top}: at least one entry must be asked for")
        table, vectors = self._gallery(gallery)
        if isinstance(query, str):
            kept = (table["key"] != query).to_numpy()
            table, vectors = table[kept], vectors[kept]
        if not len(table):
            raise ValueError("the gallery is empty (the query itself does not count): there is nobody to search")
        scores = similarities(self.embed(query), vectors)
        order = np.argsort(-scores, kind="stable")[:top]
        probability = np.nan if self.calibrated is None else self.calibrated.calibration.probability(scores[order], prior)
        found = table.iloc[order].assign(similarity=scores[order], probability=probability)
        found.insert(0, "rank", np.arange(1, len(found) + 1))
        return found.reset_index(drop=True)

    def _gallery(self, gallery: pd.DataFrame | Sequence[str] | Mapping[str, Question] | None) -> tuple[pd.DataFrame, np.ndarray]:
        if isinstance(gallery, Mapping):
            table = pd.DataFrame({"key": list(gallery), "person": -1, "camera": -1})
            vectors = [self.embed(what) for what in gallery.values()]
            return table, np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)
        if gallery is None:
            table = self._table("the gallery part")
            rows = table[in_subset(table, "gallery")]
        elif isinstance(gallery, pd.DataFrame):
            rows = gallery
        else:
            for key in gallery:
                if not self._is_key(key):
                    raise KeyError(self._unknown(key))
            rows = self._table("the gallery").drop_duplicates("key").set_index("key", drop=False).loc[list(gallery)]
        return rows[["key", "person", "camera"]].reset_index(drop=True), self.embed_index(rows)

    def _table(self, what: str) -> pd.DataFrame:
        """The store's table; ValueError where there is no store to know `what` of."""
        if self.store is None:
            raise ValueError(f"{self.name} was built without a store, so {what} is not known: give store=... or a gallery of recordings")
        return self.store.index

    def _is_key(self, text: str) -> bool:
        return self.store is not None and bool((self.store.index["key"] == text).any())

    def _unknown(self, text: str) -> str:
        if self.store is None:
            return f"{text!r} is no file, and {self.name} was built without a store of tracklets"
        return f"{text!r} is neither a tracklet of the store, whose keys begin with {list(self.store.index['key'][:3])}, nor a file"

    def _sample(self, what: Question, fps: float | None) -> Sample:
        """Anything but a key as a `Sample`."""
        if isinstance(what, np.ndarray):
            return _film(what, fps)
        if fps is not None:
            raise ValueError(f"fps = {fps} belongs to frames; {type(what).__name__} {what!r:.60} is something else")
        if isinstance(what, Events):
            return Sample(what)
        if isinstance(what, str) and not Path(what).is_file():
            raise KeyError(self._unknown(what))
        if isinstance(what, str | os.PathLike):
            return Sample(read(what))
        if isinstance(what, Sample):
            return what
        raise TypeError(f"cannot embed a {type(what).__name__}: give a key, a path, Events, frames (uint8 array) or a Sample")

    def _embed_sample(self, sample: Sample) -> np.ndarray:
        given = {"events": len(sample.events) > 0, "frames": sample.frames is not None and len(sample.frames) > 0}
        missing = [name for name in self.model.modalities if not given[name]]
        if missing:
            found = " and ".join(name for name, there in given.items() if there) or "an empty recording"
            raise ValueError(
                f"{self.name} takes {' and '.join(self.model.modalities)}, but {' and '.join(missing)} are missing: it was given {found}. "
                "Both together are a Sample(events, frames, duration=seconds)"
            )
        store = OneRecording(sample)
        return embed(self.model, store, store.index, self.clips)[0]


class OneRecording:
    """The part of a `TrackletStore` that clips are cut from, for one recording in memory."""

    def __init__(self, sample: Sample):
        self.sample, self.cache_key = sample, "one recording"
        self.settings: dict = {}
        start, stop = sample.interval()
        events, count = sample.events, 0 if sample.frames is None else len(sample.frames)
        row = {"key": "recording", "dataset": "asked", "split": 0, "subset": "query", "person": -1, "camera": -1, "frames": count}
        row |= {"duration": (stop - start) / 1e6, "events": len(events), "width": events.width, "height": events.height, "source": ""}
        self.index = make_index([row])

    def events(self, key: str) -> Events:
        return self.sample.events

    def frames(self, key: str) -> np.ndarray | None:
        return self.sample.frames

    def interval(self, key: str) -> tuple[int, int]:
        return self.sample.interval()

    def attributes(self, key: str) -> dict:
        return self.sample.attributes


def similarities(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine similarity of a unit vector `[D]` with each of `[N, D]`, float64 `[N]`, from -1 to 1; the same in either order."""
    return np.clip((others.astype(np.float64) * vector.astype(np.float64)).sum(axis=1), -1, 1)


def load_run(folder: str | Path) -> tuple[ReidModel, ClipSettings, dict]:
    """The model of a finished run in `eval` mode, its clip settings, and all its settings as they lie in `settings.json`.

    Nothing of the data is needed. Raises FileNotFoundError for a folder without a finished model, ValueError where its files are damaged
    or do not belong together."""
    folder = Path(folder)
    weights, written = folder / "model.pt", folder / "settings.json"
    missing = [path.name for path in (weights, written) if not path.is_file()]
    if missing:
        unfinished = (folder / "checkpoint.pt").exists()
        cause = "its training was interrupted: start it again and it goes on" if unfinished else "has this row been trained?"
        raise FileNotFoundError(f"no finished run in {folder}, {' and '.join(missing)} missing: {cause}")
    try:
        settings = read_settings(folder)
        state = load_weights(weights)
        classes = next(len(value) for name, value in state.items() if name.endswith("classifier.weight"))
        options = settings["options"]
        if "pretrained" in options:
            options = options | {"pretrained": False}  # the weights are at hand
        model = build_model(settings["model"], classes, **options)
        model.load_state_dict(state)
        clips = ClipSettings(**settings["clips"])
    except Exception as error:  # a damaged file is whatever its bytes make of it
        text = f"{type(error).__name__}: {error}"[:300]
        raise ValueError(f"{written} and {weights.name} cannot be read as a run ({text}): damaged, or of another version?") from error
    return model.eval(), clips, settings


def _film(frames: np.ndarray, fps: float | None) -> Sample:
    """Frames alone, the i-th at i / fps seconds."""
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or not len(frames):
        raise ValueError(f"frames must be uint8 [N, H, W] or [N, H, W, 3] with N >= 1, not {frames.dtype} {list(frames.shape)}")
    if fps is None or not fps > 0:
        raise ValueError(f"frames need fps, the frames per second, above 0: got {fps}")
    times = [round(i * 1e6 / fps) for i in range(len(frames))]
    silent = Events.empty(frames.shape[2], frames.shape[1])
    return Sample(silent, frames, {"frame_times": times}, duration=len(frames) / fps)
