"""What can be said about your own data beside the data itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OwnSettings:
    """How the data is read.

    test_share, seed: see `own_split.index_rows`. cameras: in a folder, whether the folders inside a person's are cameras.
    fps: rate of pictures (None: 25), of boxes on event recordings (they need one), and instead of what a video with boxes states.
    source: the recording of a file of boxes that names none. first_pixel: number of the first column and row in boxes, 1 in MOT files.
    max_gap: frames that a track may miss without being split; its boxes are then interpolated. shortest, longest: seconds of a tracklet
    cut by boxes; what is shorter is left out, what is longer is cut in equal parts. One camera alone: a track without gaps becomes two
    tracklets, or its person would have no match. stored_fps: most video frames that are stored per second.
    tighten: cut event recordings of one person to the box of their events, at 1:2 (width to height), as Event-ReId does."""

    test_share: float = 0.5
    seed: int = 0
    cameras: bool = True
    fps: float | None = None
    source: str = ""
    first_pixel: float = 1
    max_gap: int = 10
    shortest: float = 0.5
    longest: float = 10.0
    stored_fps: float = 30.0
    tighten: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", str(self.source))
        limits = {"test_share": (0, 1), "seed": (0, 2**32), "first_pixel": (0, 1), "max_gap": (0, 10**6), "fps": (0.001, 10**6)}
        limits |= {"shortest": (0, 3600), "longest": (0.1, 3600), "stored_fps": (0.1, 10**4)}
        for name, (least, most) in limits.items():
            if getattr(self, name) is not None and not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from {least:g} to {most:g}, got {getattr(self, name)!r}")
        if self.test_share == 0:
            raise ValueError("test_share 0 leaves nobody to test; 1 tests everybody")
        if self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest:g} s) must not be above longest ({self.longest:g} s)")
