"""Frames and events of training clips as a network gets them: does the loader show the same moments in the same places?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reidlib.analysis.data_views import median_tracklets
from reidlib.datasets import ClipDataset
from reidlib.datasets.clips import MODALITIES, clip_geometry
from reidlib.datasets.frames import MEAN, STD
from reidlib.experiment import Experiment

DRAWS = 1000  # looked through for one in which everything happens
RIGHT = "as loaded"


@dataclass(frozen=True)
class PairedClip:
    """A training clip of tracklet `key` at a size of (H, W). video: `[T, H, W, 3]` in 0..1, the mean grey where nothing is known (what
    a shift uncovers, what the box erases). events: `[T, 2, H, W]`, scaled as networks get them. step_ms: milliseconds of a step.
    flipped, moved (pixels to the right and down) and box (left, top, right, bottom): what was drawn, in pixels of this size."""

    key: str
    video: np.ndarray
    events: np.ndarray
    step_ms: float
    flipped: bool
    moved: tuple[float, float]
    box: tuple[float, float, float, float]

    @property
    def words(self) -> str:
        """What was done to it."""
        (dx, dy), across, down = self.moved, ("left", "right"), ("up", "down")
        moved = f"moved {abs(dx):.1f} pixels to the {across[dx > 0]} and {abs(dy):.1f} {down[dy > 0]}"
        return f"{'mirrored, ' * self.flipped}{moved}, and emptied in the dashed box"


def has_video(experiment: Experiment) -> bool:
    """Whether every training tracklet has video frames."""
    return bool((experiment.train_index["frames"] > 0).all())


def _training_clips(experiment: Experiment) -> ClipDataset:
    return ClipDataset(experiment.store, experiment.train_index, experiment.settings.clips, True, experiment.seed, modalities=MODALITIES)


def augmented_clip(experiment: Experiment) -> PairedClip | None:
    """A training clip chosen by rule: of the tracklet with the median number of events under the last camera, the first draw that
    mirrors, moves both ways and erases. None for a set without video.

    Raises ValueError where the preset's augmentation never does all of it."""
    dataset, settings = _training_clips(experiment) if has_video(experiment) else None, experiment.settings.clips
    if dataset is None or dataset.video is None:
        return None
    key = list(median_tracklets(experiment.train_index).values())[-1]
    row = dataset.keys.index(key)
    sensor = dataset.video.sensors[row]
    drawn = ((draw, clip_geometry(sensor, settings, dataset.seed, draw)) for draw in range(DRAWS))
    found = next(((draw, one, one.box) for draw, one in drawn if one.flipped and one.dx and one.dy and one.box), None)
    if found is None:
        chances = f"flip={settings.flip}, shift={settings.shift}, erase={settings.erase}"
        raise ValueError(f"no draw of the first {DRAWS} mirrors, moves and erases a clip of {key!r}: is one of {chances} 0 or very small?")
    draw, geometry, (left, top, right, bottom) = found
    clip = dataset[row, draw]
    across, down = settings.size[1] / sensor[0], settings.size[0] / sensor[1]
    start, stop = experiment.store.interval(key)
    return PairedClip(
        key,
        np.clip(np.moveaxis(clip["frames"].numpy(), 1, -1) * STD + MEAN, 0, 1),
        clip["events"].numpy(),
        min(settings.seconds * 1000, (stop - start) / 1000) / settings.steps,
        geometry.flipped,
        (geometry.dx * across, geometry.dy * down),
        (left * across, top * down, right * across, bottom * down),
    )


def alignment(experiment: Experiment, clips: int = 64) -> pd.DataFrame:
    """How well the edges of a clip's frames and the density of its events agree, one line per clip and one column per pairing: as loaded,
    and with frames that are wrong on purpose (of half a clip away, moved by an eighth of the width, mirrored).

    Of each step the correlation over pixels of |gradient of the frame| and the number of events (as scaled), averaged over the steps;
    pixels beside what is unknown are left out. Clips are augmented training clips, all tracklets in turn, draw i for clip i.
    NaN where a clip has no step with both edges and events."""
    dataset = _training_clips(experiment)
    return pd.DataFrame([_correlations(dataset[i % len(dataset), i]) for i in range(clips)])


def _correlations(clip: dict) -> dict[str, float]:
    """`alignment` of one clip."""
    frames, density = clip["frames"].numpy(), clip["events"].numpy().sum(1)
    T, _, _, W = frames.shape
    steep = np.hypot(*np.gradient(frames.mean(1), axis=(-2, -1)))  # [T, H, W]
    known = _inner((frames != 0).all(1))
    aside, away = -(-W // 8), -(-T // 2)
    pairings = {
        RIGHT: (steep, known),
        "frames of half a clip away": (np.roll(steep, away, 0), np.roll(known, away, 0)),
        "frames moved by an eighth": (np.roll(steep, aside, -1), np.roll(known, aside, -1) & (np.arange(W) >= aside)),
        "frames mirrored": (steep[..., ::-1], known[..., ::-1]),
    }
    return {name: _mean_correlation(values, density, known & seen) for name, (values, seen) in pairings.items()}


def _inner(known: np.ndarray) -> np.ndarray:
    """Pixels `[T, H, W]` whose gradient is known: those with all four neighbours."""
    inner = np.zeros_like(known)
    middle = known[:, 1:-1, 1:-1]
    inner[:, 1:-1, 1:-1] = middle & known[:, :-2, 1:-1] & known[:, 2:, 1:-1] & known[:, 1:-1, :-2] & known[:, 1:-1, 2:]
    return inner


def _mean_correlation(one: np.ndarray, other: np.ndarray, kept: np.ndarray) -> float:
    """Mean over steps of the correlation over the kept pixels of `[T, H, W]`; NaN where no step has any."""
    found = []
    for a, b in ((one[t][kept[t]], other[t][kept[t]]) for t in range(len(kept))):
        if len(a) > 1 and a.std() > 0 and b.std() > 0:
            found.append(np.corrcoef(a, b)[0, 1])
    return float(np.mean(found)) if found else np.nan


def alignment_table(found: pd.DataFrame) -> pd.DataFrame:
    """`alignment` over its clips, one line per pairing: correlation (mean) and in how many clips (%) it is higher as loaded."""
    whole = found.dropna()
    lower = {name: 100 * float((whole[RIGHT] > whole[name]).mean()) for name in whole if name != RIGHT}
    return pd.DataFrame({"correlation": whole.mean(), "lower than as loaded (% of clips)": pd.Series(lower)}, index=[*found]).rename_axis(
        "pairing"
    )


def alignment_sentence(found: pd.DataFrame) -> str:
    """`alignment` in one line."""
    table, count = alignment_table(found), len(found.dropna())
    right = (
        f"Edges of the frames and density of the events correlate at **{table.loc[RIGHT, 'correlation']:.2f}** (mean over {count} clips)"
    )
    wrong = [f"{name}: {value:.2f}, lower in {share:.0f} % of the clips" for name, value, share in table.drop(RIGHT).itertuples()]
    return f"{right}. Paired wrongly on purpose: {'; '.join(wrong)}."
