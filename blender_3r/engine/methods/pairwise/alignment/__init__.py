"""Joins the pointmaps of pairs into one scene of posed views."""

from __future__ import annotations

import numpy as np

from ....errors import EngineError
from ..predictions import PairPredictions
from .clean import clean
from .connections import connected_parts, select_images
from .fast import align_fast
from .reference import align_reference
from .sampled import align_sampled
from .scene import AlignSettings, Check, Report, Scene, no_check, no_report
from .viewer import view_pair

__all__ = ["AlignSettings", "Scene", "align_pairs", "clean", "connected_parts", "view_pair"]


def align_pairs(
    predictions: PairPredictions,
    settings: AlignSettings | None = None,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> Scene:
    """The scene that pairs of images describe; see Scene for frames and units.

    One or two images are viewed in closed form unless poses or focals are known. Images that no convincing pair
    connects to the largest connected part are left out: named in Scene.left_out, with nan poses and focals and no
    depth. report(stage, done, total) and check_cancelled() are called at every step. Raises EngineError: "unsolved"
    when no two images connect, "usage" for contradicting settings.
    """
    settings = settings or AlignSettings()
    settings.check_known(predictions.count)
    if predictions.count == 1:
        return view_pair(predictions, settings.min_confidence)
    part = connected_parts(predictions, settings.joining_confidence, settings.joining_share)[0]
    if len(part) == predictions.count:
        return _align(predictions, settings, report, check_cancelled)
    if len(part) == 1:
        raise EngineError(
            "unsolved",
            "The images do not seem to show the same place: no two of them could be joined.",
            "Use images that overlap, or reconstruct each on its own.",
        )
    scene = _align(select_images(predictions, part), settings.select(part), report, check_cancelled)
    return _spread(scene, part, predictions.sizes)


def _align(predictions: PairPredictions, settings: AlignSettings, report: Report, check_cancelled: Check) -> Scene:
    nothing_known = settings.known_poses is None and settings.known_focals is None
    if predictions.count == 2 and nothing_known and not settings.shared_focal:
        return view_pair(predictions, settings.min_confidence)
    if settings.algorithm == "reference" or settings.start == "known_poses":
        return align_reference(predictions, settings, report, check_cancelled)
    if settings.algorithm == "sampled":
        return align_sampled(predictions, settings, report, check_cancelled)
    try:
        return align_fast(predictions, settings, report, check_cancelled)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise EngineError(
            "unsolved",
            "The pairs contradict each other so much that no scene fits them.",
            "Use images that overlap more, or the alignment global.",
        ) from error


def _spread(scene: Scene, part: list[int], sizes: list[tuple[int, int]]) -> Scene:
    """The scene of some images as a scene of all."""
    count = len(sizes)
    whole = Scene(
        world_from_camera=np.full((count, 4, 4), np.nan),
        focals=np.full(count, np.nan),
        principal_points=np.array([[width / 2, height / 2] for height, width in sizes]),
        depth=[np.zeros(size, dtype=np.float32) for size in sizes],
        confidence=[np.zeros(size, dtype=np.float32) for size in sizes],
        loss=scene.loss,
        left_out=[image for image in range(count) if image not in part],
    )
    for number, image in enumerate(part):
        whole.world_from_camera[image] = scene.world_from_camera[number]
        whole.focals[image] = scene.focals[number]
        whole.principal_points[image] = scene.principal_points[number]
        whole.depth[image], whole.confidence[image] = scene.depth[number], scene.confidence[number]
    return whole
