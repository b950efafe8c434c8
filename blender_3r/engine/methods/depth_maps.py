"""Depth of frames that is known beforehand: of another job, or of files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .. import media  # noqa: F401 (switches OpenCV's EXR on)
from ..errors import EngineError
from ..jobfolder import JobFolder
from ..media.frames import FrameSource

SUFFIXES = (".npy", ".exr")


class DepthMaps:
    """Known depth of frames, found by their names without suffix.

    Of a job folder, or of a folder that the exports "depth" and "depth-npy" wrote: NAME.npy or NAME.exr in it or in its
    folder "depth", along z, 0 = not known.
    """

    def __init__(self, path: Path, frames: FrameSource) -> None:
        """Raises EngineError("usage") when no frame's depth is there."""
        self._names = [Path(info.file).stem for info in frames.infos]
        self._job: JobFolder | None = None
        self._views: dict[str, int] = {}
        self._files: dict[str, Path] = {}
        if (path / "cameras.json").is_file():
            self._job = JobFolder.open(path)
            cameras = self._job.read_cameras()
            named = {Path(view.file).stem: k for k, view in enumerate(cameras.views)} if cameras else {}
            there = set(self._job.view_indices())
            self._views = {name: named[name] for name in self._names if named.get(name) in there}
        else:
            for folder in (path, path / "depth"):
                for suffix in SUFFIXES:
                    found = {name: folder / f"{name}{suffix}" for name in self._names}
                    self._files |= {name: file for name, file in found.items() if file.is_file()}
        if not self._views and not self._files:
            raise EngineError(
                "usage",
                f"{path} holds no depth of these images.",
                "Give a job folder, or a folder with NAME.npy or NAME.exr for images NAME.",
            )

    def __len__(self) -> int:
        return len(self._views) + len(self._files)

    def read(self, frame: int) -> np.ndarray | None:
        """(H, W) of a frame, None where it is not known. Raises EngineError("usage") for a file that is no depth."""
        name = self._names[frame]
        if self._job is not None:
            return np.array(self._job.read_view(self._views[name])["depth"]) if name in self._views else None
        if name not in self._files:
            return None
        path = self._files[name]
        try:
            depth = (
                np.load(path, allow_pickle=False)
                if path.suffix == ".npy"
                else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            )
        except (OSError, ValueError, EOFError, cv2.error):
            depth = None
        if depth is not None and depth.ndim == 3:
            depth = depth[..., -1]
        if depth is None or depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
            raise EngineError(
                "usage", f"{path} is no depth map.", "Give floating point numbers along z, one for every pixel."
            )
        return depth
