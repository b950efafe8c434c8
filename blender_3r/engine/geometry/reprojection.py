"""The reprojection error as a function of poses, points, focals and distortion, and its linearisation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .cameras import Cameras, Observations, distort, distort_by_coefficients, distort_jacobian
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


@dataclass(frozen=True)
class BundleOptions:
    """What is refined and how.

    lens: "shared" (one focal per lens group), "zoom" (one per frame) or "fixed". distortion: how many of k1 k2 p1 p2
    (0, 1, 2 or 4) per lens group. center: the principal point too, one per lens group. rotation_only: all cameras stay
    where they are and only turn. loss: "squared", "soft_l1" or "cauchy", turning from square to less at scale_px.
    smoothness: with "zoom", weight (px^2) on the squared second difference of log focal over the frames. tolerance:
    relative fall of the cost below which it stops.
    """

    lens: str = "shared"
    distortion: int = 1
    center: bool = False
    rotation_only: bool = False
    loss: str = "soft_l1"
    scale_px: float = 1.0
    smoothness: float = 0.0
    max_iterations: int = 30
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.lens not in ("shared", "zoom", "fixed"):
            raise ValueError(f"unknown lens model: {self.lens}")
        if self.loss not in ("squared", "soft_l1", "cauchy"):
            raise ValueError(f"unknown loss: {self.loss}")
        if self.distortion not in (0, 1, 2, 4):
            raise ValueError(f"{self.distortion} distortion coefficients asked for; 0, 1, 2 or 4 can be refined")


@dataclass
class State:
    """Points are origin + direction / nearness, with a fixed origin of each point among the cameras that see it: the
    image of a distant point is nearly linear in its nearness, and stays so through infinity (0) and beyond.
    """

    rotation: np.ndarray
    translation: np.ndarray
    log_focal: np.ndarray
    distortion: np.ndarray
    center: np.ndarray
    direction: np.ndarray
    nearness: np.ndarray


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
    ) -> None:
        m = len(cameras)
        self.options = options
        self.groups = PointGroups(observations.frame, observations.track, m)
        self.frame = self.groups.frame
        self.xy = observations.xy[self.groups.order]
        self.aspect = cameras.aspect
        self.used = np.unique(self.frame)
        lens = np.zeros(m, dtype=np.int64) if lens_of_frame is None else np.asarray(lens_of_frame)
        lens = np.unique(lens, return_inverse=True)[1]
        focal_group = np.arange(m) if options.lens == "zoom" else lens
        log_focal = np.log(cameras.focal)
        if options.lens == "shared":
            log_focal = _group_means(log_focal, lens, self.used)
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
        return robust_loss(np.where(front, np.sum(residual * residual, axis=1), LOST_PX**2), self.options)

    def prior(self, state: State) -> np.ndarray:
        """Residuals of the smoothness prior."""
        return self.smooth_rows @ state.log_focal[self.used]

    def cost(self, state: State) -> float:
        """Robust cost in px^2."""
        return float(self.losses(state).sum() + np.sum(self.prior(state) ** 2))

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
        equations = NormalEquations(
            self.groups,
            self.columns,
            np.concatenate(pieces, axis=2),
            np.matmul(image.by_local, self._by_point(state)),
            image.residual,
        )
        if len(self.smooth_rows):
            equations.add_prior(self.smooth_columns, self.smooth_rows, self.prior(state))
        return equations, float(np.sum(image.residual**2))

    def settle_points(self, state: State) -> float:
        """Move each point, in place, to where it fits better under these cameras; the cost then.

        A step of everything at once leaves points a little beside their new best place, most where they pass near a
        camera. Without this the steps must be so short that the focal of a forward drive takes hundreds of them.
        """
        starts = self.groups.starts
        best = np.add.reduceat(self.losses(state), starts)
        for _ in range(SETTLE_ROUNDS):
            image = self._image(state)
            jacobian = np.matmul(image.by_local, self._by_point(state))
            transposed = jacobian.transpose(0, 2, 1)
            hessian = np.add.reduceat(transposed @ jacobian, starts, axis=0)
            gradient = np.add.reduceat((transposed @ image.residual[..., None])[..., 0], starts, axis=0)
            roots = inverse_roots(hessian, SETTLE_DAMPING)
            moved = self._moved_points(state, -np.einsum("pji,pjk,pk->pi", roots, roots, gradient))
            fresh = np.add.reduceat(self.losses(moved), starts)
            better = fresh < best
            state.direction = np.where(better[:, None], moved.direction, state.direction)
            state.nearness = np.where(better, moved.nearness, state.nearness)
            best = np.where(better, fresh, best)
        return float(best.sum() + np.sum(self.prior(state) ** 2))

    def _image(self, state: State) -> _Image:
        local = self._local(state)
        front = local[:, 2] > 0
        inverse_z = 1.0 / np.where(front, local[:, 2], 1.0)
        ideal = local[:, :2] * inverse_z[:, None]
        coefficients = state.distortion[self.frame]
        scale = self._scale(state)
        offset = distort(ideal, coefficients) * scale
        residual = offset + state.center[self.frame] - self.xy
        weight = robust_weight(np.sum(residual * residual, axis=1), self.options)
        root = np.sqrt(np.where(front, weight, 0.0))[:, None]
        lens = distort_jacobian(ideal, coefficients) * (scale * inverse_z[:, None] * root)[:, :, None]
        by_local = np.concatenate([lens, -np.matmul(lens, ideal[..., None])], axis=2)
        return _Image(local, ideal, offset, root, residual * root, by_local)

    def _by_point(self, state: State) -> np.ndarray:
        """(n, 3, 3) derivative of _local() by two turns of the direction and the nearness."""
        chart = np.concatenate([_tangents(state.direction), self.origin[..., None]], axis=2)
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
        return self._moved_points(after, points)

    def _moved_points(self, state: State, step: np.ndarray) -> State:
        direction = state.direction + np.einsum("pij,pj->pi", _tangents(state.direction), step[:, :2])
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

    def focal_log_std(self, state: State) -> np.ndarray:
        """See BundleResult."""
        deviation = np.full(len(self.columns), np.nan)
        if self.options.lens == "fixed":
            deviation[self.used] = 0.0
            return deviation
        equations, squares = self.linearize(state)
        information = equations.reduced()[0]
        free = np.bincount(self.columns[self.used].reshape(-1), minlength=len(information)) > 0
        free[self._gauge_columns(state)] = False
        information = information[np.ix_(free, free)]
        scale = 1.0 / np.sqrt(np.maximum(np.diagonal(information), 1e-12))
        covariance = np.linalg.pinv(information * scale * scale[:, None], rcond=1e-13, hermitian=True)
        variance = np.zeros(len(free))
        variance[free] = np.diagonal(covariance) * scale**2
        unknowns = int(free.sum()) + 3 * len(state.nearness)
        noise = squares / max(1, 2 * len(self.frame) - unknowns)
        deviation[self.used] = np.sqrt(variance[self.focal_column[self.used]] * noise)
        return deviation

    def _gauge_columns(self, state: State) -> np.ndarray:
        """Columns to hold so that the world can neither move nor turn nor grow."""
        first = self.used[0]
        if self.options.rotation_only:
            return self.columns[first, :3]
        rotation, translation = state.rotation[self.used], state.translation[self.used]
        start = -rotation[0].T @ translation[0]
        # Growing the world about the first camera moves the others along these vectors (in their own axes).
        growth = translation + rotation @ start
        camera, axis = np.unravel_index(np.argmax(np.abs(growth)), growth.shape)
        return np.append(self.columns[first, :6], self.columns[self.used[camera], 3 + axis])


def robust_loss(squares: np.ndarray, options: BundleOptions) -> np.ndarray:
    """Robust loss (px^2) of squared residuals (px^2)."""
    scale2 = options.scale_px**2
    if options.loss == "soft_l1":
        return 2 * scale2 * (np.sqrt(1 + squares / scale2) - 1)
    if options.loss == "cauchy":
        return scale2 * np.log1p(squares / scale2)
    return squares


def robust_weight(squares: np.ndarray, options: BundleOptions) -> np.ndarray:
    """Derivative of robust_loss() by the squared residual."""
    scale2 = options.scale_px**2
    if options.loss == "soft_l1":
        return 1 / np.sqrt(1 + squares / scale2)
    if options.loss == "cauchy":
        return 1 / (1 + squares / scale2)
    return np.ones_like(squares)


def _tangents(direction: np.ndarray) -> np.ndarray:
    """(p, 3, 2) two unit vectors orthogonal to each unit direction (p, 3) and to each other."""
    x, y, z = direction.T
    # Frisvad's construction: no branch but the sign, no division by a small number.
    sign = np.where(z < 0, -1.0, 1.0)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = np.stack([1 + sign * x * x * a, sign * b, -sign * x], axis=1)
    second = np.stack([b, sign + y * y * a, -y], axis=1)
    return np.stack([first, second], axis=2)


def _group_means(values: np.ndarray, group: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Each value of a used frame replaced by its group's mean; groups without used frames keep their values."""
    count = np.bincount(group[used], minlength=group.max() + 1)
    total = np.bincount(group[used], weights=values[used], minlength=len(count))
    return np.where(count[group] > 0, total[group] / np.maximum(count[group], 1), values)
