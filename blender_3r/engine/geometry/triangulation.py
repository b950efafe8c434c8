"""Points from tracks and known cameras, many tracks at a time."""

from __future__ import annotations

import numpy as np

from .cameras import Cameras, Observations

# Huber scale of the reweighting, in pixels.
ROBUST_PX = 2.0


def triangulate_tracks(
    observations: Observations,
    cameras: Cameras,
    n_tracks: int,
    rounds: int = 4,
    max_error_px: float = 8.0,
    min_angle_deg: float = 0.0,
    min_views: int = 2,
) -> np.ndarray:
    """(n_tracks, 3) world points; nan for tracks that cannot be placed.

    Multi-view DLT, then `rounds` of robust reweighting in which it minimises the reprojection error in pixels (an
    outlier in a track loses its weight). A point needs min_views cameras that see it within max_error_px in front of
    them, under at least min_angle_deg between two of the rays.
    """
    points = np.full((n_tracks, 3), np.nan)
    seen = cameras.solved[observations.frame]
    observations = observations[seen]
    if len(observations) == 0:
        return points
    system = _Rows(observations, cameras, n_tracks)
    points = system.solve(np.ones(len(observations)))
    for _ in range(rounds):
        error, depth = system.errors(points)
        weight = np.where(depth > 0, ROBUST_PX / np.maximum(error, ROBUST_PX), 1e-3)
        points = system.solve(weight / np.maximum(np.abs(depth), 1e-12) ** 2)
    error, depth = system.errors(points)
    good = (depth > 0) & (error <= max_error_px)
    enough = np.bincount(observations.track[good], minlength=n_tracks) >= min_views
    points[~enough] = np.nan
    if min_angle_deg > 0:
        angle = triangulation_angles(observations[good], cameras, points)
        points[~(angle >= np.radians(min_angle_deg))] = np.nan
    return points


def mean_directions(observations: Observations, cameras: Cameras, n_tracks: int) -> np.ndarray:
    """(n_tracks, 3) unit directions in the world along which cameras that only turn see each track; nan if unseen."""
    observations = observations[cameras.solved[observations.frame]]
    rays = cameras.world_rays(observations.frame, observations.xy)
    total = np.stack(
        [np.bincount(observations.track, weights=rays[:, i], minlength=n_tracks) for i in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.where(length > 0, length, 1.0), np.nan)


class _Rows:
    """The linear equations of all observations, in a world centred on the cameras and scaled by their spread."""

    def __init__(self, observations: Observations, cameras: Cameras, n_tracks: int) -> None:
        used = np.unique(observations.frame)
        self.middle = cameras.centers[used].mean(axis=0)
        self.spread = float(np.linalg.norm(cameras.centers[used] - self.middle, axis=1).max()) or 1.0
        self.track, self.n_tracks = observations.track, n_tracks
        rays = cameras.rays(observations.frame, observations.xy)
        rotation, translation = cameras.camera_from_world()
        translation = (translation + np.einsum("mij,j->mi", rotation, self.middle)) / self.spread
        projection = np.concatenate([rotation, translation[:, :, None]], axis=2)[observations.frame]
        self.depth_row = projection[:, 2]
        self.rows = rays[:, :2, None] * self.depth_row[:, None, :] - projection[:, :2]
        self.focal = cameras.focal[observations.frame]

    def solve(self, weight: np.ndarray) -> np.ndarray:
        """World points that minimise the weighted algebraic error; weight: (n,)."""
        rows = self.rows * np.sqrt(weight)[:, None, None]
        product = (rows.transpose(0, 2, 1) @ rows).reshape(-1, 16)
        order = np.argsort(self.track, kind="stable")
        starts = np.flatnonzero(np.diff(self.track[order], prepend=-1))
        tracks = self.track[order][starts]
        normal = np.add.reduceat(product[order], starts, axis=0).reshape(-1, 4, 4)
        smallest = np.linalg.eigh(normal)[1][:, :, 0]
        points = np.full((self.n_tracks, 3), np.nan)
        # The sign keeps a point at infinity on the side where it was seen; dividing by zero would lose it.
        last = np.where(np.abs(smallest[:, 3]) < 1e-9, 1e-9, smallest[:, 3])
        points[tracks] = smallest[:, :3] / last[:, None]
        return points * self.spread + self.middle

    def errors(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(reprojection error in pixels without the lens' distortion, depth in units of the spread)."""
        local = (points - self.middle) / self.spread
        homogeneous = np.concatenate([local, np.ones((len(local), 1))], axis=1)[self.track]
        depth = np.einsum("ni,ni->n", self.depth_row, homogeneous)
        algebraic = np.einsum("nij,nj->ni", self.rows, homogeneous)
        error = np.linalg.norm(algebraic, axis=1) * self.focal / np.maximum(np.abs(depth), 1e-12)
        return error, depth


def triangulation_angles(observations: Observations, cameras: Cameras, points: np.ndarray) -> np.ndarray:
    """(p,) approximate largest angle in radians between the rays that see a point; 0 for fewer than two.

    Taken between the ray farthest from the mean ray and the one farthest from that: never more than the true largest
    angle, and equal to it for cameras along a path.
    """
    angle = np.zeros(len(points))
    usable = cameras.solved[observations.frame] & np.isfinite(points[observations.track]).all(axis=1)
    frame, track = observations.frame[usable], observations.track[usable]
    if len(frame) == 0:
        return angle
    sight = points[track] - cameras.centers[frame]
    sight /= np.maximum(np.linalg.norm(sight, axis=1, keepdims=True), 1e-30)
    order = np.argsort(track, kind="stable")
    sight, track = sight[order], track[order]
    starts = np.flatnonzero(np.diff(track, prepend=-1))
    count = np.diff(starts, append=len(track))
    group = np.repeat(np.arange(len(starts)), count)
    offset = sight - (np.add.reduceat(sight, starts, axis=0) / count[:, None])[group]
    # Farthest from the mean direction, then farthest from that one: the diameter up to a small factor.
    first = _farthest(np.linalg.norm(offset, axis=1), starts, group)
    distance = np.linalg.norm(sight - sight[first][group], axis=1)
    chord = np.maximum.reduceat(distance, starts)
    angle[track[starts]] = 2 * np.arcsin(np.clip(chord / 2, 0, 1))
    return angle


def _farthest(value: np.ndarray, starts: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Index of the largest value of every group."""
    is_largest = value >= np.maximum.reduceat(value, starts)[group]
    index = np.flatnonzero(is_largest)
    return index[np.unique(group[index], return_index=True)[1]]
