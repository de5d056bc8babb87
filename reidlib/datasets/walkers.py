"""Walkers, the built-in set: generated people walking past two cameras, as events and as video. See data/WALKERS.md.

Every draw is a function of (seed, stream, indices), and people, cameras, backgrounds, and sensors have streams of their own."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from reidlib.datasets import walkers_scene as scene
from reidlib.datasets.store import Sample, StoreLike, TrackletStore
from reidlib.datasets.store_build import build_store
from reidlib.datasets.walkers_body import Body, Clothes, Gait, capsules, draw_body, draw_clothes, draw_gait, walk
from reidlib.datasets.walkers_gait import RecordedWalks, content_hash
from reidlib.datasets.walkers_render import render
from reidlib.events import REALISTIC, Events, SimulatorSettings, simulate

CODE_VERSION = 2  # raise it when the same settings give other bytes
FRAME_STEP = 4  # every fourth frame of the simulated video is stored
_STREAMS = ("body", "clothes", "gait", "camera", "panorama", "shot", "backdrop", "sensor", "occluder", "shake", "walks", "pixels")
STREAMS = {name: code for code, name in enumerate(_STREAMS)}
_GAITS: dict[str, str] = {}  # content -> folder of the recorded walks that sets of this process were made with


@dataclass(frozen=True)
class WalkersSettings:
    """What is generated.

    people: identities, the first `train_people` for training, the others for the test. cameras: number, with `yaw` (degrees; 0 = the
    person comes towards the camera, 90 = passes it) one each, +- `yaw_jitter` per tracklet. repeats: tracklets per person and camera.
    height, width: of the box, pixels. fps: of the video the events come from (every fourth frame is stored). seconds: of a tracklet.
    Harder: occluder: probability of something in front. shake: of the camera, pixels. dim: 0 = daylight to 1 = night.
    gait: folder of BVH files SUBJECT_TRIAL.bvh whose recorded walks drive the bodies; "" = generated gaits."""

    people: int = 80
    train_people: int = 40
    cameras: int = 2
    repeats: int = 3
    seed: int = 0
    height: int = 128
    width: int = 64
    fps: int = 120
    seconds: float = 1.2
    yaw: tuple[float, ...] = (35.0, 100.0)
    yaw_jitter: float = 10.0
    occluder: float = 0.0
    shake: float = 0.0
    dim: float = 0.0
    gait: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "yaw", tuple(float(y) for y in self.yaw))
        object.__setattr__(self, "gait", str(self.gait))
        whole = {"people": 4, "train_people": 2, "cameras": 2, "repeats": 1, "seed": 0, "height": 32, "width": 16, "fps": 30}
        for name, least in whole.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                hint = ": training and test need two identities each" if name in ("people", "train_people") else ""
                raise ValueError(f"{name} must be a whole number from {least} on, got {value!r}{hint}")
        if self.train_people > self.people - 2:
            left = max(self.people - self.train_people, 0)
            raise ValueError(f"train_people = {self.train_people} leaves {left} of {self.people} people for the test: it needs 2 or more")
        limits = {"seconds": (0.1, 20), "yaw_jitter": (0, 45), "occluder": (0, 1), "shake": (0, 10), "dim": (0, 1)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}, got {getattr(self, name)!r}")
        if len(self.yaw) != self.cameras or not all(-180 <= y <= 360 for y in self.yaw):
            raise ValueError(f"yaw must name one angle of -180 to 360 degrees per camera ({self.cameras}), got {self.yaw}")
        if self.gait and not Path(self.gait).is_dir():
            raise FileNotFoundError(f"gait: no folder of BVH files at {self.gait}")

    def rng(self, stream: str, *indices: int) -> np.random.Generator:
        """The random numbers of a stream at its indices (person, camera, repeat)."""
        return np.random.default_rng([self.seed, STREAMS[stream], *indices])


@dataclass(frozen=True)
class Identity:
    """A person."""

    body: Body
    clothes: Clothes
    gait: Gait


def identity(settings: WalkersSettings, person: int) -> Identity:
    """Body, clothes and gait of a person, whatever the cameras."""
    body, clothes, gait = (settings.rng(stream, person) for stream in ("body", "clothes", "gait"))
    return Identity(draw_body(body), draw_clothes(clothes), draw_gait(gait))


def camera_of(settings: WalkersSettings, camera: int) -> scene.Camera:
    """A camera, whoever passes it."""
    return scene.draw_camera(settings.rng("camera", camera), settings.yaw[camera])


@dataclass(frozen=True)
class Film:
    """What a shot shows before any camera's sensor sees it. video, parts uint8 [N, H, W]: the whole picture at `fps`, and its body parts
    (`PARTS`), [0, 0, 0] where nobody asked for them. corner [N, 2]: (x, y) of the moving box. attributes: what the store keeps of the
    tracklet."""

    video: np.ndarray
    parts: np.ndarray
    corner: np.ndarray
    shot: scene.Shot
    attributes: dict


def film(settings: WalkersSettings, at: tuple[int, int, int], standing: bool = False, want_parts: bool = False) -> Film:
    """The film of tracklet (person, camera, repeat). standing: the person does not move."""
    person, camera, _ = at
    size = (settings.height, settings.width)
    who, cam = identity(settings, person), camera_of(settings, camera)
    shot = scene.draw_shot(settings.rng("shot", *at), cam, settings.yaw_jitter)
    times = np.arange(round(settings.fps * settings.seconds) + 1) / settings.fps
    joints, speed, source = _joints(settings, who, shot, times, at)
    if standing:
        joints, speed = np.repeat(joints[:1], len(times), axis=0), 0.0
    dressed, view, path = scene.filmed(capsules(joints, who.body, who.clothes), joints, cam, shot, who.body.height, size)
    corner = scene.follow(path, times, shot, size)
    across, down = np.ptp(corner, axis=0)
    origin, canvas = corner.min(axis=0), (size[0] + int(down), size[1] + int(across))
    corner, view = corner - origin, view - np.array([0, *origin])
    wide = scene.panorama((settings.seed, STREAMS["panorama"], camera), size, settings.seconds)
    video, parts = render(
        dressed, view, np.array([*cam.light, cam.ambient]),
        scene.backdrop(wide, settings.rng("backdrop", *at), canvas),
        scene.shaking(settings.rng("shake", *at), times, settings.shake),
        scene.occluders(settings.rng("occluder", *at), settings.occluder, corner, canvas, size),
        scene.tone_curve(shot.gain, cam.gamma, settings.dim), canvas, want_parts,
    )  # fmt: skip
    attributes: dict[str, object] = {"identity": asdict(who), "camera": asdict(cam), "shot": asdict(shot)}
    attributes |= {"speed": speed, "walk": source, "box": corner, "canvas": canvas}
    return Film(video, parts, corner, shot, attributes)


def make_tracklet(
    settings: WalkersSettings,
    person: int,
    camera: int,
    repeat: int,
    standing: bool = False,
    want_parts: bool = False,
    sensor: SimulatorSettings | None = None,
    alter: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[Sample, np.ndarray | None]:
    """One tracklet before it is stored: (Sample, part map uint8 [N, H, W] of the stored frames or None).

    standing: the person does not move (a check of the simulator). want_parts: also the number of the body part per pixel (`PARTS`).
    sensor: another event camera in the same place, looking at the same film (None: `sensor_of` the shot, as stored).
    alter: changes the film before sensor and camera see it: (whole picture uint8 [N, H, W] at `fps`, corner [N, 2] of the box) -> film."""
    at, size = (person, camera, repeat), (settings.height, settings.width)
    taken = film(settings, at, standing, want_parts)
    if alter is not None:
        taken = replace(taken, video=alter(taken.video, taken.corner))
    frames, events = _recorded(settings, taken, sensor or sensor_of(settings, taken.shot), at)
    sample = Sample(events, frames, taken.attributes, duration=(len(taken.video) - 1) / settings.fps)
    return sample, crop_frames(taken.parts, taken.corner, size) if want_parts else None


def _recorded(settings: WalkersSettings, taken: Film, sensor: SimulatorSettings, at: tuple[int, int, int]) -> tuple[np.ndarray, Events]:
    """What camera and sensor make of a film, inside the moving box: frames uint8 [N, H, W] and events."""
    size = (settings.height, settings.width)
    events = crop_events(_sense(settings, taken.video, sensor, at), taken.corner, settings.fps, size)
    return _noisy(crop_frames(taken.video, taken.corner, size), settings, at), events


def part_map(settings: WalkersSettings, person: int, camera: int, repeat: int) -> np.ndarray:
    """The number of the body part (`PARTS`) of every pixel of a tracklet's stored frames, uint8 [N, H, W]."""
    taken = film(settings, (person, camera, repeat), want_parts=True)
    return crop_frames(taken.parts, taken.corner, (settings.height, settings.width))


def render_tracklet(settings: WalkersSettings, person: int, camera: int, repeat: int) -> tuple[np.ndarray, Events]:
    """Frames uint8 [N, H, W] and events of one tracklet."""
    at = (person, camera, repeat)
    taken = film(settings, at)
    return _recorded(settings, taken, sensor_of(settings, taken.shot), at)


def _joints(
    settings: WalkersSettings, who: Identity, shot: scene.Shot, times: np.ndarray, at: tuple[int, int, int]
) -> tuple[np.ndarray, float, str]:
    """Joints, speed and source of a walk."""
    if not settings.gait:
        return *walk(who.body, who.gait, times, shot.phase, shot.pace), "generated"
    person, camera, repeat = at
    walks = recorded_walks(settings.gait)
    subject = walks.subjects[settings.rng("walks").permutation(len(walks.subjects))[person % len(walks.subjects)]]
    order = settings.rng("walks", person)
    return walks.segment(subject, times, camera * settings.repeats + repeat, settings.cameras * settings.repeats, who.body.height, order)


@lru_cache(maxsize=2)
def recorded_walks(folder: str) -> RecordedWalks:
    """The walks of a folder, read once per process."""
    return RecordedWalks.read(folder)


def sensor_of(settings: WalkersSettings, shot: scene.Shot) -> SimulatorSettings:
    """The event camera of a shot. In dim light it is slower and noisier."""
    return replace(
        REALISTIC,
        positive_threshold=shot.positive_threshold,
        negative_threshold=shot.negative_threshold,
        threshold_spread=0.03,
        cutoff_hz=200.0 * (1 - 0.7 * settings.dim),
        leak_rate_hz=0.1,
        shot_noise_rate_hz=1.0 + 9.0 * settings.dim,
        upsample="off",
    )


def _sense(settings: WalkersSettings, video: np.ndarray, sensor: SimulatorSettings, at: tuple[int, int, int]) -> Events:
    """Events of the whole picture."""
    return simulate(video, settings.fps, sensor, seed=int(settings.rng("sensor", *at).integers(2**63)))


def crop_events(events: Events, corner: np.ndarray, fps: float, size: tuple[int, int]) -> Events:
    """The events inside the moving box, in its coordinates. corner [N, 2]: (x, y) of the box at frame i, in force within half a
    frame of it. The sensor is still and only the box moves, so the whole person fires, as in front of a real camera."""
    frame = np.minimum((events.t * fps + 500_000) // 1_000_000, len(corner) - 1)
    x, y = events.x - corner[frame, 0], events.y - corner[frame, 1]
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    return Events(x[inside], y[inside], events.t[inside], events.p[inside], size[1], size[0])


def crop_frames(video: np.ndarray, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every `FRAME_STEP`-th picture inside the moving box, uint8 [N, H, W]."""
    chosen = range(0, len(video), FRAME_STEP)
    return np.stack([video[i, corner[i, 1] : corner[i, 1] + size[0], corner[i, 0] : corner[i, 0] + size[1]] for i in chosen])


def frame_times(fps: int, count: int) -> np.ndarray:
    """When the stored frames were taken, int64 microseconds [count] on the events' clock, whose 0 is the first frame."""
    return np.rint(np.arange(count) * (FRAME_STEP * 1e6 / fps)).astype(np.int64)


def settings_of(store: StoreLike, why: str) -> WalkersSettings:
    """The settings that a finished store was made with. Recorded gaits are those of the folder that this process gave to `build`: a store
    knows their content alone.

    why: what is asked for, as the ValueError says it that a store of another code version raises, and one whose recorded gaits are not
    known."""
    stored = dict(store.settings)
    code, gait = stored.pop("code"), stored.pop("gait")
    if code != CODE_VERSION or (gait and gait not in _GAITS):
        cause = f"it was made by code version {code}, this is {CODE_VERSION}"
        if code == CODE_VERSION:
            cause = "its walks are recorded ones, and their folder is not known: load the set with the option gait"
        raise ValueError(f"{why}: {cause}")
    return WalkersSettings(**stored, gait=_GAITS[gait] if gait else "")


def place_of(key: str) -> tuple[int, int, int]:
    """(person, camera, repeat) of a tracklet's key."""
    found = re.fullmatch(r"p(\d+)/c(\d+)/t(\d+)", key)
    if found is None:
        raise ValueError(f"{key!r} is no tracklet of walkers: their keys are p<person>/c<camera>/t<repeat>")
    return int(found[1]), int(found[2]), int(found[3])


def film_again(store: StoreLike, key: str, alter: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Sample:
    """A tracklet of a finished store generated again with a changed film (`alter` of `make_tracklet`), seen by the same sensor.

    Raises ValueError where `settings_of` does and where the path of the box is no longer what was stored."""
    settings = settings_of(store, f"tracklet {key} of this store cannot be filmed again")
    sample, _ = make_tracklet(settings, *place_of(key), alter=alter)
    if not np.array_equal(sample.attributes["box"], store.attributes(key)["box"]):
        raise ValueError(f"tracklet {key} filmed again has another box than the stored one: was the generator changed? Build the set again")
    return sample


def _noisy(frames: np.ndarray, settings: WalkersSettings, at: tuple[int, int, int]) -> np.ndarray:
    """Read noise of the video camera: 1 grey level, more in dim light."""
    noise = settings.rng("pixels", *at).standard_normal(frames.shape, np.float32) * (1 + 4 * settings.dim)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def rows(settings: WalkersSettings) -> list[dict]:
    """The index rows: test people are queries at camera 0 and gallery at the others."""
    out = []
    for person in range(settings.people):
        for camera in range(settings.cameras):
            subset = "train" if person < settings.train_people else "query" if camera == 0 else "gallery"
            for repeat in range(settings.repeats):
                row = {"key": f"p{person:04d}/c{camera}/t{repeat}", "dataset": "walkers", "split": 0, "subset": subset}
                out.append({**row, "person": person, "camera": camera, "source": "generated", "repeat": repeat})
    return out


def make(settings: WalkersSettings, row: dict) -> Sample:
    """The tracklet of an index row."""
    return make_tracklet(settings, row["person"], row["camera"], row["repeat"])[0]


def build(settings: WalkersSettings, path: str | Path, workers: int | None = None) -> TrackletStore:
    """The store of the set at `path`, generated unless it is there already. workers: processes, None = one per core."""
    stored = asdict(settings) | {"code": CODE_VERSION}
    if settings.gait:  # the walks themselves count, not where they lie
        stored["gait"] = content_hash(settings.gait)
        _GAITS[stored["gait"]] = settings.gait
    return build_store(path, rows(settings), partial(make, settings), stored, workers, "walkers")
