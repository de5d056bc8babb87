"""The networks at the size that the papers run them at, untrained: parameters, dense operations, time of one clip."""

import pandas as pd
import torch
from torch import Tensor

from reidlib.ablations import row
from reidlib.analysis.costs import clip_costs, input_name, latency_table
from reidlib.config import preset
from reidlib.efficiency import count_parameters
from reidlib.models import ReidModel, build_model

SIZE, WIDTH = (256, 128), 64
CLASSES = 89  # of PRID-2011's training part, for which parameters are published with the classifiers
EVENT_RATE = 0.4  # share of the places with events, as on the built-in set: what SDCL's event mapping takes time for
#: Parameters in millions with `CLASSES` classes, and multiply-accumulates of 8 frames in billions: counted on the released code.
PUBLISHED = {"psta": (33.78, 37.3)}


def paper_models(names: tuple[str, ...], size: tuple[int, int] = SIZE, width: int = WIDTH) -> dict[str, ReidModel]:
    """Ablation rows with the options of preset `paper`, built for frames of `size` (height, width) and `CLASSES` people, with fresh
    weights, in `eval` mode. width: of the networks."""
    torch.manual_seed(0)
    models, settings = {}, preset("paper", "walkers")
    for name in names:
        options = settings.run(name, 0).options
        changed = {key: value for key, value in {"size": size, "width": width, "pretrained": False}.items() if key in options}
        models[name] = build_model(row(name).model, CLASSES, **options | changed).eval()
    return models


def random_clip(modalities: tuple[str, ...], size: tuple[int, int] = SIZE, steps: int = 8, rate: float = EVENT_RATE) -> dict[str, Tensor]:
    """One clip of noise, `[1, T, ...]` per modality: normalised frames, and events at the share `rate` of the places."""
    g = torch.Generator().manual_seed(0)
    seen = torch.rand(1, steps, 1, *size, generator=g) < rate
    made = {"events": torch.rand(1, steps, 2, *size, generator=g) * seen, "frames": torch.randn(1, steps, 3, *size, generator=g)}
    return {name: made[name] for name in modalities}


def paper_sizes(models: dict[str, ReidModel], size: tuple[int, int] = SIZE, width: int = WIDTH, steps: int = 8) -> pd.DataFrame:
    """Parameters (with the classifiers) and dense multiply-accumulates of `paper_models`, counted in one forward pass of an empty clip:
    name, title, input, width, height x width, T, parameters, dense, ssam_share (of dense).

    Only what does not depend on the weights: spikes, and with them SynOps and energy, would need training at this size.
    """
    rows = []
    for name, model in models.items():
        costs = clip_costs(model, {key: torch.zeros_like(value) for key, value in random_clip(model.modalities, size, steps).items()})
        ssam = costs.loc[costs["stage"].str.startswith("SSAM"), "dense"].sum() / costs["dense"].sum()
        about: dict[str, object] = {"name": name, "title": row(name).title, "input": input_name(model.modalities)}
        about |= {"width": width, "height x width": f"{size[0]} x {size[1]}", "T": steps}
        rows.append({**about, "parameters": count_parameters(model), "dense": int(costs["dense"].sum()), "ssam_share": ssam})
    return pd.DataFrame(rows)


def paper_latency(models: dict[str, ReidModel], size: tuple[int, int] = SIZE, steps: int = 8, rounds: int = 3) -> pd.DataFrame:
    """`costs.latency_table` of `paper_models` at batch 1, one pass a round, the models in turns, on a clip of noise."""
    return latency_table(models, random_clip(("events", "frames"), size, steps), (1,), rounds, repeats=1, warmup=(1, 0))


def beside_published(sizes: pd.DataFrame) -> list[str]:
    """`paper_sizes` beside what is published for the same settings, one sentence per number: the same after rounding, or not. For networks
    of other settings one sentence that says so."""
    same = (sizes["height x width"] == f"{SIZE[0]} x {SIZE[1]}") & (sizes["T"] == 8) & (sizes["width"] == WIDTH)
    if not same.all():
        return [f"Published sizes are for {SIZE[0]} x {SIZE[1]} pixels, width {WIDTH} and T = 8: these networks are smaller."]
    sentences = []
    for line in sizes[sizes["name"].isin(list(PUBLISHED))].itertuples():
        parameters, operations = PUBLISHED[line.name]
        for what, own, theirs, unit, digits in (
            (f"parameters with {CLASSES} classes", line.parameters / 1e6, parameters, "M", 2),
            ("dense multiply-accumulates of 8 frames", line.dense / 1e9, operations, "G", 1),
        ):
            verdict = "agrees" if round(own, digits) == theirs else "does not agree"
            sentences.append(f"{line.title}, {what}: {own:.{digits}f} {unit} here, {theirs:.{digits}f} {unit} published: {verdict}.")
    return sentences
