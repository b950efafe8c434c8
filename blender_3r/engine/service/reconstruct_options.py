"""What the command reconstruct can be told, whatever the method."""

from __future__ import annotations

import argparse
from typing import Any

from ..source import KINDS
from . import network_options
from .moving import AUTO, OFF
from .settings import absolute_path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command reconstruct, those of the methods among them."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="a movie, a folder of images, one image of a numbered sequence, or several files",
    )
    parser.add_argument("--out", required=True, metavar="JOB", help="the job folder; an interrupted job there goes on")
    parser.add_argument(
        "--method",
        default="auto",
        metavar="NAME",
        help="one of the command methods, or auto (the default): by the source, the weights that are here, their "
        "licences and the memory",
    )
    parser.add_argument("--kind", choices=KINDS, help="what the source is, where the names mislead")
    parser.add_argument("--first", type=int, metavar="N", help="first frame (a movie counts from 0)")
    parser.add_argument("--last", type=int, metavar="N", help="last frame, included")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="take every N-th frame")
    parser.add_argument("--rig-frame", type=int, metavar="N", help="the frame taken from every movie of a rig")
    parser.add_argument("--focal", type=float, metavar="PX", help="known focal length in pixels of the image width")
    parser.add_argument("--intrinsics", metavar="FILE", help="known cameras, in the form of cameras.json")
    parser.add_argument(
        "--lens", choices=("auto", "shared", "zoom"), help="one focal, or one per frame (default: auto)"
    )
    parser.add_argument(
        "--mask",
        metavar="PATH",
        help="what is to be left alone, white: a folder of images or one image of a sequence, numbered or named as the "
        "frames are, a movie, or one image for all frames; or the word alpha: what is transparent in the footage "
        "(classic)",
    )
    parser.add_argument(
        "--tracks", metavar="JOB", help="take the tracks of another job of this footage, a network's too (classic)"
    )
    parser.add_argument(
        "--depth-prior",
        metavar="JOB|PATH|model",
        help="footage: hold the scale to the depth of another job, or of files as the exports of depth write them; "
        "with --refine the word model: to the network's own. For stretches with few points to follow",
    )
    parser.add_argument(
        "--distortion",
        choices=("auto", "none", "k1", "k1k2", "full"),
        help="what is found of it in footage; full: k1 k2 p1 p2 (classic; default: auto, k1 and k2 where the footage "
        "calls for them)",
    )
    parser.add_argument(
        "--center",
        choices=("auto", "fixed", "free"),
        help="the lens's principal point in footage: found where there is no doubt that it is not in the middle "
        "(auto, the default), held in the middle, or always found (classic)",
    )
    parser.add_argument("--mask-invert", action="store_true", help="black is left alone, white is used")
    parser.add_argument(
        "--moving",
        metavar="auto|off|PATH",
        help="footage: what moves by itself, and is there at its own frame only: found in depth and tracks (auto, the "
        "default), not asked about (off), or white in masks as of --mask",
    )
    parser.add_argument("--quality", choices=("draft", "normal", "fine"), help="default: normal")
    parser.add_argument("--no-dense", action="store_true", help="cameras and sparse points only")
    parser.add_argument("--points", type=int, metavar="N", help="how many dense points to aim for")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--restart", action="store_true", help="forget what the job folder holds")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    network_options.add_options(parser)


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a request, None where nothing was said."""
    return {
        "quality": options.quality,
        "lens": options.lens,
        "focal_px": options.focal,
        "dense": False if options.no_dense else None,
        "points": options.points,
        "intrinsics": absolute_path(options.intrinsics),
        "threads": options.threads,
        "mask": options.mask if options.mask == "alpha" else absolute_path(options.mask),
        "mask_invert": True if options.mask_invert else None,
        "moving": options.moving if options.moving in (None, AUTO, OFF) else absolute_path(options.moving),
        "tracks": absolute_path(options.tracks),
        "depth_prior": options.depth_prior if options.depth_prior == "model" else absolute_path(options.depth_prior),
        "distortion": options.distortion,
        "center": options.center,
        **network_options.chosen_settings(options),
    }
