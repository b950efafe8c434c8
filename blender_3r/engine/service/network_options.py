"""What all methods with a network can be told on the command line; their own groups stand in modules beside."""

from __future__ import annotations

import argparse
from typing import Any

from . import multiview_options, pairwise_options, streaming_options
from .settings import absolute_path

METHODS = (pairwise_options, streaming_options, multiview_options)  # each with add_options() and chosen_settings()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the group of all networks, and those of the methods, to the options of the command reconstruct."""
    group = parser.add_argument_group("methods with a network", "The method classic ignores these.")
    group.add_argument(
        "--model",
        metavar="ID",
        help="the weights, see the command models (default: mast3r-512 for pairwise, wint3r-512 for streaming, vggt-1b "
        "for multiview)",
    )
    group.add_argument(
        "--weights", metavar="PATH", help="a checkpoint of your own, for the network of --model (.safetensors, .pth)"
    )
    group.add_argument(
        "--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps (default: the fastest there is)"
    )
    group.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="in which the network computes; its heads always take float32 (default: bfloat16 on graphics cards that "
        "have it, float32 on the CPU)",
    )
    group.add_argument(
        "--memory", type=float, metavar="GB", help="how much memory may be used (default: what is free, less a reserve)"
    )
    group.add_argument(
        "--allow-smaller",
        action="store_true",
        help="when memory does not do, begin again with smaller images instead of failing (pairwise: 224 pixels, cut "
        "square)",
    )
    group.add_argument(
        "--refine",
        action="store_true",
        help="afterwards follow points through the footage (in photos: match them) and adjust the cameras until they "
        "stick, as classic does from --poses; depth is scaled to the points. Without enough points the network's "
        "cameras stay",
    )
    for method in METHODS:
        method.add_options(parser)


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a request, None where nothing was said."""
    found = {
        "model": options.model,
        "weights": absolute_path(options.weights),
        "device": options.device,
        "precision": options.precision,
        "memory_gb": options.memory,
        "allow_smaller": True if options.allow_smaller else None,
        "refine": True if options.refine else None,
    }
    for method in METHODS:
        found.update(method.chosen_settings(options))
    return found
