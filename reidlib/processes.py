"""Several processes that train and evaluate as one, on one machine or many: `torchrun --nproc-per-node 4 -m reidlib.experiment train ...`.

Every process holds the model and takes its share of each batch. Lightning Fabric starts the group and averages the gradients; the
functions here make the outcome that of a single process at the same batch: losses that compare the clips of a batch see all of it
(`gathered`), BatchNorm its statistics (`models.layers.synced_norm`), every tracklet is embedded by one process (`own_range`, `joined`).
In a process that torchrun did not start each of them gives back what it was given.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.nn import functional as differentiable

# Fabric says so on every machine with Slurm; jobs are started by torchrun or by Snakemake here.
warnings.filterwarnings("ignore", message="The `srun` command is available")

T = TypeVar("T")


def fabric_options() -> dict:
    """What Fabric must know of the group: "devices" (processes of this machine), "num_nodes" and "strategy"."""
    if not started_by_torchrun():
        return {"devices": 1}
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return {"devices": here, "num_nodes": all_of_them // here, "strategy": "ddp_find_unused_parameters_true"}


def started_by_torchrun() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def count() -> int:
    """How many processes the group has; 1 where there is none (yet: Fabric's `launch` makes it)."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The place of this process in the group."""
    return dist.get_rank() if count() > 1 else 0


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, which alone calls it; the others wait for it."""
    box: list[Any] = [make() if rank() == 0 else None]
    if count() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def own_range(items: int) -> range:
    """The share of this process in `items` things: consecutive ones, as equal as can be; all shares together are all things, once."""
    return range(items * rank() // count(), items * (rank() + 1) // count())


def joined(rows: np.ndarray | None) -> np.ndarray:
    """The arrays of all processes one behind the other, in all of them; None from those that had nothing to do, ValueError if all had."""
    found: list[np.ndarray | None] = [rows] * count()
    if count() > 1:
        dist.all_gather_object(found, rows)
    parts = [part for part in found if part is not None]
    if not parts:
        raise ValueError("no process had anything to do: is the table of tracklets empty?")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def mean_numbers(numbers: dict[str, float]) -> dict[str, float]:
    """Numbers of the same names, averaged over the processes."""
    found: list[dict[str, float]] = [numbers] * count()
    if count() > 1:
        dist.all_gather_object(found, numbers)
    return {name: sum(part[name] for part in found) / len(found) for name in numbers}


def gathered(rows: Tensor) -> Tensor:
    """`[n, ...]` of every process -> `[count * n, ...]` in all of them, in the order of the processes; gradients find their way back."""
    return rows if count() == 1 else torch.cat(differentiable.all_gather(rows.contiguous()))  # [count * n, ...]


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, in all of them, element by element; gradients find their way back."""
    return values if count() == 1 else differentiable.all_reduce(values)


class Batches(Protocol):
    """A known number of batches, each a list of what it is made of."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list]: ...


class OwnBatches:
    """Of every batch of a sampler the share of this process; shares are equal, so that a mean of means is the mean.

    Raises ValueError where `size`, the clips of a whole batch, cannot be shared equally."""

    def __init__(self, sampler: Batches, size: int):
        if size % count():
            raise ValueError(f"a batch of {size} clips cannot be shared equally by {count()} processes: choose a divisor of {size}")
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list]:
        for batch in self.sampler:
            own = own_range(len(batch))
            yield batch[own.start : own.stop]
