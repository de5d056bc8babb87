"""Renderer of the walkers: tapered capsules with textures, one light, a depth test, and the tone curve of the camera."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

PLAIN, HOOPS, STRIPES, PLAID, PRINT, BLOCK = range(6)
Number = float | np.floating
Vector = tuple[Number, Number, Number]


@dataclass(frozen=True)
class Capsules:
    """C tapered capsules over N frames; positions in metres, x right, y up, z towards the camera.

    start, stop [N, C, 3]: ends of the axis. front [N, C, 3]: the direction where the angle around the axis is 0.
    radius [C, 4]: at start, at stop, width over depth of the cross-section, length of the round ends over the radius.
    texture [C, 8]: kind, grey, second grey, frequency (1/m), share of the first grey, phase, place along the axis (m), size (m).
    part [C]: number of the body part."""

    start: np.ndarray
    stop: np.ndarray
    front: np.ndarray
    radius: np.ndarray
    texture: np.ndarray
    part: np.ndarray


def render(capsules: Capsules, view: np.ndarray, light: np.ndarray, background: np.ndarray, shift: np.ndarray, boxes: np.ndarray,
           tone: np.ndarray, size: tuple[int, int], want_parts: bool = False) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Video of the capsules before a background.

    view [N, 3]: pixels per metre, column and row of the origin. light [4]: direction towards the light, share of ambient light.
    background [H + 2 M, W + 2 M] of intensities 0..1, M pixels of margin; shift [N, 2]: by how many pixels (columns, rows, at most M - 1)
    the camera's picture is moved. boxes [N, K, 6]: occluding rectangles x0, y0, x1, y1, grey, period of their stripes (0 = none).
    tone [4097]: 8-bit value of an intensity of i / 4096. size: (H, W).
    Returns uint8 [N, H, W] and, if `want_parts`, the body part of every pixel uint8 [N, H, W], else [0, 0, 0]."""
    N, H, W = len(view), *size
    video = np.empty((N, H, W), np.uint8)
    parts = np.zeros((N, H, W) if want_parts else (0, 0, 0), np.uint8)
    margin = (background.shape[0] - H) // 2
    shapes = (capsules.start, capsules.stop, capsules.front, capsules.radius, capsules.texture)
    start, stop, front, radius, texture = (np.ascontiguousarray(a, np.float32) for a in shapes)
    view, light, background, shift, boxes = (np.ascontiguousarray(a, np.float32) for a in (view, light, background, shift, boxes))
    part, tone = capsules.part.astype(np.uint8), tone.astype(np.uint8)
    _render(start, stop, front, radius, texture, part, view, light, background, shift, boxes, tone, margin, video, parts)
    return video, parts


@njit(cache=True, fastmath=True)
def _render(
    start: np.ndarray, stop: np.ndarray, front: np.ndarray, radius: np.ndarray, texture: np.ndarray, part: np.ndarray, view: np.ndarray,
    light: np.ndarray, background: np.ndarray, shift: np.ndarray, boxes: np.ndarray, tone: np.ndarray, margin: int, video: np.ndarray,
    parts: np.ndarray,
) -> None:  # fmt: skip
    N, H, W = video.shape
    still = not np.any(shift)
    picture, depth = np.empty((H, W), np.float32), np.empty((H, W), np.float32)
    labels = np.zeros((H, W), np.uint8)
    bare, clean = np.empty((H, W), np.float32), np.empty((H, W), np.uint8)
    for n in range(N):
        if n == 0 or not still:
            _shifted(background, margin, shift[n, 0], shift[n, 1], bare)
            _develop(bare, 0, H, 0, W, tone, clean)
        video[n] = clean
        y0, y1, x0, x1 = (0, H, 0, W) if boxes.shape[1] else _extent(start[n], stop[n], radius, view[n], shift[n], H, W)
        picture[:] = bare
        depth[y0:y1, x0:x1] = -1e9
        labels[:] = 0
        for c in range(start.shape[1]):
            _draw(start[n, c], stop[n, c], front[n, c], radius[c], texture[c], part[c], view[n], shift[n], light, picture, depth, labels)
        for k in range(boxes.shape[1]):
            _occlude(boxes[n, k], shift[n], picture, labels)
        _develop(picture, max(y0 - 1, 0), min(y1 + 1, H), max(x0 - 1, 0), min(x1 + 1, W), tone, video[n])
        if parts.shape[0]:
            parts[n] = labels


@njit(cache=True, fastmath=True)
def _shifted(background: np.ndarray, margin: int, dx: Number, dy: Number, out: np.ndarray) -> None:
    """The background moved by (dx, dy) pixels, bilinear."""
    H, W = out.shape
    ix, iy = math.floor(-dx), math.floor(-dy)
    fx, fy = np.float32(-dx - ix), np.float32(-dy - iy)
    one = np.float32(1)
    for y in range(H):
        for x in range(W):
            r, c = y + margin + iy, x + margin + ix
            top = background[r, c] * (one - fx) + background[r, c + 1] * fx
            low = background[r + 1, c] * (one - fx) + background[r + 1, c + 1] * fx
            out[y, x] = top * (one - fy) + low * fy


@njit(cache=True, fastmath=True)
def _develop(picture: np.ndarray, y0: int, y1: int, x0: int, x1: int, tone: np.ndarray, out: np.ndarray) -> None:
    """Blur of the lens (1 2 1 in both directions) and the tone curve."""
    H, W = picture.shape
    for y in range(y0, y1):
        up, down = max(y - 1, 0), min(y + 1, H - 1)
        for x in range(x0, x1):
            left, right = max(x - 1, 0), min(x + 1, W - 1)
            a = picture[up, left] + picture[up, right] + picture[down, left] + picture[down, right]
            b = picture[up, x] + picture[down, x] + picture[y, left] + picture[y, right]
            value = (a + 2 * b + 4 * picture[y, x]) * np.float32(256.0)  # / 16 * 4096
            out[y, x] = tone[min(max(int(value + np.float32(0.5)), 0), 4096)]


@njit(cache=True, fastmath=True)
def _extent(
    start: np.ndarray, stop: np.ndarray, radius: np.ndarray, view: np.ndarray, shift: np.ndarray, H: int, W: int
) -> tuple[int, int, int, int]:
    """Rows and columns that all capsules together may touch."""
    x0, x1, y0, y1 = W, 0, H, 0
    for c in range(len(start)):
        a, b, e, f = _bounds(start[c], stop[c], radius[c], view, shift, H, W)
        x0, x1, y0, y1 = min(x0, a), max(x1, b), min(y0, e), max(y1, f)
    return y0, max(y0, y1), x0, max(x0, x1)


@njit(cache=True, fastmath=True)
def _bounds(
    start: np.ndarray, stop: np.ndarray, radius: np.ndarray, view: np.ndarray, shift: np.ndarray, H: int, W: int
) -> tuple[int, int, int, int]:
    reach = max(radius[0], radius[1]) * max(radius[2], np.float32(1)) * view[0] + 1
    u, v = view[1] + shift[0], view[2] + shift[1]
    x0 = int(u + view[0] * min(start[0], stop[0]) - reach)
    x1 = int(u + view[0] * max(start[0], stop[0]) + reach) + 1
    y0 = int(v - view[0] * max(start[1], stop[1]) - reach)
    y1 = int(v - view[0] * min(start[1], stop[1]) + reach) + 1
    return min(max(x0, 0), W), min(max(x1, 0), W), min(max(y0, 0), H), min(max(y1, 0), H)


@njit(cache=True, fastmath=True)
def _axes(start: np.ndarray, stop: np.ndarray, front: np.ndarray) -> tuple[Number, Vector, Vector, Vector]:
    """Length of the axis and the local directions across, along, front of a capsule."""
    a0, a1, a2 = stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]
    h = max(np.float32(math.sqrt(a0 * a0 + a1 * a1 + a2 * a2)), np.float32(1e-5))
    a0, a1, a2 = a0 / h, a1 / h, a2 / h
    l0, l1, l2 = a1 * front[2] - a2 * front[1], a2 * front[0] - a0 * front[2], a0 * front[1] - a1 * front[0]
    s = max(np.float32(math.sqrt(l0 * l0 + l1 * l1 + l2 * l2)), np.float32(1e-5))
    l0, l1, l2 = l0 / s, l1 / s, l2 / s
    return h, (l0, l1, l2), (a0, a1, a2), (l1 * a2 - l2 * a1, l2 * a0 - l0 * a2, l0 * a1 - l1 * a0)


@njit(cache=True, fastmath=True)
def _draw(
    start: np.ndarray, stop: np.ndarray, front: np.ndarray, radius: np.ndarray, texture: np.ndarray, part: int, view: np.ndarray,
    shift: np.ndarray, light: np.ndarray, picture: np.ndarray, depth: np.ndarray, labels: np.ndarray,
) -> None:  # fmt: skip
    """One capsule: for every pixel of its bounding box the first hit of the parallel view ray, in local coordinates in which the
    cross-section is a circle (across / width, along, front)."""
    H, W = picture.shape
    h, L, A, F = _axes(start, stop, front)
    r0, slope, wide, cap = radius[0], (radius[1] - radius[0]) / h, radius[2], radius[3]
    dx, dy, dz = L[2] / wide, A[2], F[2]
    x0, x1, y0, y1 = _bounds(start, stop, radius, view, shift, H, W)
    qa = dx * dx + dz * dz - slope * slope * dy * dy
    for row in range(y0, y1):
        Y = (view[2] + shift[1] - row) / view[0] - start[1]
        for column in range(x0, x1):
            X = (column - view[1] - shift[0]) / view[0] - start[0]
            ox = (L[0] * X + L[1] * Y - L[2] * start[2]) / wide
            oy, oz = A[0] * X + A[1] * Y - A[2] * start[2], F[0] * X + F[1] * Y - F[2] * start[2]
            s, end = _hit(ox, oy, oz, dx, dy, dz, qa, r0, radius[1], slope, h, cap)
            if s <= depth[row, column]:
                continue
            depth[row, column] = s
            x, y, z = ox + s * dx, oy + s * dy, oz + s * dz
            along = -slope * (r0 + slope * y) if end == 0 else (y / (cap * cap) if end < 0 else (y - h) / (cap * cap))
            x_ = x / wide
            n0, n1 = x_ * L[0] + along * A[0] + z * F[0], x_ * L[1] + along * A[1] + z * F[1]
            n2 = x_ * L[2] + along * A[2] + z * F[2]
            norm = math.sqrt(n0 * n0 + n1 * n1 + n2 * n2) + np.float32(1e-9)
            lambert = max((n0 * light[0] + n1 * light[1] + n2 * light[2]) / norm, np.float32(0))
            picture[row, column] = _grey(texture, x, y, z, radius) * (light[3] + (1 - light[3]) * lambert)
            labels[row, column] = part


@njit(cache=True, fastmath=True, inline="always")
def _hit(
    ox: Number,
    oy: Number,
    oz: Number,
    dx: Number,
    dy: Number,
    dz: Number,
    qa: Number,
    r0: Number,
    r1: Number,
    slope: Number,
    h: Number,
    cap: Number,
) -> tuple[Number, int]:
    """Distance along the ray (towards the camera) of the nearest point of the capsule and which surface: 0 side, -1 / 1 ends."""
    best, end = np.float32(-1e9), 0
    edge = r0 + slope * oy
    qb, qc = ox * dx + oz * dz - slope * edge * dy, ox * ox + oz * oz - edge * edge
    root = qb * qb - qa * qc
    if root >= 0 and qa > 1e-7:
        s = (-qb + math.sqrt(root)) / qa
        if 0 <= oy + s * dy <= h:
            best = np.float32(s)
    for side in (-1, 1):
        r, oe = (r0, oy / cap) if side < 0 else (r1, (oy - h) / cap)
        de = dy / cap
        ea, eb, ec = dx * dx + de * de + dz * dz, ox * dx + oe * de + oz * dz, ox * ox + oe * oe + oz * oz - r * r
        root = eb * eb - ea * ec
        if root >= 0:
            s = (-eb + math.sqrt(root)) / ea
            if s > best and (oe + s * de) * side >= 0:
                best, end = np.float32(s), side
    return best, end


@njit(cache=True, fastmath=True)
def _grey(texture: np.ndarray, x: Number, y: Number, z: Number, radius: np.ndarray) -> Number:
    """Grey level of the cloth at a point of the surface; the pattern is fixed to the capsule and so moves with the body."""
    kind, frequency, share, phase = int(texture[0]), texture[3], texture[4], texture[5]
    first = True
    if kind == PLAIN:
        first = True
    elif kind == BLOCK:
        first = y < texture[6]
    elif kind == HOOPS:
        first = (y * frequency + phase) % 1.0 < share
    else:
        angle = math.atan2(x, z)
        if kind == PRINT:  # the same figure on chest and back
            side = abs(angle) if abs(angle) < np.float32(math.pi / 2) else np.float32(math.pi) - abs(angle)
            first = (side * radius[0] * radius[2]) ** 2 + (y - texture[6]) ** 2 > texture[7] ** 2
        else:
            turns = max(np.float32(2), np.float32(round(frequency * math.pi * radius[0] * (1 + radius[2]))))
            around = (angle / np.float32(2 * math.pi) * turns + phase + np.float32(64)) % 1.0 < share
            if kind == STRIPES:
                first = around
            else:
                band = (y * frequency + phase + np.float32(64)) % 1.0 < share
                if around != band:
                    return (texture[1] + texture[2]) * np.float32(0.5)
                first = around
    return texture[1] if first else texture[2]


@njit(cache=True, fastmath=True)
def _occlude(box: np.ndarray, shift: np.ndarray, picture: np.ndarray, labels: np.ndarray) -> None:
    """A flat, shaded, perhaps striped rectangle in front of everything; part 255."""
    H, W = picture.shape
    x0, y0 = box[0] + shift[0], box[1] + shift[1]
    for row in range(max(int(y0), 0), min(int(box[3] + shift[1]), H)):
        for column in range(max(int(x0), 0), min(int(box[2] + shift[0]), W)):
            stripe = box[5] > 0 and ((row - y0) / max(box[5], np.float32(1))) % 1.0 < 0.5
            across = (column - x0) / max(box[2] - box[0], np.float32(1))
            picture[row, column] = box[4] * (np.float32(0.7) + np.float32(0.3) * across) * (np.float32(0.75) if stripe else np.float32(1))
            labels[row, column] = 255
