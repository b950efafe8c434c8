"""How an engine's world should first stand in Blender's: upright, floor at zero, of a handy size. NumPy only.

An engine's world has an arbitrary origin, direction and (unless metric) size. The guess is written on the root empty
only: clear the empty's location, rotation and scale, and the numbers of cameras.json are back.
"""

from __future__ import annotations

import numpy as np

from ..engine.reconstruction import Reconstruction
from .upright import find_up, held

TYPICAL_DEPTH = 5.0  # Blender units from camera to points, for worlds without a unit
EYE_HEIGHT = 1.7  # of a tripod's camera, when nothing else is known


def guess_placement(reconstruction: Reconstruction, points: np.ndarray | None) -> np.ndarray:
    """Blender's world from the engine's: 4x4 float64 of a rotation, one scale and a shift.

    points: (n, 3) in the engine's world, or None; some thousands are enough. Z is up, the first camera looks along
    +Y, the floor (or the lowest points) lies at z = 0 below the middle of the points. A metric world keeps its scale.
    """
    poses = np.array([reconstruction.views[i].world_from_camera for i in reconstruction.solved])
    depth = typical_depth(reconstruction, points)
    scale = TYPICAL_DEPTH / depth if depth and not reconstruction.metric else 1.0
    if points is None or len(points) < 10:
        rotation = _upright(held(poses).up, poses[0])
        origin = rotation @ poses[0, :3, 3] - [0, 0, EYE_HEIGHT / scale]
    else:
        points = points.astype(np.float64)
        up, height = find_up(points, poses, 0.01 * (depth or 1.0))
        rotation = _upright(up, poses[0])
        turned = points @ rotation.T
        height = np.percentile(turned[:, 2], 2.0) if height is None else height
        origin = np.array([*np.median(turned[:, :2], axis=0), height])
    placement = np.eye(4)
    placement[:3, :3] = scale * rotation
    placement[:3, 3] = -scale * origin
    return placement


def typical_depth(reconstruction: Reconstruction, points: np.ndarray | None) -> float | None:
    """Median depth of the points seen by some of the cameras; without points the extent of the camera path."""
    solved = reconstruction.solved
    views = [reconstruction.views[i] for i in solved[:: max(1, len(solved) // 16)]]
    depths = []
    for view in views if points is not None else ():
        local = (points - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
        lens = view.intrinsics
        with np.errstate(divide="ignore", invalid="ignore"):
            x = local[:, 0] / local[:, 2] * lens.fx + lens.cx
            y = local[:, 1] / local[:, 2] * lens.fy + lens.cy
        seen = (local[:, 2] > 0) & (x >= 0) & (x <= lens.width) & (y >= 0) & (y <= lens.height)
        depths.append(local[seen, 2])
    seen = np.concatenate(depths) if depths else np.empty(0)
    if len(seen):
        return float(np.median(seen))
    centres = np.array([reconstruction.views[i].world_from_camera[:3, 3] for i in solved])
    extent = float(np.linalg.norm(np.ptp(centres, axis=0)))
    return extent if extent > 0 else None


def _upright(up: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that turns up to +Z and the camera's view to +Y; a camera looking down points +Y up."""
    ahead = pose[:3, 2] - (pose[:3, 2] @ up) * up
    if np.linalg.norm(ahead) < 0.1:
        ahead = -pose[:3, 1] + (pose[:3, 1] @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.array([np.cross(ahead, up), ahead, up])
