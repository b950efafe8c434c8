"""The multi-view method's part of the command line."""

from __future__ import annotations

import argparse
from typing import Any

from .settings import absolute_path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add a group with the options of the method to those of the command reconstruct."""
    group = parser.add_argument_group(
        "method multiview",
        "What multiview can be told besides; of pairwise it knows --image-size (long side in pixels; MV-DUSt3R takes "
        "its own), --min-confidence (here 0 to 1, in place of the model's own rule; 0 keeps all) and --poses (Pi3X).",
    )
    group.add_argument(
        "--chunk-size",
        type=int,
        metavar="N",
        help="images in one pass (default: all that the memory takes); more images go in chunks, which are joined",
    )
    group.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="images that neighbouring chunks share (default: a quarter of a chunk, from 2 to 8)",
    )
    group.add_argument(
        "--head",
        choices=("auto", "depth", "points"),
        help="VGGT: where depth comes from, its depth head or its point head; Fast3R: points shows what its global "
        "head says alone (default: VGGT depth, Fast3R the sharper points of its local head, moved to the global ones)",
    )
    group.add_argument(
        "--depth-maps",
        metavar="PATH",
        help="Pi3X: known depth along z, 0 = not known: a job folder, or a folder with NAME.npy or NAME.exr",
    )
    group.add_argument(
        "--learned-tracks",
        action="store_true",
        help="VGGT: the network follows points through the images, and the cameras are adjusted to them; takes some "
        "more passes. Where the pictures have texture, --refine is more precise",
    )


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a request, None where nothing was said."""
    return {
        "chunk_size": options.chunk_size,
        "overlap": options.overlap,
        "head": options.head,
        "depth_maps": absolute_path(options.depth_maps),
        "learned_tracks": True if options.learned_tracks else None,
    }
