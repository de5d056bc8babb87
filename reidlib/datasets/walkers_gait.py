"""Recorded walks for the walkers: BVH files SUBJECT_TRIAL.bvh (joint names of the CMU database) as joints in the body frame."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reidlib.datasets.bvh import Motion, joint_positions, read_bvh
from reidlib.datasets.walkers_body import JOINTS

_LIMBS = {"hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "toe": "ToeBase", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"}
_NAMES = {f"{s}_{joint}": f"{side}{name}" for joint, name in _LIMBS.items() for s, side in (("l", "Left"), ("r", "Right"))}
_NAMES |= {"neck": "Neck1", "head": "Head.end"}
_CROWN = 1.4  # the recorded skeleton ends at the forehead: neck to crown over neck to its end
METRES = 0.0254 / 0.45  # CMU's unit: inches over 0.45
_FASTEST, _SLOWEST, _STRAIGHT = 2.5, 0.5, 0.97


@dataclass(frozen=True)
class Walk:
    """One trial: joints [T, 17, 3] in metres (y up, ground near 0), seconds per frame."""

    name: str
    joints: np.ndarray
    frame_time: float

    @property
    def speed(self) -> float:
        """Length of the pelvis's path over the ground per second, m/s; pauses and turns included."""
        steps = np.diff(self.joints[:, JOINTS.index("pelvis"), ::2], axis=0)
        return float(np.linalg.norm(steps, axis=1).mean() / self.frame_time)


def read_walk(path: str | Path) -> Walk:
    """The trial of a BVH file. Raises ValueError when it lacks one of the joints or the person is not upright."""
    motion = read_bvh(path)
    joints = _select(motion, str(path)) * METRES
    toes = [JOINTS.index(n) for n in ("l_toe", "r_toe")]
    joints[:, :, 1] -= np.percentile(joints[:, toes, 1].min(axis=1), 5) - 0.03
    tall = float(np.median(joints[:, JOINTS.index("head"), 1]))
    if not 1.0 < tall < 2.3:
        raise ValueError(f"{path}: the head is {tall:.2f} m above the toes; expected 1.0 to 2.3 m, y up, in CMU's unit (inches / 0.45)")
    return Walk(Path(path).stem, joints, motion.frame_time)


def _select(motion: Motion, name: str) -> np.ndarray:
    missing = sorted(n for n in _NAMES.values() if n not in motion.names)
    if missing:
        raise ValueError(f"{name}: no joint {missing[0]!r}; the skeleton must have the joint names of the CMU database")
    place = joint_positions(motion)
    j = {joint: place[:, motion.names.index(recorded)] for joint, recorded in _NAMES.items()}
    j["pelvis"] = (j["l_hip"] + j["r_hip"]) / 2
    j["head"] = j["neck"] + _CROWN * (j["head"] - j["neck"])
    return np.stack([j[joint] for joint in JOINTS], axis=1)


@dataclass(frozen=True)
class RecordedWalks:
    """The walks of a folder by subject."""

    trials: dict[str, tuple[Walk, ...]]

    @classmethod
    def read(cls, folder: str | Path) -> "RecordedWalks":
        """Raises ValueError when the folder holds no SUBJECT_TRIAL.bvh."""
        trials: dict[str, list[Walk]] = {}
        for path in bvh_files(folder):
            trials.setdefault(path.stem.split("_")[0], []).append(read_walk(path))
        return cls({subject: tuple(walks) for subject, walks in trials.items()})

    @property
    def subjects(self) -> list[str]:
        """Recorded people, sorted."""
        return sorted(self.trials)

    def segment(
        self, subject: str, times: np.ndarray, number: int, total: int, tall: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float, str]:
        """Joints [N, 17, 3] at `times` of the `number`-th of `total` straight parts of a subject's walks, turned so that the walk goes
        along x, scaled to a person `tall` metres tall; the speed in m/s; the source as text. The parts are spread over the
        recordings; they overlap where a subject walked too little. Raises ValueError when no part is long and straight enough."""
        found = self._straight(subject, times[-1] - times[0])
        if not found:
            raise ValueError(
                f"subject {subject} has no straight walk of {times[-1] - times[0]:g} s in "
                f"{', '.join(w.name for w in self.trials[subject])}; shorten `seconds`"
            )
        order = rng.permutation(total)
        walk_, start = found[int((order[number] + 0.5) * len(found) / total)]
        joints = _resample(walk_, start + times - times[0])
        joints, speed = _align(joints, times, tall)
        return joints, speed, f"{walk_.name} from {start:.2f} s"

    def _straight(self, subject: str, seconds: float) -> list[tuple[Walk, float]]:
        """(trial, start) every 0.05 s of the parts that are straight."""
        found = []
        for walk_ in self.trials[subject]:
            length = (len(walk_.joints) - 1) * walk_.frame_time
            for start in np.arange(0, length - seconds + 1e-9, 0.05):
                ground = _resample(walk_, start + np.linspace(0, seconds, 9))[:, 0, ::2]  # the pelvis
                steps = np.linalg.norm(np.diff(ground, axis=0), axis=1)
                chord = np.linalg.norm(ground[-1] - ground[0])
                speed = chord / seconds
                if _SLOWEST < speed < _FASTEST and chord > _STRAIGHT * steps.sum() and steps.min() > 0.4 * steps.mean():
                    found.append((walk_, float(start)))
        return found


def bvh_files(folder: str | Path) -> list[Path]:
    """The BVH files of a folder, sorted. Raises ValueError when there are none or a name is not SUBJECT_TRIAL.bvh."""
    files = sorted(Path(folder).glob("*.bvh"))
    if not files:
        raise ValueError(f"no BVH file in {folder}; expected SUBJECT_TRIAL.bvh")
    bad = [p.name for p in files if "_" not in p.stem]
    if bad:
        raise ValueError(f"{folder}: {bad[0]} is not named SUBJECT_TRIAL.bvh, so its person is not known")
    return files


def content_hash(folder: str | Path) -> str:
    """sha256 over names and contents of the BVH files of a folder."""
    digest = hashlib.sha256()
    for path in bvh_files(folder):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _resample(walk_: Walk, times: np.ndarray) -> np.ndarray:
    place = np.clip(times / walk_.frame_time, 0, len(walk_.joints) - 1)
    low = np.minimum(place.astype(int), len(walk_.joints) - 2)
    part = (place - low)[:, None, None]
    return walk_.joints[low] * (1 - part) + walk_.joints[low + 1] * part


def _align(joints: np.ndarray, times: np.ndarray, tall: float) -> tuple[np.ndarray, float]:
    ground = joints[:, 0, ::2]
    way = ground[-1] - ground[0]
    c, s = way / np.linalg.norm(way)
    x, z = joints[:, :, 0] - ground[:, 0].mean(), joints[:, :, 2] - ground[:, 1].mean()
    # y up and x forward: z is to the right, as in the body frame
    turned = np.stack([c * x + s * z, joints[:, :, 1], c * z - s * x], -1)
    turned *= tall / np.median(turned[:, JOINTS.index("head"), 1])
    return turned, float((turned[-1, 0, 0] - turned[0, 0, 0]) / (times[-1] - times[0]))
