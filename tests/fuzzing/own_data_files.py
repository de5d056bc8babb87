"""Small data of someone's own in every form: tables, boxes, pictures, videos; and recorded motion."""

import hashlib
import warnings
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pandas as pd
from own_samples import walk, write_events, write_pictures
from picture_sets import moving
from PIL import Image
from reading import Format

from reidlib.datasets import own_video
from reidlib.datasets.bvh import joint_positions, read_bvh
from reidlib.datasets.own_checks import Problems
from reidlib.datasets.own_data import OwnSettings, find
from reidlib.datasets.own_video import Pictures, Video
from reidlib.datasets.pictures import read_picture

PEOPLE, CAMERAS = ("ann", "bob", "cid", "dot"), ("back", "front")


def people_table() -> pd.DataFrame:
    return pd.DataFrame([{"person": p, "path": f"{p}/{c}", "camera": c, "fps": 25} for p in PEOPLE for c in CAMERAS])


def write_people(folder: Path, name: str) -> None:
    """A table of folders with two pictures each."""
    for i, row in people_table().iterrows():
        write_pictures(folder / row["path"], count=2, seed=i)
    table = people_table()
    (table.to_parquet if name.endswith(".parquet") else partial(table.to_csv, index=False))(folder / name)


def write_boxes(folder: Path, header: str = "frame,id,x,y,w,h,conf\n") -> None:
    """Four people's boxes on an event recording of the same name."""
    write_events(folder / "street.h5", seconds=3.0)
    rows = [row for person in range(1, 5) for row in walk(person, range(1, 25), x=8.0 * person, w=6, h=14, step=0.5)]
    (folder / "street.csv").write_text(header + "".join(",".join(map(str, row)) + "\n" for row in rows))


def write_shots(folder: Path) -> None:
    """A table of two recordings with the same boxes."""
    write_boxes(folder)
    write_events(folder / "lane.h5", seed=1, seconds=3.0)
    rows = ["source,boxes,camera,fps,start_us", "street.h5,street.csv,a,10,5000", "lane.h5,street.csv,b,10,5000"]
    (folder / "shots.csv").write_text("\n".join(rows) + "\n")


def read_own(name: str, folder: Path) -> list[tuple]:
    """The tracklets found, if there are no errors; the checker's warnings are warnings."""
    problems = Problems()
    source = find(folder / name, OwnSettings(fps=10), problems, deep=True)
    for one in problems.found:
        if one["severity"] == "warning":
            warnings.warn(f"{one['where']}: {one['what']}", stacklevel=2)
    problems.refuse(folder / name)
    assert source.rows and source.fingerprint()
    return [(row["key"], row["subset"], tuple(row["names"]), row["source"], str(row["what"])) for row in source.rows]


def digest(frames: list[np.ndarray]) -> tuple:
    """Number, shape and digest of pictures."""
    assert frames and all(frame.dtype == np.uint8 and frame.shape == frames[0].shape for frame in frames)
    return len(frames), frames[0].shape, hashlib.sha256(b"".join(map(np.ndarray.tobytes, frames))).hexdigest()[:12]


def write_picture(folder: Path, name: str) -> None:
    Image.fromarray(moving(1, 32, 16, seed=1)[0]).save(folder / name)


def read_one(name: str, folder: Path) -> tuple:
    return digest([read_picture(folder / name)])


def read_film(name: str, folder: Path) -> tuple:
    film = Pictures([folder / name], Fraction(25))
    film.sizes()
    return digest(list(film.frames(0, 1)))


def write_video(folder: Path, name: str, codec: str) -> None:
    """Twelve frames of a moving pattern, at 25 per second."""
    with av.open(str(folder / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for picture in moving(12, 48, 32, seed=2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def read_video(name: str, folder: Path) -> tuple:
    own_video._facts.cache_clear()  # files change faster here than clocks tick
    video = Video(folder / name)
    return digest(list(video.frames(0, video.length)))


BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT Leg
  {
    OFFSET 0 -40.5 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 -38.25 1
    }
  }
}
MOTION
Frames: 5
Frame Time: 0.0083333
"""


def write_bvh(folder: Path) -> None:
    rows = np.random.default_rng(0).normal(0, 20, (5, 9)).round(3)
    (folder / "walk.bvh").write_text(BVH + "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()))


def read_motion(folder: Path) -> tuple:
    motion = read_bvh(folder / "walk.bvh")
    places = joint_positions(motion)
    assert places.shape == (len(motion.values), len(motion.names), 3)
    return motion.names, motion.frame_time, motion.values.tolist(), motion.offsets.tolist()


def line_end(cut: bytes, whole: bytes) -> bool:
    """Cuts behind a whole row of text."""
    return cut.endswith(b"\n") or whole[len(cut) : len(cut) + 1] == b"\n"


def last_number(cut: bytes, whole: bytes) -> bool:
    """Cuts inside the last number of the file, or of the space behind it."""
    return len(cut) > whole.rstrip().rfind(b" ")


def always(cut: bytes, whole: bytes) -> bool:
    """Streams without a table of contents: a beginning is a shorter stream."""
    return True


def own_table(write, name: str) -> Format:
    return Format(write, name, partial(read_own, name), unseen=line_end, named=("street", "lane", *PEOPLE))


def picture(name: str, read=read_film, **facts) -> Format:
    return Format(partial(write_picture, name=name), name, partial(read, name), **facts)


def video(name: str, codec: str, **facts) -> Format:
    return Format(partial(write_video, name=name, codec=codec), name, partial(read_video, name), **facts)


FORMATS = {
    "table": own_table(partial(write_people, name="people.csv"), "people.csv"),
    "parquet table": own_table(partial(write_people, name="people.parquet"), "people.parquet"),
    "boxes": own_table(write_boxes, "street.csv"),
    "boxes without names": own_table(partial(write_boxes, header=""), "street.csv"),
    "table of recordings": own_table(write_shots, "shots.csv"),
    "bvh": Format(write_bvh, "walk.bvh", read_motion, unseen=last_number),
    "png of a set": picture("0001.png", read_one, sealed=True),
    "jpeg of a set": picture("0001.jpg", read_one),
    "png": picture("0001.png", sealed=True),
    "jpeg": picture("0001.jpg"),
    "bmp": picture("0001.bmp"),
    "tiff": picture("0001.tif"),
    "webp": picture("0001.webp"),
    "ppm": picture("0001.ppm"),
    "avi": video("walk.avi", "mjpeg"),
    "mp4": video("walk.mp4", "mpeg4"),
    "mov": video("walk.mov", "mjpeg"),
    "mkv": video("walk.mkv", "mpeg4"),
    "mpeg": video("walk.mpg", "mpeg2video", unseen=always),
}
