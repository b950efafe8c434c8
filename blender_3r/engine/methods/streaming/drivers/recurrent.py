"""What CUT3R's and Point3R's drivers share: a view with two sets of points and a pose to what is told of it."""

from __future__ import annotations

import numpy as np

from ....geometry.poses import poses_from_encoding
from ....geometry.similarity import Similarity, fit_similarity
from ....models.outputs import StreamPrediction
from .finished import Finished, focal_of, to_numpy

STRIDE = 2  # pixels; of the points from which a camera is taken
IDENTITY = Similarity(np.float64(1.0), np.eye(3), np.zeros(3))


def finished_view(number: int, prediction: StreamPrediction, camera_from: str | None, world: Similarity) -> Finished:
    """camera_from: see Options. world: from the sequence's world and scale to the stream's."""
    points, confidence = to_numpy(prediction.own_points[0]), to_numpy(prediction.own_confidence[0])
    pose = camera_of(prediction, camera_from)
    if pose is not None:
        pose = world.move_cameras(pose)
    return Finished(number, pose, points * np.float32(world.scale), confidence, focal_of(points))


def camera_of(prediction: StreamPrediction, camera_from: str | None) -> np.ndarray | None:
    """world_from_camera (4, 4) in the sequence's own world, None if it is not finite."""
    if camera_from != "points":
        pose = poses_from_encoding(to_numpy(prediction.pose[0]), "wxyz")
    else:
        parts = (prediction.own_points, prediction.world_points)
        own, world = (to_numpy(part[0, ::STRIDE, ::STRIDE]).reshape(-1, 3) for part in parts)
        sureness = (prediction.own_confidence, prediction.world_confidence)
        weights = np.prod([np.log(to_numpy(part[0, ::STRIDE, ::STRIDE]).ravel()) for part in sureness], axis=0)
        fitted = fit_similarity(own, world, weights, rigid=True)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = fitted.rotation, fitted.translation
    return pose if np.isfinite(pose).all() else None
