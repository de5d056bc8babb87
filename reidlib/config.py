"""Presets: how large a run is. The one place that knows data sizes, schedules and the recipe of each preset."""

from dataclasses import dataclass, field, replace

from reidlib.ablations import MAIN, PARTS, ROWS, row
from reidlib.datasets import ClipSettings
from reidlib.losses import ReidLoss
from reidlib.training import RunSettings, TrainSettings

PRESETS = ("tiny", "demo", "study", "paper")
DATASETS = ("walkers", "event_reid")


@dataclass(frozen=True)
class Preset:
    """Sizes and settings of one preset for one data set.

    data: options for `load_dataset`. model: options for every model. own: options that one model alone takes, by its name. rows:
    ablation rows that are trained. seeds: how many seeds each, counted up from SEED. validation_people: training identities held
    out for choices and curves.
    """

    name: str
    dataset: str
    data: dict
    model: dict
    clips: ClipSettings
    train: TrainSettings
    own: dict[str, dict] = field(default_factory=dict)
    rows: tuple[str, ...] = (*MAIN, "ssam", "stfs")
    seeds: int = 1
    validation_people: int = 0

    def run(self, name: str, seed: int) -> RunSettings:
        """The settings of one ablation row at one seed."""
        chosen = row(name)
        shared = self.model | self.own.get(chosen.model, {})
        options = shared | chosen.options
        for name in ("neuron", "sampling"):  # of these a row changes single fields
            if isinstance(options.get(name), dict):
                options[name] = shared.get(name, {}) | options[name]
        steps = {"iterations": chosen.longer * self.train.iterations}
        clips, train = replace(self.clips, **chosen.clips), replace(self.train, **steps | chosen.train)
        start = self.run(chosen.start, seed) if chosen.start else None
        return RunSettings(chosen.model, options, clips, train, self.validation_people, seed, start)


# The recipe that the validation people chose: see notebook 03 for what was tried.
_MODEL = {"width": 16, "neuron": {"kind": "lif", "tau": 2.0, "decay_input": False}}
_LOSS = ReidLoss(triplet_weight=0.5)
_TRAIN = TrainSettings(iterations=600, people=6, clips=4, loss=_LOSS, validate_every=200)
_CLIPS = ClipSettings()
_TINY = {
    "model": _MODEL | {"width": 8, "head_channels": 8},
    "own": {"s3ce_net": {"sampling": {"spatial": 2}}},  # the last map has two rows
    "clips": replace(_CLIPS, steps=4, size=(32, 16)),
    "train": replace(_TRAIN, iterations=12, people=4, clips=2, validate_every=6),
    "rows": (*PARTS, "resnet18_events", "joint"),
}
_LARGE = {"people": 240, "train_people": 140}
_PAPER = {
    "model": {"width": 64, "pretrained": True},
    "clips": replace(_CLIPS, size=(256, 128)),
    "train": TrainSettings(iterations=12_000, people=4, clips=4, optimizer="adam", learning_rate=3.5e-4, schedule="steps", warmup=0.07),
    "rows": tuple(ROWS),
    "seeds": 3,
}


def preset(name: str, dataset: str) -> Preset:
    """The preset `name` for a data set. ValueError lists the legal names of whichever is unknown."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; choose one of {', '.join(DATASETS)}")
    return _walkers(name) if dataset == "walkers" else _event_reid(name)


def _walkers(name: str) -> Preset:
    if name == "tiny":
        data = {"people": 12, "train_people": 8, "repeats": 2, "seconds": 0.6}
        tiny = _TINY | {"clips": replace(_TINY["clips"], seconds=0.3)}
        return Preset(name, "walkers", data, **tiny, validation_people=2)
    if name == "paper":
        return Preset(name, "walkers", _LARGE, **_PAPER, validation_people=40)
    study = {"rows": tuple(ROWS), "seeds": 3} if name == "study" else {}
    return Preset(name, "walkers", _LARGE, _MODEL, _CLIPS, _TRAIN, **study, validation_people=40)


def _event_reid(name: str) -> Preset:
    """Ten training people and windows of 33 ms: too few to hold people out, so the last step is reported."""
    clips = replace(_CLIPS, seconds=0.0333)
    if name == "tiny":
        return Preset(name, "event_reid", {}, **_TINY | {"clips": replace(_TINY["clips"], seconds=0.0333)})
    if name == "paper":
        return Preset(name, "event_reid", {}, **_PAPER | {"clips": replace(clips, size=(256, 128))})
    train = replace(_TRAIN, iterations=200)
    study = {"rows": tuple(ROWS), "seeds": 3} if name == "study" else {}
    return Preset(name, "event_reid", {}, _MODEL, clips, train, **study)
