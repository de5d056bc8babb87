"""What the video systems share on their outside: one kind of input, frames or event frames, and a look inside as at test time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reidlib.models.layers.image_resnet import check_clips

CHANNELS = {"events": 2, "frames": 3}


def checked_input(inputs: Sequence[str]) -> tuple[str, ...]:
    """`inputs` as the modalities of a model that takes one kind of clip; ValueError for anything but ("frames",) or ("events",)."""
    if tuple(inputs) not in (("frames",), ("events",)):
        raise ValueError(f"inputs {inputs!r}: this model takes one kind of clip, ('frames',) or ('events',)")
    return tuple(inputs)


def given_clips(modalities: tuple[str, ...], **given: Tensor | None) -> Tensor:
    """The clips that a model with these modalities was given, checked; ValueError where they are missing or others came."""
    (own,) = modalities
    there = {name: clips for name, clips in given.items() if clips is not None}
    for name in given:
        if (name in there) != (name == own):
            raise ValueError(f"this model takes {own}, but {name} are {'not ' * (name not in there)}given")
    check_clips(there[own], own, CHANNELS[own])
    return there[own]


@contextmanager
def at_test_time(model: nn.Module) -> Iterator[None]:
    """No gradient and `eval` mode inside, the model's own mode afterwards: looking must not move the statistics."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
