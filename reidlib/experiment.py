"""One data set at one preset: the notebooks' way to data, trained models, embeddings and numbers. Everything is cached in OUTPUT_DIR.

Command line: `python -m reidlib.experiment rows --preset study` lists the rows and seeds of a preset, `... train --row NAME`
trains one, `... data` builds the store.
"""

import argparse
import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from reidlib.ablations import row
from reidlib.config import PRESETS, Preset, preset
from reidlib.datasets import TrackletStore, load_dataset, validation_split
from reidlib.evaluation import Evaluation, Protocol, count_embeddings, embed, evaluate, protocols
from reidlib.files import settings_hash, write_atomically
from reidlib.training import RunSettings, load_history, train


@dataclass
class Experiment:
    """dataset, preset: names. seed: first seed. output_dir: where runs and results go. data: path of a real set. gait: folder of
    BVH files that drive the walkers. Trained models are found again by row and seed and used when their settings are the same.

    A seed draws everything: weights, batches and, where the set is generated, its people and cameras too. What is true of one pair of
    cameras need not be true of another, so seeds that shared their data could agree on an accident of it. Without
    `seed`, everything here is about the first seed; `at` turns to another.
    """

    dataset: str
    preset: str
    seed: int
    output_dir: str | Path
    data: str = ""
    gait: str = ""

    def __post_init__(self):
        self.output_dir = Path(self.output_dir)
        self.settings: Preset = preset(self.preset, self.dataset)
        if self.gait and self.dataset != "walkers":
            raise ValueError(f"GAIT drives the built-in walkers only, not {self.dataset!r}")

    @property
    def generated(self) -> bool:
        """Whether every seed has data of its own."""
        return self.dataset == "walkers"

    def at(self, seed: int | None) -> "Experiment":
        """This experiment with another first seed, whose data it has; itself for its own seed or None."""
        if seed is None or seed == self.seed:
            return self
        others: dict[int, Experiment] = self.__dict__.setdefault("_others", {})
        if seed not in others:
            other = others[seed] = copy.copy(self)
            other.seed = seed
            if self.generated:
                for drawn in ("store", "index", "_split", "validation", "protocols"):
                    other.__dict__.pop(drawn, None)
        return others[seed]

    @cached_property
    def store(self) -> TrackletStore:
        """The tracklet store, built on first use and read into memory."""
        drawn = {"seed": self.seed} if self.generated else {}
        options = self.settings.data | drawn | ({"gait": str(self.gait)} if self.gait else {})
        return load_dataset(self.dataset, data=self.data or None, options=options).load()

    @cached_property
    def index(self) -> pd.DataFrame:
        """All tracklets of the set."""
        return self.store.index

    @cached_property
    def _split(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        people = self.settings.validation_people
        if not people:
            return self.index[self.index["subset"] == "train"].reset_index(drop=True), None
        return validation_split(self.index, people, seed=0)  # of one set the same people for every seed, so that seeds can be compared

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

    def model(self, name: str, seed: int | None = None) -> nn.Module:
        """The trained model of a row, in `eval` mode; trained now unless it already was."""
        here, run = self.at(seed), self.run_settings(name, seed)
        start = None if run.start is None else lambda: here.model(row(name).start)
        return train(run, here.store, here.train_index, here.folder(name), here.validation, start)

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
        key = settings_hash(run.with_data(here.store.cache_key))
        path = here.folder(name) / "embeddings.npz"
        if path.exists():
            with np.load(path) as saved:
                if str(saved["key"]) == key:
                    return saved["embeddings"]
        vectors = embed(here.model(name), here.store, here.test_index, run.clips)
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


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.experiment", description="Train ablation rows of a preset.")
    parser.add_argument("command", choices=("rows", "train", "data"))
    parser.add_argument("--dataset", default="walkers")
    parser.add_argument("--preset", default="demo", help=", ".join(PRESETS))
    parser.add_argument("--seed", type=int, default=0, help="first seed of the preset (rows) or the seed to train (train)")
    parser.add_argument("--row", help="ablation row to train")
    parser.add_argument("--output-dir", default="runs/default")
    parser.add_argument("--data", default="", help="path of a real data set")
    parser.add_argument("--gait", default="", help="folder of BVH files")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.command == "rows":
        chosen = preset(options.preset, options.dataset)
        needed = dict.fromkeys(one for name in chosen.rows for one in (row(name).start, name) if one)  # a start before who needs it
        for seed in range(options.seed, options.seed + chosen.seeds):
            for name in needed:
                print(name, seed, row(name).start or "-")
        return
    experiment = Experiment(options.dataset, options.preset, options.seed, options.output_dir, options.data, options.gait)
    if options.command == "data":
        print(experiment.store.cache_key)
        return
    torch.set_num_threads(options.threads)
    if row(options.row or "").name not in experiment.settings.rows:
        experiment.model(options.row)  # a twin that only gives others their start: nobody asks for its embeddings
        return
    experiment.embeddings(options.row)
    print(options.row, options.seed, experiment.evaluation(options.row).summary())


if __name__ == "__main__":
    main()
