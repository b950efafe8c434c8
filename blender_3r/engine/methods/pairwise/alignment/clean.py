"""What of a scene is not to be trusted: points in front of what others see, the sky, low confidence.

Source: specs/dust3r.md section 5.9.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .scene import Check, Report, Scene, no_check, no_report
from .sight import Patches

STAGE = "Comparing views"
TOLERANCE = 0.001
SKY_KERNEL = 5


def clean(
    scene: Scene,
    tolerance: float = TOLERANCE,
    bad_confidence: float = 0.0,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> Scene:
    """The scene with the confidence of points lowered that float in front of a surface another view is surer of.

    Images that were left out take no part. tolerance and bad_confidence: see clean_confidences. report is told of
    every image, check_cancelled asked for every two of them.
    """
    used = [image for image in range(scene.count) if np.isfinite(scene.world_from_camera[image]).all()]
    cleaned = clean_confidences(
        [scene.confidence[image] for image in used],
        [scene.depth[image] for image in used],
        [scene.world_points(image) for image in used],
        scene.intrinsics[used],
        scene.world_from_camera[used],
        tolerance,
        bad_confidence,
        report,
        check_cancelled,
    )
    confidence = list(scene.confidence)
    for image, values in zip(used, cleaned):
        confidence[image] = values
    return replace(scene, confidence=confidence)


def clean_confidences(
    confidence: list[np.ndarray],
    depth: list[np.ndarray],
    points: list[np.ndarray],
    intrinsics: np.ndarray,
    world_from_camera: np.ndarray,
    tolerance: float = TOLERANCE,
    bad_confidence: float = 0.0,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> list[np.ndarray]:
    """Confidences (H, W) where points that contradict another view have at most bad_confidence.

    depth: (H, W) and points: (H, W, 3) in the world, per image. intrinsics: (n, 3, 3), the first pixel's centre at 0.
    A point of image i contradicts image j when it lies in front of j's depth at its pixel by more than the share
    tolerance and has less confidence than that pixel. Images are compared one after the other, with what is left of
    their confidences by then. Of the points only those are looked at that have confidence to lose and lie in patches
    that j may see, so views that see little of each other cost little.
    """
    cleaned = [np.array(values, dtype=np.float32, order="C") for values in confidence]
    camera_from_world = np.linalg.inv(np.asarray(world_from_camera, dtype=np.float64)).astype(np.float32)
    lenses = np.asarray(intrinsics, dtype=np.float32)
    nearer = [(1.0 - tolerance) * values for values in depth]
    # A little more, for rounding.
    farthest = [1.0001 * float(np.max(values, initial=0.0, where=~np.isnan(values))) for values in nearer]
    for i, mine in enumerate(cleaned):
        report(STAGE, i, len(cleaned))
        own = np.asarray(points[i], dtype=np.float32)
        patches = Patches.around(own, mine > bad_confidence)
        flat, certain = own.reshape(-1, 3), mine.reshape(-1)
        for j, theirs in enumerate(cleaned):
            if i == j:
                continue
            check_cancelled()
            pose = camera_from_world[j]
            seen = patches.seen(pose, lenses[j], theirs.shape, farthest[j])
            looked_at = np.flatnonzero(seen[patches.of_pixel] & (certain > bad_confidence))
            local = flat[looked_at] @ pose[:3, :3].T + pose[:3, 3]
            inside, row, column = _pixels(local, lenses[j], theirs.shape)
            chosen = looked_at[inside]
            contradicts = (local[inside, 2] < nearer[j][row, column]) & (certain[chosen] < theirs[row, column])
            certain[chosen[contradicts]] = np.float32(bad_confidence)
    return cleaned


def _pixels(local: np.ndarray, lens: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(points in front of the camera and inside the image (n,) bool, their rows, their columns)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        image = local @ lens.T
        xy = np.rint(image[:, :2] / image[:, 2:])  # half to even
        inside = (local[:, 2] > 0) & (xy >= 0).all(axis=1) & (xy[:, 0] < size[1]) & (xy[:, 1] < size[0])
    column, row = xy[inside].astype(np.int64).T
    return inside, row, column


def sky_mask(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: what looks like sky in an RGB image (H, W, 3) uint8, by colour and size.

    The published rule reads the image as BGR; so do we, its thresholds are made for that.
    """
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    mask = (hue <= 30) & (value >= 100)
    for saturation_below, value_above in ((10, 150), (30, 180), (50, 220)):
        mask |= (saturation < saturation_below) & (value > value_above)
    kernel = np.ones((SKY_KERNEL, SKY_KERNEL), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(opened)
    if count == 1:
        return np.zeros(image.shape[:2], dtype=bool)
    areas = facts[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the background
    return (areas > areas.max() / 2)[labels]


def remove_sky(scene: Scene, images: list[np.ndarray]) -> Scene:
    """The scene with confidence 0 in the sky; images: (H, W, 3) uint8 RGB at the size of the depth maps."""
    confidence = [np.where(sky_mask(image), np.float32(0.0), values) for image, values in zip(images, scene.confidence)]
    return replace(scene, confidence=confidence)


def trusted(scene: Scene, min_confidence: float) -> list[np.ndarray]:
    """(H, W) bool per image: pixels above this confidence (the published demo gives the log of its slider here)."""
    return [values > min_confidence for values in scene.confidence]
