"""The rows of the ablation studies: a name, what it changes, and nothing else. A new method or variant joins here."""

from dataclasses import replace

from reidlib.ablations.rows import RELU, Row, System
from reidlib.ablations.s3ce_net import MAIN, PARTS, S3CE_NET, WITHOUT_SPIKES
from reidlib.ablations.sdcl import SDCL
from reidlib.ablations.video import AGAINST_OCCLUSION, BASELINE, VIDEO_SYSTEMS

__all__ = ["AGAINST_OCCLUSION", "BASELINE", "MAIN", "PARTS", "ROWS", "SYSTEMS", "VIDEO_SYSTEMS", "Row", "System", "row", "system_of"]

SYSTEMS: dict[str, System] = {system.name: system for system in (S3CE_NET, SDCL, *VIDEO_SYSTEMS)}
ROWS: dict[str, Row] = {one.name: one for system in SYSTEMS.values() for one in system.rows}


def row(name: str) -> Row:
    """The row called `name`, or the ReLU twin NAME_relu of a row, which is trained to start it; ValueError lists the legal names."""
    base = name.removesuffix(RELU)
    if name not in ROWS and base in ROWS and base != name:
        options = ROWS[base].options | WITHOUT_SPIKES
        return replace(ROWS[base], name=name, title=f"{ROWS[base].title}, ReLU twin", options=options, start="", reference=base)
    if name not in ROWS:
        raise ValueError(f"unknown ablation row {name!r}; choose one of {', '.join(ROWS)}")
    return ROWS[name]


def system_of(name: str) -> System:
    """The system that a row belongs to, the first of those that share it; ValueError for an unknown row."""
    base = name if row(name).name in ROWS else name.removesuffix(RELU)
    return next(system for system in SYSTEMS.values() if base in {one.name for one in system.rows})
