"""Cameras between cameras: where they were at times at which nobody looked."""

from __future__ import annotations

import numpy as np

from .pose_encoding import quaternion_from_rotation
from .quaternions import rotation_from_quaternion


def interpolate_poses(times: np.ndarray, poses: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Poses (m, 4, 4) at the wanted times (m,), all within times: centres on a cubic, turns at even speed (slerp).

    times: (n,) ascending, n at least 1; poses: (n, 4, 4) rigid. The cubic through two centres leaves and arrives along
    the line between the neighbours (Catmull and Rom, A class of local interpolating splines, 1974, for uneven times).
    Raises ValueError for times outside.
    """
    times, wanted = np.asarray(times, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if len(wanted) and (wanted.min() < times[0] or wanted.max() > times[-1]):
        raise ValueError("there is nothing to interpolate from outside of the known times")
    result = np.tile(np.eye(4), (len(wanted), 1, 1))
    if len(times) == 1:
        result[:] = poses[0]
        return result
    left = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
    span = times[left + 1] - times[left]
    part = (wanted - times[left]) / span
    result[:, :3, 3] = _cubic(times, poses[:, :3, 3], left, span, part)
    result[:, :3, :3] = _slerp(poses[left, :3, :3], poses[left + 1, :3, :3], part)
    return result


def _cubic(times: np.ndarray, values: np.ndarray, left: np.ndarray, span: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Hermite's cubic between values (n, k) at left and left + 1; part: 0..1 of the way."""
    before, after = np.maximum(np.arange(len(times)) - 1, 0), np.minimum(np.arange(len(times)) + 1, len(times) - 1)
    speed = (values[after] - values[before]) / (times[after] - times[before])[:, None]
    s, gap = part[:, None], span[:, None]
    from_value = values[left] * (1 + 2 * s) * (1 - s) ** 2 + values[left + 1] * s**2 * (3 - 2 * s)
    return from_value + gap * (speed[left] * s * (1 - s) ** 2 + speed[left + 1] * s**2 * (s - 1))


def _slerp(start: np.ndarray, end: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Rotations (m, 3, 3) that part 0..1 of the way from start to end."""
    first, second = quaternion_from_rotation(start), quaternion_from_rotation(end)
    cosine = np.sum(first * second, axis=-1, keepdims=True)
    second, cosine = np.where(cosine < 0, -second, second), np.abs(cosine).clip(max=1.0)
    angle = np.arccos(cosine)
    s = part[:, None]
    near = angle < 1e-6  # the sines' ratio is the part itself there
    sine = np.where(near, 1.0, np.sin(angle))
    weights = [np.where(near, t, np.sin(t * angle) / sine) for t in (1 - s, s)]
    return rotation_from_quaternion(weights[0] * first + weights[1] * second, "xyzw")
