"""What trained rows cost: operations and energy of real clips, by stage; latency; growth of a training step with T.

Models of any input: a clip is a dict modality -> tensor, as `samples.first_inputs` makes it.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from reidlib.ablations import row
from reidlib.analysis.samples import first_inputs
from reidlib.datasets import ClipSettings
from reidlib.efficiency import PJ_PER_AC, PJ_PER_MAC, count_parameters, latency, operations, peak_memory_of_training_step
from reidlib.experiment import Experiment
from reidlib.losses import ReidLoss
from reidlib.models import ReidModel, ReidOutput

CLASSIFIER = "classifier"  # needed in training alone: no part of the cost of an embedding
_SDCL_STAGES = {
    "event_branch.spiking": "spiking layers",
    "event_branch.mappings": "event mappings",
    "event_branch.encoder": "event encoder",
    "frame_branch": "frame branch",
    "fusion": "exchange",
    "head.pyramid": "pyramid",
}
_VIDEO_PARTS = {"later": "stage 4", "seo": "SEO", "csp": "CSP {0}", "dao": "DAO {0}", "tks": "TKS {0}"}


def shown_rows(experiment: Experiment) -> tuple[str, ...]:
    """The rows whose cost is shown: of every system the main ones and the parts, as far as the preset trains them."""
    parts = [name for system in experiment.systems for name in system.parts if name in experiment.rows]
    return tuple(dict.fromkeys((*experiment.main_rows, *parts)))


def cost_tables(experiment: Experiment, names: tuple[str, ...], clips: int = 16) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cost of embedding one clip, averaged over the first clips of `clips` test tracklets: (a line per row, a line per row and stage).

    First table: name, title, input ("V", "E" or "V+E"), parameters, dense (multiply-accumulates if nothing were sparse), macs (of real
    operands), synops (accumulates driven by spikes), activity (synops per dense operation of what spikes drive; NaN where they drive
    nothing), energy_uJ (45 nm), energy_sd_uJ (over the clips), mac_share (of the energy).
    Second table: name, title, stage, mac_uJ, ac_uJ. The classifier, which only training needs, does not run and has no part in it.
    """
    costs, stages = [], []
    for name in names:
        model = experiment.model(name)
        settings = experiment.run_settings(name).clips
        inputs = first_inputs(experiment.store, experiment.test_index, settings, clips, model.modalities)
        found = [clip_costs(model, {key: value[i : i + 1] for key, value in inputs.items()}).assign(clip=i) for i in range(clips)]
        per_clip = pd.concat(found)
        about = {"name": name, "title": row(name).title, "input": input_name(model.modalities)}
        costs.append(about | {"parameters": embedding_parameters(model)} | _summary(per_clip))
        by_stage = per_clip.groupby("stage", sort=False)[["mac_uJ", "ac_uJ"]].sum() / clips
        stages.append(by_stage.reset_index().assign(name=name, title=row(name).title))
    return pd.DataFrame(costs), pd.concat(stages, ignore_index=True)


def input_name(modalities: tuple[str, ...]) -> str:
    """What a model sees, as the published tables write it: "V" (video frames), "E" (events), "V+E"."""
    return "+".join(letter for letter, name in (("V", "frames"), ("E", "events")) if name in modalities)


def clip_costs(model: ReidModel, clip: dict[str, Tensor]) -> pd.DataFrame:
    """Operations of embedding one clip, `{"events": [1, T, 2, H, W], "frames": [1, T, 3, H, W]}` as far as the model takes them, summed by
    stage in order of execution: stage, dense, driven (the part of dense whose operands are spikes), macs, acs, mac_uJ, ac_uJ."""
    device = next(model.parameters()).device
    table = operations(model, {name: value.to(device) for name, value in clip.items()}).table
    table = table.assign(stage=table["layer"].map(stage_of), driven=table["dense"].where(table["operand"] != "real", 0))
    table = table.groupby("stage", sort=False)[["dense", "driven", "macs", "acs"]].sum().reset_index()
    return table.assign(mac_uJ=table["macs"] * PJ_PER_MAC * 1e-6, ac_uJ=table["acs"] * PJ_PER_AC * 1e-6)


def stage_of(layer: str) -> str:
    """The stage that a layer of our networks belongs to: "stem", "stage 1" ..., "SSAM 2" ..., "head"; of SDCL and PSTA "spiking layers",
    "event mappings", "event encoder", "frame branch", "exchange", "pyramid", "head"; a plain frames ResNet has "frame branch", "head".
    Of the video systems "stem", "stage 1" ..., their blocks "block 2" ..., "CSP 1", "DAO 3", "TKS 2" ..., "SEO", "head"."""
    for start, stage in _SDCL_STAGES.items():
        if layer.startswith(start + "."):
            return stage
    words = layer.split(".")
    if words[0] in _VIDEO_PARTS:
        return _VIDEO_PARTS[words[0]].format(*words[1:])
    if words[0] not in ("backbone", "trunk"):
        return "head"
    if words[1] == "trunk":  # of a `VideoResNet`
        return words[2].replace("layer", "stage ") if words[2].startswith("layer") else "stem"
    if words[1] == "stages":
        return f"stage {int(words[2]) + 1}"
    if words[1] == "after":  # several blocks may stand behind a stage of a `VideoResNet`
        return f"{'block' if words[3:4] and words[3].isdigit() else 'SSAM'} {words[2]}"
    return "stem" if words[1] == "conv" else "frame branch"


def embedding_parameters(model: ReidModel) -> int:
    """Number of parameters without the classifiers."""
    classifiers = [module for name, module in model.named_modules() if name.split(".")[-1] == CLASSIFIER]
    return count_parameters(model) - sum(count_parameters(module) for module in classifiers)


def _summary(per_clip: pd.DataFrame) -> dict:
    clips = per_clip["clip"].nunique()
    dense, driven, macs, acs = (float(per_clip[name].sum()) / clips for name in ("dense", "driven", "macs", "acs"))
    energy = (per_clip["mac_uJ"] + per_clip["ac_uJ"]).groupby(per_clip["clip"]).sum()
    spread = float(energy.std()) if clips > 1 else float("nan")
    return {
        "dense": dense,
        "macs": macs,
        "synops": acs,
        "activity": acs / driven if driven else float("nan"),
        "energy_uJ": float(energy.mean()),
        "energy_sd_uJ": spread,
        "mac_share": float(per_clip["mac_uJ"].sum() / clips / energy.mean()),
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


def latency_table(
    models: dict[str, ReidModel],
    inputs: dict[str, Tensor],
    batches: tuple[int, ...] = (1, 16),
    rounds: int = 5,
    repeats: int = 3,
    warmup: tuple[int, int] = (2, 1),
) -> pd.DataFrame:
    """Latency of a forward pass and throughput, for every model and batch size: name, setting, latency_ms (median), low_ms, high_ms
    (least and greatest round), clips_per_s.

    The models take turns, round by round, so that other work on the machine disturbs all of them alike. inputs: `[n, T, ...]` for every
    modality that a model takes, n at least the largest batch. A round is the median of `repeats` passes, after `warmup` untimed ones (in
    the first round, in the others).
    """
    if max(batches) > (count := min(map(len, inputs.values()))):
        raise ValueError(f"a batch of {max(batches)} clips needs as many, there are {count}")
    times: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds):
        for name, model in models.items():
            device = next(model.parameters()).device
            for batch in batches:
                given = {key: inputs[key][:batch].to(device) for key in model.modalities}
                measured = latency(model, given, repeats, warmup[min(turn, 1)])
                times.setdefault((name, batch), []).append(1e3 * measured.median)
    rows = []
    for (name, batch), values in times.items():
        middle = float(np.median(values))
        shared = {"name": name, "setting": f"batch of {batch}", "latency_ms": middle, "low_ms": min(values), "high_ms": max(values)}
        rows.append({**shared, "clips_per_s": 1e3 * batch / middle})
    return pd.DataFrame(rows)


def row_latencies(experiment: Experiment, models: dict[str, ReidModel], count: int = 16) -> pd.DataFrame:
    """`latency_table` of trained rows on the first clips of `count` test tracklets; rows whose clips have the same settings take turns."""
    groups: dict[ClipSettings, list[str]] = {}
    for name in models:
        groups.setdefault(experiment.run_settings(name).clips, []).append(name)
    found = []
    for settings, names in groups.items():
        taken = tuple(dict.fromkeys(modality for name in names for modality in models[name].modalities))
        inputs = first_inputs(experiment.store, experiment.test_index, settings, count, taken)
        found.append(latency_table({name: models[name] for name in names}, inputs))
    order = {name: i for i, name in enumerate(models)}
    return pd.concat(found).sort_values("name", key=lambda names: names.map(order), kind="stable", ignore_index=True)


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
        loss = partial(_total, run.train.loss, labels)
        for T in steps:
            settings = replace(run.clips, steps=T)
            inputs = first_inputs(experiment.store, experiment.test_index, settings, batch, model.modalities)
            inputs = {key: value.to(labels.device) for key, value in inputs.items()}
            memory = peak_memory_of_training_step(model, inputs, loss)
            seconds = min(training_step_seconds(model, inputs, loss) for _ in range(repeats))
            sizes = {"memory_mb": memory.activations / 1e6, "total_mb": memory.total / 1e6}
            rows.append({"name": name, "steps": T, "seconds": seconds, **sizes})
    table = pd.DataFrame(rows)
    for column, label in (("seconds", "seconds_per_T"), ("memory_mb", "memory_per_T")):
        per_step = table[column] / table["steps"]
        table[label] = per_step / per_step.groupby(table["name"]).transform("first")
    return table


def _total(loss: ReidLoss, labels: Tensor, output: ReidOutput) -> Tensor:
    return loss(output, labels)["total"]


def training_step_seconds(model: ReidModel, inputs: dict[str, Tensor], loss: Callable[[ReidOutput], Tensor]) -> float:
    """Seconds of one forward and backward pass in training mode; running statistics of the model move, so hand over a copy."""
    model.train()
    model.zero_grad(set_to_none=True)
    _wait(model)
    start = time.perf_counter()
    loss(model(**inputs)).backward()
    _wait(model)
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


def _wait(model: nn.Module) -> None:
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
