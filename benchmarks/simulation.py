"""Time `reidlib.events.simulate` against EventCV called directly on the same frames.

python benchmarks/simulation.py [--frames 200] [--height 128] [--width 64] [--fps 200] [--rounds 9]
"""

import eventcv
import numpy as np
from pairs import Line, fastest, main, milliseconds  # first: it sets the number of threads

from reidlib.events.simulation import REALISTIC, _options, simulate


def moving_texture(count: int, height: int, width: int) -> np.ndarray:
    """Frames of a random texture that walks a pixel a frame."""
    picture = np.random.default_rng(0).integers(0, 256, (height // 4, (width + count) // 4 + 2), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([picture[:height, i : i + width] for i in range(count)])


def measure(options) -> list[Line]:
    frames = moving_texture(options.frames, options.height, options.width)
    settings = _options(REALISTIC)

    def direct():
        return eventcv.simulate(frames, fps=options.fps, seed=0, **settings).numpy()

    def front_end():
        return simulate(frames, options.fps)

    found = front_end()
    np.testing.assert_array_equal(np.stack([found.x, found.y, found.t, found.p], 1), direct())
    best = fastest({"ours": front_end, "direct": direct}, options.rounds)
    note = f"{milliseconds(best['ours'], best['direct'])} for {len(found):,} events, the same ones; 5 % are left to the checks and to noise"
    return [Line("simulator front end", "simulate", "EventCV called directly", best["direct"] / best["ours"], ">= 0.95", note)]


if __name__ == "__main__":
    main(measure, __doc__, frames=200, height=128, width=64, fps=200.0, rounds=9)
