"""What the walkers walk past: cameras, light, backgrounds, the box that follows the person, shake and occluders.

Everything here comes from random streams of the camera and the tracklet, none of it from the person's."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reidlib.datasets.walkers_body import JOINTS
from reidlib.datasets.walkers_render import Capsules

_SPEED = 2.6  # m/s; the widest picture for which a panorama is drawn
MARGIN = 24  # pixels of background beyond the picture, for a shaking camera


@dataclass(frozen=True)
class Camera:
    """What is the same in all tracklets of a camera. yaw (degrees): 0 = the person comes towards it, 90 = passes from left to right.

    pitch: degrees it looks down. distance: metres to the person. gain, gamma: of the tone curve. light: direction towards it in the
    camera's frame; ambient: its undirected share. threshold: log-contrast threshold of the sensor."""

    yaw: float
    pitch: float
    distance: float
    gain: float
    gamma: float
    light: tuple[float, float, float]
    ambient: float
    threshold: float


@dataclass(frozen=True)
class Shot:
    """What changes from tracklet to tracklet. yaw, gain, thresholds, size (share of the height that the person fills) as filmed;
    phase: of the stride, in turns; pace: factor of speed; shift: pixels of the crop; wobble [2, 4]: amplitude, Hz, phase of its drift."""

    yaw: float
    gain: float
    positive_threshold: float
    negative_threshold: float
    size: float
    phase: float
    pace: float
    shift: tuple[float, float]
    wobble: tuple[tuple[float, float, float], tuple[float, float, float]]


def draw_camera(rng: np.random.Generator, yaw: float) -> Camera:
    """A camera at a given yaw."""
    u = rng.uniform
    light = np.array([u(-0.7, 0.7), u(0.5, 1.0), u(0.4, 1.0)])
    light /= np.linalg.norm(light)
    return Camera(yaw, u(4, 14), u(8, 13), u(0.8, 1.05), u(0.85, 1.2), tuple(light.tolist()), u(0.45, 0.6), u(0.23, 0.37))


def draw_shot(rng: np.random.Generator, camera: Camera, yaw_jitter: float) -> Shot:
    """One tracklet of a camera."""
    u = rng.uniform
    positive, negative = np.clip(camera.threshold * np.exp(rng.normal(0, 0.06, 2)), 0.2, 0.4)
    wobble = [(u(0, 1.2), u(0.4, 1.6), u(0, 1)) for _ in range(2)]
    return Shot(
        yaw=camera.yaw + u(-yaw_jitter, yaw_jitter),
        gain=camera.gain * np.exp(rng.normal(0, 0.07)),
        positive_threshold=float(positive),
        negative_threshold=float(negative),
        size=u(0.73, 0.87),
        phase=u(0, 1),
        pace=float(np.exp(rng.normal(0, 0.04))),
        shift=(float(np.clip(rng.normal(0, 2.8), -6, 6)), float(np.clip(rng.normal(0, 2.8), -6, 6))),
        wobble=(wobble[0], wobble[1]),
    )


def filmed(
    capsules: Capsules, joints: np.ndarray, camera: Camera, shot: Shot, tall: float, size: tuple[int, int]
) -> tuple[Capsules, np.ndarray, np.ndarray]:
    """The capsules in the camera's frame, the view [N, 3] of `render`, the pelvis [N, 2] in pixels from an arbitrary origin."""
    yaw, pitch = np.radians((shot.yaw, camera.pitch))
    s, c, sp, cp = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)
    turn = np.array([[s, 0, -c], [-c * sp, cp, -s * sp], [c * cp, sp, s * cp]])  # rows: right, up, towards the camera
    root = joints[:, JOINTS.index("pelvis")] @ turn.T  # [N, 3]
    base = size[0] * shot.size / (1.75**0.5 * tall**0.5)  # pixels per metre: a person's box is half-way fitted to the height
    scale = base * camera.distance / (camera.distance - (root[:, 2] - root[:, 2].mean()))
    start, stop, front = (a @ turn.T for a in (capsules.start, capsules.stop, capsules.front))
    # The scale changes about the pelvis at half way, which stays in place.
    view = np.stack([scale, -scale * root[:, 0].mean(), scale * root[:, 1].mean()], -1)
    path = np.stack([view[:, 1] + scale * root[:, 0], view[:, 2] - scale * root[:, 1]], -1)
    return Capsules(start, stop, front, capsules.radius, capsules.texture, capsules.part), view, path


def follow(path: np.ndarray, times: np.ndarray, shot: Shot, size: tuple[int, int]) -> np.ndarray:
    """Top left corner [N, 2] (x, y), whole pixels, of the box that follows the pelvis: its path smoothed to a parabola, plus a slow
    drift and a constant error, as a detector and tracker make them."""
    unit = np.linspace(-1, 1, len(times))
    smooth = np.polynomial.polynomial.polyvander(unit, 2) @ np.polynomial.polynomial.polyfit(unit, path, 2)
    drift = np.stack([a * np.sin(2 * np.pi * (f * times + p)) for a, f, p in shot.wobble], -1)
    corner = smooth + drift + np.array(shot.shift) - np.array([size[1] / 2, 0.47 * size[0]])
    return np.round(corner).astype(int)


@lru_cache(maxsize=16)
def panorama(seed: tuple[int, ...], size: tuple[int, int], seconds: float) -> np.ndarray:
    """What a camera sees behind the people: wall, floor, soft blotches, and things that stand there. Intensities 0..1."""
    rng = np.random.default_rng(list(seed))
    H = size[0] + 2 * MARGIN + size[0] // 2
    W = size[1] + 2 * MARGIN + int(_SPEED * seconds * 0.75 * size[0]) + 2 * size[1]
    picture = np.full((H, W), rng.uniform(0.16, 0.38))
    floor = int(H * rng.uniform(0.6, 0.75))
    picture[floor:] = rng.uniform(0.12, 0.35)
    unit = size[0] / 128
    for _ in range(int(W / (45 * unit))):  # posts, doors, windows, boxes
        w, h = rng.uniform(6, 45) * unit, rng.uniform(20, 90) * unit
        x, low = rng.uniform(0, W), floor + rng.uniform(-50, 12) * unit
        picture[max(int(low - h), 0) : max(int(low), 0), int(x) : int(x + w)] *= np.exp(rng.uniform(-0.9, 0.6))
    for cell, amount in ((40, 0.2), (9, 0.1)):
        picture *= np.exp(amount * _blotches(rng, H, W, cell * unit))
    return np.clip(picture, 0.05, 0.8).astype(np.float32)


def _blotches(rng: np.random.Generator, H: int, W: int, cell: float) -> np.ndarray:
    """Smooth noise of unit variance at its knots."""
    grid = rng.normal(size=(int(H / cell) + 3, int(W / cell) + 3))
    y, x = np.arange(H) / cell, np.arange(W) / cell
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = (0.5 - 0.5 * np.cos(np.pi * (v - v.astype(int))) for v in (y, x))
    rows = grid[iy] * (1 - fy)[:, None] + grid[iy + 1] * fy[:, None]
    return rows[:, ix] * (1 - fx) + rows[:, ix + 1] * fx


def backdrop(wide: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """The part of a panorama behind one tracklet, `size` + 2 MARGIN, with a jitter of place and light."""
    H, W = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    y, x = rng.random(2)
    light = np.exp(rng.normal(0, 0.15) + 0.15 * _blotches(rng, wide.shape[0], wide.shape[1], 60))
    out = np.clip(wide * light, 0.04, 0.9).astype(np.float32)
    out = np.pad(out, ((0, max(H - out.shape[0], 0)), (0, max(W - out.shape[1], 0))), mode="reflect")
    # Placed by its centre, so that the size of the picture (the walking speed) does not change what stands behind the middle.
    middle_y = wide.shape[0] / 2 + (y - 0.5) * wide.shape[0] / 6
    middle_x = wide.shape[1] / 2 + (x - 0.5) * wide.shape[1] / 3
    top = int(np.clip(middle_y - H / 2, 0, out.shape[0] - H))
    left = int(np.clip(middle_x - W / 2, 0, out.shape[1] - W))
    return out[top : top + H, left : left + W]


def tone_curve(gain: float, gamma: float, dim: float) -> np.ndarray:
    """8-bit sRGB-like value of the linear intensities i / 4096. dim 0..1: of the light, 1 leaves 5 %."""
    value = np.clip(gain * (1 - 0.95 * dim) * np.linspace(0, 1, 4097), 0, 1)
    return np.round(255 * value ** (gamma / 2.2)).astype(np.uint8)


def shaking(rng: np.random.Generator, times: np.ndarray, amount: float) -> np.ndarray:
    """Movement [N, 2] of the picture in pixels, of root mean square `amount` per direction, from a hand or a pole in the wind."""
    if amount == 0:
        return np.zeros((len(times), 2))
    rates, phases = rng.uniform(1.5, 9, (6, 2)), rng.random((6, 2))
    waves = np.sin(2 * np.pi * (times[:, None, None] * rates + phases)).sum(axis=1)  # [N, 2]
    return np.clip(amount * waves / np.sqrt(3), -MARGIN + 2, MARGIN - 2)


def occluders(rng: np.random.Generator, chance: float, corner: np.ndarray, canvas: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Boxes [N, 0 or 1, 6] of `render`: with probability `chance` a post or a low obstacle on the way, or something that passes by."""
    N, (H, W), unit = len(corner), size, size[0] / 128
    drawn = rng.random()
    kind, grey, stripes = rng.choice(["post", "low", "passing"]), rng.uniform(0.05, 0.6), rng.choice([0, 7, 11]) * unit
    place, wide, high, pace = rng.uniform(0.25, 0.75), rng.uniform(0, 1), rng.uniform(0.25, 0.5), rng.uniform(0.5, 1.2)
    if drawn >= chance:
        return np.zeros((N, 0, 6))
    middle = corner[:, 0].min() + W / 2 + place * np.ptp(corner[:, 0])  # a place that the person passes
    x, y0, y1 = np.full(N, middle), np.full(N, -40.0), np.full(N, canvas[0] + 40.0)
    half = (5 + 8 * wide) * unit
    if kind == "low":
        half, y0 = (12 + 20 * wide) * unit, np.full(N, corner[:, 1].mean() + (1 - high) * H)
    elif kind == "passing":
        half, y0 = (8 + 10 * wide) * unit, np.full(N, corner[:, 1].mean() + 0.2 * H)
        x = middle - pace * np.linspace(-0.8, 0.8, N) * W
    return np.stack([x - half, y0, x + half, y1, np.full(N, grey), np.full(N, stripes)], -1)[:, None]
