"""The frames of a source as a network reads them, and what is known of their cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import EngineError
from ...media.frames import FrameSource
from ...reconstruction import Intrinsics
from ..lenses import read_intrinsics, read_poses
from .options import Options
from .pictures import Picture, prepare


class Pictures:
    """Frames scaled and cut for a network, made when first asked for and kept (three bytes a pixel)."""

    def __init__(self, frames: FrameSource, size: int, patch_size: int) -> None:
        """size: long side in pixels, 224 = square."""
        self.frames = frames
        self.size = size
        self.patch_size = patch_size
        self._made: dict[int, Picture] = {}

    def get(self, frame: int) -> Picture:
        """The picture of a frame. Raises EngineError("input") when it cannot be read or used."""
        if frame not in self._made:
            self._made[frame] = prepare(self.frames.read(frame), self.size, self.patch_size)
        return self._made[frame]

    def read_all(self, report: Callable[[int, int], None]) -> tuple[list[int], dict[int, str]]:
        """Make all pictures: (frames that can be used, by frame why another cannot).

        Raises EngineError("input") when none can.
        """
        used: list[int] = []
        notes: dict[int, str] = {}
        for frame, info in enumerate(self.frames.infos):
            try:
                self.get(frame)
                used.append(frame)
            except EngineError as error:
                if error.kind != "input":
                    raise
                name = Path(info.file).name
                notes[frame] = error.message if name in error.message else f"{name}: {error.message}"
            report(frame + 1, len(self.frames))
        if not used:
            raise EngineError(
                "input", f"None of the images can be used. {next(iter(notes.values()))}", "Check the files."
            )
        return used, notes


@dataclass(frozen=True)
class KnownCameras:
    """What the user knows of n pictures' cameras, None where nothing. focals: (n,), principal_points: (n, 2), network
    pixels, the first pixel's centre at 0. poses: (n, 4, 4) world_from_camera, nan where unknown.
    """

    focals: np.ndarray | None = None
    principal_points: np.ndarray | None = None
    poses: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


def known_cameras(pictures: Pictures, used: list[int], options: Options) -> KnownCameras:
    """From the settings intrinsics, focal_px and poses. used: the frames of the pictures.

    Raises EngineError("usage") for a file that cannot be used.
    """
    frames = pictures.frames
    poses = None
    if options.poses is not None:
        poses = np.array(read_poses(Path(options.poses), frames))[used]
    if options.intrinsics is not None:
        lenses = read_intrinsics(Path(options.intrinsics), frames)
        pinholes = [pictures.get(frame).pinhole(lenses[frame]) for frame in used]
        bent = any(lenses[frame].is_distorted for frame in used)
        warnings = ("The networks know pinholes only: the distortion of the given lenses is not used.",) if bent else ()
        focals = np.array([np.mean(focal) for focal, _ in pinholes])
        return KnownCameras(focals, np.array([centre for _, centre in pinholes]), poses, warnings)
    if options.focal_px is None:
        return KnownCameras(poses=poses)
    focals = []
    for frame in used:
        info, focal = frames.infos[frame], float(options.focal_px)
        lens = Intrinsics(info.width, info.height, focal, focal, info.width / 2, info.height / 2)
        focals.append(np.mean(pictures.get(frame).pinhole(lens)[0]))
    return KnownCameras(np.array(focals), poses=poses)
