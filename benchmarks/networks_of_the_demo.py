"""The networks of the demo, its batches and its training step, for the benchmarks."""

from collections.abc import Callable

import torch
from pairs import fastest
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from reidlib.config import preset
from reidlib.models import build_model

DEMO = preset("demo", "walkers")
CLASSES = 100
SIZE, STEPS, BATCH = DEMO.clips.size, DEMO.clips.steps, DEMO.train.people * DEMO.train.clips


def network(name: str, **options) -> nn.Module:
    """A network of the demo's size, fresh from the same draw every time."""
    torch.manual_seed(0)
    return build_model(name, CLASSES, **DEMO.models[name] | options)


def clips(model: nn.Module, batch: int = BATCH, steps: int = STEPS, seed: int = 0) -> dict[str, Tensor]:
    """A batch as the demo's: a fifth of the pixels of an event frame hold a scaled count; frames are normalised noise."""
    g = torch.Generator().manual_seed(seed)
    made = {}
    if "events" in model.modalities:
        shape = (batch, steps, 2, *SIZE)
        made["events"] = torch.rand(shape, generator=g) * (torch.rand(shape, generator=g) < 0.2)
    if "frames" in model.modalities:
        made["frames"] = torch.randn(batch, steps, 3, *SIZE, generator=g)
    return made


def training_step(model: nn.Module, batch: dict[str, Tensor], labels: Tensor | None = None) -> Callable[[], None]:
    """Forward, loss and backward pass of a batch, by default of four clips a person (the optimiser's own step is the same for all)."""
    size = len(next(iter(batch.values())))
    loss = DEMO.trains["s3ce_net"]["loss"]
    if labels is None:
        labels = torch.arange(size) // min(4, max(1, size // 2))

    def step():
        model.train()
        model.zero_grad(set_to_none=True)
        loss(model(**batch), labels)["total"].backward()

    return step


def embedding(model: nn.Module, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    def run():
        model.eval()
        with torch.inference_mode():
            return model(**batch)

    return run


def where_time_goes(run: Callable[[], object], shown: int = 4) -> str:
    """The operators that take most of the time of `run()`: "convolution_backward 40 %, ..."."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    names = ((event.key.removeprefix("aten::"), event.self_cpu_time_total) for event in events[:shown])
    return ", ".join(f"{name} {100 * time / total:.0f} %" for name, time in names)


def matrix_product_speed(side: int = 1024, rounds: int = 8) -> float:
    """Floating-point operations a second of one thread in a large matrix product: the peak of this machine, as it is now."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / fastest({"product": lambda: a @ b}, rounds)["product"]
