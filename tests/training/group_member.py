"""What one process of a group does for `test_processes`: a step of every system and a short training. Run by torchrun, or by itself."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from redrawn import wake
from test_evaluation import ToyStore
from test_every_model import CLASSES, SIZE, SMALL, T
from toy_training import INDEX, RUN, SCHEDULE, run_training

from reidlib import processes
from reidlib.evaluation import embed
from reidlib.losses import ReidLoss
from reidlib.models import MODELS, build_model
from reidlib.models.layers.synced_norm import synced
from reidlib.training import whole_batch

BATCH = 8
STEPS = replace(
    RUN, options=RUN.options | {"sampling": {"spatial": 2}}, train=replace(SCHEDULE, iterations=6, validate_every=3, checkpoint_every=2)
)


def inputs_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A whole batch of what a model takes."""
    generator = torch.Generator().manual_seed(5)
    events = torch.rand((BATCH, T, 2, *SIZE), generator=generator).gt(0.8).float()
    frames = torch.randn((BATCH, T, 3, *SIZE), generator=generator)
    return {name: value for name, value in (("events", events), ("frames", frames)) if name in model.modalities}


def step(name: str, fabric: Fabric) -> dict[str, torch.Tensor]:
    """Gradients, running statistics and the loss of one step of a system, with this process's share of the batch."""
    torch.Tensor.float = torch.Tensor.double  # layers that insist on single precision get double as well
    torch.manual_seed(1)
    model = wake(build_model(name, CLASSES, **SMALL[name])).double()
    wrapped, _ = fabric.setup(synced(model), torch.optim.SGD(model.parameters(), 0.1))
    own = processes.own_range(BATCH)
    labels = torch.arange(BATCH) // 2 % CLASSES
    torch.manual_seed(2)
    shares = {name: value.double()[own.start : own.stop] for name, value in inputs_of(model).items()}
    terms = ReidLoss()(*whole_batch(wrapped(**shares), labels[own.start : own.stop]))
    fabric.backward(terms["total"])
    found = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    del torch.Tensor.float  # that of its base class again
    return found | {name: value.clone() for name, value in model.named_buffers()} | {"loss": terms["total"].detach()}


def main(folder: Path) -> None:
    """Write `found.pt` (steps, embeddings, number of processes) and `training/` into `folder`."""
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", precision="64-true", **processes.fabric_options())
    fabric.launch()
    steps = {name: step(name, fabric) for name in MODELS}
    store = ToyStore(INDEX)
    model = run_training(store, folder / "training", STEPS)
    vectors = embed(model, store, INDEX, STEPS.clips, batch=3)
    if processes.rank() == 0:
        torch.save({"steps": steps, "embeddings": torch.from_numpy(vectors), "processes": processes.count()}, folder / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
