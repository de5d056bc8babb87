"""Looking into SDCL, our reading of the paper, clip by clip: maps by layer, chosen events, sampling points, degraded video.

Averages over many clips are in `sdcl_profile`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reidlib.analysis.comparison import title
from reidlib.analysis.robustness import Condition, conditions
from reidlib.analysis.sdcl_profile import DIRECTIONS, interval_over_people, layer_name, views
from reidlib.datasets import ClipDataset, ClipSettings, Degradation, TrackletStore
from reidlib.datasets.clips import MODALITIES
from reidlib.datasets.frames import MEAN, STD
from reidlib.evaluation import embed
from reidlib.experiment import Experiment
from reidlib.metrics import paired_difference
from reidlib.models.layers.nearest_events import GRID
from reidlib.models.psta import PSTA
from reidlib.models.sdcl import SDCL, InnerViews

GIVERS = {"e2f": "events", "f2e": "frames"}
STREAMS = ("PSTA\n(no events)", "SDCL before\nthe exchange", "SDCL after\nthe exchange")
DEGRADED = conditions([3], kinds=("motion_blur", "occlusion"))  # clean video first


def first_clip(
    store: TrackletStore, index: pd.DataFrame, settings: ClipSettings, degradation: Degradation | None = None
) -> dict[str, Tensor]:
    """The first clip of the first tracklet of `index`: "events" `[1, T, 2, H, W]` and "frames" `[1, T, 3, H, W]` of the same moments."""
    item = ClipDataset(store, index, settings, train=False, modalities=MODALITIES, degradation=degradation)[0]
    return {name: item[name][:1] for name in MODALITIES}


def pictures(frames: Tensor) -> np.ndarray:
    """The network's frames `[..., 3, H, W]` as they can be looked at: RGB from 0 to 1, `[..., H, W, 3]`."""
    return np.clip(np.moveaxis(frames.numpy(), -3, -1) * np.array(STD, np.float32) + np.array(MEAN, np.float32), 0, 1)


def energy(maps: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Mean absolute activation over the channels: name -> `[B, T, C, h, w]` to name -> `[B, T, h, w]`."""
    return {name: values.abs().mean(2).numpy() for name, values in maps.items()}


def clip_rows(model: SDCL, clip: dict[str, Tensor], steps: int = 4) -> dict[str, dict[str, np.ndarray]]:
    """The first clip of the batch for `plots.inner.map_grid`: a row for each of at most `steps` steps, evenly spread, with the frame, the
    events and the map (`energy`) of every layer."""
    maps, shown = energy(views(model, clip).maps), pictures(clip["frames"][0])
    chosen = np.unique(np.linspace(0, len(shown) - 1, min(steps, len(shown))).round().astype(int))
    names = {name: layer_name(name) for name in maps}
    return {
        f"step {t + 1}": {"frame": shown[t], "events": clip["events"][0, t].numpy()} | {names[name]: maps[name][0, t] for name in maps}
        for t in chosen
    }


class Neighbours(NamedTuple):
    """A position with events and the nine that an event mapping sees from there. rule: why it is shown; centre: (y, x); chosen: `[9, 2]`
    (y, x), nearest first; distance: Manhattan, to the ninth."""

    rule: str
    centre: tuple[int, int]
    chosen: np.ndarray
    distance: int


def median_step(events: Tensor) -> int:
    """The step of a clip `[T, 2, H, W]` that is in the middle of the order by number of positions with events."""
    return int(np.argsort((events != 0).any(1).sum((1, 2)).numpy(), kind="stable")[len(events) // 2])


def neighbours(offsets: Tensor) -> list[Neighbours]:
    """Four positions of one frame, by how far their ninth nearest event is: the 10 %, 50 % and 90 % quantile, and the farthest.

    offsets: of one mapping and frame, `[9, 2, H, W]` (see `InnerViews`). ValueError where the frame has fewer than nine events.
    """
    steps = offsets + GRID[:, :, None, None]
    far = steps.abs().sum(1)[-1]  # [H, W]
    known = far.isfinite().nonzero()  # [N, 2]
    if not len(known):
        raise ValueError("no position has nine events around it in this frame: take one with more events")
    order = known[torch.argsort(far[known[:, 0], known[:, 1]], stable=True)]
    found = []
    for rule, share in (("10 % quantile", 0.1), ("median", 0.5), ("90 % quantile", 0.9), ("farthest", 1.0)):
        y, x = order[round(share * (len(order) - 1))].tolist()
        found.append(Neighbours(rule, (y, x), (steps[:, :, y, x] + torch.tensor([y, x])).round().int().numpy(), int(far[y, x])))
    return found


def sampling_panels(seen: InnerViews, clip: dict[str, Tensor], step: int, count: int = 3) -> list[list[dict]]:
    """Where the alignment looks, for `plots.inner.sampling_points`: a row for each direction, a panel for each of `count` positions spread
    from top to bottom of the map's middle column, over the picture of the giver, which is what is sampled."""
    givers = {"events": clip["events"][0, step].numpy(), "frames": pictures(clip["frames"][0, step])}
    rows = []
    for name, points in seen.points.items():
        h, w = points.shape[-2:]
        places = [(y, w // 2) for y in np.unique(((np.arange(count) + 0.5) * h / count).astype(int)).tolist()]
        rows.append(
            [
                {
                    "title": f"{DIRECTIONS[name]}\nrow {y + 1} of {h}, column {x + 1} of {w}",
                    "picture": givers[GIVERS[name]],
                    "size": (h, w),
                    "place": (y, x),
                    "points": points[0, step, ..., y, x].numpy(),  # [heads, points, 2]
                    "scores": seen.scores[name][0, step, ..., y, x].numpy(),
                }
                for y, x in places
            ]
        )
    return rows


def degraded_rows(
    sdcl: SDCL,
    psta: PSTA,
    store: TrackletStore,
    index: pd.DataFrame,
    settings: ClipSettings,
    step: int,
    asked: Iterable[Condition] = DEGRADED,
) -> dict[str, dict[str, np.ndarray]]:
    """The first clip of a tracklet under each condition, for `plots.inner.map_grid`: at one step the frame, the events and three maps
    (`energy`) of the frame stream: of PSTA, and of SDCL before and after the exchange with the events."""
    rows = {}
    for condition in asked:
        clip = first_clip(store, index, settings, condition.degradation)
        seen = energy(views(sdcl, clip).maps)
        with torch.no_grad():
            alone = psta.frame_branch(clip["frames"].to(next(psta.parameters()).device)).cpu()
        maps = (energy({"alone": alone})["alone"], seen["frames"], seen["frames aligned"])
        shown = {"frame": pictures(clip["frames"][0, step]), "events": clip["events"][0, step].numpy()}
        rows[condition.words] = shown | {name: values[0, step] for name, values in zip(STREAMS, maps, strict=True)}
    return rows


class Turn(NamedTuple):
    """How far embeddings turn. similarity: row -> condition -> `[N]` cosine of a tracklet's clean and degraded embedding; apart: row ->
    `[N]` mean cosine of its clean embedding to those of other people, to read the former against."""

    similarity: dict[str, dict[str, np.ndarray]]
    apart: dict[str, np.ndarray]


def embedding_turn(
    experiment: Experiment, index: pd.DataFrame, names: Iterable[str] = ("psta", "sdcl"), asked: Iterable[Condition] = DEGRADED
) -> Turn:
    """The tracklets of `index` embedded by the first seed of trained rows, clean and under each condition."""
    similarity, apart = {}, {}
    different = index["person"].to_numpy()[:, None] != index["person"].to_numpy()
    for name in names:
        model, clips = experiment.model(name), experiment.run_settings(name).clips
        clean = embed(model, experiment.store, index, clips)
        seen = {one.words: embed(model, experiment.store, index, clips, degradation=one.degradation) for one in asked if one.degradation}
        similarity[name] = {words: (clean * vectors).sum(1) for words, vectors in seen.items()}
        apart[name] = (clean @ clean.T * different).sum(1) / different.sum(1)
    return Turn(similarity, apart)


def turn_table(turn: Turn, people: np.ndarray) -> pd.DataFrame:
    """`Turn` in numbers: row, title, compared ("clean and motion blur 3", ..., "two people, clean"), mean, low, high (cosine)."""
    lines = []
    for name, by_condition in turn.similarity.items():
        compared = {f"clean and {words}": values for words, values in by_condition.items()} | {"two people, clean": turn.apart[name]}
        lines += [
            {"row": name, "title": title(name), "compared": what} | interval_over_people(values, people)
            for what, values in compared.items()
        ]
    return pd.DataFrame(lines)


def turn_differences(turn: Turn, people: np.ndarray) -> pd.DataFrame:
    """Cosine of SDCL minus that of PSTA, tracklet by tracklet, times 100, as `plots.ablation.forest_plot` takes it; above 0: SDCL turns
    less."""
    lines = []
    for words, values in turn.similarity["sdcl"].items():
        found = paired_difference(100 * values, 100 * turn.similarity["psta"][words], groups=people)
        lines.append({"name": words, "mean": found.mean, "low": found.low, "high": found.high, "group": "SDCL", "reference": "PSTA"})
    return pd.DataFrame(lines)
