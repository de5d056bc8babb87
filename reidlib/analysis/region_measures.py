"""What is measured of RFCnet, clip by clip: does it know where the person is, cut the body where its parts meet, and complete features?

For `over_clips` of `video_profile`. Our reading of the system, see `models.rfcnet`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reidlib.analysis.video_profile import BEST, Values, agreement, by_stage, hooked, inside
from reidlib.datasets import ClipDataset
from reidlib.datasets.frames import MEAN, STD
from reidlib.models.layers.occlusion import THIRDS, third_edges
from reidlib.models.layers.part_labels import cut_fractions
from reidlib.models.layers.part_maps import PARTS
from reidlib.models.layers.partition import COLUMNS, LEFT, Partition
from reidlib.models.rfcnet import RFCnet

CUTS = ("head | upper body", "upper | lower body", "lower body | shoes")
COLUMN = "left | right"
COVER = 0.3  # grey, of white, of what is put before a third


def foreground_agreement(model: RFCnet, frames: Tensor, parts: Tensor, usual: Tensor) -> Values:
    """RFCnet: AUC of the foreground against the true silhouette, see `agreement`."""
    found: Values = {}
    for stage, maps in by_stage(inside(model, frames), "foreground").items():
        found |= agreement({"person": maps}, parts, usual, "foreground", f", stage {stage}")
    return found


def cuts_of(regions: Tensor) -> Tensor:
    """Where masks of regions `[n, T, R, h, w]` (see `Partition`) cut the map, as shares of height and, last, of width: `[n, T, cuts]`."""
    plan = Partition(1, (len(PARTS), 2), regions.shape[2], adaptive=False)
    bands = torch.tensor(plan.band_of)
    rows = regions.amax(4)  # [n, T, R, h]
    above = [rows[:, :, bands <= cut].amax(2).mean(2) for cut in range(plan.bands - 1)]  # [n, T] each
    if any(plan.halved):
        left = regions[:, :, torch.tensor(plan.side_of) == LEFT].amax((2, 3))  # [n, T, w]
        above.append(left.mean(2))
    return torch.stack(above, 2)


def true_cuts(parts: Tensor, regions: int) -> Tensor:
    """The same of labels `[n, T, H, W]`, for so many regions, NaN where a part is not seen; see `cut_fractions`."""
    columns = COLUMNS[regions]
    bands = ((1,), (2,), (3,), (4,)) if len(columns) == len(PARTS) else ((1,), (2,), (3, 4))
    return cut_fractions(parts.flatten(0, 1), bands, [count == 2 for count in columns]).unflatten(0, parts.shape[:2])


def usual_cuts(dataset: ClipDataset, model: RFCnet) -> Tensor:
    """The median of `true_cuts` over all frames of a dataset with labels, for the regions of an RFCnet: `[cuts]`."""
    regions = next(len(module.band_of) for module in model.modules() if isinstance(module, Partition))
    found = [true_cuts(dataset[row]["parts"], regions).flatten(0, 1) for row in range(len(dataset))]
    return torch.cat(found).nanmedian(0).values


def cut_errors(model: RFCnet, frames: Tensor, parts: Tensor, usual: Tensor) -> Values:
    """RFCnet: mean distance of its cuts from the true ones, as a share of height (the column: of width).

    usual: of `usual_cuts`, the same cut for everybody. A map is cut between two of its rows: the usual cut is the nearest of those, and so
    is, of each true cut, the "best possible"."""
    found: Values = {}
    for stage, regions in by_stage(inside(model, frames), "regions").items():
        R, h, w = regions.shape[2:]
        true, cut = true_cuts(parts, R), cuts_of(regions)  # [n, T, cuts]
        names = (*CUTS[: len(COLUMNS[R]) - 1], COLUMN)[: true.shape[2]]
        extents = torch.tensor([w if name == COLUMN else h for name in names])
        nearest, same = (true * extents).round() / extents, ((usual * extents).round() / extents).expand_as(true)
        for of, guess in (("adaptive partition", cut), ("usual cut", same), (BEST, nearest)):
            errors = (guess - true).abs().nanmean(1)  # [n, cuts]
            found |= {(f"{name}, stage {stage}", of): error.numpy() for name, error in zip(names, errors.unbind(1), strict=True)}
    return found


def feature_completion(model: RFCnet, frames: Tensor, parts: Tensor | None = None) -> Values:
    """RFCnet: is what a block makes of hidden regions nearer to what it makes of them when they are seen?

    Each third in turn is covered by plain grey in the middle half of a clip's steps. Distance of the features there from those of the
    untouched clip, relative to their norm, in front of a block and behind it. Blocks on maps of fewer than three rows are left out."""
    T, H = frames.shape[1], frames.shape[3]
    steps = slice(T // 4, T // 4 + max(1, T // 2))
    grey = ((COVER - torch.tensor(MEAN)) / torch.tensor(STD))[:, None, None]
    clean = _around_blocks(model, frames)
    found: Values = {}
    for number, third in enumerate(THIRDS):
        covered = frames.clone()
        covered[:, steps, :, slice(*third_edges(H)[number : number + 2])] = grey
        for stage, maps in _around_blocks(model, covered).items():
            if maps[0].shape[3] < len(THIRDS):
                continue
            rows = slice(*third_edges(maps[0].shape[3])[number : number + 2])
            for of, now, then in zip(("in front of the block", "behind the block"), maps, clean[stage], strict=True):
                change, whole = ((x[:, steps, :, rows].flatten(1).norm(dim=1)) for x in (now - then, then))
                found[f"{third} third, stage {stage}", of] = (change / whole).numpy()
    return found


def _around_blocks(model: RFCnet, frames: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    """Maps `[n, T, C, h, w]` in front of and behind the RFC block of each stage."""
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(stage: int) -> Callable[..., None]:
        return lambda _block, given, out: found.update({stage: (given[0].float().cpu(), out.float().cpu())})

    with hooked({model.backbone.after[str(stage)][0]: keep(stage) for stage in model.stages}):
        inside(model, frames)
    return found
