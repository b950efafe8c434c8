"""A camera as nine numbers, as VGGT predicts it.

Source: specs/vggt.md section 4. Pixels: the first pixel's centre at 0, the picture's middle at (W / 2, H / 2).
"""

from __future__ import annotations

import numpy as np

from .poses import poses_from_encoding


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations to unit quaternions (..., 4), (x, y, z, w) with w not negative."""
    m = np.asarray(rotation, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # Four times the product of each number with all four; the row of the largest is the most precise.
    squares = np.stack([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz], axis=-1)
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    xw, yw, zw = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    rows = np.stack(
        [
            np.stack([squares[..., 0], xy, xz, xw], axis=-1),
            np.stack([xy, squares[..., 1], yz, yw], axis=-1),
            np.stack([xz, yz, squares[..., 2], zw], axis=-1),
            np.stack([xw, yw, zw, squares[..., 3]], axis=-1),
        ],
        axis=-2,
    )
    best = squares.argmax(axis=-1)[..., None, None]
    quaternion = np.take_along_axis(rows, best, axis=-2)[..., 0, :]
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
    return np.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def encode_pose(camera_from_world: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cameras (..., 3 or 4, 4) and pinhole matrices (..., 3, 3) for pictures of (H, W) to (..., 9) numbers:
    translation, quaternion (x, y, z, w), vertical and horizontal field of view in radians.
    """
    camera_from_world, intrinsics = np.asarray(camera_from_world, float), np.asarray(intrinsics, float)
    height, width = size
    fields = [2 * np.arctan(height / 2 / intrinsics[..., 1, 1]), 2 * np.arctan(width / 2 / intrinsics[..., 0, 0])]
    quaternion = quaternion_from_rotation(camera_from_world[..., :3, :3])
    return np.concatenate([camera_from_world[..., :3, 3], quaternion, np.stack(fields, axis=-1)], axis=-1)


def decode_pose(encoding: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of encode_pose(), for quaternions of any length: camera_from_world (..., 4, 4), and pinhole matrices
    (..., 3, 3) with the principal point in the middle. A field of view of 0 gives an infinite focal length.
    """
    encoding = np.asarray(encoding, dtype=np.float64)
    height, width = size
    camera_from_world = poses_from_encoding(encoding[..., :7], "xyzw")
    intrinsics = np.zeros((*encoding.shape[:-1], 3, 3))
    with np.errstate(divide="ignore"):
        intrinsics[..., 0, 0] = width / 2 / np.tan(encoding[..., 8] / 2)
        intrinsics[..., 1, 1] = height / 2 / np.tan(encoding[..., 7] / 2)
    intrinsics[..., 0, 2], intrinsics[..., 1, 2], intrinsics[..., 2, 2] = width / 2, height / 2, 1.0
    return camera_from_world, intrinsics


def unproject_depth(depth: np.ndarray, intrinsics: np.ndarray, camera_from_world: np.ndarray) -> np.ndarray:
    """World points (..., H, W, 3) of depth maps (..., H, W), measured along z, seen by those cameras.

    intrinsics: (..., 3, 3), camera_from_world: (..., 4, 4) rigid.
    """
    height, width = depth.shape[-2:]
    focal = intrinsics[..., [0, 1], [0, 1]][..., None, None, :]
    center = intrinsics[..., [0, 1], [2, 2]][..., None, None, :]
    rows, columns = np.indices((height, width), dtype=np.float64)
    rays = (np.stack([columns, rows], axis=-1) - center) / focal
    points = np.concatenate([rays * depth[..., None], depth[..., None]], axis=-1)
    rotation, translation = camera_from_world[..., :3, :3], camera_from_world[..., :3, 3]
    return (points - translation[..., None, None, :]) @ rotation[..., None, :, :]
