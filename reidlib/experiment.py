"""One data set at one preset: the notebooks' way to data, trained models, embeddings and numbers. Everything is cached in OUTPUT_DIR.

Command line: `python -m reidlib.experiment train --preset study --row NAME` trains a row (`python -m reidlib.ablations` lists them),
`... data` builds the store.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from reidlib import processes
from reidlib.ablations import SYSTEMS, System, row
from reidlib.ablations.plan import EVERYTHING, PRESETS, SPLITS, check_method, check_trained
from reidlib.checkpoints import finished
from reidlib.config import Preset, preset
from reidlib.datasets import GENERATED, Degradation, DegradedStore, StoreLike, TrackletStore, load_dataset, part_labels, validation_split
from reidlib.datasets.parallel import memory_size
from reidlib.evaluation import Evaluation, Protocol, count_embeddings, embed, evaluate, protocols
from reidlib.files import settings_hash, write_atomically
from reidlib.locks import Locked
from reidlib.models import SUPERVISED, ReidModel
from reidlib.repairing import Repairing
from reidlib.training import RunSettings, load_history, train

MEMORY_SHARE = 0.25  # of the machine's memory, for events and video: two trainings at a time leave half of it


@dataclass
class Experiment:
    """dataset, preset: names. seed: first seed. output_dir: where runs and results go (a text will do). data: path of a real set. gait:
    folder of BVH files that drive the walkers. method: the row in the centre, whose system alone is shown; "all" for every system of
    the preset, "" for those that it shows unasked.
    Trained models are found again by row and seed and used when their settings are the same.

    A seed draws everything: weights, batches and, where the set is generated, its people and cameras too; where a set has splits, seed s
    takes split s. What is true of one pair of cameras need not be true of another, so seeds that shared their data could agree on an
    accident of it. Without `seed`, everything here is about the first seed; `at` turns to another.
    """

    dataset: str
    preset: str
    seed: int
    output_dir: Path
    data: str = ""
    gait: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        self.output_dir = Path(self.output_dir)
        self.settings: Preset = preset(self.preset, self.dataset)
        if self.gait and not self.generated:
            raise ValueError(f"GAIT drives the built-in walkers only, not {self.dataset!r}")
        check_method(self.method, self.preset, self.dataset)

    def check_trained(self, name: str, parameter: str) -> str:
        """`name` if the preset trains that row, else ValueError with the rows it does train; `parameter` is who asked."""
        return check_trained(name, parameter, self.settings.all_rows, self.preset, self.dataset)

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems that are shown."""
        return tuple(SYSTEMS[name] for name in self.settings.asked(self.method))

    def shows(self, system: str) -> bool:
        """Whether a system, by name, is among them."""
        return system in {one.name for one in self.systems}

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of the systems that are shown."""
        return tuple(dict.fromkeys(name for system in self.systems for name in self.settings.rows[system.name]))

    @property
    def main_rows(self) -> tuple[str, ...]:
        """The rows that every report shows, the one in the centre first."""
        shown = [name for system in self.systems for name in system.main]
        return tuple(dict.fromkeys((self.centre, *shown)))

    @property
    def centre(self) -> str:
        """The row in the centre: the method, or the first system's own."""
        return self.systems[0].name if self.method in ("", EVERYTHING) else self.method

    @property
    def generated(self) -> bool:
        """Whether the set is made by a program, anew for every seed."""
        return self.dataset in GENERATED

    @property
    def redrawn(self) -> bool:
        """Whether every seed has data of its own: generated ones, or another split of a set's people."""
        return self.generated or self.dataset in SPLITS

    def at(self, seed: int | None) -> "Experiment":
        """This experiment with another first seed, whose data it has; itself for its own seed or None."""
        if seed is None or seed == self.seed:
            return self
        others: dict[int, Experiment] = self.__dict__.setdefault("_others", {})
        if seed not in others:
            other = others[seed] = copy.copy(self)
            other.seed = seed
            if self.redrawn:
                for drawn in ("store", "index", "parts", "_repairings", "_split", "validation", "protocols"):
                    other.__dict__.pop(drawn, None)
        return others[seed]

    @property
    def _data_options(self) -> dict:
        drawn = {"seed": self.seed} if self.generated else {}
        return self.settings.data | drawn | ({"gait": str(self.gait)} if self.gait else {})

    @cached_property
    def store(self) -> TrackletStore:
        """The tracklet store, built on first use and read into memory where that is large enough."""
        store = load_dataset(self.dataset, data=self.data or None, options=self._data_options)
        return store.load(MEMORY_SHARE * memory_size())

    @cached_property
    def parts(self) -> TrackletStore | None:
        """The body part of every pixel of the set's video, where it is known (see `part_labels`)."""
        found = part_labels(self.store, self.data, self._data_options)
        return None if found is None else found.load(MEMORY_SHARE / 4 * memory_size())

    @cached_property
    def index(self) -> pd.DataFrame:
        """All tracklets of the set, or of this seed's split where it has several."""
        splits = sorted(self.store.index["split"].unique())
        found = self.store.index[self.store.index["split"] == splits[self.seed % len(splits)]]
        return found.reset_index(drop=True)

    @cached_property
    def _split(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        people = self.settings.validation_people
        try:
            if people:  # of one set the same people for every seed, so that seeds can be compared
                return validation_split(self.index, people, seed=0)
        except ValueError as error:
            if self.generated:
                raise
            print(f"nobody is held out for validation, the last step is what is reported: {error}")
        return self.index[self.index["subset"] == "train"].reset_index(drop=True), None

    @property
    def train_index(self) -> pd.DataFrame:
        """The tracklets that models are fitted to."""
        return self._split[0]

    @cached_property
    def validation(self) -> Protocol | None:
        """Held-out training identities, for choices and curves."""
        held_out = self._split[1]
        return None if held_out is None else protocols(held_out)["query to gallery"]

    @cached_property
    def protocols(self) -> dict[str, Protocol]:
        """The ways the test part is asked, by name; "query to gallery" is the set's own."""
        return protocols(self.index)

    @property
    def seeds(self) -> list[int]:
        """The seeds of this preset."""
        return list(range(self.seed, self.seed + self.settings.seeds))

    def run_settings(self, name: str, seed: int | None = None) -> RunSettings:
        """What the run of an ablation row is made of."""
        return self.settings.run(name, self.seed if seed is None else seed)

    def folder(self, name: str, seed: int | None = None) -> Path:
        """Where that run lies."""
        return self.output_dir / "runs" / f"{name}-seed{self.seed if seed is None else seed}"

    def model(self, name: str, seed: int | None = None) -> ReidModel:
        """The trained model of a row, in `eval` mode; trained now unless it already was."""
        here, run = self.at(seed), self.run_settings(name, seed)
        if row(name).completion is not None:
            return here.repairing(name).model
        start = None if run.start is None else lambda: here.model(row(name).start)
        return train(run, here.store, here.train_index, here.folder(name), here.validation, start, here._parts_for(name))

    def _parts_for(self, name: str) -> TrackletStore | None:
        return self.parts if row(name).model in SUPERVISED else None

    def repairing(self, name: str = "vrstc", seed: int | None = None) -> Repairing:
        """The three steps of training behind a row that sees repaired video; ValueError for another."""
        here = self.at(seed)
        kept: dict[str, Repairing] = here.__dict__.setdefault("_repairings", {})
        if name not in kept:
            steps = self.settings.completed(name, here.seed)
            kept[name] = Repairing(here.run_settings(name), steps, here.store, here.train_index, here.folder(name), here.validation)
        return kept[name]

    def seen_store(self, name: str, seed: int | None = None, degradation: Degradation | None = None) -> StoreLike:
        """The store as a row's network sees it: under a condition, and repaired where the row repairs."""
        here = self.at(seed)
        if row(name).completion is None:
            return here.store if degradation is None else DegradedStore(here.store, degradation)
        return here.repairing(name).repaired(None if degradation is None else DegradedStore(here.store, degradation))

    def made_of(self, name: str, seed: int | None = None) -> dict:
        """Everything that the trained model of a row depends on, as it is written beside it."""
        here = self.at(seed)
        parts = here._parts_for(name)
        return here.run_settings(name).with_data(here.seen_store(name).cache_key, "" if parts is None else parts.cache_key)

    def is_trained(self, name: str, seed: int | None = None) -> bool:
        """Whether a row is trained with the settings of today; trains nothing."""
        here = self.at(seed)
        if row(name).completion is not None:
            return here.repairing(name).finished()
        return finished(here.folder(name), here.made_of(name))

    def history(self, name: str, seed: int | None = None) -> pd.DataFrame:
        """Losses, learning rate, validation mAP and firing rates over the steps of a trained row."""
        self.model(name, seed)
        return load_history(self.folder(name, seed))

    @property
    def test_index(self) -> pd.DataFrame:
        """Query and gallery tracklets, in the order of `embeddings`."""
        return self.protocols["query to gallery"].index

    def embeddings(self, name: str, seed: int | None = None) -> np.ndarray:
        """Unit embeddings `[N, D]` of the test tracklets by a trained row; `name="counts"` is the raw, untrained baseline."""
        here, run = self.at(seed), self.run_settings("s3ce_net" if name == "counts" else name, seed)
        if name == "counts":
            return count_embeddings(here.store, here.test_index, run.clips)
        return here._kept(name, "embeddings", lambda: embed(here.model(name), here.seen_store(name), here.test_index, run.clips))

    def degraded_embeddings(
        self, name: str, degradation: Degradation | None = None, shuffled: int | None = None, seed: int | None = None
    ) -> np.ndarray:
        """`embeddings` of a row under a condition: degraded video, or the events of other people (see `ClipDataset`)."""
        if degradation is None and shuffled is None:
            return self.embeddings(name, seed)
        here, run = self.at(seed), self.run_settings(name, seed)
        condition = settings_hash({"degradation": degradation and asdict(degradation), "shuffled": shuffled})

        def make() -> np.ndarray:
            return embed(here.model(name), here.seen_store(name, None, degradation), here.test_index, run.clips, shuffled=shuffled)

        return here._kept(name, condition, make)

    def _kept(self, name: str, what: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` returns for a trained row, from the row's folder where it lies there for the same settings and data."""
        key = settings_hash(self.made_of(name))
        path = self.folder(name) / f"{what}.npz"
        if (found := processes.from_first(lambda: _read_kept(path, key))) is not None:
            return found
        vectors = make()
        if processes.rank() == 0:
            write_atomically(path, lambda temporary: np.savez(temporary, embeddings=vectors, key=key))
        return vectors

    def evaluation(self, name: str, protocol: str = "query to gallery", seed: int | None = None) -> Evaluation:
        """Ranking numbers of a row under one protocol."""
        if protocol not in self.protocols:
            raise ValueError(f"unknown protocol {protocol!r}; this set has {', '.join(self.protocols)}")
        return evaluate(self.embeddings(name, seed), self.at(seed).protocols[protocol])

    def average_precisions(self, name: str, protocols: tuple[str, ...] | None = None) -> np.ndarray:
        """Average precision in percent per query, `[seeds, queries]`, several protocols side by side: for paired comparisons.

        Where every seed has its own people, a column holds one query of each draw. Its mean over seeds is still the mean of independent
        people's scores, so a bootstrap over columns grouped by `query_people` is one over all of them, in groups of one per draw.
        """
        names = protocols or self.directions
        per_seed = [[100 * self.evaluation(name, p, seed).ranking.average_precision for p in names] for seed in self.seeds]
        return np.array([np.concatenate(parts) for parts in per_seed])

    @property
    def directions(self) -> tuple[str, ...]:
        """The set's protocol and, where it has one, the other direction."""
        return tuple(name for name in ("query to gallery", "gallery to query") if name in self.protocols)

    def query_people(self, protocols: tuple[str, ...] | None = None) -> np.ndarray:
        """Persons of the queries, in the order of `average_precisions`."""
        found = [self.protocols[name] for name in protocols or self.directions]
        return np.concatenate([p.index["person"].to_numpy()[p.queries] for p in found])


def _read_kept(path: Path, key: str) -> np.ndarray | None:
    """Embeddings that were kept for `key`; None where there are none, or others, or, with a note, damaged ones."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as saved:
            return saved["embeddings"] if str(saved["key"]) == key else None
    except Exception as error:  # on a broken file the readers raise errors of every kind
        print(f"{path} is damaged ({type(error).__name__}: {error}): its embeddings are computed again")
        return None


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.experiment", description="Train ablation rows of a preset.")
    parser.add_argument("command", choices=("train", "data"))
    parser.add_argument("--dataset", default="walkers")
    parser.add_argument("--preset", default="demo", help=", ".join(PRESETS))
    parser.add_argument("--seed", type=int, default=0, help="of the training and, where the set is generated, of its data")
    parser.add_argument("--row", help="ablation row to train")
    parser.add_argument("--output-dir", default="runs/default")
    parser.add_argument("--data", default="", help="path of a real data set")
    parser.add_argument("--gait", default="", help="folder of BVH files")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except (Locked, OSError) as error:  # of the machine, not of the code: the message says it all
        raise SystemExit(f"error: {error}") from error


def _run(options: argparse.Namespace) -> None:
    experiment = Experiment(options.dataset, options.preset, options.seed, options.output_dir, options.data, options.gait)
    if options.command == "data":
        print(experiment.store.cache_key)
        return
    torch.set_num_threads(options.threads)
    if row(options.row or "").completion is not None and processes.started_by_torchrun():
        raise SystemExit(f"error: row {options.row!r} trains its completion step in one process: start it without torchrun")
    if row(options.row or "").name not in experiment.settings.all_rows:
        experiment.model(options.row)  # a twin that only gives others their start: nobody asks for its embeddings
        return
    summary = experiment.evaluation(options.row).summary()  # all processes embed
    if processes.rank() == 0:
        print(options.row, options.seed, summary)


if __name__ == "__main__":
    main()
