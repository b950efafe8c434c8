"""The frames of a job as image files, beside an exported model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..media.of_job import footage_of
from ..reconstruction import Reconstruction
from .names import image_names
from .stmap import undistort_map
from .undistort import resample


def without_distortion(result: Reconstruction) -> Reconstruction:
    """The same cameras as pinholes, as they belong to undistorted frames."""
    views = [
        dataclasses.replace(view, intrinsics=dataclasses.replace(view.intrinsics, k1=0.0, k2=0.0, p1=0.0, p2=0.0))
        for view in result.views
    ]
    return dataclasses.replace(result, views=views)


def write_images(job: JobFolder, result: Reconstruction, folder: Path, undistorted: bool = False) -> None:
    """Write the solved views' frames, upright, under the names of image_names.

    undistorted: without the lens's distortion, as without_distortion has it; black where the lens saw nothing.
    Raises EngineError("input") when the footage is gone.
    """
    lens, places = None, None
    with footage_of(job, "Export without it.") as frames:
        position = {info.file: info.index for info in frames.infos}
        for view, name in zip(result.views, image_names(result)):
            if not view.is_solved:
                continue
            if view.file not in position:
                raise EngineError("input", f"The footage no longer holds {view.file}.", "Export without images.")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            image = cv2.cvtColor(frames.read(position[view.file]), cv2.COLOR_RGB2BGR)
            if undistorted and view.intrinsics.is_distorted:
                if view.intrinsics != lens:
                    lens, places = view.intrinsics, undistort_map(view.intrinsics)
                image = resample(image, places)
            _, data = cv2.imencode(target.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 97])
            target.write_bytes(data.tobytes())
