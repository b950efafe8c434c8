"""The frames of a job as image files, beside an exported model."""

from __future__ import annotations

from pathlib import Path

import cv2

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..media.frames import open_source
from ..reconstruction import Reconstruction
from ..source import Source
from .names import image_names


def write_images(job: JobFolder, result: Reconstruction, folder: Path) -> None:
    """Write the solved views' frames, upright and with their distortion, under the names of image_names.

    Raises EngineError("input") when the footage is gone.
    """
    request = job.read_json("request") or {}
    if not isinstance(request.get("source"), dict):
        raise EngineError("input", f"The job in {job.path} does not say where its footage is.", "Export without it.")
    frames = open_source(Source.from_json(request["source"]))
    try:
        position = {info.file: info.index for info in frames.infos}
        for view, name in zip(result.views, image_names(result)):
            if not view.is_solved:
                continue
            if view.file not in position:
                raise EngineError("input", f"The footage no longer holds {view.file}.", "Export without images.")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            image = cv2.cvtColor(frames.read(position[view.file]), cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(target.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 97])
            target.write_bytes(data.tobytes())
    finally:
        frames.close()
