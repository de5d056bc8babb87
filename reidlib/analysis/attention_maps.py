"""What SSAM attends to, over a whole test part, and whether its neurons are alive.

SSAM is our reading of the abstract of S3CE-Net, not a reproduction of the authors' code; its "attention" is what the block adds to the
map: the mean over channels of its output spikes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from reidlib.models import ReidModel
from reidlib.models.s3ce_net import SSAM, S3CENet

BODY_BANDS = {"head": (0.0, 0.25), "torso": (0.25, 0.55), "legs": (0.55, 1.0)}  # share of the picture's height, from the top
SILENT, SATURATED = 0.01, 0.99  # outside these rates a layer lets hardly any information or gradient through


@dataclass(frozen=True)
class AttentionProfile:
    """Where and when a layer's attention lies, clip by clip; "events" is the event frames themselves, for comparison.

    steps: name -> `[clips, T]` mean over the map. bands: name -> `[clips, bands]` density of a body band relative to the whole map's
    (1: evenly spread; NaN where the map is silent). follows_events: layer -> `[clips]` correlation over places and steps between the
    attention and the events under it (1: attention is a copy of the events; NaN where one of them is flat).
    """

    steps: dict[str, np.ndarray]
    bands: dict[str, np.ndarray]
    follows_events: dict[str, np.ndarray]

    def mean_bands(self) -> dict[str, np.ndarray]:
        """`bands` averaged over the clips in which the layer spikes at all; a layer that never does is left out."""
        alive = {name: values[np.isfinite(values).all(1)] for name, values in self.bands.items()}
        return {name: values.mean(0) for name, values in alive.items() if len(values)}


def attention_profile(model: S3CENet, batches: Iterable[dict], bands: dict[str, tuple[float, float]] = BODY_BANDS) -> AttentionProfile:
    """Summarise `model.attention` over batches of clips (`datasets.eval_batches`). ValueError for a model without attention."""
    parts: dict[str, list[tuple]] = {}
    device = next(model.parameters()).device
    for batch in batches:
        events = batch["events"].to(device)
        ink = events.sum(2)  # [B, T, H, W]
        maps = model.attention(events=events)
        if not maps:
            raise ValueError("this model has no attention: SSAM stands nowhere in it")
        for name, values in {"events": ink, **maps}.items():
            under = nn.functional.interpolate(ink, size=values.shape[-2:], mode="area")
            measured = (values.mean((2, 3)), band_density(values, bands), _correlation(values, under))
            parts.setdefault(name, []).append(measured)
    joined = {name: [torch.cat(column).cpu().numpy() for column in zip(*rows, strict=True)] for name, rows in parts.items()}
    steps, density, follows = ({name: columns[i] for name, columns in joined.items()} for i in range(3))
    return AttentionProfile(steps, density, {name: values for name, values in follows.items() if name != "events"})


def band_density(maps: Tensor, bands: dict[str, tuple[float, float]] = BODY_BANDS) -> Tensor:
    """Mean of every band over the mean of the map: `[B, T, h, w]` -> `[B, bands]`; a row of the map that two bands share counts by its
    area in each. NaN for a map of zeros."""
    height = maps.shape[2]
    edges = torch.arange(height + 1) / height
    overlaps = [(edges[1:].clamp(max=stop) - edges[:-1].clamp(min=start)).clamp(min=0) for start, stop in bands.values()]
    weights = torch.stack([weight / weight.sum() for weight in overlaps]).to(maps)  # [bands, h]
    rows = maps.mean((1, 3))  # [B, h]
    mean = rows.mean(1, keepdim=True)
    return torch.where(mean > 0, rows @ weights.T / mean, torch.nan)


def follows_table(profile: AttentionProfile) -> pd.DataFrame:
    """`follows_events` in numbers: layer, mean, 5 % and 95 % (of the clips lie below), clips, flat maps (clips without a correlation
    because the attention is the same everywhere)."""
    lines = []
    for layer, values in profile.follows_events.items():
        found = values[np.isfinite(values)]
        ends = (found.mean(), *np.quantile(found, (0.05, 0.95))) if len(found) else (np.nan,) * 3
        scores = dict(zip(("mean", "5 %", "95 %"), ends, strict=True))
        lines.append({"layer": layer, **scores, "clips": len(values), "flat maps": len(values) - len(found)})
    return pd.DataFrame(lines)


def agreement(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rank correlation (Spearman) over places between two maps of every tracklet, `[N, h, w]` and `[N, h2, w2]` -> `[N]`.

    The first is brought to the places of the second by area. NaN where a map is flat.
    """
    first = nn.functional.interpolate(torch.as_tensor(np.asarray(maps), dtype=torch.float64)[:, None], size=others.shape[1:], mode="area")
    ranks = (pd.DataFrame(np.asarray(values).reshape(len(others), -1)).rank(axis=1).to_numpy(copy=True) for values in (first, others))
    return _correlation(*map(torch.from_numpy, ranks)).numpy()


def clip_attention(model: S3CENet, clips: Tensor) -> dict[str, np.ndarray]:
    """`model.attention` as arrays, wherever the model lives: clips `[n, T, 2, H, W]` -> layer -> `[n, T, h, w]`."""
    maps = model.attention(events=clips.to(next(model.parameters()).device))
    return {layer: values.cpu().numpy() for layer, values in maps.items()}


def tracklet_attention(model: S3CENet, clips: Tensor) -> dict[str, np.ndarray]:
    """Mean attention over the clips and steps of one tracklet: clips `[n, T, 2, H, W]` -> layer -> `[h, w]`."""
    return {layer: values.mean((0, 1)) for layer, values in clip_attention(model, clips).items()}


def ssam_rates(model: ReidModel, batches: Iterable[dict]) -> pd.DataFrame:
    """Firing rates of the neurons inside every SSAM: one row per stage and part (Q, K, V, the attention's parts, the output).

    Columns: stage, part, rate (spikes per neuron and step), channels, silent channels and saturated channels (number of channels that
    never, or always, fire in these clips), verdict: "alive", "nearly silent" or "saturated" by the layer's rate.
    """
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, SSAM)}
    if not blocks:
        raise ValueError("this model has no SSAM")
    sums: dict[tuple[str, str], list[Tensor]] = {}
    handles = [handle for name, block in blocks.items() for handle in _listen(block, f"stage {name.rpartition('.')[2]}", sums)]
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                model(events=batch["events"].to(device))
    finally:
        for handle in handles:
            handle.remove()
    order = ("Q", "K", "V", "spatial", "temporal", "joint", "output")
    rows = [_rate_row(*key, torch.stack(values)) for key, values in sums.items()]
    return pd.DataFrame(sorted(rows, key=lambda row: (row["stage"], order.index(row["part"]))))


def rate_sentences(rates: pd.DataFrame) -> list[str]:
    """What `ssam_rates` says, in words: the dead parts first, by name, then the range of the others and the dead channels."""
    names = rates["stage"] + " " + rates["part"]
    dead = rates[rates["verdict"] != "alive"]
    alive = rates.drop(dead.index)
    sentences = [f"{names[i]} is {line.verdict}: {line.rate:.4f} spikes per neuron and step." for i, line in dead.iterrows()]
    sentences = sentences or [f"None of the {len(rates)} groups of neurons inside SSAM is silent or saturated."]
    if len(alive):
        who = "The others" if len(dead) else "They"
        sentences.append(f"{who} fire between {alive['rate'].min():.3f} and {alive['rate'].max():.3f} spikes per neuron and step.")
    for what in ("silent", "saturated"):
        count, total = int(rates[f"{what} channels"].sum()), int(rates["channels"].sum())
        worst = (rates[f"{what} channels"] / rates["channels"]).idxmax()
        most = f"; most in {names[worst]} ({rates.loc[worst, f'{what} channels']} of {rates.loc[worst, 'channels']})" if count else ""
        sentences.append(f"{count} of {total} channels are {what} in these clips{most}.")
    return sentences


def agreement_table(pairs: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """`agreement` of pairs of maps, one line each: map, occlusion map of, mean, lowest and highest tracklet, tracklets
    (those where neither map is flat)."""
    lines = []
    for (first, second), (maps, others) in pairs.items():
        values = agreement(maps, others)
        values = values[np.isfinite(values)]
        ends = (values.mean(), values.min(), values.max()) if len(values) else (np.nan,) * 3
        scores = dict(zip(("mean", "lowest", "highest"), ends, strict=True))
        lines.append({"map": first, "occlusion map of": second, **scores, "tracklets": len(values)})
    return pd.DataFrame(lines)


def _listen(block: SSAM, stage: str, sums: dict[tuple[str, str], list[Tensor]]) -> list[RemovableHandle]:
    """Hooks that write the rate of every channel, call by call, to `sums[stage, part]`."""

    def keep(*parts: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: tuple, spikes: Tensor) -> None:  # [T, B, parts * C, H, W]
            for part, chunk in zip(parts, spikes.chunk(len(parts), dim=2), strict=True):
                rate = chunk.double().mean((0, 3, 4))  # [B, C]
                sums.setdefault((stage, part), []).extend(rate.cpu())

        return hook

    hooked: list[tuple[nn.Module, tuple[str, ...]]] = [(block.qkv_neuron, ("Q", "K", "V")), (block.project_neuron, ("output",))]
    hooked += [(neuron, (part,)) for part, neuron in block.part_neurons.items()]
    return [module.register_forward_hook(keep(*parts)) for module, parts in hooked]


def _rate_row(stage: str, part: str, rates: Tensor) -> dict:
    """rates `[clips, C]`."""
    channels, rate = rates.mean(0), float(rates.mean())
    verdict = "nearly silent" if rate < SILENT else "saturated" if rate > SATURATED else "alive"
    dead = {"silent channels": int((channels == 0).sum()), "saturated channels": int((channels >= 1).sum())}
    return {"stage": stage, "part": part, "rate": rate, "channels": len(channels), **dead, "verdict": verdict}


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of two `[B, ...]` per first axis; NaN where one is constant."""
    a, b = (x.flatten(1).double() - x.flatten(1).double().mean(1, keepdim=True) for x in (a, b))
    norm = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(norm > 1e-12, (a * b).sum(1) / norm.clamp(min=1e-12), torch.nan)
