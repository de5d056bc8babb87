"""The rows of the ablation study: a name, what it changes, and nothing else. A new method or variant joins here."""

from dataclasses import dataclass, field, replace

_RELU = "_relu"


@dataclass(frozen=True)
class Row:
    """One trained variant. `options` go to `build_model`, `clips` and `train` replace fields of the preset's settings, `longer` multiplies
    its optimiser steps.

    start: the row, at the same seed, whose trained weights this one begins with; "" for fresh weights, None for its own ReLU twin
    NAME_relu (see `row`). The spiking rows begin with their twins: that was the one change that brought them near the twins (notebook
    03), and with SSAM in the twin too it gets as much training as every other layer. reference: the row it is compared with, of which
    it changes one thing; "" for none.
    """

    name: str
    title: str
    model: str
    group: str
    options: dict = field(default_factory=dict)
    clips: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)
    longer: int = 1
    start: str | None = None
    reference: str = "s3ce_net"

    def __post_init__(self):
        if self.start is None:
            object.__setattr__(self, "start", self.name + _RELU)


_WITHOUT_SPIKES = {"neuron": {"kind": "relu"}}


# STFS and T leave the network as it is, so these rows begin with S3CE-Net's own start and differ in the spiking training alone.
_SAME_START = "s3ce_net_relu"


def _sampling(**changes) -> dict:
    return {"sampling": changes}


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("resnet18_events", "ReLU twin", "resnet18_events", "reference", start="", reference="sew_resnet18"),
        Row("s3ce_net_relu", "S3CE-Net with ReLU", "s3ce_net", "reference", _WITHOUT_SPIKES, start=""),
        Row("sew_resnet18", "spiking baseline", "sew_resnet18", "parts", start="resnet18_events", reference=""),
        Row("ssam", "+ SSAM", "s3ce_net", "parts", {"sampling": None}, reference="sew_resnet18"),
        Row("stfs", "+ STFS", "s3ce_net", "parts", {"ssam": ()}, reference="sew_resnet18"),
        Row("s3ce_net", "S3CE-Net (SSAM + STFS)", "s3ce_net", "parts", reference="sew_resnet18"),
        Row("joint", "joint coupling", "s3ce_net", "coupling", {"coupling": "joint"}),
        Row("spatial", "spatial attention only", "s3ce_net", "coupling", {"coupling": "spatial"}),
        Row("temporal", "temporal attention only", "s3ce_net", "coupling", {"coupling": "temporal"}),
        Row("causal", "causal attention", "s3ce_net", "coupling", {"causal": True}),
        Row("stfs_temporal", "temporal subsequences only", "s3ce_net", "sampling", _sampling(spatial=0), start=_SAME_START),
        Row("stfs_spatial", "spatial subsequences only", "s3ce_net", "sampling", _sampling(temporal=0), start=_SAME_START),
        Row("stfs_contiguous", "contiguous halves", "s3ce_net", "sampling", _sampling(temporal_form="contiguous"), start=_SAME_START),
        Row("stfs_random", "random halves", "s3ce_net", "sampling", _sampling(temporal_form="random"), start=_SAME_START),
        Row("stfs_drop", "all but one band", "s3ce_net", "sampling", _sampling(spatial_form="drop"), start=_SAME_START),
        # Parts that slow learning down must be judged once it has converged.
        Row(
            "long_baseline",
            "spiking baseline, twice the steps",
            "sew_resnet18",
            "length",
            longer=2,
            start="resnet18_events",
            reference="sew_resnet18",
        ),
        Row("long_s3ce", "S3CE-Net, twice the steps", "s3ce_net", "length", longer=2, start=_SAME_START, reference="long_baseline"),
        Row("fresh_baseline", "spiking baseline, fresh weights", "sew_resnet18", "start", start="", reference="sew_resnet18"),
        Row("steps4", "T = 4", "s3ce_net", "steps", clips={"steps": 4}, start=_SAME_START),
        Row("steps16", "T = 16", "s3ce_net", "steps", clips={"steps": 16}, start=_SAME_START),
    )
}

MAIN = ("s3ce_net", "sew_resnet18", "resnet18_events")
PARTS = ("sew_resnet18", "ssam", "stfs", "s3ce_net")


def row(name: str) -> Row:
    """The row called `name`, or the ReLU twin NAME_relu of a row, which is trained to start it; ValueError lists the legal names."""
    base = name.removesuffix(_RELU)
    if name not in ROWS and base in ROWS and base != name:
        options = ROWS[base].options | _WITHOUT_SPIKES
        return replace(ROWS[base], name=name, title=f"{ROWS[base].title}, ReLU twin", options=options, start="", reference=base)
    if name not in ROWS:
        raise ValueError(f"unknown ablation row {name!r}; choose one of {', '.join(ROWS)}")
    return ROWS[name]
