"""What another method found, as a start: its cameras and its tracks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..jobfolder import JobFolder
from ..media.frames import FrameSource
from .lenses import read_posed


def read_cameras(path: Path, frames: FrameSource) -> Cameras:
    """The cameras of a job folder, or of a file of the form of cameras.json; nan poses where it has none.

    Raises EngineError("usage") when they cannot be read, or do not belong to these frames.
    """
    file = path / "cameras.json" if path.is_dir() else path
    lenses, poses = read_posed(file, frames)
    return Cameras.from_intrinsics(lenses, np.array(poses))


def read_tracks(path: Path, frames: FrameSource) -> Observations:
    """The tracks of a job folder of the same frames, sorted by frame, then track; a network's with their weights.

    Raises EngineError("usage") when there are none, or they do not belong to these frames.
    """
    job = JobFolder(path)
    arrays, found = job.read_npz("tracks"), job.read_cameras()
    if arrays is None or found is None or not {"frame", "track", "xy"} <= set(arrays):
        raise EngineError("usage", f"There are no tracks in {path}.", "Give the job folder of a solve that kept some.")
    here = {info.file: info.index for info in frames.infos}
    index = np.array([here.get(view.file, -1) for view in found.views], dtype=np.int64)
    valid = (arrays["frame"] >= 0) & (arrays["frame"] < len(index))
    frame = np.where(valid, index[np.where(valid, arrays["frame"], 0)], -1)
    keep = frame >= 0
    if not keep.any():
        raise EngineError("usage", f"The tracks in {path} are not of this footage.", "Give a job of the same frames.")
    track = np.unique(arrays["track"][keep], return_inverse=True)[1]
    order = np.lexsort((track, frame[keep]))
    weight = arrays.get("weight")
    return Observations(frame[keep], track, arrays["xy"][keep], None if weight is None else weight[keep])[order]
