"""A job folder to the forms other programs read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction


@dataclass(frozen=True)
class ExportOptions:
    """images: write the frames too. min_confidence: 0..1, drops dense points below. points: at most so many."""

    images: bool = False
    min_confidence: float = 0.0
    points: int | None = None


Exporter = Callable[[JobFolder, Reconstruction, Path, ExportOptions], None]


def _write_ply(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    from .ply import write_cloud

    write_cloud(job, result, out, options)


def _write_colmap(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    from .colmap import write_model

    write_model(job, result, out, options)


def _write_transforms(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    from .transforms import write_transforms

    write_transforms(job, result, out, options)


def _write_chan(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    from .chan import write_chan

    write_chan(result, out)


def _write_depth(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    from .depth import write_depth

    write_depth(job, result, out)


# Name of a format to (what writes it, what it holds); the modules are imported when used.
FORMATS: dict[str, tuple[Exporter, str]] = {
    "ply": (_write_ply, "one binary PLY file: points, colours, confidence (of dense points)"),
    "colmap": (_write_colmap, "folder with COLMAP's cameras.txt, images.txt, points3D.txt"),
    "transforms": (_write_transforms, "folder with nerfstudio's transforms.json and sparse.ply"),
    "chan": (_write_chan, "Nuke's camera file: frame, translation, rotation (order ZXY, y up), vertical angle"),
    "depth": (_write_depth, "folder with a 32-bit EXR depth and an 8-bit PNG confidence per dense view"),
}


def export_job(
    folder: str | os.PathLike[str],
    format_: str,
    out: str | os.PathLike[str],
    *,
    images: bool = False,
    min_confidence: float = 0.0,
    points: int | None = None,
) -> Path:
    """Write the job in another form to out (a file or a folder, as the format says); returns that path.

    World axes and scale stay the job's own except where a format prescribes axes (chan).
    Raises EngineError: "usage" for an unknown format, "input" when the job lacks what is to be written, "machine"
    when it cannot be written.
    """
    if format_ not in FORMATS:
        raise EngineError("usage", f"There is no format {format_!r}.", f"Choose one of: {', '.join(sorted(FORMATS))}.")
    job = JobFolder.open(folder)
    result = job.read_cameras()
    if result is None or not result.solved:
        raise EngineError(
            "input", f"The job in {job.path} has no solved cameras.", "Reconstruct first; see the command info."
        )
    try:
        FORMATS[format_][0](job, result, Path(out), ExportOptions(images, min_confidence, points))
    except OSError as error:
        raise EngineError(
            "machine", f"Cannot write to {out} ({error.strerror or error}).", "Choose another place or free disk space."
        ) from error
    return Path(out)
