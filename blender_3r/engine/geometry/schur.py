"""Normal equations of bundle adjustment with the points eliminated.

Every observation touches a handful of camera parameters (columns) and one point. The points' 3x3 blocks are
independent of each other, so they are eliminated (Schur complement) and what remains is dense in the cameras only.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# Tracks eliminated together. Tracks that start and end together see the same few cameras, so the product of such a
# group is a small dense matrix; more tracks per group means fewer, but wider products.
TRACKS_PER_GROUP = 128
# Relative damping that is always present: it stands for the directions nothing measures (scale of the world, the depth
# of a point at infinity), whose gradient is zero.
FLOOR = 1e-10


class PointGroups:
    """How the observations are ordered and grouped; built once per adjustment.

    frame, track: (n,) int. After construction `order` (n,) sorts observations so that each track is contiguous, and
    neighbouring tracks see the same frames; `starts` are the first observations of the tracks in that order, and
    `tracks` their numbers.
    """

    def __init__(self, frame: np.ndarray, track: np.ndarray, n_frames: int) -> None:
        n_tracks = int(track.max(initial=-1)) + 1
        first = np.full(n_tracks, n_frames)
        last = np.full(n_tracks, -1)
        np.minimum.at(first, track, frame)
        np.maximum.at(last, track, frame)
        self.order = np.lexsort((frame, track, last[track], first[track]))
        self.frame = frame[self.order]
        changes = np.flatnonzero(np.diff(track[self.order], prepend=-1))
        self.starts = changes
        self.tracks = track[self.order][changes]
        self.point = np.repeat(np.arange(len(changes)), np.diff(changes, append=len(track)))
        by_frame = np.argsort(self.frame, kind="stable")
        bounds = np.searchsorted(self.frame[by_frame], np.arange(n_frames + 1))
        self.of_frame = [by_frame[a:b] for a, b in pairwise(bounds)]


class NormalEquations:
    """Linearised least squares at one point of the parameter space.

    groups: the ordering, in which all following arrays are given. columns: (m, c) global column of each of the c
    parameters that an observation of camera m touches. camera_jacobian:
    (n, 2, c), point_jacobian: (n, 2, 3), residual: (n, 2), all multiplied by the root of the observation's weight.
    """

    def __init__(
        self,
        groups: PointGroups,
        columns: np.ndarray,
        camera_jacobian: np.ndarray,
        point_jacobian: np.ndarray,
        residual: np.ndarray,
    ) -> None:
        self.groups = groups
        self.columns = columns
        size = int(columns.max()) + 1
        self.hessian = np.zeros((size, size))
        self.gradient = np.zeros(size)
        for frame, chosen in enumerate(groups.of_frame):
            if len(chosen) == 0:
                continue
            block = camera_jacobian[chosen].reshape(-1, columns.shape[1])
            where = columns[frame]
            self.hessian[np.ix_(where, where)] += block.T @ block
            self.gradient[where] += block.T @ residual[chosen].reshape(-1)
        transposed = point_jacobian.transpose(0, 2, 1)
        self.point_hessian = np.add.reduceat(transposed @ point_jacobian, groups.starts, axis=0)
        self.point_gradient = np.add.reduceat((transposed @ residual[..., None])[..., 0], groups.starts, axis=0)
        self.mixed = camera_jacobian.transpose(0, 2, 1) @ point_jacobian

    def add_prior(self, columns: np.ndarray, jacobian: np.ndarray, residual: np.ndarray) -> None:
        """Further residuals (k,) on camera parameters alone, with their jacobian (k, len(columns))."""
        self.hessian[np.ix_(columns, columns)] += jacobian.T @ jacobian
        self.gradient[columns] += jacobian.T @ residual

    def reduced(self, damping: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(matrix, gradient, inverse roots of the point blocks) with the points eliminated.

        damping: Marquardt's factor on the diagonals.
        """
        groups = self.groups
        roots = inverse_roots(self.point_hessian, damping + FLOOR)
        scaled = self.mixed @ roots[groups.point].transpose(0, 2, 1)
        scaled_gradient = (roots @ self.point_gradient[..., None])[..., 0]
        matrix = self.hessian.copy()
        diagonal = np.diagonal(self.hessian)
        np.fill_diagonal(matrix, diagonal * (1 + damping))
        gradient = self.gradient.copy()
        bounds = [*groups.starts[::TRACKS_PER_GROUP], len(groups.frame)]
        for begin, end in pairwise(bounds):
            used, wide = self._wide(slice(begin, end), scaled)
            first = groups.point[begin]
            matrix[np.ix_(used, used)] -= wide @ wide.T
            gradient[used] -= wide @ scaled_gradient[first : groups.point[end - 1] + 1].reshape(-1)
        return matrix, gradient, roots

    def _wide(self, part: slice, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One group's camera-point block as a dense matrix over the columns it uses."""
        points = self.groups.point[part] - self.groups.point[part.start]
        columns = self.columns[self.groups.frame[part]]
        used = np.flatnonzero(np.bincount(columns.reshape(-1), minlength=len(self.gradient)))
        place = np.zeros(len(self.gradient), dtype=np.int64)
        place[used] = np.arange(len(used))
        width = 3 * (int(points[-1]) + 1)
        flat = place[columns][:, :, None] * width + (3 * points[:, None] + np.arange(3))[:, None, :]
        # Several cameras that share a lens add to the same entry, so a sum, not an assignment.
        wide = np.bincount(flat.reshape(-1), weights=scaled[part].reshape(-1), minlength=len(used) * width)
        return used, wide.reshape(len(used), width)

    def step(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """The damped Gauss-Newton step: (camera parameters (size,), points (p, 3)).

        Raises numpy.linalg.LinAlgError when the system is singular despite the damping.
        """
        matrix, gradient, roots = self.reduced(damping)
        # Unit diagonal: focal and rotation columns differ by orders of magnitude.
        scale = 1.0 / np.sqrt(np.maximum(np.diagonal(self.hessian), 1e-12))
        system = matrix * scale * scale[:, None]
        system[np.diag_indices_from(system)] += FLOOR
        cameras = -scale * np.linalg.solve(system, scale * gradient)
        groups = self.groups
        moved = np.einsum("ncj,nc->nj", self.mixed, cameras[self.columns[groups.frame]])
        pull = self.point_gradient + np.add.reduceat(moved, groups.starts, axis=0)
        points = -np.einsum("pji,pjk,pk->pi", roots, roots, pull)
        return cameras, points


def inverse_roots(blocks: np.ndarray, damping: float) -> np.ndarray:
    """(p, 3, 3) matrices r with r^T r = (block + damping * diagonal)^-1."""
    diagonal = np.diagonal(blocks, axis1=1, axis2=2)
    floor = FLOOR * diagonal.sum(axis=1, keepdims=True) + 1e-30
    damped = blocks + (damping * diagonal + floor)[:, :, None] * np.eye(3)
    return np.linalg.inv(np.linalg.cholesky(damped))
