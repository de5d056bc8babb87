"""Events: recordings in memory and on disk, simulated recordings, dense frames, noise filters, augmentations."""

from reidlib.events.frames import event_frames, scale_counts, voxel_grid
from reidlib.events.recordings import Recording, read, write
from reidlib.events.simulation import IDEAL, REALISTIC, SimulatorSettings, simulate
from reidlib.events.stream import Events

__all__ = [
    "IDEAL",
    "REALISTIC",
    "Events",
    "Recording",
    "SimulatorSettings",
    "event_frames",
    "read",
    "scale_counts",
    "simulate",
    "voxel_grid",
    "write",
]
