"""Time SDCL's event deformable mapping, its search and its convolution, against other ways and against the frame branch.

    python benchmarks/event_mapping.py [--height 64] [--width 32] [--steps 8] [--batch 24] [--channels 4] [--rate 0.4] [--rounds 5]

Processor time of one thread, the fastest of alternating rounds. rate: share of the positions with events (0.4 on the built-in set). Every
way must find neighbours at the same distances and give the same features; the k-d tree breaks ties in its own order.
"""

import argparse

import numpy as np
import torch
from pairs import Line, fastest, main, milliseconds
from scipy.spatial import cKDTree
from torchvision.ops import deform_conv2d

from reidlib.models.layers.event_mapping import EventMapping, convolve_nearest, to_maps, to_rows
from reidlib.models.layers.image_resnet import FrameBranch
from reidlib.models.layers.nearest_events import GRID, TAPS, find_nearest


def with_trees(mask: torch.Tensor) -> list[np.ndarray]:
    """Manhattan distances to the nine nearest events, a k-d tree per frame."""
    events = [np.argwhere(frame) for frame in mask.numpy()]
    return [cKDTree(places).query(places, k=TAPS, p=1)[0] for places in events if len(places)]


def forward_and_backward(run) -> None:
    run().square().sum().backward()


def ways(options: argparse.Namespace) -> dict:
    """Name -> function without arguments."""
    F, H, W, C = options.steps * options.batch, options.height, options.width, options.channels
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(F, H, W, generator=generator) < options.rate
    maps = torch.randn(F, C, H, W, generator=generator).requires_grad_()
    pictures = torch.rand(options.batch, options.steps, 3, H, W, generator=generator)
    events, mapping, branch = find_nearest(mask), EventMapping(C), FrameBranch(128, "resnet18", 16)
    steps = events.displacements()
    offsets = (steps - GRID[:, :, None, None]).nan_to_num(nan=1e4).flatten(1, 2)
    rows, weight = to_rows(maps.detach(), events.places).requires_grad_(), mapping.conv.weight

    distances = np.concatenate(with_trees(mask))
    own = steps.abs().sum(2).permute(0, 2, 3, 1)[mask].nan_to_num(nan=torch.inf)
    np.testing.assert_array_equal(own, distances)
    expected = deform_conv2d(maps, offsets, weight, padding=1) * mask[:, None]
    torch.testing.assert_close(to_maps(convolve_nearest(rows, weight, events), (F, H, W), events.places), expected, rtol=1e-3, atol=1e-3)
    return {
        "search": lambda: find_nearest(mask),
        "search, k-d trees": lambda: with_trees(mask),
        "mapping": lambda: forward_and_backward(lambda: mapping(rows, events)),
        "convolution": lambda: forward_and_backward(lambda: convolve_nearest(rows, weight, events)),
        "convolution, deform_conv2d": lambda: forward_and_backward(lambda: deform_conv2d(maps, offsets, weight, padding=1)),
        "frame branch, width 16": lambda: forward_and_backward(lambda: branch(pictures)),
    }


COMPARED = (
    ("search", "search, k-d trees", ">= 1"),
    ("convolution", "convolution, deform_conv2d", ">= 1"),
    ("frame branch, width 16", "mapping", ""),
)


def measure(options) -> list[Line]:
    torch.set_num_threads(1)
    best = fastest(ways(options), options.rounds)
    return [
        Line("event mapping", own, other, best[other] / best[own], target, milliseconds(best[own], best[other]))
        for own, other, target in COMPARED
    ]


if __name__ == "__main__":
    main(measure, __doc__, height=64, width=32, steps=8, batch=24, channels=4, rate=0.4, rounds=5)
