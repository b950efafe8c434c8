"""The reprojection error as a function of poses, points, focals and distortion, and its linearisation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle_state import BundleOptions, State, group_means, tangents
from .cameras import Cameras, Observations, distort, distort_by_coefficients, distort_jacobian
from .depth_prior import DepthPrior
from .robust import robust_loss, robust_weight
from .rotations import rotation_from_vector
from .schur import NormalEquations, PointGroups, inverse_roots

# A point behind its camera has no image; it counts as this far off, in pixels.
LOST_PX = 1000.0
# Largest change of log focal in one step.
FOCAL_STEP = 0.3
# Steps that only points take after each step of everything, and their damping.
SETTLE_ROUNDS = 2
SETTLE_DAMPING = 1e-4
# Points beyond infinity come back as points this much nearer than nothing, in units of the typical nearness.
NEARNESS_MIN = 1e-6


@dataclass
class _Image:
    """Every observation's point: local (n, 3) see Problem._local(), ideal (n, 2) without distortion, offset (n, 2)
    pixels from the principal point, root (n, 1) of its weight; weighted residual (n, 2) and derivative (n, 2, 3) by
    local.
    """

    local: np.ndarray
    ideal: np.ndarray
    offset: np.ndarray
    root: np.ndarray
    residual: np.ndarray
    by_local: np.ndarray


class Problem:
    """The observations in the order of elimination, and the layout of the parameters."""

    def __init__(
        self,
        observations: Observations,
        cameras: Cameras,
        points: np.ndarray,
        options: BundleOptions,
        lens_of_frame: np.ndarray | None,
        depth: DepthPrior | None = None,
    ) -> None:
        """depth: in the order of the observations."""
        m = len(cameras)
        self.options = options
        self.groups = PointGroups(observations.frame, observations.track, m)
        self.frame = self.groups.frame
        self.xy = observations.xy[self.groups.order]
        self.weight = None if observations.weight is None else observations.weight[self.groups.order]
        self.depth = depth
        if depth is not None:
            order = self.groups.order
            self.depth = replace(depth, log_depth=depth.log_depth[order], weight=depth.weight[order])
        self.aspect = cameras.aspect
        self.used = np.unique(self.frame)
        lens = np.zeros(m, dtype=np.int64) if lens_of_frame is None else np.asarray(lens_of_frame)
        lens = np.unique(lens, return_inverse=True)[1]
        focal_group = np.arange(m) if options.lens == "zoom" else lens
        log_focal = np.log(cameras.focal)
        if options.lens == "shared":
            log_focal = group_means(log_focal, lens, self.used)
        count = np.bincount(self.groups.point)[:, None]
        self.origin = np.add.reduceat(cameras.centers[self.frame], self.groups.starts) / count
        sight = points[self.groups.tracks] - self.origin
        distance = np.linalg.norm(sight, axis=1)
        self.start = State(
            *cameras.camera_from_world(),
            log_focal,
            cameras.distortion.copy(),
            cameras.center.copy(),
            sight / distance[:, None],
            1 / distance,
            np.zeros(m) if depth is None else depth.log_scale,
        )
        self.columns, self.focal_column = self._layout(m, focal_group, lens)
        self.smooth_rows, self.smooth_columns = self._smoothness()

    def _layout(self, m: int, focal_group: np.ndarray, lens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pose = 3 if self.options.rotation_only else 6
        columns = [pose * np.arange(m)[:, None] + np.arange(pose)]
        end = pose * m
        focal_column = np.full(m, -1)
        if self.options.lens != "fixed":
            focal_column = end + focal_group
            columns.append(focal_column[:, None])
            end += int(focal_group.max()) + 1
        for _ in range(self.options.distortion + 2 * self.options.center):
            columns.append(end + lens[:, None])
            end += int(lens.max()) + 1
        if self.depth is not None:
            columns.append(end + np.arange(m)[:, None])
        return np.concatenate(columns, axis=1), focal_column

    def _smoothness(self) -> tuple[np.ndarray, np.ndarray]:
        """Second differences of log focal over the used frames, times the root of the weight: rows on columns."""
        count = len(self.used)
        if self.options.lens != "zoom" or self.options.smoothness <= 0 or count < 3:
            return np.zeros((0, count)), np.zeros(count, dtype=np.int64)
        gap = np.diff(self.used).astype(np.float64)
        rows = np.zeros((count - 2, count))
        i = np.arange(count - 2)
        spread = (gap[:-1] + gap[1:]) / 2
        rows[i, i] = 1 / (gap[:-1] * spread)
        rows[i, i + 2] = 1 / (gap[1:] * spread)
        rows[i, i + 1] = -(rows[i, i] + rows[i, i + 2])
        return rows * np.sqrt(self.options.smoothness), self.focal_column[self.used]

    def _local(self, state: State) -> np.ndarray:
        """(n, 3) points in the axes of their cameras, times their nearness."""
        world = (state.direction + state.nearness[:, None] * self.origin)[self.groups.point]
        turned = np.matmul(state.rotation[self.frame], world[..., None])[..., 0]
        return turned + state.nearness[self.groups.point, None] * state.translation[self.frame]

    def _scale(self, state: State) -> np.ndarray:
        focal = np.exp(state.log_focal)
        return np.stack([focal, focal * self.aspect], axis=1)[self.frame]

    def losses(self, state: State) -> np.ndarray:
        """(n,) robust loss of every observation in px^2."""
        local = self._local(state)
        front = local[:, 2] > 0
        ideal = local[:, :2] / np.where(front, local[:, 2], 1.0)[:, None]
        residual = (
            distort(ideal, state.distortion[self.frame]) * self._scale(state) + state.center[self.frame] - self.xy
        )
        squares = np.where(front, np.sum(residual * residual, axis=1), LOST_PX**2)
        losses = robust_loss(squares, self.options.loss, self.options.scale_px)
        if self.weight is not None:
            losses *= self.weight
        if self.depth is not None:
            losses += self.depth.losses(self._log_depth(state, local), state.log_scale[self.frame])
        return losses

    def _log_depth(self, state: State, local: np.ndarray) -> np.ndarray:
        """(n,) of every observation's point, nan behind the camera or beyond infinity."""
        depth = local[:, 2] / state.nearness[self.groups.point]
        return np.log(np.where((local[:, 2] > 0) & (depth > 0), depth, np.nan))

    def priors(self, state: State) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(columns, rows on them, residuals) of what is known of parameters alone: smooth focals, alike scales."""
        found = []
        if len(self.smooth_rows):
            found.append((self.smooth_columns, self.smooth_rows, self.smooth_rows @ state.log_focal[self.used]))
        if self.depth is not None:
            rows = self.depth.tie_rows()
            found.append((self.columns[self.depth.frames, -1], rows, rows @ state.log_scale[self.depth.frames]))
        return found

    def _prior_cost(self, state: State) -> float:
        return sum(float(np.sum(residual**2)) for _, _, residual in self.priors(state))

    def cost(self, state: State) -> float:
        """Robust cost in px^2."""
        return float(self.losses(state).sum()) + self._prior_cost(state)

    def linearize(self, state: State) -> tuple[NormalEquations, float]:
        """(normal equations, weighted sum of squared residuals in px^2)."""
        image = self._image(state)
        pieces = [np.cross(image.local[:, None, :], image.by_local)]
        if not self.options.rotation_only:
            pieces.append(image.by_local * state.nearness[self.groups.point, None, None])
        if self.options.lens != "fixed":
            pieces.append((image.offset * image.root)[..., None])
        by_coefficient = distort_by_coefficients(image.ideal)[..., : self.options.distortion]
        pieces.append(by_coefficient * (self._scale(state) * image.root)[..., None])
        if self.options.center:
            pieces.append(np.eye(2) * image.root[..., None])
        by_camera = np.concatenate(pieces, axis=2)
        if self.depth is not None:
            by_camera = self._with_depth_row(state, image, by_camera)
        equations = NormalEquations(self.groups, self.columns, by_camera, *self._point_system(state, image))
        for columns, rows, residual in self.priors(state):
            equations.add_prior(columns, rows, residual)
        return equations, float(np.sum(image.residual**2))

    def _with_depth_row(self, state: State, image: _Image, by_camera: np.ndarray) -> np.ndarray:
        """(n, 3, c + 1): the row of the predicted depth, and the column of its scale, behind those of the pixels."""
        count, _, width = by_camera.shape
        wide = np.zeros((count, 3, width + 1))
        wide[:, :2, :width] = by_camera
        root, by_local = self._depth_row(state, image.local)[1:]
        wide[:, 2, :3] = np.cross(image.local, by_local)
        if not self.options.rotation_only:
            wide[:, 2, 3:6] = by_local * state.nearness[self.groups.point, None]
        wide[:, 2, width] = -root
        return wide

    def _depth_row(self, state: State, local: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(weighted residual (n,), root of its weight (n,), derivative by local (n, 3)) of the predicted depth."""
        residual, root = self.depth.rows(self._log_depth(state, local), state.log_scale[self.frame])
        by_local = np.zeros_like(local)
        by_local[:, 2] = root / np.where(local[:, 2] > 0, local[:, 2], 1.0)
        return residual, root, by_local

    def _point_system(self, state: State, image: _Image) -> tuple[np.ndarray, np.ndarray]:
        """(derivative by the points (n, 2 or 3, 3), residuals (n, 2 or 3)), weighted."""
        by_point = self._by_point(state)
        if self.depth is None:
            return np.matmul(image.by_local, by_point), image.residual
        residual, root, by_local = self._depth_row(state, image.local)
        jacobian = np.matmul(np.concatenate([image.by_local, by_local[:, None]], axis=1), by_point)
        nearness = state.nearness[self.groups.point]
        jacobian[:, 2, 2] -= root / np.where(nearness > 0, nearness, 1.0)
        return jacobian, np.concatenate([image.residual, residual[:, None]], axis=1)

    def settle_points(self, state: State) -> float:
        """Move each point, in place, to where it fits better under these cameras; the cost then.

        A step of everything at once leaves points a little beside their new best place, most where they pass near a
        camera. Without this the steps must be so short that the focal of a forward drive takes hundreds of them.
        """
        starts = self.groups.starts
        best = np.add.reduceat(self.losses(state), starts)
        for _ in range(SETTLE_ROUNDS):
            jacobian, residual = self._point_system(state, self._image(state))
            transposed = jacobian.transpose(0, 2, 1)
            hessian = np.add.reduceat(transposed @ jacobian, starts, axis=0)
            gradient = np.add.reduceat((transposed @ residual[..., None])[..., 0], starts, axis=0)
            roots = inverse_roots(hessian, SETTLE_DAMPING)
            moved = self._moved_points(state, -np.einsum("pji,pjk,pk->pi", roots, roots, gradient))
            fresh = np.add.reduceat(self.losses(moved), starts)
            better = fresh < best
            state.direction = np.where(better[:, None], moved.direction, state.direction)
            state.nearness = np.where(better, moved.nearness, state.nearness)
            best = np.where(better, fresh, best)
        return float(best.sum()) + self._prior_cost(state)

    def _image(self, state: State) -> _Image:
        local = self._local(state)
        front = local[:, 2] > 0
        inverse_z = 1.0 / np.where(front, local[:, 2], 1.0)
        ideal = local[:, :2] * inverse_z[:, None]
        coefficients = state.distortion[self.frame]
        scale = self._scale(state)
        offset = distort(ideal, coefficients) * scale
        residual = offset + state.center[self.frame] - self.xy
        weight = robust_weight(np.sum(residual * residual, axis=1), self.options.loss, self.options.scale_px)
        if self.weight is not None:
            weight = weight * self.weight
        root = np.sqrt(np.where(front, weight, 0.0))[:, None]
        lens = distort_jacobian(ideal, coefficients) * (scale * inverse_z[:, None] * root)[:, :, None]
        by_local = np.concatenate([lens, -np.matmul(lens, ideal[..., None])], axis=2)
        return _Image(local, ideal, offset, root, residual * root, by_local)

    def _by_point(self, state: State) -> np.ndarray:
        """(n, 3, 3) derivative of _local() by two turns of the direction and the nearness."""
        chart = np.concatenate([tangents(state.direction), self.origin[..., None]], axis=2)
        derivative = np.matmul(state.rotation[self.frame], chart[self.groups.point])
        derivative[:, :, 2] += state.translation[self.frame]
        return derivative

    def moved(self, state: State, cameras: np.ndarray, points: np.ndarray) -> State:
        """The state after a step."""
        step = cameras[self.columns]
        turn = rotation_from_vector(step[:, :3])
        rotation = turn @ state.rotation
        translation, log_focal, distortion = state.translation, state.log_focal, state.distortion.copy()
        center = state.center
        column = 3
        if not self.options.rotation_only:
            translation = np.einsum("mij,mj->mi", turn, translation) + step[:, 3:6]
            column = 6
        if self.options.lens != "fixed":
            log_focal = log_focal + np.clip(step[:, column], -FOCAL_STEP, FOCAL_STEP)
            column += 1
        end = column + self.options.distortion
        distortion[:, : self.options.distortion] += step[:, column:end]
        if self.options.center:
            center = center + step[:, end : end + 2]
        after = replace(state, rotation=rotation, translation=translation, log_focal=log_focal)
        after.distortion, after.center = distortion, center
        if self.depth is not None:
            after.log_scale = state.log_scale + step[:, -1]
        return self._moved_points(after, points)

    def _moved_points(self, state: State, step: np.ndarray) -> State:
        direction = state.direction + np.einsum("pij,pj->pi", tangents(state.direction), step[:, :2])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return replace(state, direction=direction, nearness=state.nearness + step[:, 2])

    def export(self, state: State, cameras: Cameras, points: np.ndarray) -> tuple[Cameras, np.ndarray]:
        refined = cameras.copy()
        refined.set_camera_from_world(state.rotation, state.translation)
        if self.options.lens != "fixed":
            refined.focal = np.exp(state.log_focal)
        refined.distortion = state.distortion
        refined.center = state.center
        moved = points.astype(np.float64).copy()
        nearness = np.maximum(state.nearness, NEARNESS_MIN * np.median(np.abs(state.nearness)))
        moved[self.groups.tracks] = self.origin + state.direction / nearness[:, None]
        return refined, moved
