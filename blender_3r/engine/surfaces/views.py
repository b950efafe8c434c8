"""A view's depth map as the fusion needs it: pixels in the world with normals and weights, and where a point lands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.edges import depth_normal_edges, surface_normals
from ..reconstruction import Intrinsics, View

FLATTEST = 0.15  # cosine between a surface and the ray to it below which its normal is not believed
_MARGIN = 0.5  # pixels by which a map is cut at its border


@dataclass(frozen=True)
class ViewMap:
    """One depth map, pixels flattened to n = height * width.

    depth (n,) float32, 0 where unknown or not trusted. points, normals (n, 3) float32 in the world, normals towards
    the camera. weight (n,) float32: how much a pixel says. color (n, 3) uint8. frame_width: of the original frame.
    barrier (n,) float32: depth of what hides all behind it, 0 where unknown; pixels at depth edges have it, too.
    """

    height: int
    width: int
    lens: Intrinsics
    camera_from_world: np.ndarray
    depth: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    weight: np.ndarray
    color: np.ndarray
    frame_width: int
    barrier: np.ndarray

    @property
    def size_bytes(self) -> int:
        """Memory that the map takes."""
        return sum(a.nbytes for a in (self.depth, self.points, self.normals, self.weight, self.color, self.barrier))

    @property
    def centre(self) -> np.ndarray:
        """(3,) float32."""
        return -self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3]

    @property
    def known(self) -> np.ndarray:
        """Indices of the pixels with depth."""
        return np.flatnonzero(self.depth > 0)

    @property
    def scale(self) -> float:
        """Pixels of the original frame that a pixel is wide."""
        return self.frame_width / self.width

    def places(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (m, 3) float32 to (pixels (m, 2), nan where the camera cannot look; planar depth (m,))."""
        local = points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]
        z = local[:, 2]
        place = self.lens.project(local)
        if self.lens.is_distorted:  # far outside the picture the distortion folds back into it
            place[np.hypot(local[:, 0], local[:, 1]) >= self._reach * np.maximum(z, 0)] = np.nan
        return place, z

    def locate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (m, 3) float32 to (pixel (m,) int64, -1 outside or behind; planar depth (m,) float32)."""
        place, z = self.places(points)
        with np.errstate(invalid="ignore"):
            inside = (
                (place[:, 0] >= _MARGIN)
                & (place[:, 1] >= _MARGIN)
                & (place[:, 0] < self.width - _MARGIN)
                & (place[:, 1] < self.height - _MARGIN)
            )
        column, row = (np.where(inside, place[:, axis], 0).astype(np.int64) for axis in range(2))
        return np.where(inside, row * self.width + column, -1), z

    @property
    def _reach(self) -> float:
        """The tangent of the widest angle the picture has."""
        width, height = self.width, self.height
        corners = self.lens.rays(np.array([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]]))
        return 1.05 * float(np.hypot(corners[:, 0], corners[:, 1]).max())


def read_view(view: View, arrays: dict[str, np.ndarray], min_confidence: float, farthest: float) -> ViewMap:
    """The map of a solved view with arrays depth, confidence, color as in the job folder.

    Pixels below min_confidence, beyond the planar depth farthest or at depth edges are not trusted. Nor are those of
    the array moving, where it is given; they hide what is behind them all the same.
    """
    depth = np.array(arrays["depth"], dtype=np.float32)
    confidence = np.array(arrays["confidence"], dtype=np.float32)
    height, width = depth.shape
    sky = arrays.get("sky")
    usable = np.isfinite(depth) & (depth > 0) & (depth <= farthest) & (confidence >= min_confidence)
    if sky is not None:
        usable &= ~np.asarray(sky)
    barrier = np.where(usable, depth, 0)
    moving = arrays.get("moving")
    if moving is not None:
        usable &= ~np.asarray(moving)
    lens = view.intrinsics.scaled_to(width, height)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    rays = lens.rays(np.stack([columns, rows], axis=-1)).astype(np.float32)
    local = rays * np.where(usable, depth, 0)[..., None]
    usable &= ~depth_normal_edges(local, usable)
    normals, has_normal = surface_normals(local, usable)
    usable &= has_normal
    sight = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    cosine = -(normals * sight).sum(axis=-1)
    normals = np.where((cosine < FLATTEST)[..., None], -sight, normals)
    weight = np.maximum(confidence, 0.05) * np.maximum(cosine, FLATTEST) / np.where(usable, depth, 1) ** 2
    pose = view.world_from_camera
    rotation, centre = pose[:3, :3].astype(np.float32), pose[:3, 3].astype(np.float32)
    return ViewMap(
        height,
        width,
        lens,
        np.linalg.inv(pose).astype(np.float32),
        np.where(usable, depth, 0).reshape(-1).astype(np.float32),
        (local @ rotation.T + centre).reshape(-1, 3),
        (normals @ rotation.T).reshape(-1, 3).astype(np.float32),
        np.where(usable, weight, 0).reshape(-1).astype(np.float32),
        np.asarray(arrays["color"]).reshape(-1, 3),
        view.intrinsics.width,
        barrier.reshape(-1),
    )
