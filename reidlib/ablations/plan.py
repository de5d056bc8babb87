"""Which rows a preset trains on a data set, and with how many seeds: known without loading a network.

Command line: `python -m reidlib.ablations --preset study` prints one training per line, "ROW SEED START SYSTEM" (START: the row whose
weights it begins with, or -), a start before who needs it. `make report` asks it before anything runs.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from reidlib.ablations import AGAINST_OCCLUSION, PARTS, SYSTEMS, VIDEO_SYSTEMS, row, system_of

EVERYTHING = "all"  # as METHOD: every system of the preset
PRESETS = ("tiny", "demo", "study", "paper")
#: Name -> whether the set has video frames beside its events.
DATASETS = {
    "walkers": True,
    "walkers_occluded": True,
    "event_reid": False,
    "own": True,
    **dict.fromkeys(("prid2011", "ilids_vid", "mars", "duke_video", "occluded_duke_video", "ls_vid", "evreid"), True),
}

_EVERYTHING = {name: tuple(one.name for one in system.rows) for name, system in SYSTEMS.items()}
_ROWS = {
    "tiny": {
        "s3ce_net": (*PARTS, "resnet18_events", "joint"),
        "sdcl": ("sdcl", "psta", "sdcl_events", "fusion_none"),
        **{system.name: system.main for system in VIDEO_SYSTEMS},
    },
    "demo": {name: system.main for name, system in SYSTEMS.items()},
    "study": _EVERYTHING,
    "paper": _EVERYTHING,
}
_SEEDS = {"study": 3, "paper": 3}
#: Sets whose scores are means over splits of their people: seed s takes split s, and a preset of several seeds takes every split.
SPLITS = {"prid2011": 10, "ilids_vid": 10}
# What a report shows unasked where that is not everything: the demo has a quarter of an hour.
_SHOWN = {"demo": ("s3ce_net", "sdcl")}
_OCCLUDED = ("walkers_occluded", "occluded_duke_video")


@dataclass(frozen=True)
class Plan:
    """rows: ablation rows that may be trained, by the system they belong to. seeds: how many seeds of each. shown: the systems that are
    trained and shown where no method is asked for."""

    rows: dict[str, tuple[str, ...]]
    seeds: int
    shown: tuple[str, ...]

    @property
    def all_rows(self) -> tuple[str, ...]:
        """The rows of all systems."""
        return tuple(dict.fromkeys(name for names in self.rows.values() for name in names))

    def asked(self, method: str) -> tuple[str, ...]:
        """The systems that are trained and shown for a method: a row's own, every one for "all", `shown` for ""."""
        if method and method != EVERYTHING:
            return (system_of(method).name,)
        return tuple(self.rows) if method else self.shown


def plan(preset: str, dataset: str) -> Plan:
    """What is trained. A set without video has no systems that need it. ValueError lists the legal names of whichever is unknown."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; choose one of {', '.join(DATASETS)}")
    rows = {name: names for name, names in _ROWS[preset].items() if DATASETS[dataset] or not SYSTEMS[name].video}
    shown = AGAINST_OCCLUSION if dataset in _OCCLUDED else tuple(name for name in _SHOWN.get(preset, rows) if name in rows)
    seeds = _SEEDS.get(preset, 1)
    return Plan(rows, SPLITS.get(dataset, seeds) if seeds > 1 else 1, shown)


def check_trained(name: str, parameter: str, legal: tuple[str, ...], preset: str, dataset: str) -> str:
    """`name` if it is among the `legal` rows that the preset trains, else ValueError with those; `parameter` is who asked."""
    if name not in legal:
        where = f"preset {preset!r} of {dataset}"
        raise ValueError(f"{parameter} {name!r} is not a row of {where}; choose one of {', '.join(legal)}")
    return name


def check_method(method: str, preset: str, dataset: str) -> str:
    """`method` if it may be asked for: a row that the preset trains, "all" or "". ValueError lists the rows otherwise."""
    if method in ("", EVERYTHING):
        return method
    return check_trained(method, "METHOD", plan(preset, dataset).all_rows, preset, dataset)


def trainings(preset: str, dataset: str, seed: int = 0, method: str = "") -> list[tuple[str, int, str]]:
    """Every training as (row, seed, start), the start before who needs it; method: as for `Plan.asked`."""
    found = plan(preset, dataset)
    check_method(method, preset, dataset)
    rows = dict.fromkeys(name for system in found.asked(method) for name in found.rows[system])
    needed = dict.fromkeys(one for name in rows for one in (row(name).start, name) if one)
    return [(name, drawn, row(name).start) for drawn in range(seed, seed + found.seeds) for name in needed]


def check_video(rows: tuple[str, ...], data: str) -> None:
    """Raises ValueError where rows need video that someone's own data do not hold; errors in the data are left to those who read them."""
    from reidlib.datasets.own_checks import Problems  # only here is data looked at
    from reidlib.datasets.own_data import OwnSettings, find

    needing = sorted({system_of(name).name for name in rows if system_of(name).video})
    silent, count = 0, 0
    if needing:
        source = find(data, OwnSettings(), Problems())
        silent, count = source.without_video(), len(source.rows)
    if silent:
        other = next(system.name for system in SYSTEMS.values() if not system.video)
        which = "all" if silent == count else f"{silent} of {count}"
        raise ValueError(f"{which} tracklets of {data} hold events without video, which {', '.join(needing)} needs: add METHOD={other}")


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.ablations", description="The trainings of a preset: ROW SEED START SYSTEM.")
    parser.add_argument("--dataset", default="walkers", help=", ".join(DATASETS))
    parser.add_argument("--preset", default="demo", help=", ".join(PRESETS))
    parser.add_argument("--seed", type=int, default=0, help="first seed of the preset")
    parser.add_argument("--method", default="", help='a row: the trainings of its system alone; "all": of every system')
    parser.add_argument("--data", default="", help="someone's own data: rows that need video are refused where they hold none")
    options = parser.parse_args(arguments)
    listed = trainings(options.preset, options.dataset, options.seed, options.method)
    if options.dataset == "own" and Path(options.data).exists():
        try:
            check_video(tuple(name for name, *_ in listed), options.data)
        except ValueError as error:
            parser.exit(1, f"{error}\n")
    for name, seed, start in listed:
        print(name, seed, start or "-", system_of(name).name)
