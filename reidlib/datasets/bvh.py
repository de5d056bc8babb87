"""Recorded motion: reader of BVH files (Biovision hierarchy) and forward kinematics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_CHANNELS = {f"{axis}{kind}": (kind, "XYZ".index(axis)) for axis in "XYZ" for kind in ("position", "rotation")}


@dataclass(frozen=True)
class Motion:
    """A skeleton and its movement.

    names: joints, parents before children; end sites are called "<parent>.end". parents: index of each joint's parent, -1 = none.
    offsets: [J, 3] in the file's unit. channels: per joint the names of its channels in order. values: [T, number of channels],
    angles in degrees. frame_time: seconds between two frames."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    values: np.ndarray
    frame_time: float


def read_bvh(path: str | Path) -> Motion:
    """Read a BVH file. Raises FileNotFoundError for a missing file, ValueError naming file and line for a malformed one. A cut inside the
    very last number cannot be noticed."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no BVH file at {path}")
    return parse_bvh(path.read_text(encoding="latin-1"), str(path))


def parse_bvh(text: str, name: str = "BVH text") -> Motion:
    """`read_bvh` for text in memory; `name` stands in error messages."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() == "MOTION"), None)
    if start is None:
        raise ValueError(f"{name}: no MOTION section: is the file truncated, or not BVH?")
    names, parents, offsets, channels = _hierarchy(lines[:start], name)
    values, frame_time = _motion(lines[start + 1 :], sum(map(len, channels)), name)
    return Motion(tuple(names), tuple(parents), np.array(offsets), tuple(channels), values, frame_time)


def _hierarchy(lines: list[str], name: str) -> tuple[list[str], list[int], list[list[float]], list[tuple[str, ...]]]:
    names: list[str] = []
    parents: list[int] = []
    offsets: dict[int, list[float]] = {}
    channels: list[tuple[str, ...]] = []
    stack: list[int] = []
    if not lines or lines[0].strip() != "HIERARCHY":
        raise ValueError(f"{name}: the first line must be HIERARCHY, got {lines[0].strip()[:40]!r}" if lines else f"{name}: empty")
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        match words:
            case [] | ["{"]:
                continue
            case ["ROOT" | "JOINT", *label] if label:
                names.append(" ".join(label))
            case ["End", "Site"] if stack:
                names.append(f"{names[stack[-1]]}.end")
            case ["}"] if stack:
                stack.pop()
                continue
            case ["OFFSET", *numbers] if stack and len(numbers) == 3:
                offsets[stack[-1]] = [_number(x, name, number) for x in numbers]
                continue
            case ["CHANNELS", count, *kinds] if stack and count == str(len(kinds)) and all(k in _CHANNELS for k in kinds):
                channels[stack[-1]] = tuple(kinds)
                continue
            case _:
                raise ValueError(f"{name}, line {number}: cannot read {line.strip()[:60]!r}")
        parents.append(stack[-1] if stack else -1)
        stack.append(len(names) - 1)
        channels.append(())
    if stack or not names or parents.count(-1) != 1:
        raise ValueError(f"{name}: the hierarchy is not closed or has not exactly one ROOT: is the file truncated?")
    bare = [joint for number, joint in enumerate(names) if number not in offsets]
    if bare:
        raise ValueError(f"{name}: joint {bare[0]!r} has no OFFSET")
    return names, parents, [offsets[number] for number in range(len(names))], channels


def _motion(lines: list[str], width: int, name: str) -> tuple[np.ndarray, float]:
    lines = [line for line in lines if line.strip()]
    heads = [line.split(":") for line in lines[:2]]
    if [head[0].strip().lower() for head in heads] != ["frames", "frame time"] or any(len(head) != 2 for head in heads):
        raise ValueError(f"{name}: MOTION must begin with the lines 'Frames: n' and 'Frame Time: seconds'")
    count, frame_time = (_number(head[1], name, "MOTION") for head in heads)
    if count < 1 or count != int(count) or not frame_time > 0:
        raise ValueError(f"{name}: {count:g} frames of {frame_time:g} s: both must be positive, the first a whole number")
    rows = [line.split() for line in lines[2:]]
    bad = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if bad is not None:
        raise ValueError(f"{name}: frame {bad} has {len(rows[bad])} values, the hierarchy has {width} channels: is the file truncated?")
    if len(rows) != count:
        raise ValueError(f"{name}: {count:g} frames are announced, {len(rows)} are there: is the file truncated?")
    try:
        values = np.array(rows, np.float64)
    except ValueError as error:
        raise ValueError(f"{name}: a motion value is not a number ({error})") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: a motion value is NaN or infinite in frame {int(np.argwhere(~np.isfinite(values))[0, 0])}")
    return values, frame_time


def _number(word: str, name: str, where: object) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{name}, line {where}: {word.strip()[:30]!r} is not a number") from None


def joint_positions(motion: Motion) -> np.ndarray:
    """World positions [T, J, 3] of all joints, in the file's unit.

    A joint stands at parent + R_parent (offset + translation); its own rotations are applied in the order of its channels,
    R = R_parent R_1 R_2 R_3 (the BVH convention)."""
    T = len(motion.values)
    place: list[np.ndarray] = []
    turn: list[np.ndarray] = []
    column = 0
    for parent, offset, kinds in zip(motion.parents, motion.offsets, motion.channels, strict=True):
        local, rotation = np.tile(offset, (T, 1)), np.tile(np.eye(3), (T, 1, 1))
        for kind in kinds:
            what, axis = _CHANNELS[kind]
            if what == "position":
                local[:, axis] += motion.values[:, column]
            else:
                rotation = rotation @ _rotation(axis, motion.values[:, column])
            column += 1
        if parent >= 0:
            local = place[parent] + np.einsum("tij,tj->ti", turn[parent], local)
            rotation = turn[parent] @ rotation
        place.append(local)
        turn.append(rotation)
    return np.stack(place, axis=1)  # [T, J, 3]


def _rotation(axis: int, degrees: np.ndarray) -> np.ndarray:
    """[T, 3, 3] right-handed rotations about a coordinate axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(degrees), 3, 3))
    matrix[:, axis, axis] = 1
    matrix[:, i, i] = matrix[:, j, j] = c
    matrix[:, i, j], matrix[:, j, i] = -s, s
    return matrix
