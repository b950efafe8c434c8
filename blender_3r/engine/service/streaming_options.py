"""The streaming method's part of the command line."""

from __future__ import annotations

import argparse
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add a group with the options of the method to those of the command reconstruct."""
    group = parser.add_argument_group("method streaming", "What streaming can be told besides.")
    group.add_argument(
        "--every",
        type=int,
        metavar="N",
        help="only every N-th frame (and the last) goes through the network; cameras between are interpolated, marked "
        "so, and have no points",
    )
    group.add_argument(
        "--camera-from",
        choices=("head", "points"),
        help="CUT3R and Point3R: the camera as the network says it, or as its two sets of points place it "
        "(default: head)",
    )
    group.add_argument(
        "--revisit",
        type=int,
        metavar="N",
        help="CUT3R and Point3R: go through the frames N times; each pass corrects the one before (default: 1)",
    )
    group.add_argument(
        "--frozen-revisit", action="store_true", help="CUT3R: passes after the first leave the state as it is"
    )
    group.add_argument(
        "--reset-every",
        type=int,
        metavar="N",
        help="CUT3R: begin with a new state after every N frames, joined by the frame that both have seen: against "
        "drift in very long shots (default: never)",
    )
    group.add_argument(
        "--keep-all-pointers",
        action="store_true",
        help="Point3R: new pointers never join old ones nearby; memory grows with every frame",
    )
    group.add_argument(
        "--merge-units",
        type=float,
        metavar="U",
        help="Point3R: pointers join when nearer to each other than the scene's diagonal by U (default: 20)",
    )
    group.add_argument("--memory-frames", type=int, metavar="N", help="Spann3R: frames of working memory (default: 5)")
    group.add_argument(
        "--memory-tokens",
        type=int,
        metavar="N",
        help="Spann3R: tokens that long-term memory keeps; 0: working memory only (default: 4000)",
    )
    group.add_argument(
        "--attention-threshold",
        type=float,
        metavar="A",
        help="Spann3R: what is remembered with less weight is not read, 0..1 (default: 0.0005)",
    )
    group.add_argument(
        "--similarity-threshold",
        type=float,
        metavar="S",
        help="Spann3R: frames more similar to a recent one are not remembered, 0..1; 1: all are (default: 0.95)",
    )
    group.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="WinT3R: frames of a window, an even number; windows overlap by half (default: 4, as it was trained)",
    )


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a request, None where nothing was said."""
    return {
        "every": options.every,
        "camera_from": options.camera_from,
        "revisit": options.revisit,
        "revisit_update": False if options.frozen_revisit else None,
        "reset_every": options.reset_every,
        "merge_pointers": False if options.keep_all_pointers else None,
        "merge_units": options.merge_units,
        "memory_frames": options.memory_frames,
        "memory_tokens": options.memory_tokens,
        "attention_threshold": options.attention_threshold,
        "similarity_threshold": options.similarity_threshold,
        "window": options.window,
    }
