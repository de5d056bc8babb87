"""Degraded video: motion blur, occlusion and low light at severities 1 to 5, functions of (seed, tracklet key) and nothing else.

What is drawn (direction of the blur, place and grey of the block) is drawn once per tracklet and is the same at all severities: a video
does not flicker, and severities compare like with like. Blur and low light carry the parameters of ImageNet-C (Hendrycks and
Dietterich, ICLR 2019) and 3D Common Corruptions (Kar et al., CVPR 2022). The `imagecorruptions` package, which has the former, draws
from numpy's global generator picture by picture, needs OpenCV and scikit-image, and knows neither low light nor occlusion.
"""

import zlib
from dataclasses import dataclass

import numpy as np

KINDS = ("motion_blur", "occlusion", "low_light")
PROTOCOLS = ("clean", "resimulated")
BLUR = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))  # ImageNet-C: radius and sigma in pixels of a 224 x 224 picture
DIM = (0.6, 0.5, 0.4, 0.3, 0.2)  # 3D Common Corruptions: grey of what was the brightest pixel
PHOTONS, READ_NOISE, GAMMA = 120, 0.018, 2.0  # 3D Common Corruptions: noise and tone curve of low light at every severity
COVERED = (0.1, 0.2, 0.3, 0.4, 0.5)  # our reading: share of the picture; neither paper nor release of SDCL gives one


@dataclass(frozen=True)
class Degradation:
    """What is done to a tracklet's video before anything else.

    kind: "motion_blur", "occlusion" or "low_light". severity: 1 to 5. events: "clean", those of the undegraded video (SDCL's published
    protocol: under occlusion such events see through the block), or "resimulated": those an event camera makes of the occluded
    video. Blur and low light keep the clean events under both names: the sensor is faster and has more range than the frames."""

    kind: str
    severity: int
    seed: int = 0
    events: str = "clean"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown degradation {self.kind!r}; legal: {', '.join(KINDS)}")
        if isinstance(self.severity, bool) or self.severity not in range(1, 6):
            raise ValueError(f"severity must be a whole number from 1 to 5, not {self.severity!r}")
        if self.events not in PROTOCOLS:
            raise ValueError(f"unknown protocol events={self.events!r}; legal: {', '.join(PROTOCOLS)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    @property
    def changes_events(self) -> bool:
        """Whether the event camera sees the degraded scene."""
        return self.kind == "occlusion" and self.events == "resimulated"

    def rng(self, key: str) -> np.random.Generator:
        """The random numbers of a tracklet, the same at all severities."""
        return np.random.default_rng((self.seed, zlib.crc32(self.kind.encode()), *key.encode()))


def degrade(video: np.ndarray, degradation: Degradation, key: str) -> np.ndarray:
    """The degraded video of tracklet `key`: uint8 `[N, H, W]` or `[N, H, W, 3]` -> a new array like it."""
    if video.dtype != np.uint8 or video.ndim not in (3, 4):
        raise ValueError(f"video must be uint8 [N, H, W] or [N, H, W, 3], not {video.dtype} {list(video.shape)}")
    level, rng = degradation.severity - 1, degradation.rng(key)
    if degradation.kind == "motion_blur":
        return motion_blur(video, *BLUR[level], rng)
    if degradation.kind == "low_light":
        return low_light(video, DIM[level], rng)
    left, top, right, bottom, grey = block(video.shape[1:3], COVERED[level], rng)
    return covered(video, np.zeros((len(video), 2), int), (left, top, right, bottom), grey)


def motion_blur(video: np.ndarray, radius: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Blur along a line at -45 to 45 degrees to the horizontal, with Gaussian weights, the same in all frames.

    radius, sigma: pixels of a 224 x 224 picture, scaled by sqrt(H W) / 224, so that a picture suffers alike at every resolution.
    ImageNet-C's line begins at the pixel; ours is centred on it, so that frames are not displaced against their events (our reading)."""
    _, H, W = video.shape[:3]
    scale = np.sqrt(H * W) / 224
    kernel = line_kernel(radius * scale, sigma * scale, np.radians(rng.uniform(-45, 45)))
    reach = len(kernel) // 2
    around = ((0, 0), (reach, reach), (reach, reach), *[(0, 0)] * (video.ndim - 3))
    padded = np.pad(video, around, mode="edge").astype(np.float32)
    out = np.zeros(video.shape, np.float32)
    for dy, dx in np.argwhere(kernel > 0):
        out += kernel[dy, dx] * padded[:, dy : dy + H, dx : dx + W]
    return np.rint(out).astype(np.uint8)


def line_kernel(radius: float, sigma: float, angle: float) -> np.ndarray:
    """Weights `[2 r + 1, 2 r + 1]` of sum 1 on a line through the middle, r = ceil(radius) + 1: Gaussian, cut off at `radius`."""
    reach = int(np.ceil(radius)) + 1
    along = np.linspace(-radius, radius, 8 * reach + 1)
    weights = np.exp(-(along**2) / (2 * sigma**2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float64)
    y, x = reach - along * np.sin(angle), reach + along * np.cos(angle)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):  # each point is shared by its four pixels
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            np.add.at(kernel, (np.clip(row, 0, 2 * reach), np.clip(column, 0, 2 * reach)), weights * share_y * share_x)
    return (kernel / kernel.sum()).astype(np.float32)


def low_light(video: np.ndarray, brightest: float, rng: np.random.Generator) -> np.ndarray:
    """Darkened to greys from 0 to `brightest` (of 1) on a square curve, with the noise of few photons and of reading them out.

    Source: 3D Common Corruptions' low_light; the range is that of the whole video instead of each frame's, so that it does not flicker."""
    low, high = float(video.min(initial=255)), float(video.max(initial=0))
    low, high = (low, high) if high > low else (0.0, 255.0)  # a video of one grey has no range of its own
    dark = brightest * ((video.astype(np.float32) - low) / (high - low)) ** GAMMA
    photons = np.clip(rng.poisson(dark * PHOTONS) / PHOTONS, 0, 1)
    noisy = photons + rng.normal(0, READ_NOISE, video.shape)
    return np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8)


def block(size: tuple[int, int], share: float, rng: np.random.Generator) -> tuple[int, int, int, int, int]:
    """left, top, right, bottom (the latter two excluded) and grey of a block that covers `share` of a picture (H, W), of its shape.

    The block of a larger share, drawn from the same numbers, contains the smaller one. Grey: 0.05 to 0.6 of white, as the walkers'
    own occluders. It stands still in the picture: something that goes along with the person (SDCL's "_block" sets)."""
    H, W = size
    v, u, grey = rng.random(), rng.random(), rng.uniform(0.05, 0.6)
    height, width = (max(1, round(side * np.sqrt(share))) for side in (H, W))
    left, top = round(u * (W - width)), round(v * (H - height))
    return left, top, left + width, top + height, round(255 * grey)


def covered(video: np.ndarray, corner: np.ndarray, box: tuple[int, int, int, int], grey: int) -> np.ndarray:
    """A copy of the video with a plain block in every frame; corner `[N, 2]` (x, y) of the picture in which `box` is given."""
    left, top, right, bottom = box
    out = video.copy()
    for frame, (x, y) in zip(out, corner, strict=True):
        frame[y + top : y + bottom, x + left : x + right] = grey
    return out
