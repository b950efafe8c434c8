"""The command surface: its options, and what it does."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .. import errors
from ..jobfolder import JobFolder
from ..surfaces.settings import DETAIL, FACES, SurfaceSettings

WISHES = ("detail", "voxel", "faces", "min_confidence", "specks", "texture", "moving")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command surface."""
    default = SurfaceSettings()
    parser.add_argument("job", metavar="JOB", help="the job folder; the surface is kept in it, too")
    parser.add_argument("--out", metavar="FILE", help="also write it to a file: .ply or .glb")
    parser.add_argument(
        "--detail",
        choices=tuple(DETAIL),
        default=default.detail,
        help=f"voxels of {DETAIL['draft']:g}, {DETAIL['normal']:g} or {DETAIL['fine']:g} pixels of the depth maps at "
        f"the typical depth (default: {default.detail})",
    )
    parser.add_argument("--voxel", type=float, metavar="SIZE", help="size of a voxel in scene units, instead of that")
    parser.add_argument(
        "--faces", type=int, default=FACES, metavar="N", help=f"at most so many faces, 0: all (default: {FACES})"
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=default.min_confidence,
        metavar="C",
        help=f"leave out depth below C, 0..1 (default: {default.min_confidence:g})",
    )
    parser.add_argument(
        "--specks",
        type=float,
        default=default.specks,
        metavar="SHARE",
        help=f"leave out connected parts smaller than this share of the largest, 0..1 (default: {default.specks:g})",
    )
    parser.add_argument(
        "--texture",
        type=int,
        metavar="SIZE",
        help="also a texture of SIZE x SIZE, composed of the original frames, e.g. 4096 (default: none)",
    )
    parser.add_argument(
        "--moving", action="store_true", help="fuse what moves by itself as if it stood (default: leave it out)"
    )
    parser.add_argument("--memory", type=float, metavar="GB", help="how much may be used (default: what is free)")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")


def run_command(options: argparse.Namespace) -> int:
    """The command surface: make it, then write it out."""
    from ..surfaces.store import check_out, write_out
    from .console import on_console
    from .surface import run_surface

    out = check_out(Path(options.out)) if options.out else None
    settings = {name: getattr(options, name) for name in WISHES} | {"memory_gb": options.memory}
    folder = Path(options.job)
    summary = on_console(
        lambda report, is_cancelled: run_surface(folder, settings, report, is_cancelled), folder, options.debug
    )
    if out is not None:
        write_out(JobFolder.open(folder), out)
    if options.json:
        print(json.dumps({"status": "done", "job": str(folder.absolute()), **summary}))
        return errors.EXIT_OK
    print(summary["text"])
    for warning in summary["warnings"]:
        print(f"Note: {warning}")
    if out is not None:
        print(f"Wrote {out}")
    return errors.EXIT_OK
