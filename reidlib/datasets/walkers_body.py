"""The people of the walkers: body, clothes and gait of an identity, joints over time, and the capsules that are drawn.

Body frame: x forward, y up, z to the person's right, metres, ground at y = 0."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reidlib.datasets.walkers_render import BLOCK, HOOPS, PLAID, PLAIN, PRINT, STRIPES, Capsules

JOINTS = ("pelvis", "neck", "head", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle", "l_toe", "r_toe",
          "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist")  # fmt: skip
#: Number of a body part in the part map of the renderer; 255 is an occluder.
PARTS = ("background", "head", "hair", "torso", "pelvis", "upper arm", "forearm", "hand", "thigh", "shin", "foot", "bag")
_J = {name: i for i, name in enumerate(JOINTS)}


@dataclass(frozen=True)
class Body:
    """Proportions. height in metres, leg and arm as share of the height, shoulder and hip half-widths in metres, girth: factor of all
    radii, belly: waist over chest, foot length in metres."""

    height: float
    leg: float
    arm: float
    shoulder: float
    hip: float
    girth: float
    belly: float
    foot: float


@dataclass(frozen=True)
class Clothes:
    """Reflectances 0..1 and textures (see `Capsules.texture`).

    hair_style: bald, short, bun, long. sleeve: long, short. bottom_kind: trousers, shorts, skirt. bag_kind: none, backpack, shoulder."""

    skin: float
    hair: float
    hair_style: str
    top: tuple[float, ...]
    sleeve: str
    sleeve_texture: tuple[float, ...]
    bottom: tuple[float, ...]
    bottom_kind: str
    shoes: float
    bag: tuple[float, ...]
    bag_kind: str


@dataclass(frozen=True)
class Gait:
    """Walk as joint curves with two harmonics of the stride (angles in radians, phases in turns).

    frequency: strides per second. hip, knee, ankle, arm: mean, amplitude 1, phase 1, amplitude 2, phase 2. elbow: mean, swing.
    arm_asymmetry: right over left swing. abduction: of the arms. lean: of the trunk. bounce: vertical movement over the natural one.
    sway: side to side, metres. twist_hip, twist_shoulder: about the vertical. toe_out: of the feet."""

    frequency: float
    hip: tuple[float, ...]
    knee: tuple[float, ...]
    ankle: tuple[float, ...]
    arm: tuple[float, ...]
    elbow: tuple[float, float]
    arm_asymmetry: float
    abduction: float
    lean: float
    bounce: float
    sway: float
    twist_hip: float
    twist_shoulder: float
    toe_out: float


def draw_body(rng: np.random.Generator) -> Body:
    """Proportions of a person."""
    u = rng.uniform
    height = u(1.54, 1.94)
    shoulder, hip = u(0.095, 0.125) * height, u(0.05, 0.06) * height
    return Body(height, u(0.455, 0.505), u(0.30, 0.345), shoulder, hip, u(0.85, 1.2), u(0.8, 1.15), u(0.125, 0.15) * height)


def draw_clothes(rng: np.random.Generator) -> Clothes:
    """What a person wears."""
    top = _texture(rng, (0.3, 0.2, 0.15, 0.13, 0.12, 0.1))
    plain = (PLAIN, top[1 + int(rng.random() < 0.25)], *top[2:])
    bottom_kind = str(rng.choice(["trousers", "shorts", "skirt"], p=[0.62, 0.18, 0.2]))
    return Clothes(
        skin=rng.uniform(0.45, 0.8) ** 2,
        hair=rng.uniform(0.2, 0.7) ** 2,
        hair_style=str(rng.choice(["bald", "short", "bun", "long"], p=[0.12, 0.43, 0.15, 0.3])),
        top=top,
        sleeve=str(rng.choice(["long", "short"], p=[0.6, 0.4])),
        sleeve_texture=top if top[0] in (HOOPS, PLAID) else plain,
        bottom=_texture(rng, (0.62, 0.1, 0.12, 0.06, 0.0, 0.1)),
        bottom_kind=bottom_kind,
        shoes=_cloth(rng.random()),
        bag=_texture(rng, (0.6, 0.2, 0.0, 0.0, 0.0, 0.2)),
        bag_kind=str(rng.choice(["none", "backpack", "shoulder"], p=[0.5, 0.28, 0.22])),
    )


def _texture(rng: np.random.Generator, chances: tuple[float, ...]) -> tuple[float, ...]:
    kinds = (PLAIN, HOOPS, STRIPES, PLAID, PRINT, BLOCK)
    kind = int(rng.choice(kinds, p=chances))
    first, apart = rng.uniform(0, 1), rng.uniform(0.3, 0.6)
    greys, frequency, share = (_cloth(first), _cloth((first + apart) % 1)), rng.uniform(4.5, 10), rng.uniform(0.35, 0.65)
    return (kind, *greys, frequency, share, rng.random(), rng.uniform(0.14, 0.3), rng.uniform(0.06, 0.12))


def _cloth(level: float) -> float:
    """Reflectance 0.04 to 0.8, evenly spread as the eye sees it."""
    return (0.2 + 0.7 * level) ** 2


def draw_gait(rng: np.random.Generator) -> Gait:
    """How a person walks; the means follow the usual curves of clinical gait analysis (flexion, heel strike at phase 0)."""
    u, n = rng.uniform, rng.normal
    knee = u(0.8, 1.2)
    return Gait(
        frequency=u(0.78, 1.08),
        hip=(u(0.08, 0.2), u(0.3, 0.46), n(0, 0.015), u(0.0, 0.06), u(0, 1)),
        knee=(0.38 * knee, 0.35 * knee, 0.76 + n(0, 0.02), 0.26 * knee * u(0.75, 1.2), 0.71 + n(0, 0.02)),
        ankle=(n(-0.02, 0.04), u(0.08, 0.2), 0.35, u(0.08, 0.18), 0.42 + n(0, 0.02)),
        arm=(u(-0.15, 0.1), u(0.05, 0.6), 0.5 + n(0, 0.04), u(0.0, 0.1), u(0, 1)),
        elbow=(u(0.1, 0.9), u(0.0, 0.3)),
        arm_asymmetry=u(0.5, 1.5),
        abduction=u(0.02, 0.28),
        lean=u(-0.04, 0.16),
        bounce=u(0.6, 1.5),
        sway=u(0.0, 0.03),
        twist_hip=u(0.0, 0.15),
        twist_shoulder=u(0.0, 0.2),
        toe_out=u(-0.05, 0.3),
    )


def _curve(parameters: tuple[float, ...], turns: np.ndarray) -> np.ndarray:
    mean, a1, p1, a2, p2 = parameters
    return mean + a1 * np.cos(2 * np.pi * (turns - p1)) + a2 * np.cos(4 * np.pi * (turns - p2))


def natural_speed(body: Body, gait: Gait) -> float:
    """Walking speed in m/s: two steps per stride, each as long as the ankles are apart at most."""
    joints = _pose(body, gait, np.linspace(0, 1, 96, endpoint=False))
    return float(2 * gait.frequency * np.abs(joints[:, _J["r_ankle"], 0] - joints[:, _J["l_ankle"], 0]).max())


def walk(body: Body, gait: Gait, times: np.ndarray, phase: float, pace: float = 1.0) -> tuple[np.ndarray, float]:
    """Joints [N, 17, 3] at `times` (s) and the speed (m/s); the pelvis passes x = 0 at the middle of the times.

    phase: of the stride at the first time, in turns. pace: factor of stride frequency and speed."""
    turns = phase + gait.frequency * pace * (times - times[0])
    joints, speed = _pose(body, gait, turns), natural_speed(body, gait) * pace
    joints[:, :, 0] += (speed * (times - (times[0] + times[-1]) / 2))[:, None]
    return joints, speed


def _pose(body: Body, gait: Gait, turns: np.ndarray) -> np.ndarray:
    """Joints with the pelvis over x = 0 and the lower foot on the ground."""
    joints = np.zeros((len(turns), len(JOINTS), 3))
    swing = np.cos(2 * np.pi * turns)
    leg, trunk = body.leg * body.height, (0.82 - body.leg) * body.height
    for side, sign, offset in (("l", -1, 0.5), ("r", 1, 0.0)):
        phase = turns + offset
        twist = gait.twist_hip * swing
        hip = np.stack([sign * body.hip * np.sin(twist), np.zeros_like(twist), sign * body.hip * np.cos(twist)], -1)
        thigh, knee = _curve(gait.hip, phase), np.maximum(_curve(gait.knee, phase), 0.02)
        foot = thigh - knee + _curve(gait.ankle, phase)
        joints[:, _J[f"{side}_hip"]] = hip
        joints[:, _J[f"{side}_knee"]] = hip + 0.5 * leg * _down(thigh)
        joints[:, _J[f"{side}_ankle"]] = joints[:, _J[f"{side}_knee"]] + 0.46 * leg * _down(thigh - knee)
        ahead = np.stack([np.cos(foot), np.sin(foot), sign * np.full_like(foot, gait.toe_out)], -1)
        joints[:, _J[f"{side}_toe"]] = joints[:, _J[f"{side}_ankle"]] + 0.75 * body.foot * ahead + np.array([0, -0.035, 0])
    neck = trunk * np.array([np.sin(gait.lean), np.cos(gait.lean), 0])
    joints[:, _J["neck"]] = neck
    joints[:, _J["head"]] = neck + 0.17 * body.height * np.array([np.sin(gait.lean * 0.6), np.cos(gait.lean * 0.6), 0])
    _arms(joints, body, gait, turns, neck)
    lowest = joints[:, [_J[n] for n in ("l_toe", "r_toe", "l_ankle", "r_ankle")], 1] - np.array([0.03, 0.03, 0.075, 0.075])
    height = -lowest.min(axis=1)
    joints[:, :, 1] += (height.mean() + gait.bounce * (height - height.mean()))[:, None]
    joints[:, :, 2] += (gait.sway * np.sin(2 * np.pi * turns))[:, None]
    return joints


def _arms(joints: np.ndarray, body: Body, gait: Gait, turns: np.ndarray, neck: np.ndarray) -> None:
    twist, arm = -gait.twist_shoulder * np.cos(2 * np.pi * turns), body.arm * body.height
    for side, sign, offset in (("l", -1, 0.5), ("r", 1, 0.0)):
        mean, a1, p1, a2, p2 = gait.arm
        factor = gait.arm_asymmetry if sign > 0 else 1.0
        swing = _curve((mean, a1 * factor, p1, a2, p2), turns + offset)
        bend = gait.elbow[0] + gait.elbow[1] * np.cos(2 * np.pi * (turns + offset - p1))
        out = np.array([0, 0, sign * np.sin(gait.abduction)])
        width = body.shoulder * 0.92
        shoulder = neck + np.stack([sign * width * np.sin(twist), np.full_like(twist, -0.045), sign * width * np.cos(twist)], -1)
        joints[:, _J[f"{side}_shoulder"]] = shoulder
        joints[:, _J[f"{side}_elbow"]] = shoulder + 0.53 * arm * (_down(swing) * np.cos(gait.abduction) + out)
        joints[:, _J[f"{side}_wrist"]] = joints[:, _J[f"{side}_elbow"]] + 0.47 * arm * (_down(swing + bend) + 0.3 * out)


def _down(angle: np.ndarray) -> np.ndarray:
    """Unit vectors [N, 3] of a limb that hangs down, swung forward by `angle`."""
    return np.stack([np.sin(angle), -np.cos(angle), np.zeros_like(angle)], -1)


def capsules(joints: np.ndarray, body: Body, clothes: Clothes) -> Capsules:
    """The dressed body at every frame, in the frame of `joints`."""
    j = {name: joints[:, i] for name, i in _J.items()}
    ahead = _unit(np.cross(np.array([0.0, 1.0, 0.0]), j["r_shoulder"] - j["l_shoulder"]))
    up = _unit(j["neck"] - j["pelvis"])
    list_: list[tuple] = []

    def add(
        part: str,
        start: np.ndarray,
        stop: np.ndarray,
        radii: tuple[float, ...],
        texture: float | tuple[float, ...],
        front: np.ndarray = ahead,
    ) -> None:
        list_.append((start, stop, front, radii, _as_texture(texture), PARTS.index(part)))

    _add_trunk(add, j, ahead, up, body, clothes)
    _add_limbs(add, j, ahead, body, clothes)
    _add_head(add, j, ahead, up, body, clothes)
    starts, stops, fronts, radii, texture, part = zip(*list_, strict=True)
    start, stop, front = (np.stack(a, axis=1) for a in (starts, stops, fronts))
    return Capsules(start, stop, front, np.array(radii), np.array(texture, float), np.array(part))


def _as_texture(texture: float | tuple[float, ...]) -> tuple[float, ...]:
    return (PLAIN, texture, texture, 1, 1, 0, 0, 0) if isinstance(texture, float) else texture


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _add_trunk(add: Callable[..., None], j: dict[str, np.ndarray], ahead: np.ndarray, up: np.ndarray, body: Body, clothes: Clothes) -> None:
    depth = 0.105 * body.girth
    shoulder = max(body.shoulder * 0.93 / depth, 1.0)
    add("torso", j["pelvis"] + 0.06 * up, j["neck"] - 0.09 * up, (depth * body.belly, depth, shoulder, 0.55), clothes.top)
    hips = max((body.hip + 0.075 * body.girth) / (0.115 * body.girth), 1.0)
    add("pelvis", j["pelvis"] - 0.05 * up, j["pelvis"] + 0.05 * up, (0.11 * body.girth, 0.105 * body.girth, hips, 0.8), clothes.bottom)
    if clothes.bottom_kind == "skirt":
        knees = (j["l_knee"] + j["r_knee"]) / 2
        hem = j["pelvis"] + 0.9 * (knees - j["pelvis"])
        add("pelvis", j["pelvis"], hem, (0.12 * body.girth, 0.19 * body.girth, 1.25, 0.12), clothes.bottom)
    if clothes.bag_kind == "backpack":
        back = -(depth + 0.08) * ahead
        add("bag", j["pelvis"] + 0.16 * up + back, j["neck"] - 0.16 * up + back, (0.1, 0.09, 1.35, 0.6), clothes.bag)
    elif clothes.bag_kind == "shoulder":
        side = _unit(j["r_hip"] - j["l_hip"]) * (body.hip + 0.17)
        add("bag", j["pelvis"] + side - 0.14 * up, j["pelvis"] + side + 0.06 * up, (0.07, 0.06, 2.0, 0.4), clothes.bag, np.cross(ahead, up))


def _add_limbs(add: Callable[..., None], j: dict[str, np.ndarray], ahead: np.ndarray, body: Body, clothes: Clothes) -> None:
    g = body.girth
    bare_leg = clothes.bottom_kind != "trousers"
    for s in "lr":
        lower = clothes.sleeve_texture if clothes.sleeve == "long" else clothes.skin
        add("upper arm", j[f"{s}_shoulder"], j[f"{s}_elbow"], (0.055 * g, 0.045 * g, 1, 1), clothes.sleeve_texture)
        add("forearm", j[f"{s}_elbow"], j[f"{s}_wrist"], (0.044 * g, 0.034 * g, 1, 1), lower)
        reach = _unit(j[f"{s}_wrist"] - j[f"{s}_elbow"])
        add("hand", j[f"{s}_wrist"] + 0.03 * reach, j[f"{s}_wrist"] + 0.11 * reach, (0.034, 0.03, 1, 1), clothes.skin)
        thigh = clothes.skin if clothes.bottom_kind == "skirt" else clothes.bottom
        add("thigh", j[f"{s}_hip"], j[f"{s}_knee"], (0.092 * g, 0.064 * g, 1, 1), thigh)
        add("shin", j[f"{s}_knee"], j[f"{s}_ankle"], (0.06 * g, 0.042 * g, 1, 1), clothes.skin if bare_leg else clothes.bottom)
        ankle, toe = j[f"{s}_ankle"], j[f"{s}_toe"]
        heel = ankle - 0.04 * _unit(toe - ankle) + np.array([0, -0.035, 0])
        add("foot", heel, toe, (0.045, 0.038, 1, 1), clothes.shoes, np.broadcast_to([0.0, 1.0, 0.0], ahead.shape))


def _add_head(add: Callable[..., None], j: dict[str, np.ndarray], ahead: np.ndarray, up: np.ndarray, body: Body, clothes: Clothes) -> None:
    size = 0.058 * body.height
    axis = _unit(j["head"] - j["neck"])
    top = j["head"] - size * axis
    low = j["head"] - 2.0 * size * axis
    add("head", j["neck"] - 0.05 * up, low, (0.055, 0.05, 1, 1), clothes.skin)
    add("head", low + 0.01 * ahead, top + 0.01 * ahead, (size * 0.82, size * 0.9, 1, 1), clothes.skin)
    if clothes.hair_style == "bald":
        return
    back = -0.03 * ahead
    add("hair", low + 0.4 * size * axis + back, top + 0.015 * axis + back, (size * 0.85, size * 1.0, 1, 1), clothes.hair)
    if clothes.hair_style == "bun":
        add("hair", top - 1.1 * size * ahead, top - 1.3 * size * ahead, (0.5 * size, 0.5 * size, 1, 1), clothes.hair, up)
    elif clothes.hair_style == "long":
        tips = j["neck"] - 0.12 * up - 1.35 * size * ahead
        add("hair", top - 0.6 * size * ahead, tips, (0.8 * size, 0.75 * size, 1.3, 0.7), clothes.hair)
