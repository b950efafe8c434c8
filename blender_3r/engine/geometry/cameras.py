"""Many cameras as parallel arrays: what bundle adjustment and triangulation compute with.

Same conventions as `Intrinsics`: OpenCV axes, pixels of the original frame with the top-left corner at (0, 0),
OpenCV's radial-tangential distortion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..reconstruction import Intrinsics, View
from .rotations import nearest_rotation


@dataclass
class Observations:
    """Where tracks were seen: parallel arrays.

    frame: (n,) int, index into the cameras. track: (n,) int, index into the points. xy: (n, 2) float64 pixels.
    weight: (n,) how much each counts, from 0 to 1; None: all alike.
    """

    frame: np.ndarray
    track: np.ndarray
    xy: np.ndarray
    weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.frame = np.asarray(self.frame, dtype=np.int64)
        self.track = np.asarray(self.track, dtype=np.int64)
        self.xy = np.asarray(self.xy, dtype=np.float64)
        if not (self.frame.shape == self.track.shape and self.xy.shape == (*self.frame.shape, 2)):
            raise ValueError("frame, track and xy must be parallel arrays (n,), (n,), (n, 2)")
        if self.weight is not None:
            self.weight = np.asarray(self.weight, dtype=np.float64)
            if self.weight.shape != self.frame.shape:
                raise ValueError("weight must be an array (n,)")

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, choice: np.ndarray) -> Observations:
        """A subset, by mask or by indices."""
        weight = None if self.weight is None else self.weight[choice]
        return Observations(self.frame[choice], self.track[choice], self.xy[choice], weight)


@dataclass
class Cameras:
    """m cameras.

    world_from_camera: (m, 4, 4), nan where a pose is not known. focal: (m,) fx in pixels. center: (m, 2) principal
    points. distortion: (m, 4) k1 k2 p1 p2. aspect: (m,) fy / fx.
    """

    world_from_camera: np.ndarray
    focal: np.ndarray
    center: np.ndarray
    distortion: np.ndarray
    aspect: np.ndarray

    @classmethod
    def simple(
        cls,
        world_from_camera: np.ndarray,
        focal: float | np.ndarray,
        size: tuple[int, int],
        k1: float = 0.0,
    ) -> Cameras:
        """Cameras of one width x height with the principal point in the middle; focal: one or (m,)."""
        m = len(world_from_camera)
        distortion = np.zeros((m, 4))
        distortion[:, 0] = k1
        return cls(
            np.array(world_from_camera, dtype=np.float64),
            np.broadcast_to(np.asarray(focal, dtype=np.float64), (m,)).copy(),
            np.tile(np.array(size, dtype=np.float64) / 2, (m, 1)),
            distortion,
            np.ones(m),
        )

    @classmethod
    def from_intrinsics(cls, lenses: Sequence[Intrinsics], world_from_camera: np.ndarray) -> Cameras:
        """One camera per Intrinsics, with poses (m, 4, 4)."""
        return cls(
            np.array(world_from_camera, dtype=np.float64),
            np.array([lens.fx for lens in lenses], dtype=np.float64),
            np.array([(lens.cx, lens.cy) for lens in lenses], dtype=np.float64),
            np.array([lens.distortion for lens in lenses], dtype=np.float64),
            np.array([lens.fy / lens.fx for lens in lenses], dtype=np.float64),
        )

    @classmethod
    def from_views(cls, views: Sequence[View]) -> Cameras:
        """The cameras of views; nan poses for those that are not solved."""
        unknown = np.full((4, 4), np.nan)
        poses = [unknown if view.world_from_camera is None else view.world_from_camera for view in views]
        return cls.from_intrinsics([view.intrinsics for view in views], np.array(poses))

    def __len__(self) -> int:
        return len(self.focal)

    @property
    def solved(self) -> np.ndarray:
        """(m,) bool: which have a pose."""
        return np.isfinite(self.world_from_camera).all(axis=(1, 2))

    @property
    def centers(self) -> np.ndarray:
        """(m, 3) camera centres in the world."""
        return self.world_from_camera[:, :3, 3]

    def intrinsics(self, index: int, width: int, height: int) -> Intrinsics:
        """Camera `index` as Intrinsics of a width x height image."""
        focal = float(self.focal[index])
        return Intrinsics(
            width,
            height,
            focal,
            focal * float(self.aspect[index]),
            *(float(value) for value in self.center[index]),
            *(float(value) for value in self.distortion[index]),
        )

    def copy(self) -> Cameras:
        return replace(self, **{name: getattr(self, name).copy() for name in self.__dataclass_fields__})

    def camera_from_world(self) -> tuple[np.ndarray, np.ndarray]:
        """(rotation (m, 3, 3), translation (m, 3)) with x_camera = R x_world + t."""
        rotation = self.world_from_camera[:, :3, :3].transpose(0, 2, 1)
        return rotation, -np.einsum("mij,mj->mi", rotation, self.centers)

    def set_camera_from_world(self, rotation: np.ndarray, translation: np.ndarray) -> None:
        """The inverse of camera_from_world(); cleans rounding from the rotations."""
        solved = np.isfinite(rotation).all(axis=(1, 2))
        back = np.full_like(rotation, np.nan)
        back[solved] = nearest_rotation(rotation[solved]).transpose(0, 2, 1)
        pose = np.full((len(rotation), 4, 4), np.nan)
        pose[:, :3, :3] = back
        pose[:, :3, 3] = -np.einsum("mij,mj->mi", back, translation)
        pose[solved, 3] = (0.0, 0.0, 0.0, 1.0)
        self.world_from_camera = pose

    def in_camera(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        """World points (n, 3), each in the axes of camera frame[n]."""
        rotation, translation = self.camera_from_world()
        return np.einsum("nij,nj->ni", rotation[frame], points) + translation[frame]

    def project(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        """World points (n, 3), each through camera frame[n], to pixels (n, 2); nan behind the camera."""
        local = self.in_camera(frame, points)
        z = np.where(local[:, 2] > 0, local[:, 2], np.nan)
        xd = distort(local[:, :2] / z[:, None], self.distortion[frame])
        return xd * self._scale(frame) + self.center[frame]

    def rays(self, frame: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """Pixels (n, 2), each of camera frame[n], to rays (n, 3) with z = 1 in camera axes."""
        normalized = (xy - self.center[frame]) / self._scale(frame)
        return np.concatenate([undistort(normalized, self.distortion[frame]), np.ones((len(xy), 1))], axis=1)

    def world_rays(self, frame: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """Pixels (n, 2), each of camera frame[n], to unit directions (n, 3) in world axes."""
        rays = self.rays(frame, xy)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return np.einsum("nij,nj->ni", self.world_from_camera[frame, :3, :3], rays)

    def _scale(self, frame: np.ndarray) -> np.ndarray:
        return np.stack([self.focal[frame], self.focal[frame] * self.aspect[frame]], axis=1)


def distort(x: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Ideal normalized image points (n, 2) to distorted ones; distortion (n, 4) k1 k2 p1 p2."""
    r2 = np.sum(x * x, axis=1, keepdims=True)
    k1, k2, p1, p2 = (distortion[:, i : i + 1] for i in range(4))
    tangential = 2 * x[:, :1] * x[:, 1:] * np.concatenate([p1, p2], axis=1)
    tangential += np.concatenate([p2, p1], axis=1) * (r2 + 2 * x * x)
    return x * (1 + r2 * (k1 + r2 * k2)) + tangential


def distort_jacobian(x: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """(n, 2, 2) derivative of distort() with respect to x."""
    u, v = x[:, 0], x[:, 1]
    k1, k2, p1, p2 = distortion.T
    r2 = u * u + v * v
    radial = 1 + r2 * (k1 + r2 * k2)
    slope = 2 * (k1 + 2 * k2 * r2)
    mixed = slope * u * v + 2 * (p1 * u + p2 * v)
    return np.stack(
        [
            radial + slope * u * u + 2 * p1 * v + 6 * p2 * u,
            mixed,
            mixed,
            radial + slope * v * v + 6 * p1 * v + 2 * p2 * u,
        ],
        axis=1,
    ).reshape(-1, 2, 2)


def distort_by_coefficients(x: np.ndarray) -> np.ndarray:
    """(n, 2, 4) derivative of distort() with respect to k1 k2 p1 p2, which it is linear in."""
    r2 = np.sum(x * x, axis=1, keepdims=True)
    mixed = 2 * x[:, :1] * x[:, 1:]
    u, v = r2 + 2 * x[:, :1] ** 2, r2 + 2 * x[:, 1:] ** 2
    tangential = [np.concatenate([mixed, v], axis=1), np.concatenate([u, mixed], axis=1)]
    return np.stack([x * r2, x * r2 * r2, *tangential], axis=2)


def undistort(distorted: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """The inverse of distort() by Newton steps: (n, 2) to (n, 2)."""
    x = distorted.copy()
    if not np.any(distortion):
        return x
    for _ in range(10):
        missing = distorted - distort(x, distortion)
        step = np.linalg.solve(distort_jacobian(x, distortion), missing[..., None])[..., 0]
        # Beyond the turning point of the radial polynomial no inverse exists; a bounded step keeps such points finite.
        x = x + np.clip(step, -0.5, 0.5)
        if np.abs(step).max(initial=0.0) < 1e-12:
            break
    return x
