"""What goes on inside SDCL, our reading of the paper, over many clips: activity over depth, distances to chosen events, sampling distances.

All intervals (95 %) come from drawing people anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reidlib.metrics import bootstrap_interval, paired_difference
from reidlib.models.layers.nearest_events import NearestEvents, find_nearest
from reidlib.models.sdcl import MODALITIES, SDCL, InnerViews

DIRECTIONS = {"e2f": "events to frames", "f2e": "frames to events"}
MEASURES = ("with events", "whole picture", "reached", "channels")
_LAYERS = ("input", "spiking", "mapping")


def views(model: SDCL, clip: dict[str, Tensor]) -> InnerViews:
    """`model.inner_views` of a batch of clips, on the CPU wherever the model lives."""
    device = next(model.parameters()).device
    found = model.inner_views(**{name: clip[name].to(device) for name in model.modalities})
    parts = (found.maps, found.offsets, found.points, found.scores)
    return InnerViews(*({name: values.cpu() for name, values in part.items()} for part in parts))


def layer_name(name: str) -> str:
    """ "spiking1" -> "spiking 1", "events" -> "events map", "events aligned" as it is."""
    if name in MODALITIES:
        return f"{name} map"
    return f"{name[:-1]} {name[-1]}" if name[-1].isdigit() else name


def interval_over_people(values: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """mean, low and high of values `[n]` whose persons are given; NaN is left out."""
    found = bootstrap_interval(values, groups=people)
    return {"mean": found.mean, "low": found.low, "high": found.high}


@dataclass(frozen=True)
class InnerProfile:
    """What goes on inside SDCL, clip by clip; NaN where a clip has no events.

    owners: `[clips]`, the row of each clip in the index. activity: measure -> layer -> `[clips]` shares: of the positions with events, and
    of the whole picture, at which a layer's output is not zero in every channel; of the positions with events, those a spike can reach (a
    spiking layer: that spike; a mapping: one of its nine events was reached before it); of the channels at positions with
    events, those that are not zero. Layers: `input` (the events), `spiking1` ..., `mapping1` ....
    ninth: `[clips, D]`, positions with events by the Manhattan distance to the ninth nearest, itself the first; frames with fewer than
    nine have none. regular: `[clips]`, the share of those whose nine are the plain 3x3 neighbourhood. distance, outside: direction ->
    `[clips, heads]`: mean distance of the sampling points in positions of the map, and the share that lies outside it; both weighted by
    the scores.
    """

    owners: np.ndarray
    activity: dict[str, dict[str, np.ndarray]]
    ninth: np.ndarray
    regular: np.ndarray
    distance: dict[str, np.ndarray]
    outside: dict[str, np.ndarray]


def inner_profile(model: SDCL, batches: Iterable[dict]) -> InnerProfile:
    """Summarise what SDCL does with batches of clips that hold frames and events (`datasets.eval_batches`)."""
    parts = [_measured(views(model, batch), batch) for batch in batches]
    if not parts:
        raise ValueError("no clips: there is nothing to look into")
    return InnerProfile(
        owners=_joined([part["owners"] for part in parts]),
        activity={measure: _joined_by_name([part["activity"][measure] for part in parts]) for measure in MEASURES},
        ninth=_joined([part["ninth"] for part in parts]),
        regular=_joined([part["regular"] for part in parts]),
        distance=_joined_by_name([part["distance"] for part in parts]),
        outside=_joined_by_name([part["outside"] for part in parts]),
    )


def _measured(seen: InnerViews, batch: dict) -> dict:
    mask = (batch["events"] != 0).any(2)  # [B, T, H, W]
    nearest = find_nearest(mask.flatten(0, 1))
    ninth, regular = _ninth(nearest, len(mask))
    distance, outside = _sampled(seen)
    activity = _activity(seen.maps, mask, nearest)
    return {"owners": batch["owner"], "activity": activity, "ninth": ninth, "regular": regular, "distance": distance, "outside": outside}


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).numpy()


def _joined_by_name(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _activity(maps: dict[str, Tensor], mask: Tensor, nearest: NearestEvents) -> dict[str, dict[str, Tensor]]:
    """measure -> layer -> `[B]`."""
    found: dict[str, dict[str, Tensor]] = {measure: {} for measure in MEASURES}
    reached = torch.zeros(len(nearest.places), dtype=torch.bool)  # which rows of `nearest` (positions with events) a spike has come to, [N]
    count = mask.sum((1, 2, 3))
    for name, x in {"input": mask[:, :, None], **maps}.items():
        if not name.startswith(_LAYERS):
            continue
        busy = x != 0  # [B, T, C, H, W]
        active = busy.any(2)
        found["with events"][name] = (active & mask).sum((1, 2, 3)) / count
        found["whole picture"][name] = active.float().mean((1, 2, 3))
        found["channels"][name] = (busy.float().mean(2) * mask).sum((1, 2, 3)) / count
        reached = _passed_on(reached, nearest) if name.startswith("mapping") else active.flatten()[nearest.places]
        found["reached"][name] = _per_clip(reached, nearest, len(mask)) / count
    return found


def _passed_on(reached: Tensor, nearest: NearestEvents) -> Tensor:
    """Which rows have a reached one among their nine nearest, `[N]`."""
    return (reached[nearest.nearest.long()] & (nearest.nearest >= 0)).any(1) if len(reached) else reached


def _per_clip(rows: Tensor, nearest: NearestEvents, clips: int) -> Tensor:
    """Sum over the rows of each clip, `[N]` -> `[clips]`."""
    owner = nearest.places // (nearest.mask.numel() // clips)
    return torch.bincount(owner, rows.double(), clips)


def _ninth(nearest: NearestEvents, clips: int) -> tuple[Tensor, Tensor]:
    """`InnerProfile.ninth` and `regular` of a batch."""
    steps = nearest.displacements().abs()  # [F, 9, 2, H, W]
    far, farthest = steps.sum(2)[:, -1], steps.amax((1, 2))  # [F, H, W] each: of the ninth (Manhattan), of any one along an axis
    known = far.isfinite()
    _, H, W = known.shape
    frames, bins = len(known) // clips, H + W - 1
    clip = torch.arange(clips).repeat_interleave(frames)[:, None, None].expand_as(known)
    counts = torch.bincount(clip[known] * bins + far[known].long(), minlength=clips * bins).view(clips, bins)
    regular = torch.bincount(clip[known], (farthest[known] == 1).double(), clips) / counts.sum(1)
    return counts, regular


def _sampled(seen: InnerViews) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    distance, outside = {}, {}
    for name, points in seen.points.items():
        score, (h, w) = seen.scores[name], points.shape[-2:]
        own = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))  # [2, h, w]
        half = torch.tensor([h, w])[:, None, None] / 2
        beyond = ((points + 0.5 - half).abs() > half).any(4)  # the middle of the map is at half - 0.5
        distance[name] = ((points - own).norm(dim=4) * score).sum(3).mean((1, 3, 4))  # [B, heads]
        outside[name] = (beyond * score).sum(3).mean((1, 3, 4))
    return distance, outside


def activity_table(profile: InnerProfile, people: np.ndarray) -> pd.DataFrame:
    """`InnerProfile.activity` in percent: layer, measure, mean, low, high, a line for each. people: `[clips]`."""
    lines = []
    for measure, layers in profile.activity.items():
        for layer, values in layers.items():
            lines.append({"layer": layer_name(layer), "measure": measure} | interval_over_people(100 * values, people))
    return pd.DataFrame(lines)


def readable_activity(table: pd.DataFrame) -> pd.DataFrame:
    """`activity_table` for reading: layers down, measures across, cells "mean [low, high]" in percent."""
    cells = table.assign(cell=[f"{line.mean:.1f} [{line.low:.1f}, {line.high:.1f}]" for line in table.itertuples()])
    wide = cells.pivot(index="layer", columns="measure", values="cell")
    return wide.loc[list(dict.fromkeys(table["layer"])), list(MEASURES)].rename_axis(columns=None)


def activity_sentences(profile: InnerProfile, people: np.ndarray) -> list[str]:
    """Do spikes vanish with depth, and does the mapping keep them? Paired differences of shares, in percent, in words."""
    reached, channels = profile.activity["reached"], profile.activity["channels"]
    spiking, mappings = ([name for name in reached if name.startswith(kind)] for kind in ("spiking", "mapping"))
    first, last = spiking[0], spiking[-1]
    found = []
    if last != first:
        found.append(_change("Positions with events that carry a spike", reached, (first, last), people))
    if mappings:
        found.append(_change("Positions with events that carry a spike, or can be reached by one", reached, (last, mappings[-1]), people))
        found.append(_change("Channels at positions with events that are not zero", channels, (last, mappings[-1]), people))
    return found


def _change(what: str, shares: dict[str, np.ndarray], layers: tuple[str, str], people: np.ndarray) -> str:
    """How shares differ between two layers, in words."""
    early, late = (100 * shares[name] for name in layers)
    change = paired_difference(late, early, groups=people)
    word = "more" if change.low > 0 else "fewer" if change.high < 0 else "not told apart"
    points = f"{change.mean:+.1f} points [{change.low:+.1f}, {change.high:+.1f}]".replace("-", "−")
    ends = [f"{np.nanmean(values):.1f} % after {layer_name(name)}" for name, values in zip(layers, (early, late), strict=True)]
    return f"{what}: {ends[0]}, {ends[1]}: **{word}**, {points}."


def mapping_table(profile: InnerProfile, people: np.ndarray) -> pd.DataFrame:
    """What the nine nearest events are: measure, unit, mean, low, high."""
    bins = np.arange(profile.ninth.shape[1])
    known = profile.ninth.sum(1)
    mean = np.divide(profile.ninth @ bins, known, out=np.full(len(known), np.nan), where=known > 0)
    near = [
        ("mean distance to the ninth nearest", "pixels (Manhattan)", mean),
        ("plain 3 × 3 neighbourhood", "% of the positions", 100 * profile.regular),
    ]
    return pd.DataFrame([{"measure": what, "unit": unit} | interval_over_people(values, people) for what, unit, values in near])


def starting_distance(seen: InnerViews) -> float:
    """The mean distance of a head's sampling points before training, in positions of the map (see `Alignment`)."""
    points = next(iter(seen.scores.values())).shape[3]
    return (points + 1) / (2 * points)


def sampling_table(profile: InnerProfile, people: np.ndarray) -> pd.DataFrame:
    """How far each head looks: direction, head, mean, low, high (positions of the map), outside (percent of the score off the map)."""
    lines = []
    for name, values in profile.distance.items():
        off = 100 * profile.outside[name].mean(0)  # [heads]
        for i in range(values.shape[1]):
            about = {"direction": DIRECTIONS[name], "head": i + 1}
            lines.append(about | interval_over_people(values[:, i], people) | {"outside": off[i]})
    return pd.DataFrame(lines)
