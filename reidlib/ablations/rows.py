"""What a row of an ablation study is, and a system: the rows that belong to one paper."""

from dataclasses import dataclass, field

RELU = "_relu"


@dataclass(frozen=True)
class Row:
    """One trained variant. `options` go to `build_model`, `clips` and `train` replace fields of the preset's settings (`train["loss"]`:
    fields of the loss), `longer` multiplies its optimiser steps.

    start: the row, at the same seed, whose trained weights this one begins with; "" for fresh weights, `RELU` for its own ReLU twin
    NAME_relu (see `reidlib.ablations.row`). The spiking rows of S3CE-Net begin with their twins: that was the one change that brought
    them near the twins (notebook 03), and with SSAM in the twin too it gets as much training as every other layer. reference: the row it
    is compared with, of which it changes one thing; "" for none. published: how the paper's own ablation tables call it (see
    `reidlib.analysis.published_ablations`), one name per table that holds it. completion: None for a network that sees the video as it is;
    else it sees hidden thirds completed (VRSTC), and these are the fields of the preset's `CompletionSettings` that the row changes.
    """

    name: str
    title: str
    model: str
    group: str
    options: dict = field(default_factory=dict)
    clips: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)
    longer: int = 1
    start: str = RELU
    reference: str = "s3ce_net"
    published: tuple[str, ...] = ()
    completion: dict | None = None

    def __post_init__(self) -> None:
        if self.start == RELU:
            object.__setattr__(self, "start", self.name + RELU)


@dataclass(frozen=True)
class System:
    """A published system with everything it is compared with.

    name: the row that stands for it. main: rows that every report shows, the system first. parts: the rows that take it apart, its
    baseline first. video: whether it needs video frames beside the events.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    main: tuple[str, ...]
    parts: tuple[str, ...]
    video: bool = False
