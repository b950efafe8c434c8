"""A job folder to the forms other programs read."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction

STATIC, ALL, ONLY = "static", "all", "only"


@dataclass(frozen=True)
class ExportOptions:
    """What may be asked of an export; a format that has no use for an option ignores it.

    images: write the frames too. undistorted: write them without lens distortion, with cameras that have none.
    min_confidence: 0..1, drops dense points below. points: at most so many.
    voxel: of those, one dense point per cubic cell of that edge length, in scene units.
    mesh: a surface instead of points, cut where it would be seen at a flatter angle than edge_angle (degrees).
    frusta: length of the drawn cameras as a share of the typical depth; 0 draws none.
    confidence_bits: of confidence images: 8, 16, or 32 for EXR. depth_scale: steps per scene unit of 16-bit depth;
    None: automatic.
    moving: what of footage that moves by itself is among dense points and surfaces. STATIC: nothing of it, which would
    be there many times over; ALL: everything, of all frames at once; ONLY: that and nothing else; a number: that of the
    frame.
    """

    images: bool = False
    undistorted: bool = False
    min_confidence: float = 0.0
    points: int | None = None
    voxel: float | None = None
    mesh: bool = False
    edge_angle: float = 3.0
    frusta: float = 0.05
    confidence_bits: int = 8
    depth_scale: float | None = None
    moving: str | int = STATIC

    def check(self) -> None:
        """Raises EngineError("usage") for a value that makes no sense."""
        wrong = [
            (0 <= self.min_confidence <= 1, "The minimum confidence must lie between 0 and 1."),
            (self.points is None or self.points >= 1, "The number of points must be at least 1."),
            (self.voxel is None or 0 < self.voxel < float("inf"), "The size of voxels must be above 0."),
            (0 <= self.edge_angle < 90, "The edge angle must lie between 0 and 90 degrees."),
            (0 <= self.frusta < float("inf"), "The length of the drawn cameras must be 0 or more."),
            (self.confidence_bits in (8, 16, 32), "Confidence images have 8, 16 or 32 bits."),
            (self.depth_scale is None or 0 < self.depth_scale < float("inf"), "The depth scale must be above 0."),
            (
                self.moving in (STATIC, ALL, ONLY) or type(self.moving) is int,
                f"Moving must be {STATIC}, {ALL}, {ONLY}, or the number of a frame.",
            ),
        ]
        for is_right, sentence in wrong:
            if not is_right:
                raise EngineError("usage", sentence, "See the command export --help.")


Exporter = Callable[[JobFolder, Reconstruction, Path, ExportOptions], None]


@dataclass(frozen=True)
class Format:
    """writer: "module:function" of this package, imported when used; it writes a file or fills an empty folder.

    suffix: of the file, "" for folders. title: the format's name where users choose; text: what it writes.
    """

    writer: str
    suffix: str
    title: str
    text: str

    @property
    def is_folder(self) -> bool:
        return not self.suffix

    def load(self) -> Exporter:
        module, _, function = self.writer.partition(":")
        return getattr(importlib.import_module(f".{module}", __package__), function)


FORMATS: dict[str, Format] = {
    "ply": Format(
        "ply:write_cloud", ".ply", "PLY", "one binary PLY file: points, colours, confidence (of dense points)"
    ),
    "ply-frames": Format(
        "ply_frames:write_frames",
        "",
        "PLY per Frame",
        "folder with static.ply and, for each frame with depth, a PLY file of what moves in it",
    ),
    "glb": Format(
        "glb:write_glb",
        ".glb",
        "glTF",
        "one binary glTF file, y up: points or a mesh, cameras as objects and as drawn frusta",
    ),
    "colmap": Format("colmap:write_model", "", "COLMAP", "folder with COLMAP's cameras.txt, images.txt, points3D.txt"),
    "transforms": Format(
        "transforms:write_transforms", "", "nerfstudio", "folder with nerfstudio's transforms.json and sparse.ply"
    ),
    "chan": Format(
        "chan:write_chan",
        ".chan",
        "Nuke Camera",
        "Nuke's camera file: frame, translation, rotation (order ZXY, y up), vertical angle",
    ),
    "jsx": Format(
        "after_effects:write_jsx",
        ".jsx",
        "After Effects",
        "After Effects script: composition, plate, camera keys, nulls at points",
    ),
    "poses": Format(
        "poses:write_poses",
        "",
        "Poses as Text",
        "folder with poses (TUM, 4x4 matrices), focals and intrinsics as text, all as JSON",
    ),
    "report": Format(
        "report:write_report",
        "",
        "Report",
        "folder with the solve's quality: report.json, a plot of the error per frame, a contact sheet with the points",
    ),
    "depth": Format(
        "depth:write_exr", "", "Depth as EXR", "folder with a 32-bit EXR depth and a PNG confidence per dense view"
    ),
    "depth-png": Format(
        "depth:write_png",
        "",
        "Depth as PNG",
        "folder with a 16-bit PNG depth (scale in depth.json) and a PNG confidence per view",
    ),
    "depth-npy": Format(
        "depth:write_npy", "", "Depth as Arrays", "folder with depth and confidence per dense view as NumPy arrays"
    ),
    "masks": Format(
        "masks:write_masks",
        "",
        "Masks of What Moves",
        "folder with a black and white PNG image for each frame, of the footage's size: white is what moves by itself",
    ),
    "undistorted": Format(
        "undistort:write_undistorted",
        "",
        "Undistorted Plates",
        "folder with the frames without lens distortion, and ST-maps (EXR) that take it away and bring it back",
    ),
}


def export_job(
    folder: str | os.PathLike[str],
    format_: str,
    out: str | os.PathLike[str],
    **options: bool | float | int | str | None,
) -> Path:
    """Write the job in another form to out (a file or a folder, as the format says); returns that path.

    options: the fields of ExportOptions. World axes and scale stay the job's own except where a format prescribes
    axes (chan, glb). A file appears whole or not at all; in a folder, only files that an earlier export wrote are
    replaced, and it stays as it was when the export fails.
    Raises EngineError: "usage" for an unknown format, an option out of its range or a folder with files of others in
    the way, "input" when the job lacks what is to be written, "machine" when it cannot be written.
    """
    from .folder import fill_folder

    if format_ not in FORMATS:
        raise EngineError("usage", f"There is no format {format_!r}.", f"Choose one of: {', '.join(sorted(FORMATS))}.")
    chosen = ExportOptions(**options)
    chosen.check()
    job = JobFolder.open(folder)
    result = job.read_cameras()
    if result is None or not result.solved:
        raise EngineError(
            "input", f"The job in {job.path} has no solved cameras.", "Reconstruct first; see the command info."
        )
    write, out = FORMATS[format_].load(), Path(out)
    try:
        if FORMATS[format_].is_folder:
            fill_folder(out, format_, lambda empty: write(job, result, empty, chosen))
        else:
            write(job, result, out, chosen)
    except OSError as error:
        raise EngineError(
            "machine", f"Cannot write to {out} ({error.strerror or error}).", "Choose another place or free disk space."
        ) from error
    return out
