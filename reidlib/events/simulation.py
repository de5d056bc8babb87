"""Events from video: EventCV's simulator of an event camera, with the settings named and checked."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import eventcv
import numba
import numpy as np

from reidlib.events.stream import Events


@dataclass(frozen=True)
class SimulatorSettings:
    """The pixel model of the simulated camera. `asdict` gives plain values, for cache keys and reports.

    positive_threshold, negative_threshold: change of log intensity that makes an ON or an OFF event; 0.2 to 0.4 for real cameras.
    threshold_spread: standard deviation of the thresholds between pixels. Artefact: fixed-pattern noise, so that the same edge
        makes more events in some pixels than in others (threshold mismatch).
    cutoff_hz: bandwidth of the photoreceptor of a white pixel; darker pixels are slower in proportion. 0 = unlimited. Artefact:
        motion blur and events that lag behind fast edges, above all in the dark.
    leak_rate_hz: spontaneous ON events a pixel makes per second. Artefact: leak of the reset switch, a sparse regular ON background.
    shot_noise_rate_hz: random events of both polarities a dark pixel makes per second, fewer in bright ones. Artefact: photon noise.
    refractory_us: dead time of a pixel after each event. Artefact: large changes make fewer events than contrast alone would.
    upsample: "off" (intensity changes linearly between two frames, one step each: fast, right for video of 100 frames/s and more),
        "adaptive" (steps subdivided until no pixel fires more than once, at most `max_upsample` fold) or a number of steps."""

    positive_threshold: float = 0.3
    negative_threshold: float = 0.3
    threshold_spread: float = 0.03
    cutoff_hz: float = 200.0
    leak_rate_hz: float = 0.1
    shot_noise_rate_hz: float = 1.0
    refractory_us: int = 100
    upsample: str | int = "off"
    max_upsample: int = 64

    def __post_init__(self) -> None:
        for name in ("positive_threshold", "negative_threshold"):
            self._check(name, 0.01, 10.0, "a change of log intensity; real cameras have 0.1 to 0.5")
        self._check("threshold_spread", 0.0, min(self.positive_threshold, self.negative_threshold) / 2, "at most half the threshold")
        for name in ("cutoff_hz", "leak_rate_hz", "shot_noise_rate_hz"):
            self._check(name, 0.0, 1e6, "a rate in Hz; 0 switches the term off")
        for name, least in (("refractory_us", 0), ("max_upsample", 1)):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be a whole number, got {getattr(self, name)!r}")
            self._check(name, least, 10**6, "a whole number")
        steps = isinstance(self.upsample, int) and not isinstance(self.upsample, bool) and self.upsample >= 1
        if not steps and self.upsample not in ("off", "adaptive"):
            raise ValueError(f'upsample must be "off", "adaptive" or a number of steps from 1 on, got {self.upsample!r}')

    def _check(self, name: str, least: float, most: float, meaning: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, (int, float)) or not math.isfinite(value) or not least <= value <= most:
            raise ValueError(f"{name} must be from {least:g} to {most:g} ({meaning}), got {value!r}")


REALISTIC = SimulatorSettings()
IDEAL = SimulatorSettings(threshold_spread=0.0, cutoff_hz=0.0, leak_rate_hz=0.0, shot_noise_rate_hz=0.0, refractory_us=0)


def simulate(source: np.ndarray | str | Path, fps: float | None = None, settings: SimulatorSettings = REALISTIC, seed: int = 0) -> Events:
    """The events that an event camera would have made, looking at a video.

    source: frames [N, H, W] or [N, H, W, 3], uint8 or float from 0 to 1 (sRGB, as displays show them), with `fps` frames per second;
    or the path of a video file (decoded by ffmpeg; it knows its own rate, `fps` is then refused). The first frame lies at 0 us and
    makes no events. The same source, settings and seed give the same events, whatever the number of cores.
    Raises ValueError for frames of another shape, type or range and for a bad rate; FileNotFoundError for a missing video or ffmpeg.
    Source: Hu et al., "v2e: From Video Frames to Realistic DVS Events", CVPRW 2021, as implemented by EventCV."""
    frames: np.ndarray | None = None
    if isinstance(source, (str, Path)):
        _check_video(Path(source), fps)
    else:
        frames = _check_frames(source, fps)
        if len(frames) < 2:  # nothing changes
            return Events.empty(frames.shape[2], frames.shape[1])
    try:
        stream = eventcv.simulate(str(source) if frames is None else frames, fps=fps, seed=_check_seed(seed), **_options(settings))
    except (ValueError, OSError, RuntimeError) as error:
        if frames is not None:
            raise
        raise type(error)(f"{source} cannot be simulated: {error}") from error
    width, height = stream.sensor_size if frames is None else (frames.shape[2], frames.shape[1])
    if 0 in (width, height):
        raise ValueError(f"{source} made no events (a still picture?), and without events the size of the video is not known")
    return Events(*_columns(stream.numpy()), width, height)


def _columns(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of EventCV, uint64 x, y, t (microseconds), p -> columns of the types that `Events` keeps, in one pass over memory."""
    x, y, t, p = (np.empty(len(rows), kind) for kind in (np.uint16, np.uint16, np.int64, np.uint8))
    _split(rows, x, y, t, p)
    return x, y, t, p


@numba.njit(cache=True, nogil=True)
def _split(rows: np.ndarray, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    for i in range(len(rows)):
        x[i], y[i], t[i], p[i] = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]


def _options(settings: SimulatorSettings) -> dict:
    """The settings under EventCV's names."""
    values = asdict(settings)
    names = {"positive_threshold": "pos_thres", "negative_threshold": "neg_thres", "threshold_spread": "sigma_thres"}
    return {names.get(name, name): value for name, value in values.items()} | {"upsample": str(settings.upsample)}


def _check_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be a whole number from 0 to 2**64 - 1, got {seed!r}")
    return int(seed)


def _check_frames(source: np.ndarray, fps: float | None) -> np.ndarray:
    frames = np.asarray(source)
    if frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[3] != 3) or 0 in frames.shape[1:]:
        raise ValueError(f"frames must be [N, H, W] or [N, H, W, 3], got shape {frames.shape}")
    if fps is None or not math.isfinite(fps) or fps <= 0:
        raise ValueError(f"simulating from frames needs fps, the positive number of frames per second, got {fps!r}")
    if frames.dtype.kind == "f":
        if frames.size and not (frames.min() >= 0 and frames.max() <= 1):
            raise ValueError(
                f"float frames must lie from 0 to 1, got {frames.min():g} to {frames.max():g}: convert images of 0 to 255 to uint8"
            )
        return (frames.astype(np.float64) * 255).round().astype(np.uint8) if frames.size else frames
    if frames.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 or float from 0 to 1, got {frames.dtype}")
    return frames


def _check_video(path: Path, fps: float | None) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no video at {path}")
    if fps is not None:
        raise ValueError(f"fps={fps} was given with a video file, which has its own frame rate: leave fps out")
