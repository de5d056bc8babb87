"""Pictures in order, from a video file or from a folder: measured cheaply, decoded frame by frame, never held whole."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidlib.datasets.pictures import LARGEST_SIDE, opened_picture
from reidlib.datasets.video_files import time_order

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

VIDEOS = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_GREY_MODES = ("1", "L", "LA")


def pictures_of(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order of their names; numbers in a name count as numbers, so that 9 comes before 10."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file()]
    return sorted(found, key=lambda path: time_order(path.name))


class Pictures:
    """Picture files as a film. files: in order; fps: their rate. `size`: (width, height) and `colour` of the first; `length`.

    Raises ValueError for no file, and for one that is no picture, whenever it is met."""

    def __init__(self, files: Iterable[Path], fps: Fraction) -> None:
        self.files, self.fps = list(files), fps
        if not self.files:
            raise ValueError("a film needs at least one picture")
        self.length = len(self.files)
        with opened_picture(self.files[0]) as first:
            self.size, self.colour = first.size, first.mode not in _GREY_MODES

    def frames(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1, counted from 0: uint8 `[H, W]`, or `[H, W, 3]` where the first picture has colours."""
        for file in self.files[start:stop]:
            with opened_picture(file) as picture:
                yield np.asarray(picture.convert("RGB" if self.colour else "L"))

    def sizes(self) -> np.ndarray:
        """(width, height) of every picture, `[N, 2]`, from their headers."""
        return np.array([_size(file) for file in self.files])


def _size(file: Path) -> tuple[int, int]:
    with opened_picture(file) as picture:
        return picture.size


class Video:
    """A video file as a film; frame n is the n-th in the order of presentation, whatever the video's keyframes.

    fps: frames per second, None: what the file states (its mean rate, where it varies). `size`: (width, height) as decoded.
    Raises ModuleNotFoundError without PyAV, ValueError for a file that cannot be decoded, was cut off or states no rate. An MPEG stream
    cut between two frames is a shorter stream, and no video has checksums: a flipped bit shows as wrong pixels."""

    def __init__(self, path: Path, fps: Fraction | None = None) -> None:
        self.path = path
        stated, self.size, self.colour, self._stamps = _facts(path, path.stat().st_mtime_ns)
        self.length = len(self._stamps)
        rate = fps or stated
        if not rate:
            raise ValueError(f"{path} states no frame rate: give fps")
        self.fps = rate

    def frames(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1, counted from 0: uint8 `[H, W, 3]`, or `[H, W]` of a grey video.

        Decoding begins at the keyframe before, or at the beginning where the format cannot be searched. Raises ValueError where the video
        ends before, is damaged, or where its packets do not tell which frame is which."""
        if not 0 <= start < stop <= self.length:
            raise ValueError(f"{self.path} has frames 1 to {self.length}, not {start + 1} to {stop}")
        at = start
        for from_keyframe in (True, False) if start else (False,):
            for frame in self._decoded(start, stop, from_keyframe):
                if (frame.width, frame.height) != self.size:
                    raise ValueError(f"{self.path}: frame {at + 1} is {frame.width} x {frame.height}, and the file states {self.size}")
                yield frame.to_ndarray(format="rgb24" if self.colour else "gray")
                at += 1
            if at > start:
                break
        if at < stop:
            again = f"was it cut off? Writing it again numbers its frames anew: ffmpeg -i {self.path.name} again.mp4"
            raise ValueError(f"{self.path}: frame {at + 1} of {self.length} cannot be found ({again})")

    def _decoded(self, start: int, stop: int, from_keyframe: bool) -> Iterator["VideoFrame"]:
        """The frames from start on, as far as they bear the expected time stamps."""
        wanted = self._stamps[start:stop].tolist()
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            if from_keyframe:
                container.seek(wanted[0], stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts < wanted[0]:
                    continue
                if frame.pts != wanted.pop(0):
                    return
                yield frame
                if not wanted:
                    return


@contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    """The open container; its errors told with the path."""
    try:
        import av
    except ModuleNotFoundError:
        other = f"or write the frames as pictures: ffmpeg -i {path.name} frames/%06d.png"
        raise ModuleNotFoundError(f"{path} is a video, and reading videos needs PyAV: install it (pip install av), {other}") from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                raise ValueError(f"{path} holds no video that can be decoded: is the file whole?")
            yield container
    except Exception as error:  # of FFmpeg, of PyAV, or one of ours, which names the file already
        if type(error) is ValueError and str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be decoded: {error} (is the file whole?)") from None


@lru_cache(maxsize=64)
def _facts(path: Path, changed: int) -> tuple[Fraction | None, tuple[int, int], bool, np.ndarray]:
    """(frames per second, (width, height), whether it has colours, time stamps of all frames), from the packets: nothing is decoded."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if max(context.width, context.height) > LARGEST_SIDE:
            raise ValueError(f"{path}: {context.width} x {context.height} pixels, more than {LARGEST_SIDE} on a side: is the file damaged?")
        packets = list(container.demux(stream))
        shown = [packet for packet in packets if packet.size and not packet.is_discard]
        stamps = [packet.dts if packet.pts is None else packet.pts for packet in shown]
        cut = [i for i, packet in enumerate(shown, 1) if packet.is_corrupt]
        if cut:
            raise ValueError(f"{path}: frame {cut[0]} of {len(shown)} is not whole: was the file cut off?")
        if None in stamps:
            raise ValueError(f"{path}: packet {stamps.index(None) + 1} has no time: is the file whole?")
        colour = not (context.pix_fmt or "").startswith("gray")
        _check_length(path, stream.frames, len(packets))
        return stream.average_rate, (context.width, context.height), colour, np.sort(np.array(stamps, np.int64))


def _check_length(path: Path, stated: int, packets: int) -> None:
    """Files that state how many frames there are (AVI, MP4) or how long they are (Matroska) tell that they were cut off; MPEG streams and
    files that were written live cannot."""
    if stated > packets:
        raise ValueError(f"{path} states {stated} frames and holds {packets}: was it cut off?")
    with open(path, "rb") as file:
        begin, size = file.read(4096), file.seek(0, 2)
    place = begin.find(b"\x18\x53\x80\x67") + 4  # the segment that holds everything, behind the header
    if begin.startswith(b"\x1a\x45\xdf\xa3") and place >= 4 and len(begin) > place:
        width = 9 - begin[place].bit_length()  # bytes of its length, whose first bits say how many they are
        length = int.from_bytes(begin[place : place + width], "big") - (1 << 7 * width)
        if length < (1 << 7 * width) - 1 and place + width + length > size:  # all ones: not known
            raise ValueError(f"{path} should have {place + width + length} bytes, and has {size}: was it cut off?")
