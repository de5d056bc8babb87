"""What is measured of IANet, TCLNet, VRSTC and BiCnet-TKS, clip by clip: `over_clips` of `video_profile` takes these functions.

Each asks something that could turn out against what a block is meant to do. Our readings of the systems, see their modules;
RFCnet's are in `region_measures`, VRSTC's repair in `repair_views`.
"""

from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reidlib.analysis.video_profile import Profile, Values, agreement, attention_values, body_shares, by_stage, hooked, inside
from reidlib.models.bicnet_tks import BiCnetTKS
from reidlib.models.ianet import IANet
from reidlib.models.layers.erasing import block_mask
from reidlib.models.layers.part_maps import PARTS
from reidlib.models.tclnet import TCLNet
from reidlib.models.vrstc import VRSTC


def part_agreement(model: IANet, frames: Tensor, parts: Tensor, usual: Tensor) -> Values:
    """IANet: AUC of STIA's part maps against the true parts, see `agreement`; usual: of `usual_places`."""
    found: Values = {}
    for stage, maps in by_stage(inside(model, frames), "parts").items():
        found |= agreement(dict(zip(PARTS, maps.unbind(2), strict=False)), parts, usual, "STIA", f", stage {stage}")
    return found


def erasing_overlaps(model: TCLNet, frames: Tensor, parts: Tensor | None = None) -> Values:
    """TCLNet: is what is erased what the learner before had used, and do learners look at different places?

    A learner's strongest block: that of the erased size with the largest sum of activation (norm over the channels of its last map), in
    its own frame. Shares of a block's positions that two blocks have in common; "by chance": of two windows drawn evenly. Where labels
    are given, also the share of the person in the erased blocks and in their whole frames."""
    blocks, erased = _strongest_blocks(model, frames)  # [n, K, h, w] for each learner
    if len(blocks) < 2 or model.seo is None:
        raise ValueError("one learner, or no erasing: there is nothing to compare")
    extent = _extent(erased[0])
    size = model.seo.block_size(*extent)
    chance = window_chance(extent, size, model.seo.strides, model.seo.reading == "released")
    pairs = {f"strongest blocks of learners {k + 1} and {m + 1}": (blocks[k], blocks[m]) for k, m in combinations(range(len(blocks)), 2)}
    for later in range(1, len(blocks)):
        pairs[f"learner {later}'s strongest block is erased for learner {later + 1}"] = (blocks[later - 1], erased[later])
        pairs[f"learner {later + 1}'s strongest block is where it was erased"] = (blocks[later], erased[later])
    found: Values = {}
    for name, (block, other) in pairs.items():
        shares = ((block * other).sum((2, 3)) / block.sum((2, 3))).mean(1)  # [n]
        found[name, "TCLNet"], found[name, "by chance"] = shares.numpy(), np.full(len(shares), chance)
    return found


def erased_person(model: TCLNet, frames: Tensor, parts: Tensor) -> Values:
    """TCLNet: share of the person in the blocks that are erased for later learners, and in the whole of the same frames."""
    erased = inside(model, frames)["erased"]  # [n, T, h, w]
    person = body_shares(parts, _extent(erased))[0][:, :, 0]
    later = [t for t in range(frames.shape[1]) if t % len(model.necks)]
    erased, person = erased[:, later], person[:, later]
    block = (erased * person).sum((1, 2, 3)) / erased.sum((1, 2, 3))
    return {
        ("share of the person", "erased blocks"): block.numpy(),
        ("share of the person", "whole frames"): person.mean((1, 2, 3)).numpy(),
    }


def gate_left(model: TCLNet, frames: Tensor, parts: Tensor | None = None) -> Values:
    """TCLNet: how much of the gate's weight lies beside what is erased, so that a later learner sees anything of its frame; and how
    much would if the gate were even. (The released reading has no such gate.)"""
    seen, N = inside(model, frames), len(model.necks)
    later = [t for t in range(frames.shape[1]) if t % N]
    kept = 1 - seen["erased"][:, later]  # [n, T', h, w]
    gate = seen["correlation"][:, later].flatten(2).softmax(2).view_as(kept)
    what = "weight that is left after erasing"
    left = (gate * kept).sum((2, 3)).mean(1)
    return {(what, "TCLNet's gate"): left.numpy(), (what, "an even gate"): kept.mean((1, 2, 3)).numpy()}


def erased_rows(model: TCLNet, frames: Tensor, parts: Tensor | None = None) -> Values:
    """TCLNet: how often each row of the map is erased, `[n, h]` for each later learner."""
    erased, N = inside(model, frames)["erased"], len(model.necks)
    return {("rows", f"learner {n + 1}"): erased[:, n::N].amax(3).mean(1).numpy() for n in range(1, N)}


def window_chance(extent: tuple[int, int], size: tuple[int, int], strides: tuple[int, int], partial: bool) -> float:
    """Share of a window of `size` that another one covers, both drawn evenly from those of `block_mask`."""
    shares: list[float] = []
    for length, side, stride, over in zip(extent, size, strides, (partial, False), strict=True):
        first = -(side // 2) if over else 0
        starts = np.arange(first, first + length if over else length - side + 1, stride)
        places = np.arange(length)
        windows = ((places >= starts[:, None]) & (places < starts[:, None] + side)).astype(float)  # [windows, length]
        shares.append((windows @ windows.T / windows.sum(1, keepdims=True)).mean())
    return float(shares[0] * shares[1])


def _strongest_blocks(model: TCLNet, frames: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The strongest block of each learner in its frames, and what was erased from those, 0 or 1: `[n, K, h, w]` each, K whole segments."""
    *_, first = model.backbone.trunk.layer4
    learners = [first, *model.later]
    maps: list[Tensor] = []
    with hooked({block: lambda _block, _given, out: maps.append(out.float().cpu()) for block in learners}):
        seen = inside(model, frames)
    (n, T), N, seo = frames.shape[:2], len(learners), model.seo
    K = T // N
    if seo is None or K == 0:
        raise ValueError(f"clips of {T} steps and {N} learners{'' if seo else ' without erasing'}: there is nothing to compare")
    size = seo.block_size(*_extent(maps[0]))
    masks = [1 - block_mask(one.norm(dim=1), size, seo.strides, seo.reading == "released") for one in maps]
    blocks = [mask.unflatten(0, (n, -1))[:, :K] for mask in masks]
    return blocks, [seen["erased"][:, k::N][:, :K] for k in range(N)]


def memory_attention(model: TCLNet, frames: Tensor, parts: Tensor | None = None) -> Values:
    """TCLNet: `attention_values` of TSB's weights, mean over the frames that ask; only the other frames count as positions."""
    found: Values = {}
    n, T = frames.shape[:2]
    others = ~torch.eye(T, dtype=torch.bool)
    for stage, weights in by_stage(inside(model, frames), "memory").items():
        person = None
        if parts is not None:
            share = body_shares(parts, _extent(weights))[0][:, :, 0]  # [n, T, h, w]
            person = share[:, None].expand(-1, T, -1, -1, -1)[:, others].reshape(n * T, -1)
        asked = weights[:, others].reshape(n * T, -1)
        asked = asked / asked.sum(1, keepdim=True)  # frames that completed a clip are not shown
        found |= _means(attention_values(asked, person, f"TSB, stage {stage}"), n)
    return found


def non_local_attention(model: VRSTC, frames: Tensor, parts: Tensor | None = None) -> Values:
    """VRSTC: `attention_values` of how much all positions together look at each one, over the clip."""
    found: Values = {}
    for stage, weights in by_stage(inside(model, frames), "non_local").items():
        person = None if parts is None else body_shares(parts, _extent(weights))[0][:, :, 0].flatten(1)
        found |= attention_values(weights.flatten(1), person, f"Non-local, stage {stage}")
    return found


def dao_attention(model: BiCnetTKS, frames: Tensor, parts: Tensor | None = None) -> Values:
    """BiCnet-TKS: `attention_values` of DAO for the big frame and each small frame of a group, means over the groups of a clip."""
    found: Values = {}
    n = len(frames)
    for name, (weights, steps) in dao_places(model, frames).items():
        person = None if parts is None else body_shares(parts[:, steps], _extent(weights))[0][:, :, 0]  # [n, M, P, Q]
        there = None if person is None else person.flatten(0, 1).flatten(1)  # [nM, PQ]
        found |= _means(attention_values(weights.flatten(0, 1).flatten(1), there, name), n)
    return found


def dao_overlaps(model: BiCnetTKS, frames: Tensor, parts: Tensor | None = None) -> Values:
    """BiCnet-TKS: Bhattacharyya coefficient of the attentions of two small frames of a group, 1 where both are the same, 0 where they
    have no area in common; mean over the groups of a clip."""
    small = {name: weights.flatten(2) for name, (weights, _) in dao_places(model, frames).items() if name != "big frame"}  # [n, M, P]
    return {
        (f"{one} and {two.removeprefix('small ')}", "same clip"): (small[one] * small[two]).sqrt().sum(2).mean(1).numpy()
        for one, two in combinations(small, 2)
    }


def first_dao_attention(model: BiCnetTKS, frames: Tensor, parts: Tensor | None = None) -> Values:
    """BiCnet-TKS: the attention of each small frame of a clip's first group, `[n, P]`; see `overlaps_between_people`."""
    places = dao_places(model, frames)
    return {(name, "attention"): weights[:, 0].flatten(1).numpy() for name, (weights, _) in places.items() if name != "big frame"}


def overlaps_between_people(profile: Profile, people: np.ndarray) -> Profile:
    """The coefficient of `dao_overlaps` of a small frame's attention with that in the next clip of another person (`first_dao_attention`).

    Near 1: the attention is the same whatever is in the picture. people: `[clips]`, of two persons or more."""
    if len(set(people.tolist())) < 2:
        raise ValueError("clips of one person alone: there is nobody to compare with")
    count = len(people)
    partner = [next((i + k) % count for k in range(1, count) if people[(i + k) % count] != people[i]) for i in range(count)]
    found = {(name, "another person"): np.sqrt(a * a[partner]).sum(1) for (name, _), a in profile.values.items()}
    return Profile(profile.owners, found)


def dao_places(model: BiCnetTKS, frames: Tensor) -> dict[str, tuple[Tensor, list[int]]]:
    """Name of a place in the group -> DAO's attention `[n, M, P, Q]` there, and the steps of its frames in the clip as it was filled up."""
    seen, T, alpha = inside(model, frames), frames.shape[1], model.alpha
    (big,) = by_stage(seen, "attention_big").values()
    (small,) = by_stage(seen, "attention_small").values()
    M = big.shape[1]
    places = [big, *small.unflatten(1, (M, alpha)).unbind(2)]
    names = ["big frame", *(f"small frame {k}" for k in range(1, alpha + 1))]
    return {name: (place, [(m * (1 + alpha) + k) % T for m in range(M)]) for k, (name, place) in enumerate(zip(names, places, strict=True))}


def kernel_shares(model: BiCnetTKS, frames: Tensor, parts: Tensor | None = None) -> Values:
    """BiCnet-TKS: the share of each temporal kernel in each channel, `[n, C]`."""
    found: Values = {}
    for stage, shares in by_stage(inside(model, frames), "kernels").items():
        for size, share in zip(model.tks[str(stage)].sizes, shares.unbind(1), strict=True):
            found[f"kernel of {size} frames, stage {stage}", "share"] = share.numpy()
    return found


def kernel_table(profile: Profile) -> pd.DataFrame:
    """`kernel_shares` in numbers, percent: kernel, mean, over channels (standard deviation of the channels' means), over clips (mean over
    the channels of the standard deviation between clips: how much is selected by the clip)."""
    lines = []
    for (kernel, _), shares in profile.values.items():
        spread = {"over channels": shares.mean(0).std(), "over clips": shares.std(0).mean()}
        lines.append({"kernel": kernel, "mean": 100 * shares.mean()} | {name: 100 * value for name, value in spread.items()})
    return pd.DataFrame(lines)


def _extent(maps: Tensor) -> tuple[int, int]:
    """Height and width of maps `[..., h, w]`."""
    return maps.shape[-2], maps.shape[-1]


def _means(values: Values, clips: int) -> Values:
    """Means over what belongs to a clip: `[clips * k]` -> `[clips]`; NaN is left out."""
    out = {}
    for key, found in values.items():
        rows = found.reshape(clips, -1)
        there = np.isfinite(rows)
        out[key] = np.divide(np.where(there, rows, 0).sum(1), there.sum(1), out=np.full(clips, np.nan), where=there.any(1))
    return out
