"""VRSTC's repair, looked at: what its localiser finds and what STCnet completes, where the truth is known.

Truth is made: in a tracklet's video one third is covered by plain grey for a quarter of the frames (`cover_third`), so that what was
there is known. Our reading of VRSTC, see `reidlib.repairing`.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from reidlib.analysis.video_profile import Profile, Values, area_under_curve
from reidlib.completion import region_scores_of
from reidlib.datasets import TrackletStore, walkers
from reidlib.datasets.frames import video_of
from reidlib.datasets.pixels import nearest_others, to_pixels
from reidlib.models.layers.occlusion import THIRDS, occluded, third_edges
from reidlib.models.stcnet import STCnet
from reidlib.repairing import Repairing, TrackletViews, hole_inputs, localise, repair

LEVELS = 127.5  # grey levels in one unit of pixels in [-1, 1]
CALLED = "thirds that are called hidden"
IN_FRONT = 255  # the renderer's number of whatever stands before a walker
GREYS = (0.05, 0.6)  # of white, as the walkers' own occluders


class Probe(NamedTuple):
    """A video with a third covered for a while. covered, truth: uint8 `[T, h, w]` or `[T, h, w, 3]`; hidden: bool `[T, 3]`."""

    covered: np.ndarray
    truth: np.ndarray
    hidden: np.ndarray


def cover_third(video: np.ndarray, key: str, seed: int = 0) -> Probe:
    """One third of a quarter of a tracklet's frames, in a row, under plain grey; which, is a function of (seed, key).

    Raises ValueError for fewer than two frames, of which none would be left as it was."""
    if len(video) < 2:
        raise ValueError(f"tracklet {key!r} has {len(video)} frames: with one of them covered nothing would be left")
    rng = np.random.default_rng((seed, *key.encode()))
    length = max(1, len(video) // 4)
    start, third = int(rng.integers(len(video) - length, endpoint=True)), int(rng.integers(len(THIRDS)))
    covered, hidden = video.copy(), np.zeros((len(video), len(THIRDS)), bool)
    hidden[start : start + length, third] = True
    top, bottom = third_edges(video.shape[1])[third : third + 2]
    covered[start : start + length, top:bottom] = round(255 * rng.uniform(*GREYS))
    return Probe(covered, video, hidden)


def probe_values(repairing: Repairing, store: TrackletStore, index: pd.DataFrame) -> dict[str, Profile]:
    """What becomes of the covered tracklets of `index`: "firing" and "completion", a value per tracklet.

    firing: share of thirds that the localiser calls hidden, of those that are covered, of the others, and of the untouched video; and the
    AUC of its score, which knows no threshold. completion: mean distance from the truth in grey levels (0 to 255) in the covered thirds,
    at the size of STCnet, which is told where they are: of both its completions (of the final one also where it sees the nearest frames in
    which the third is clear, whatever the settings), and of what could be had without it."""
    firing, completion = [], []
    net = copy.deepcopy(repairing.stcnet).to("cpu")
    for key in index["key"]:
        probe = cover_third(video_of(store, key), key)
        firing.append(_firing(repairing, probe))
        completion.append(_errors(repairing, net, probe))
    rows = np.arange(len(index))
    return {name: Profile(rows, _joined(found)) for name, found in (("firing", firing), ("completion", completion))}


def _joined(found: list[dict[tuple[str, str], float]]) -> Values:
    return {key: np.array([one[key] for one in found]) for key in found[0]}


def _firing(repairing: Repairing, probe: Probe) -> dict[tuple[str, str], float]:
    size, threshold = repairing.run.clips.size, repairing.completion.threshold
    scores, before = (localise(repairing.guider, video, size) for video in (probe.covered, probe.truth))
    fires, hidden = occluded(scores, threshold), probe.hidden
    auc = area_under_curve(-scores.reshape(1, -1), hidden.reshape(1, -1).astype(float), ~hidden.reshape(1, -1) * 1.0)[0]
    return {
        (CALLED, "covered thirds"): fires[hidden].mean(),
        (CALLED, "other thirds of the same video"): fires[~hidden].mean(),
        (CALLED, "untouched video"): occluded(before, threshold).mean(),
        ("AUC of the score", "covered thirds against others"): auc,
    }


def _errors(repairing: Repairing, net: STCnet, probe: Probe) -> dict[tuple[str, str], float]:
    settings, chosen = repairing.completion, np.flatnonzero(probe.hidden.any(1))
    frames, mask, *around = hole_inputs(probe.covered, probe.hidden, chosen, settings)
    clear_around = hole_inputs(probe.covered, probe.hidden, chosen, replace(settings, neighbours="visible"))[2:]
    with torch.inference_mode():
        first, final = net(frames, mask, *around)
        _, from_clear = net(frames, mask, *clear_around)
    clear = np.logical_not(probe.hidden.any(1))
    nearest = [_nearer(t, nearest_others(t, clear)) for t in chosen.tolist()]
    made = {
        "STCnet, final": final,
        "STCnet, final, from clear frames": from_clear,
        "STCnet, first": first,
        "copy of the nearest clear frame": to_pixels(probe.truth[nearest], settings.size),
        "mean of the clear frames": to_pixels(probe.truth[clear], settings.size).mean(0, keepdim=True).expand_as(frames),
        "left covered": frames,
    }
    truth, holes = to_pixels(probe.truth[chosen], settings.size), mask.expand_as(frames)
    return {("error in covered thirds", who): LEVELS * float((one - truth)[holes].abs().mean()) for who, one in made.items()}


def _nearer(t: int, others: Iterable[int]) -> int:
    return min(others, key=lambda other: abs(other - t))


def probe_views(repairing: Repairing, store: TrackletStore, key: str) -> tuple[TrackletViews, Probe]:
    """A covered tracklet as `Repairing.views` shows one, its covered thirds completed, whatever the localiser says of them."""
    probe = cover_third(video_of(store, key), key)
    chosen, settings = np.flatnonzero(probe.hidden.any(1)), repairing.completion
    scores = localise(repairing.guider, probe.covered, repairing.run.clips.size)
    frames, mask, previous, following = hole_inputs(probe.covered, probe.hidden, chosen, settings)
    net = copy.deepcopy(repairing.stcnet).to("cpu")
    repaired = repair(net, probe.covered, probe.hidden, settings)
    completion = net.inner_views(frames, mask, previous, following)
    return TrackletViews(scores, probe.hidden, chosen, frames, mask, previous, following, completion, repaired), probe


def found_hidden(repairing: Repairing, index: pd.DataFrame) -> pd.DataFrame:
    """What the localiser finds in tracklets as they are: key, person, lowest (score), hidden (share of the thirds), most first."""
    scores = repairing.scores()
    found = [region_scores_of(scores, key) for key in index["key"]]
    shares = [float(occluded(one, repairing.completion.threshold).mean()) for one in found]
    table = pd.DataFrame({"key": index["key"].to_numpy(), "person": index["person"].to_numpy()})
    return table.assign(lowest=[one.min() for one in found], hidden=shares).sort_values("hidden", ascending=False, kind="stable")


def firing_by_cover(repairing: Repairing, index: pd.DataFrame, cover: Callable[[str], np.ndarray]) -> Profile:
    """Share of thirds that are called hidden, by how much of the third is really covered: a value per tracklet, NaN where it has no such
    third. cover: key -> share of each third `[T, 3]`, such as `walkers_cover`."""
    scores, lines = repairing.scores(), []
    for key in index["key"]:
        fires = occluded(region_scores_of(scores, key), repairing.completion.threshold)  # [T, 3]
        covered = cover(key)
        groups = {"nothing covered": covered == 0, "less than half": (covered > 0) & (covered < 0.5), "half or more": covered >= 0.5}
        lines.append({(CALLED, name): fires[chosen].mean() if chosen.any() else np.nan for name, chosen in groups.items()})
    return Profile(np.arange(len(index)), _joined(lines))


def walkers_cover(store: TrackletStore, key: str) -> np.ndarray:
    """What stands in front of a walker, in shares of every third, as the renderer knows it: `[T, 3]`."""
    settings = walkers.settings_of(store, "what stands in front of this store's people cannot be drawn")
    return cover_shares(walkers.part_map(settings, *walkers.place_of(key)) == IN_FRONT)


def cover_shares(covered: np.ndarray) -> np.ndarray:
    """Share of the covered pixels of every third: bool `[T, H, W]` -> `[T, 3]`."""
    edges = third_edges(covered.shape[1])
    return np.stack([covered[:, top:bottom].mean((1, 2)) for top, bottom in pairwise(edges)], 1)
