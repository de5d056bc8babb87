"""Which rows a preset trains on a data set, and with how many seeds: known without loading a network.

Command line: `python -m reidlib.ablations --preset study` prints one training per line, "ROW SEED START" (START: the row whose weights it
begins with, or -), a start before who needs it. `make report` asks it before anything runs.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from reidlib.ablations import PARTS, SYSTEMS, row, system_of

PRESETS = ("tiny", "demo", "study", "paper")
#: Name -> whether the set has video frames beside its events.
DATASETS = {
    "walkers": True,
    "event_reid": False,
    "own": True,
    **dict.fromkeys(("prid2011", "ilids_vid", "mars", "duke_video", "occluded_duke_video", "ls_vid", "evreid"), True),
}

_EVERYTHING = {name: tuple(one.name for one in system.rows) for name, system in SYSTEMS.items()}
_ROWS = {
    "tiny": {"s3ce_net": (*PARTS, "resnet18_events", "joint"), "sdcl": ("sdcl", "psta", "sdcl_events", "fusion_none")},
    "demo": {name: system.main for name, system in SYSTEMS.items()},
    "study": _EVERYTHING,
    "paper": _EVERYTHING,
}
_SEEDS = {"study": 3, "paper": 3}


@dataclass(frozen=True)
class Plan:
    """rows: ablation rows that are trained, by the system they belong to. seeds: how many seeds of each."""

    rows: dict[str, tuple[str, ...]]
    seeds: int

    @property
    def all_rows(self) -> tuple[str, ...]:
        """The rows of all systems."""
        return tuple(name for names in self.rows.values() for name in names)


def plan(preset: str, dataset: str) -> Plan:
    """What is trained. A set without video has no systems that need it. ValueError lists the legal names of whichever is unknown."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; choose one of {', '.join(DATASETS)}")
    rows = {name: names for name, names in _ROWS[preset].items() if DATASETS[dataset] or not SYSTEMS[name].video}
    return Plan(rows, _SEEDS.get(preset, 1))


def check_trained(name: str, parameter: str, legal: tuple[str, ...], preset: str, dataset: str) -> str:
    """`name` if it is among the `legal` rows that the preset trains, else ValueError with those; `parameter` is who asked."""
    if name not in legal:
        where = f"preset {preset!r} of {dataset}"
        raise ValueError(f"{parameter} {name!r} is not a row of {where}; choose one of {', '.join(legal)}")
    return name


def trainings(preset: str, dataset: str, seed: int = 0, method: str = "") -> list[tuple[str, int, str]]:
    """Every training as (row, seed, start), the start before who needs it; method: a row whose system alone is meant, "" for all."""
    found = plan(preset, dataset)
    rows = found.all_rows
    if method:
        rows = found.rows[system_of(check_trained(method, "METHOD", rows, preset, dataset)).name]
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
    parser = argparse.ArgumentParser(prog="python -m reidlib.ablations", description="The trainings of a preset: ROW SEED START.")
    parser.add_argument("--dataset", default="walkers", help=", ".join(DATASETS))
    parser.add_argument("--preset", default="demo", help=", ".join(PRESETS))
    parser.add_argument("--seed", type=int, default=0, help="first seed of the preset")
    parser.add_argument("--method", default="", help="a row: the trainings of its system alone")
    parser.add_argument("--data", default="", help="someone's own data: rows that need video are refused where they hold none")
    options = parser.parse_args(arguments)
    listed = trainings(options.preset, options.dataset, options.seed, options.method)
    if options.dataset == "own" and Path(options.data).exists():
        try:
            check_video(tuple(name for name, *_ in listed), options.data)
        except ValueError as error:
            parser.exit(1, f"{error}\n")
    for name, seed, start in listed:
        print(name, seed, start or "-")
