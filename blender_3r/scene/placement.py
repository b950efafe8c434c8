"""How an engine's world should first stand in Blender's: upright, floor at zero, of a handy size. NumPy only.

An engine's world has an arbitrary origin, direction and (unless metric) size. The guess is written on the root empty
only: clear the empty's location, rotation and scale, and the numbers of cameras.json are back.
"""

from __future__ import annotations

import numpy as np

from ..engine.reconstruction import Reconstruction

TYPICAL_DEPTH = 5.0  # Blender units from camera to points, for worlds without a unit
EYE_HEIGHT = 1.7  # of a tripod's camera, when nothing else is known
LARGEST_TILT_DEG = 20.0  # between the cameras' guess of up and a floor's normal
_TRIALS = 1000


def guess_placement(reconstruction: Reconstruction, points: np.ndarray | None) -> np.ndarray:
    """Blender's world from the engine's: 4x4 float64 of a rotation, one scale and a shift.

    points: (n, 3) in the engine's world, or None; some thousands are enough. Z is up, the first camera looks along
    +Y, the floor (or the lowest points) lies at z = 0 below the middle of the points. A metric world keeps its scale.
    """
    poses = np.array([reconstruction.views[i].world_from_camera for i in reconstruction.solved])
    up = up_of_cameras(poses)
    depth = typical_depth(reconstruction, points)
    scale = TYPICAL_DEPTH / depth if depth and not reconstruction.metric else 1.0
    if points is None or len(points) < 10:
        rotation = _upright(up, poses[0])
        origin = rotation @ poses[0, :3, 3] - [0, 0, EYE_HEIGHT / scale]
    else:
        points = points.astype(np.float64)
        floor = find_floor(points, poses[:, :3, 3], up, 0.01 * (depth or 1.0))
        rotation = _upright(floor[0] if floor else up, poses[0])
        turned = points @ rotation.T
        height = floor[1] if floor else np.percentile(turned[:, 2], 2.0)
        origin = np.array([*np.median(turned[:, :2], axis=0), height])
    placement = np.eye(4)
    placement[:3, :3] = scale * rotation
    placement[:3, 3] = -scale * origin
    return placement


def up_of_cameras(poses: np.ndarray) -> np.ndarray:
    """The unit vector (3,) that is up, from camera-to-world poses (n, 4, 4).

    People hold cameras level: up is square to every camera's x axis. Where those axes all agree they say nothing of
    the pitch, so a little weight goes to cameras looking straight ahead.
    """
    across, ahead = poses[:, :3, 0], poses[:, :3, 2]
    _, vectors = np.linalg.eigh(across.T @ across + 0.02 * ahead.T @ ahead)
    up = vectors[:, 0]
    return up if up @ -poses[:, :3, 1].sum(axis=0) >= 0 else -up


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


def find_floor(
    points: np.ndarray, centres: np.ndarray, up: np.ndarray, tolerance: float
) -> tuple[np.ndarray, float] | None:
    """The lowest large plane below the cameras: (unit normal (3,) near up, height along it), or None.

    points (n, 3), camera centres (m, 3), tolerance: distance at which a point still belongs to the plane.
    """
    low = points[points @ up < np.median(centres @ up)]
    if len(low) < 30:
        return None
    trios = low[np.random.default_rng(0).integers(0, len(low), (_TRIALS, 3))]
    normals = np.cross(trios[:, 1] - trios[:, 0], trios[:, 2] - trios[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals /= np.where(lengths > 0, lengths, 1)[:, None]
    normals *= np.where(normals @ up < 0, -1, 1)[:, None]
    upright = (normals @ up > np.cos(np.radians(LARGEST_TILT_DEG))) & (lengths > 0)
    normals, heights = normals[upright], np.einsum("ij,ij->i", normals, trios[:, 0])[upright]
    if len(normals) == 0:
        return None
    distance = normals @ points.T - heights[:, None]
    on = (np.abs(distance) < tolerance).sum(axis=1)
    under = (distance < -3 * tolerance).sum(axis=1)
    on = np.where(under < 0.05 * len(points), on, 0)
    best = int(np.argmax(on))
    if on[best] < max(30, 0.05 * len(points)):
        return None
    members = points[np.abs(distance[best]) < tolerance]
    normal = np.linalg.svd(members - members.mean(axis=0), full_matrices=False)[2][2]
    normal = normal if normal @ up > 0 else -normal
    if normal @ up < np.cos(np.radians(LARGEST_TILT_DEG)):
        return None
    return normal, float(np.median(members @ normal))


def _upright(up: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that turns up to +Z and the camera's view to +Y; a camera looking down points +Y up."""
    ahead = pose[:3, 2] - (pose[:3, 2] @ up) * up
    if np.linalg.norm(ahead) < 0.1:
        ahead = -pose[:3, 1] + (pose[:3, 1] @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.array([np.cross(ahead, up), ahead, up])
