"""What the video systems show, over many clips: agreement with the true body parts, spread of attention, tables with intervals.

All intervals (95 %) come from drawing people anew. What is measured of each system is in `video_measures` and `region_measures`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from reidlib.analysis.sdcl_profile import interval_over_people
from reidlib.datasets import ClipDataset
from reidlib.datasets.frames import UNKNOWN
from reidlib.models import ReidModel
from reidlib.models.bicnet_tks import BiCnetTKS
from reidlib.models.ianet import IANet
from reidlib.models.layers.part_maps import PARTS
from reidlib.models.rfcnet import RFCnet
from reidlib.models.tclnet import TCLNet
from reidlib.models.vrstc import VRSTC

BODY = ("person", *PARTS)  # what is found in labels of body parts: all of them together, then each
USUAL, BEST = "usual place", "best possible"

VideoSystem = IANet | TCLNet | RFCnet | BiCnetTKS | VRSTC
#: (what is measured, of what) -> a value per clip, NaN where there is none.
Values = dict[tuple[str, str], np.ndarray]


class Profile(NamedTuple):
    """Clip by clip. owners: `[clips]`, the row of each clip in the index. values: arrays `[clips]`, see `Values`."""

    owners: np.ndarray
    values: Values


def over_clips(measure: Callable[..., Values], model: ReidModel, dataset: ClipDataset, **context: object) -> Profile:
    """`measure(model, frames, parts, **context)` of the clips of every tracklet: frames `[n, T, 3, H, W]`, parts uint8 `[n, T, H, W]` or
    None where the dataset has no labels. ValueError for a dataset without clips."""
    found, owners = [], []
    for row in range(len(dataset)):
        item = dataset[row]
        found.append(measure(model, item["frames"], item.get("parts"), **context))
        owners += [row] * len(item["frames"])
    if not found:
        raise ValueError("no clips: there is nothing to look into")
    return Profile(np.array(owners), {key: np.concatenate([part[key] for part in found]) for key in found[0]})


def inside(model: VideoSystem, frames: Tensor) -> dict[str, Tensor]:
    """What a video system shows of clips `[n, T, 3, H, W]`, on the CPU; see its `inner_views` (VRSTC: `attention`)."""
    look = model.attention if isinstance(model, VRSTC) else model.inner_views
    return {name: value.float().cpu() for name, value in look(frames=frames.to(next(model.parameters()).device)).items()}


def by_stage(seen: dict[str, Tensor], name: str) -> dict[int, Tensor]:
    """What blocks show under one name: stage -> value. ValueError where there is none."""
    found = {int(key.removeprefix(name)): value for key, value in seen.items() if key.removeprefix(name).isdigit()}
    if not found:
        raise ValueError(f"this model shows no {name!r}; it shows {', '.join(seen) or 'nothing'}")
    return found


@contextmanager
def hooked(hooks: Mapping[nn.Module, Callable]) -> Iterator[None]:
    """Forward hooks on modules, taken off again."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def body_shares(parts: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Shares of each position's pixels: labels `[n, T, H, W]` -> those of every name of `BODY` `[n, T, 5, *size]`, and of pixels that are
    known at all `[n, T, 1, *size]`."""
    labels = parts[:, :, None]  # [n, T, 1, H, W]
    known, numbers = labels != UNKNOWN, torch.arange(1, len(BODY), device=parts.device)[:, None, None]
    masks = torch.cat((known & (labels > 0), labels == numbers, known), 2).float()  # [n, T, 6, H, W]
    pooled = F.interpolate(masks.flatten(0, 1), size, mode="area").unflatten(0, parts.shape[:2])  # [n, T, 6, h, w]
    return pooled[:, :, :-1], pooled[:, :, -1:]


def usual_places(dataset: ClipDataset) -> Tensor:
    """How often each pixel shows the person and each part, over all frames of a dataset with labels: `[5, H, W]`, in the order of `BODY`.

    The best guess of one who has not looked at the picture: a map that is to mean something must agree better with the truth."""
    seen, known = torch.zeros(()), torch.zeros(())
    for row in range(len(dataset)):
        parts = dataset[row]["parts"]
        share, there = body_shares(parts, (parts.shape[2], parts.shape[3]))
        seen, known = seen + share.sum((0, 1)), known + there.sum((0, 1))
    return seen / known.clamp_min(1)


def area_under_curve(scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Probability that a pixel inside lies where the score is higher than at one outside, ties counting half: `[n, P]` each -> `[n]`.

    positive, negative: how many pixels (or what share) of each position lie inside and outside; NaN where one of them is 0 everywhere."""
    out = np.full(len(scores), np.nan)
    for i in np.flatnonzero((positive.sum(1) > 0) & (negative.sum(1) > 0)):
        truth = np.repeat([1, 0], scores.shape[1])
        out[i] = roc_auc_score(truth, np.tile(scores[i], 2), sample_weight=np.concatenate((positive[i], negative[i])))
    return out


def agreement(maps: dict[str, Tensor], parts: Tensor, usual: Tensor, of: str, where: str = "") -> Values:
    """AUC over the pixels of a clip (`area_under_curve`) of maps, name of `BODY` -> `[n, T, h, w]`, called `of`.

    To compare: the `usual_places` at the maps' resolution, and the best that is possible at it, the true share of each position.
    where: follows the name in what is measured."""
    found: Values = {}
    for name, values in maps.items():
        k, size = BODY.index(name), (values.shape[-2], values.shape[-1])
        share, known = body_shares(parts, size)
        person, other = share[:, :, k], known[:, :, 0] - share[:, :, k]  # [n, T, h, w]
        guess = F.interpolate(usual[None], size, mode="area")[0, k].expand_as(values)
        for who, scores in ((of, values), (USUAL, guess), (BEST, person / known[:, :, 0].clamp_min(1e-6))):
            score, inner, outer = (one.flatten(1).double().numpy() for one in (scores, person, other.clamp_min(0)))
            found[f"{name}{where}", who] = area_under_curve(score, inner, outer)
    return found


def attention_values(weights: Tensor, person: Tensor | None, of: str) -> Values:
    """How even attention is, and whether it lies on the person: weights `[n, P]` of sum 1, person `[n, P]` the share of each position.

    "effective share of the positions": exp(entropy) / P, 1 where all weights are the same, 1 / P where one has all. "density on the
    person": mean weight of the person's positions over that of all, 1 for even weights, NaN where nobody is seen."""
    entropy = -torch.special.xlogy(weights, weights).sum(1)
    found = {("effective share of the positions", of): (entropy.exp() / weights.shape[1]).numpy()}
    if person is not None:
        density = (weights * person).sum(1) / person.mean(1)  # 0 / 0 is NaN
        found["density on the person", of] = density.numpy()
    return found


def measure_table(profile: Profile, people: np.ndarray, scale: float = 1.0) -> pd.DataFrame:
    """`Profile` in numbers: measure, of, mean, low, high, clips. people: `[clips]`. scale: 100 for shares in percent. The mean alone
    where fewer than two people have a value."""
    lines = []
    for (measure, of), values in profile.values.items():
        lines.append({"measure": measure, "of": of} | _interval(scale * values, people) | {"clips": int(np.isfinite(values).sum())})
    return pd.DataFrame(lines)


def difference_table(profile: Profile, people: np.ndarray, of: str, against: str, scale: float = 1.0) -> pd.DataFrame:
    """Paired differences, clip by clip, of the values of `of` and of `against`: measure, of ("of − against"), mean, low, high."""
    lines = []
    for (measure, who), values in profile.values.items():
        if who == of and (measure, against) in profile.values:
            change = values - profile.values[measure, against]
            lines.append({"measure": measure, "of": f"{of} − {against}"} | _interval(scale * change, people))
    return pd.DataFrame(lines)


def headlines(table: pd.DataFrame, of: str, unit: str, where: str) -> list[dict]:
    """The lines of such a table about `of` that have an interval, as `reports.record` takes headline numbers; where: stands before each."""
    told = table[(table["of"] == of) & np.isfinite(table["low"])]
    return [
        {"label": f"{where}: {line.measure} ({line.of})", "value": line.mean, "low": line.low, "high": line.high, "unit": unit}
        for line in told.itertuples()
    ]


def _interval(values: np.ndarray, people: np.ndarray) -> dict[str, float]:
    there = np.isfinite(values)
    if len(np.unique(people[there])) > 1:
        return interval_over_people(values, people)
    return {"mean": float(values[there].mean()) if there.any() else np.nan, "low": np.nan, "high": np.nan}
