"""What trained rows cost: operations and energy of real clips, by stage; latency; growth of a training step with T."""

import copy
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from reidlib.ablations import row
from reidlib.analysis.samples import first_clips
from reidlib.efficiency import PJ_PER_AC, PJ_PER_MAC, count_parameters, latency, operations, peak_memory_of_training_step
from reidlib.experiment import Experiment
from reidlib.models import build_model

CLASSIFIER = "neck.classifier"  # needed in training alone: no part of the cost of an embedding


def cost_tables(experiment: Experiment, names: tuple[str, ...], clips: int = 16) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cost of embedding one clip, averaged over the first clips of `clips` test tracklets: (a line per row, a line per row and stage).

    First table: name, title, parameters, dense (multiply-accumulates if nothing were sparse), macs (of real operands), synops (accumulates
    driven by spikes), activity (synops / (dense - macs)), energy_uJ (45 nm), energy_sd_uJ (over the clips), stem_share (of the energy).
    Second table: name, stage, mac_uJ, ac_uJ. The classifier, which only training needs, does not run and has no part in it.
    """
    costs, stages = [], []
    for name in names:
        model = experiment.model(name)
        inputs = first_clips(experiment.store, experiment.test_index, experiment.run_settings(name).clips, clips)
        per_clip = pd.concat([clip_costs(model, clip[None]).assign(clip=i) for i, clip in enumerate(inputs)])
        costs.append({"name": name, "title": row(name).title} | _summary(model, per_clip))
        by_stage = per_clip.groupby("stage", sort=False)[["mac_uJ", "ac_uJ"]].sum() / clips
        stages.append(by_stage.reset_index().assign(name=name))
    return pd.DataFrame(costs), pd.concat(stages, ignore_index=True)


def clip_costs(model: nn.Module, clip: Tensor) -> pd.DataFrame:
    """Operations of embedding one clip `[1, T, 2, H, W]`, summed by stage in order of execution: stage, dense, macs, acs, mac_uJ, ac_uJ."""
    device = next(model.parameters()).device
    table = operations(model, {"events": clip.to(device)}).table
    table = table.assign(stage=table["layer"].map(stage_of)).groupby("stage", sort=False)[["dense", "macs", "acs"]].sum().reset_index()
    return table.assign(mac_uJ=table["macs"] * PJ_PER_MAC * 1e-6, ac_uJ=table["acs"] * PJ_PER_AC * 1e-6)


def stage_of(layer: str) -> str:
    """The stage that a layer of our event networks belongs to: "stem", "stage 1" ..., "SSAM 2" ..., "head"."""
    words = layer.split(".")
    if words[0] != "backbone":
        return "head"
    if words[1] == "stages":
        return f"stage {int(words[2]) + 1}"
    return f"SSAM {words[2]}" if words[1] == "after" else "stem"


def embedding_parameters(model: nn.Module) -> int:
    """Number of parameters without the classifier."""
    return count_parameters(model) - count_parameters(model.get_submodule(CLASSIFIER))


def _summary(model: nn.Module, per_clip: pd.DataFrame) -> dict:
    clips = per_clip["clip"].nunique()
    dense, macs, acs = (float(per_clip[name].sum()) / clips for name in ("dense", "macs", "acs"))
    energy = (per_clip["mac_uJ"] + per_clip["ac_uJ"]).groupby(per_clip["clip"]).sum()
    stem = per_clip.loc[per_clip["stage"] == "stem", ["mac_uJ", "ac_uJ"]].to_numpy().sum() / clips
    spread = float(energy.std()) if clips > 1 else float("nan")
    return {
        "parameters": embedding_parameters(model),
        "dense": dense,
        "macs": macs,
        "synops": acs,
        "activity": acs / (dense - macs) if dense > macs else float("nan"),
        "energy_uJ": float(energy.mean()),
        "energy_sd_uJ": spread,
        "stem_share": stem / float(energy.mean()),
    }


def energy_ratios(costs: pd.DataFrame, twin: str = "resnet18_events", limit: float = 0.2) -> pd.DataFrame:
    """Every row's energy over that of the ReLU twin, and whether it is at most `limit`. ValueError where the twin was not measured."""
    if twin not in set(costs["name"]):
        raise ValueError(f"the twin {twin!r} is not among the measured rows {costs['name'].tolist()}")
    reference = costs.set_index("name").loc[twin, "energy_uJ"]
    ratio = costs["energy_uJ"] / reference
    table = costs[["name", "title", "energy_uJ"]].assign(ratio=ratio, times_less=1 / ratio)
    verdict = np.where(ratio <= limit, "yes", "no")
    return table.assign(**{f"at most {limit:g}": np.where(costs["name"] == twin, "(the twin itself)", verdict)})


def ratio_sentences(ratios: pd.DataFrame, name: str = "s3ce_net", twin: str = "resnet18_events", limit: float = 0.2) -> list[str]:
    """The outcome of `energy_ratios` in words: the row that matters, then all others."""
    lines = ratios.set_index("name")
    ratio = lines.loc[name, "ratio"]
    kept = "holds" if ratio <= limit else "does not hold"
    first = (
        f"{lines.loc[name, 'title']} needs {ratio:.3f} of the energy of its {lines.loc[twin, 'title']} ({1 / ratio:.1f} times less): "
        f'"at most {limit:g}" {kept} for this run.'
    )
    others = [f"{line.title} {line.ratio:.3f}" for line in ratios.itertuples() if line.name not in (name, twin)]
    return [first, f"The others: {', '.join(others)}."] if others else [first]


def accuracy_table(experiment: Experiment, costs: pd.DataFrame, protocol: str = "query to gallery") -> pd.DataFrame:
    """`cost_tables`' first table with mAP, low, high (percent, 95 % over people) of the first seed beside it."""
    scores = [experiment.evaluation(name, protocol).mAP for name in costs["name"]]
    return costs.assign(mAP=[s.mean for s in scores], low=[s.low for s in scores], high=[s.high for s in scores])


def latency_table(models: dict[str, nn.Module], clips: Tensor, batches: tuple[int, ...] = (1, 16), rounds: int = 5) -> pd.DataFrame:
    """Latency of a forward pass and throughput, for every model and batch size: name, setting, latency_ms (median), low_ms, high_ms
    (least and greatest round), clips_per_s.

    The models take turns, round by round, so that other work on the machine disturbs all of them alike. clips `[n, T, 2, H, W]`, n at
    least the largest batch.
    """
    if max(batches) > len(clips):
        raise ValueError(f"a batch of {max(batches)} clips needs as many, there are {len(clips)}")
    times: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds):
        for name, model in models.items():
            for batch in batches:
                inputs = {"events": clips[:batch].to(next(model.parameters()).device)}
                measured = latency(model, inputs, repeats=3, warmup=2 if turn == 0 else 1)
                times.setdefault((name, batch), []).append(1e3 * measured.median)
    rows = []
    for (name, batch), values in times.items():
        middle = float(np.median(values))
        shared = {"name": name, "setting": f"batch of {batch}", "latency_ms": middle, "low_ms": min(values), "high_ms": max(values)}
        rows.append({**shared, "clips_per_s": 1e3 * batch / middle})
    return pd.DataFrame(rows)


def training_step_growth(
    experiment: Experiment, names: tuple[str, ...], steps: tuple[int, ...], batch: int = 8, repeats: int = 3
) -> pd.DataFrame:
    """Memory and time of one training step (forward, loss, backward) at each number of steps T, on test clips cut into T bins.

    Columns: name, steps, seconds (least of `repeats`), memory_mb (activations kept for the backward pass, MB), total_mb (with
    parameters and gradients), seconds_per_T and memory_per_T relative to the first T (1: linear growth).
    """
    rows = []
    for name in names:
        run = experiment.run_settings(name)
        model = copy.deepcopy(experiment.model(name))
        labels = torch.arange(batch, device=next(model.parameters()).device) // 2  # pairs: every clip has a positive
        for T in steps:
            clips = first_clips(experiment.store, experiment.test_index, replace(run.clips, steps=T), batch).to(labels.device)

            def loss(output, labels=labels, loss=run.train.loss):
                return loss(output, labels)["total"]

            memory = peak_memory_of_training_step(model, {"events": clips}, loss)
            seconds = min(training_step_seconds(model, clips, loss) for _ in range(repeats))
            sizes = {"memory_mb": memory.activations / 1e6, "total_mb": memory.total / 1e6}
            rows.append({"name": name, "steps": T, "seconds": seconds, **sizes})
    table = pd.DataFrame(rows)
    for column, label in (("seconds", "seconds_per_T"), ("memory_mb", "memory_per_T")):
        per_step = table[column] / table["steps"]
        table[label] = per_step / per_step.groupby(table["name"]).transform("first")
    return table


def training_step_seconds(model: nn.Module, clips: Tensor, loss) -> float:
    """Seconds of one forward and backward pass in training mode; running statistics of the model move, so hand over a copy."""
    model.train()
    model.zero_grad(set_to_none=True)
    _wait(clips)
    start = time.perf_counter()
    loss(model(events=clips)).backward()
    _wait(clips)
    return time.perf_counter() - start


def growth_exponents(growth: pd.DataFrame) -> pd.DataFrame:
    """Exponent a of the fit quantity ~ T^a (least squares on logarithms; 1: linear, 2: quadratic) per row: name, seconds, memory_mb."""
    if growth["steps"].nunique() < 2:
        raise ValueError(f"an exponent needs at least two numbers of steps, there is only T = {growth['steps'].iloc[0]}")
    rows = []
    for name, part in growth.groupby("name", sort=False):
        fits = {c: float(np.polyfit(np.log(part["steps"]), np.log(part[c]), 1)[0]) for c in ("seconds", "memory_mb")}
        rows.append({"name": name, **fits, "steps": f"{part['steps'].min()} to {part['steps'].max()}"})
    return pd.DataFrame(rows)


def paper_sizes(names: tuple[str, ...], width: int = 64, size: tuple[int, int] = (256, 128), steps: int = 8) -> pd.DataFrame:
    """Parameters and dense multiply-accumulates of untrained models at a paper's size, counted in one forward pass of an empty clip.

    Only what does not depend on the weights: spikes, and with them SynOps and energy, would need training at this size.
    """
    rows = []
    for name in names:
        model = build_model(row(name).model, 2, width=width, **row(name).options).eval()
        costs = clip_costs(model, torch.zeros(1, steps, 2, *size))
        ssam = costs.loc[costs["stage"].str.startswith("SSAM"), "dense"].sum() / costs["dense"].sum()
        shared = {"name": name, "title": row(name).title, "width": width, "height x width": f"{size[0]} x {size[1]}", "T": steps}
        rows.append({**shared, "parameters": embedding_parameters(model), "dense": int(costs["dense"].sum()), "ssam_share": ssam})
    return pd.DataFrame(rows)


def _wait(tensor: Tensor) -> None:
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)
