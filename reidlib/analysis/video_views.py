"""Looking into the video systems, clip by clip: rows of pictures and maps for `plots.video.view_grid`.

Averages over many clips are in `video_profile` and `video_measures`. The systems are our readings of R. Hou's papers and thesis.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from reidlib.analysis.sdcl_views import pictures
from reidlib.analysis.video_measures import dao_places
from reidlib.analysis.video_profile import by_stage, inside
from reidlib.models.bicnet_tks import BiCnetTKS
from reidlib.models.ianet import IANet
from reidlib.models.layers.part_maps import PARTS
from reidlib.models.rfcnet import RFCnet
from reidlib.models.tclnet import TCLNet
from reidlib.models.vrstc import VRSTC
from reidlib.repairing import TrackletViews

if TYPE_CHECKING:
    from reidlib.plots.video import Cell

#: Row label -> column label -> what stands there: see `plots.video.view_grid`.
Rows = dict[str, dict[str, "Cell"]]


def spread_steps(total: int, count: int) -> list[int]:
    """At most `count` of the steps 0 to total - 1, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def part_rows(model: IANet, item: dict, steps: int = 4) -> Rows:
    """IANet: a row per step of the first clip of `item` ("frames" `[n, T, 3, H, W]`, "parts" `[n, T, H, W]` where known): the frame, the
    true parts and STIA's map of each part."""
    frames, shown = _first(item)
    maps = {
        f"{name}\n(stage {stage})": part[0]
        for stage, found in by_stage(inside(model, frames), "parts").items()
        for name, part in zip(PARTS, found.unbind(2), strict=False)
    }
    return {
        f"step {t + 1}": {"frame": shown[t]} | _true_parts(item, t) | {name: one[t].numpy() for name, one in maps.items()}
        for t in spread_steps(len(shown), steps)
    }


def erasing_rows(model: TCLNet, item: dict, steps: int = 4) -> Rows:
    """TCLNet: the first steps of a clip, whose learners take turns: the frame with the outline of what is erased of it, the gate that
    what earlier learners used puts on the map (1: even; see `SaliencyErasing`), and TSB's weights from the clip's first frame (1: even)."""
    frames, shown = _first(item)
    seen, learners = inside(model, frames), len(model.necks)
    erased = seen["erased"][0].int().numpy()
    gate = _relative(seen["correlation"][0].flatten(1).softmax(1).view_as(seen["correlation"][0]), "frame")
    memory = {f"TSB weight from\nstep 1 (stage {stage})": w[0, 0] for stage, w in by_stage(seen, "memory").items()} if _has(seen) else {}
    even = {name: (weights * weights[1:].numel()).numpy() for name, weights in memory.items()}
    return {
        f"step {t + 1}\nlearner {t % learners + 1}": {"frame and\nerased block": (shown[t], erased[t]), "gate before\nerasing": gate[t]}
        | {name: weights[t] for name, weights in even.items()}
        for t in range(min(steps, len(shown)))
    }


def _has(seen: dict[str, Tensor]) -> bool:
    return any(name.startswith("memory") for name in seen)


def region_rows(model: RFCnet, item: dict, steps: int = 4) -> Rows:
    """RFCnet: a row per step: the true parts, then for every stage with a block the frame with the outlines of its regions, the
    foreground, and the norm of the completed features."""
    frames, shown = _first(item)
    seen = inside(model, frames)
    rows: Rows = {}
    for t in spread_steps(len(shown), steps):
        row: dict[str, Cell] = {"frame": shown[t]} | _true_parts(item, t)
        for stage, regions in by_stage(seen, "regions").items():
            row[f"regions\n(stage {stage})"] = (shown[t], 1 + regions[0, t].argmax(0).int().numpy())
            for name in ("foreground", "completed"):
                if f"{name}{stage}" in seen:
                    row[f"{name}\n(stage {stage})"] = seen[f"{name}{stage}"][0, t].numpy()
        rows[f"step {t + 1}"] = row
    return rows


def non_local_rows(model: VRSTC, item: dict, steps: int = 4) -> Rows:
    """VRSTC: a row per step: the frame, and how much the clip looks at each position of it (1: even)."""
    frames, shown = _first(item)
    maps = {f"looked at\n(stage {stage})": _relative(one[0], "clip") for stage, one in by_stage(inside(model, frames), "non_local").items()}
    return {f"step {t + 1}": {"frame": shown[t]} | {name: one[t] for name, one in maps.items()} for t in spread_steps(len(shown), steps)}


def scale_rows(model: BiCnetTKS, item: dict) -> Rows:
    """BiCnet-TKS: the big frame of the clip's first group and the small ones behind it, each with DAO's attention (1: even)."""
    frames, shown = _first(item)
    return {
        f"step {steps[0] + 1}\n{name}": {"frame": shown[steps[0]]}
        | _true_parts(item, steps[0])
        | {"DAO attention\n(1 = even)": _relative(weights[0, 0], "clip")}
        for name, (weights, steps) in dao_places(model, frames).items()
    }


def repair_rows(views: TrackletViews, truth: np.ndarray | None = None, steps: int = 4) -> Rows:
    """VRSTC: frames of a tracklet with hidden thirds: with their outline, without them, both completions, where the temporal generator
    looks in the frames before and after (1: even), and, where it is known, what was hidden (`truth`, the video uint8)."""
    made = views.completion
    rows: Rows = {}
    masks = views.mask.expand_as(views.frames)
    for i in spread_steps(len(views.chosen), steps):
        t = views.chosen[i]
        hidden = (views.mask[i, 0].int() + torch.zeros(1, 2, dtype=torch.int32)).numpy()  # [H, 2]
        row: dict[str, Cell] = {
            "frame and\nhidden thirds": (_colours(views.frames[i]), hidden),
            "what STCnet\nis given": _colours(views.frames[i].masked_fill(masks[i], 0.0)),
            "first\ncompletion": _colours(made.spatial[i]),
            "final\ncompletion": _colours(made.completed[i]),
        }
        if truth is not None:
            row["truth"] = truth[t] if truth[t].ndim == 3 else np.repeat(truth[t][..., None], 3, 2)
        if made.attention is not None:
            for name, looked in zip(("before", "after"), made.attention[i], strict=True):
                row[f"looked at\n{name}"] = _relative(looked, "clip")
        rows[f"frame {t + 1}"] = row
    return rows


def _first(item: dict) -> tuple[Tensor, np.ndarray]:
    """The first clip `[1, T, 3, H, W]`, and as pictures `[T, H, W, 3]`."""
    return item["frames"][:1], pictures(item["frames"][0])


def _true_parts(item: dict, step: int) -> dict[str, np.ndarray]:
    return {"true parts": item["parts"][0, step].numpy().astype(int)} if item.get("parts") is not None else {}


def _relative(weights: Tensor, over: str) -> np.ndarray:
    """Weights times the number of positions: of all ("clip"), or of one map each ("frame"); even ones are 1."""
    return (weights * (weights.numel() if over == "clip" else weights[0].numel())).numpy()


def _colours(pixels: Tensor) -> np.ndarray:
    """`[3, H, W]` in [-1, 1] -> `[H, W, 3]` in 0 to 1."""
    return ((pixels.permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()
