"""The pairwise method's part of the command line."""

from __future__ import annotations

import argparse
from typing import Any

from .settings import absolute_path

_GRAPHS = (
    "which images are paired: complete (all, the default for up to 16), swin-W (each with the W next; the default for "
    "footage, W = 5), logwin-W (1, 2, 4, ... on, W of them; the default for many photos without retrieval weights), "
    "oneref-R (all with image R), swinstride-W, swin2stride-W, swinskip_start-W (windows with gaps), each over the "
    "ends of the row unless -noncyclic follows; retrieval-N-K (N key images and the K most similar of each image, "
    "needs the weights mast3r-retrieval)"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add a group with the options of the method to those of the command reconstruct."""
    group = parser.add_argument_group("method pairwise", "What pairwise can be told besides.")
    group.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help="long side of what the network sees, 512 or 224 (square); default: what the model was trained for",
    )
    group.add_argument("--scene-graph", metavar="GRAPH", help=_GRAPHS)
    group.add_argument(
        "--alignment",
        choices=("auto", "global", "optimal", "sparse", "reference"),
        help="how pairs become one scene: global (DUSt3R's published optimisation on a grid of the pixels, then the "
        "depth of all; on to the minimum where it ends far from that), reference (the published one on all pixels: "
        "many times slower, four times the memory), optimal (the minimum of the same loss, where the published one "
        "would end with more steps; fastest), sparse (matches and a sum per image, a fifth of the memory; MASt3R "
        "models); auto takes sparse for MASt3R models and global for others. One image or two need none",
    )
    group.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help="steps of the global and the reference alignment, and of each of the two stages of the sparse one "
        "(default: 300; 100 for quality draft, 500 for fine). The optimal alignment stops by itself",
    )
    group.add_argument(
        "--schedule",
        choices=("cosine", "linear"),
        help="how the step size of the global and the reference alignment falls (default: cosine)",
    )
    group.add_argument(
        "--min-confidence",
        type=float,
        metavar="C",
        help="drop points of which the network is less sure; its scale begins at 1 (default: 1.1, sparse 2.5; "
        "0 keeps all, points that hide what other views see too)",
    )
    group.add_argument(
        "--no-clean", action="store_true", help="keep the confidence of points that hide what other views see"
    )
    group.add_argument(
        "--poses",
        metavar="FILE",
        help="known camera poses, in the form of cameras.json; of two images at least, missing ones are solved. With "
        "--method classic a start that is refined, and a job folder of any method does too",
    )
    group.add_argument(
        "--hold-poses",
        action="store_true",
        help="keep the cameras of --poses as they are, lens and all; others are placed by the points (classic)",
    )


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a request, None where nothing was said."""
    return {
        "image_size": options.image_size,
        "scene_graph": options.scene_graph,
        "alignment": options.alignment,
        "iterations": options.iterations,
        "schedule": options.schedule,
        "min_confidence": options.min_confidence,
        "clean": False if options.no_clean else None,
        "poses": absolute_path(options.poses),
        "hold_poses": True if options.hold_poses else None,
    }
