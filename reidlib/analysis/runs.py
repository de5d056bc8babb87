"""What a trained row is made of: its settings in words, what it changes, its learning curves and its firing rates."""

import re
from collections.abc import Iterable
from dataclasses import fields

import pandas as pd

from reidlib.ablations import row
from reidlib.analysis.comparison import reference_of, title
from reidlib.analysis.samples import spread_rows
from reidlib.datasets import ClipSettings
from reidlib.evaluation import embed
from reidlib.experiment import Experiment
from reidlib.losses import ReidLoss
from reidlib.models import NeuronSettings, ReidModel, build_model, record_firing_rates, spiking_layers
from reidlib.models.s3ce_net import SSAM, SamplingSettings
from reidlib.training import TrainSettings

_LABELS = {
    "steps": "time steps T", "size": "event frame (height × width)", "seconds": "clip length (s)", "scale": "counts",
    "flip": "flip (probability)", "erase": "erase a box (probability)", "shift": "shift (share of the side)", "drop": "drop events (up to)",
    "degrade": "degrade the video (probability)", "iterations": "optimiser steps", "learning_rate": "peak learning rate",
    "warmup": "warm-up (share of the steps)",
    "clip_norm": "gradient norm limit", "average": "weight average (decay)", "margin": "triplet margin", "distance": "triplet distance",
}  # fmt: skip
_HIDDEN = ("people", "clips", "loss", "validate_every", "checkpoint_every")
# Options of a model that have a line of their own, that nothing but SSAM reads, or that follow from the clips.
_TOLD = ("width", "neuron", "ssam", "sampling", "coupling", "causal", "head_channels", "modalities", "size")


def describe_run(experiment: Experiment, name: str) -> dict[tuple[str, str], str]:
    """(part, setting) -> value, in words, of an ablation row: model, clips, schedule. Read off the built model and the run's settings."""
    run = experiment.run_settings(name)
    model = build_model(run.model, experiment.train_index["person"].nunique(), **run.options)
    neuron = run.options.get("neuron", {})
    neuron = NeuronSettings(**neuron) if isinstance(neuron, dict) else neuron
    facts = {
        ("model", "sees"): " and ".join(model.modalities),
        ("model", "neurons"): _neuron(neuron) if spiking_layers(model) else "ReLU",
        ("model", "width of the first stage"): str(run.options.get("width", 64)),
        ("model", "SSAM"): _attention(model),
        ("model", "STFS"): _sampling(getattr(model, "sampling", None)),
        **{("model", key.replace("_", " ")): _text(value) for key, value in run.options.items() if key not in _TOLD},
        ("model", "parameters"): f"{sum(p.numel() for p in model.parameters()):,}",
    }
    start = {("training", "starting weights"): "its ReLU twin" if run.start else "fresh"}
    batch = {("training", "batch (people × clips)"): f"{run.train.people} × {run.train.clips}"}
    return facts | _plain("clips", run.clips) | _plain("training", run.train) | start | batch | _plain("training", run.train.loss)


def _plain(part: str, settings: ClipSettings | TrainSettings | ReidLoss) -> dict[tuple[str, str], str]:
    """The fields of a settings dataclass, as they are named and written for readers."""
    shown = [field.name for field in fields(settings) if field.name not in _HIDDEN]
    return {(part, _LABELS.get(name, name.replace("_", " "))): _text(getattr(settings, name)) for name in shown}


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " × ".join(str(item) for item in value) if isinstance(value, tuple | list) else str(value)


def _neuron(settings: NeuronSettings) -> str:
    leak = "" if settings.kind in ("if", "relu") else f", tau {settings.tau:g}"
    reset = ", soft reset" if settings.soft_reset else ""
    return f"{settings.kind.upper()}{leak}, threshold {settings.threshold:g}{reset}, ATan surrogate alpha {settings.alpha:g}"


def _attention(model: ReidModel) -> str:
    found = {name.rpartition(".")[2]: module for name, module in model.named_modules() if isinstance(module, SSAM)}
    if not found:
        return "none"
    one = next(iter(found.values()))
    return f"after stage{'s' if len(found) > 1 else ''} {' and '.join(found)}, {one.coupling}{', causal' if one.causal else ''}"


def _sampling(settings: SamplingSettings | None) -> str:
    if settings is None or not settings.weight or not (settings.temporal or settings.spatial):
        return "none"
    parts = [f"{settings.temporal} {settings.temporal_form} subsets of the steps"] if settings.temporal else []
    parts += [f"{settings.spatial} {'bands' if settings.spatial_form == 'band' else 'maps less one band'}"] if settings.spatial else []
    return " + ".join(parts) + f", weight {settings.weight:g}"


def settings_tables(experiment: Experiment, names: Iterable[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(what the rows have in common: part, setting, value; what differs: part, setting, one column per row's title)."""
    described = {title(name): describe_run(experiment, name) for name in names}
    keys = list(dict.fromkeys(key for facts in described.values() for key in facts))
    common, differs = list(_data_facts(experiment)), []
    for key in keys:
        values = {name: facts.get(key, "–") for name, facts in described.items()}
        place = dict(zip(("part", "setting"), key, strict=True))
        if len(set(values.values())) == 1:
            common.append(place | {"value": next(iter(values.values()))})
        else:
            differs.append(place | values)
    return pd.DataFrame(common), pd.DataFrame(differs, columns=["part", "setting", *described])


def _data_facts(experiment: Experiment) -> Iterable[dict]:
    """Lines about people and tracklets."""
    train, held_out = experiment.train_index, experiment.validation
    yield {"part": "data", "setting": "people trained on", "value": f"{train['person'].nunique()} ({len(train)} tracklets)"}
    people = "none" if held_out is None else f"{held_out.index['person'].nunique()} ({len(held_out.index)} tracklets)"
    yield {"part": "data", "setting": "people held out for validation", "value": people}
    test = experiment.test_index
    yield {"part": "data", "setting": "test people", "value": f"{test['person'].nunique()} ({len(test)} tracklets)"}
    yield {"part": "data", "setting": "seeds", "value": ", ".join(map(str, experiment.seeds))}


def changes_table(experiment: Experiment, names: Iterable[str]) -> pd.DataFrame:
    """What each row changes of the row that it is compared with: row, title, group, compared with, change ("setting: from → to").

    Read off the settings, not off the row's name; the number of parameters, a consequence, is left out."""
    described = {name: describe_run(experiment, name) for name in dict.fromkeys(names)}
    found = []
    for name in list(described):
        reference = reference_of(name)
        if reference is not None and reference not in described:
            described[reference] = describe_run(experiment, reference)
        changes = [] if reference is None else _changes(described[reference], described[name])
        compared = "–" if reference is None else title(reference)
        text = "; ".join(changes) or ("–" if reference is None else "nothing")
        found.append({"row": name, "title": title(name), "group": row(name).group, "compared with": compared, "change": text})
    return pd.DataFrame(found)


def _changes(old: dict[tuple[str, str], str], new: dict[tuple[str, str], str]) -> list[str]:
    keys = [key for key in dict.fromkeys((*old, *new)) if key[1] != "parameters" and old.get(key) != new.get(key)]
    return [f"{key[1]}: {old.get(key, '–')} → {new.get(key, '–')}" for key in keys]


def sampler_sentence(experiment: Experiment, name: str) -> str:
    """How batches are drawn, in words, with this run's numbers."""
    train: TrainSettings = experiment.run_settings(name).train
    clips: ClipSettings = experiment.run_settings(name).clips
    people = experiment.train_index["person"].nunique()
    held_out = "" if experiment.validation is None else " (the validation people are never among them)"
    return (
        f"Every batch holds {train.people} different people × {train.clips} clips of {clips.seconds:g} s, all drawn from {people} training "
        f"people{held_out}; a person's clips alternate between their cameras and use every tracklet before one comes again, so that the "
        f"triplet loss always sees the same person from two sides, and batch *i* is a function of (seed, *i*) alone. "
        f"In {train.iterations:,} steps each person is drawn about {train.iterations * train.people / people:,.0f} times."
    )


def training_log(experiment: Experiment, name: str) -> pd.DataFrame:
    """The history of a row over all seeds, with a column "seed", as `plots.training.learning_curves` takes it."""
    logs = [experiment.history(name, seed).drop_duplicates().assign(seed=seed) for seed in experiment.seeds]
    return pd.concat(logs, ignore_index=True)


def layer_rates(experiment: Experiment, name: str, tracklets: int = 32) -> dict[str, float]:
    """Firing rate (spikes per neuron and step) of every spiking layer of a row's first seed, from input to output, over whole training
    tracklets spread evenly over the set; {} for a network without spikes. Test data takes no part."""
    model, train = experiment.model(name), experiment.train_index
    if not spiking_layers(model):
        return {}
    chosen, clips = spread_rows(train, tracklets).reset_index(drop=True), experiment.run_settings(name).clips
    rates = record_firing_rates(model, lambda: embed(model, experiment.store, chosen, clips))
    return {layer_label(layer): rates[layer] for layer in sorted(rates, key=_depth)}


def layer_label(layer: str) -> str:
    """A layer's dotted name in words: "backbone.stages.1.0.sn2" -> "stage 2, block 1, neuron 2"; unknown names stay as they are."""
    if layer == "backbone.neuron":
        return "stem"
    if match := re.fullmatch(r"backbone\.stages\.(\d+)\.(\d+)\.(sn(\d)|downsample_sn)", layer):
        what = f"neuron {match[4]}" if match[4] else "shortcut"
        return f"stage {int(match[1]) + 1}, block {int(match[2]) + 1}, {what}"
    if match := re.fullmatch(r"event_branch\.spiking\.(\d+)\.\d+", layer):
        return f"spiking layer {int(match[1]) + 1}"
    if match := re.fullmatch(r"backbone\.after\.(\d+)\.(?:part_neurons\.)?(\w+?)(?:_neuron)?", layer):
        parts = {"qkv": "Q, K, V", "spatial": "spatial part", "temporal": "temporal part", "project": "output"}
        return f"SSAM {match[1]}, {parts.get(match[2], match[2])}"
    return layer


def _depth(layer: str) -> tuple:
    """Sort key: from input to output, SSAM behind its stage; the order inside a block is kept (sorted is stable)."""
    if match := re.match(r"backbone\.stages\.(\d+)\.", layer):
        return (int(match[1]) + 1, 0)
    if match := re.match(r"backbone\.after\.(\d+)\.", layer):
        return (int(match[1]), 1)
    return (0, 0) if layer == "backbone.neuron" else (99, 0)
