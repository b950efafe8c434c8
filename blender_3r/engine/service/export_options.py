"""The command export: what it can be told, and what it does."""

from __future__ import annotations

import argparse

from .. import errors
from ..export import FORMATS, ExportOptions, export_job


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command export, and the list of formats."""
    default = ExportOptions()
    parser.add_argument("job", metavar="JOB", help="the job folder")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="see below")
    parser.add_argument("--out", required=True, metavar="PATH", help="file (ply, glb, chan, jsx) or folder (others)")
    parser.add_argument("--images", action="store_true", help="write the frames too (colmap, transforms)")
    parser.add_argument(
        "--undistorted",
        action="store_true",
        help="write the frames without lens distortion, and cameras that have none (colmap, transforms)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=default.min_confidence,
        metavar="C",
        help="drop dense points whose confidence is below C, 0..1 (ply, glb, depth...; default: keep all)",
    )
    parser.add_argument("--points", type=int, metavar="N", help="at most so many points or vertices of a surface")
    parser.add_argument(
        "--voxel", type=float, metavar="SIZE", help="one point per cube of that edge, in scene units (ply, glb)"
    )
    parser.add_argument(
        "--moving",
        default=default.moving,
        metavar="static|all|only|N",
        help="what of footage that moves by itself is there: nothing (static), everything of all frames (all) and "
        "nothing else (only), or that of frame N (ply, ply-frames, glb; default: static)",
    )
    parser.add_argument("--mesh", action="store_true", help="a surface per dense view instead of points (glb)")
    parser.add_argument(
        "--edge-angle",
        type=float,
        default=default.edge_angle,
        metavar="DEG",
        help="cut the surface where its camera would see it at a flatter angle: at depth edges "
        f"(default: {default.edge_angle:g})",
    )
    parser.add_argument(
        "--frusta",
        type=float,
        default=default.frusta,
        metavar="SHARE",
        help="length of the drawn cameras, as a share of the typical depth; 0: none "
        f"(glb; default: {default.frusta:g})",
    )
    parser.add_argument(
        "--confidence-bits",
        type=int,
        choices=(8, 16, 32),
        default=default.confidence_bits,
        help=f"of confidence images; 32: EXR (depth, depth-png; default: {default.confidence_bits})",
    )
    parser.add_argument(
        "--depth-scale",
        type=float,
        metavar="K",
        help="steps of a 16-bit image per scene unit (depth-png; default: 1000 where the scene is in metres and they "
        "reach, else what makes the best of 16 bits)",
    )
    listed = "\n".join(f"  {name:11} {format_.text}" for name, format_ in sorted(FORMATS.items()))
    parser.epilog = f"formats:\n{listed}\n\n{parser.epilog}"


def run_command(options: argparse.Namespace) -> int:
    """Write a job's result in another form."""
    written = export_job(
        options.job,
        options.format,
        options.out,
        images=options.images,
        undistorted=options.undistorted,
        min_confidence=options.min_confidence,
        points=options.points,
        voxel=options.voxel,
        mesh=options.mesh,
        edge_angle=options.edge_angle,
        frusta=options.frusta,
        confidence_bits=options.confidence_bits,
        depth_scale=options.depth_scale,
        moving=int(options.moving) if options.moving.lstrip("-").isdigit() else options.moving,
    )
    print(f"Wrote {written}")
    return errors.EXIT_OK
