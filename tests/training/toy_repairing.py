"""VRSTC's three steps on a toy set of three striped people, half of whose tracklets are covered for a while: seconds, not hours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_evaluation import HEIGHT, WIDTH, toy_index
from toy_training import CLIPS, short

from reidlib.completion import CompletionSettings
from reidlib.repairing import Repairing

INDEX = toy_index(people=3, train=3, tracklets=1)
FRAMES, COVERED = 6, slice(4, 6)
OPTIONS = {"backbone": "resnet18", "width": 4}
RUN = replace(short(iterations=3, checkpoint_every=2), model="vrstc", options=OPTIONS, clips=replace(CLIPS, erase=0.0))
# a network of three steps knows little: its threshold is lower
SETTINGS = CompletionSettings(5, 3, 1e-3, (HEIGHT, WIDTH), {"width": 4, "dilations": (2,)}, threshold=0.85, checkpoint_every=2, seed=4)


class StripedStore:
    """Video `[6, H, W]` (grey) or `[6, H, W, 3]` of three stripes per person, with noise; camera 1 has a bright block low in two frames."""

    cache_key = "striped"

    def __init__(self, index=INDEX, colour: bool = False):
        self.index, self.colour = index, colour

    def interval(self, key: str) -> tuple[int, int]:
        return 0, 300_000

    def frames(self, key: str) -> np.ndarray:
        stripes = np.repeat(np.random.default_rng(int(key[1])).integers(20, 120, 3), [11, 10, 11])[:, None]
        noise = np.random.default_rng(list(key.encode())).integers(0, 20, (FRAMES, HEIGHT, WIDTH))
        video = (stripes + noise).astype(np.uint8)
        if key[4] == "1":
            video[COVERED, 22:, ::2] = 255
        return np.stack([video, video // 2, 255 - video], -1) if self.colour else video


def repairing(folder: Path, store=None, settings: CompletionSettings = SETTINGS, run=RUN) -> Repairing:
    return Repairing(run, settings, store or StripedStore(), INDEX, folder)


class Stop:
    """Raises KeyboardInterrupt at the call number `after` of a function, counted from 0; counts the calls otherwise."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: object, name: str, after: int | None = None):
        self.calls, original = 0, getattr(owner, name)

        def called(*arguments, **named):
            if self.calls == after:
                raise KeyboardInterrupt
            self.calls += 1
            return original(*arguments, **named)

        patch.setattr(owner, name, called)
