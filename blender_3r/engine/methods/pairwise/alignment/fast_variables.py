"""The fast aligner's unknowns without the depths: pairs, cameras and focals in float64, and how a step moves them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....geometry.rotations import nearest_rotation, rotation_from_vector
from .problem import LOG_MEAN_SCALE
from .scene import AlignSettings

PAIR = 7  # turn about the pair's middle, shift, log scale; along the axes of the world
CAMERA = 6  # turn and shift along the camera's own axes


@dataclass
class Variables:
    """E pairs and n cameras.

    linear: (E, 3, 3) scale times rotation, and shift: (E, 3), take a pair's points to the world. middles: (E, 3) the
    middle of each pair's points, in its own frame. rotations: (n, 3, 3) and positions: (n, 3) of world_from_camera.
    focals: (n,) pixels.
    """

    linear: np.ndarray
    shift: np.ndarray
    middles: np.ndarray
    rotations: np.ndarray
    positions: np.ndarray
    focals: np.ndarray

    @property
    def scales(self) -> np.ndarray:
        """(E,) scales of the pairs."""
        return np.cbrt(np.linalg.det(self.linear))

    @property
    def anchors(self) -> np.ndarray:
        """(E, 3) the middles of the pairs in the world."""
        return np.einsum("eij,ej->ei", self.linear, self.middles) + self.shift

    @property
    def size(self) -> float:
        """A typical distance from a camera to what it sees."""
        return float(np.median(self.scales * np.linalg.norm(self.middles, axis=1)))

    @property
    def world_from_camera(self) -> np.ndarray:
        """(n, 4, 4)."""
        poses = np.tile(np.eye(4), (len(self.focals), 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = self.rotations, self.positions
        return poses

    def seen_by(self, image: int, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(linear (K, 3, 3), shift (K, 3)) that take the points of pairs (K,) to the frame of a camera."""
        back = self.rotations[image].T
        return back @ self.linear[pairs], (self.shift[pairs] - self.positions[image]) @ back.T

    def scaled(self, factor: float) -> Variables:
        """The same in a world larger by factor."""
        return replace(self, linear=self.linear * factor, shift=self.shift * factor, positions=self.positions * factor)


@dataclass
class Unknowns:
    """Which numbers of a step belong to what: pairs, then cameras, then focals.

    focal_of: (n,) number of each image's focal among them; free: (m,) bool, what may move. normalized: the mean of the
    pairs' log scales stays as it is.
    """

    pairs: int
    focal_of: np.ndarray
    free: np.ndarray
    normalized: bool

    @classmethod
    def of(cls, pairs: int, images: int, settings: AlignSettings) -> Unknowns:
        """For E pairs and n images: known poses and focals are held, one focal moves all images if it is shared."""
        shared = settings.shared_focal
        focal_of = np.zeros(images, dtype=np.int64) if shared else np.arange(images)
        known_focal = known_rows(settings.known_focals, images)
        known_pose = known_rows(settings.known_poses, images)
        free_focal = np.array([not known_focal.any()]) if shared else ~known_focal
        free = np.concatenate([np.ones(PAIR * pairs, dtype=bool), np.repeat(~known_pose, CAMERA), free_focal])
        return cls(pairs, focal_of, free, int(known_pose.sum()) < 2)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.focal_of)

    @property
    def count(self) -> int:
        """Numbers in a step."""
        return len(self.free)

    @property
    def log_scales(self) -> slice:
        """Where the pairs' log scales are."""
        return slice(PAIR - 1, PAIR * self.pairs, PAIR)

    def columns(self, image: int, pairs: np.ndarray) -> np.ndarray:
        """(7 + 7 K,) places of a camera, its focal, and pairs (K,)."""
        camera = PAIR * self.pairs + CAMERA * image + np.arange(CAMERA)
        focal = PAIR * self.pairs + CAMERA * self.images + self.focal_of[image]
        return np.concatenate([camera, [focal], (PAIR * pairs[:, None] + np.arange(PAIR)).ravel()])

    def rates(self, variables: Variables) -> np.ndarray:
        """(E,) what distances of each pair count by: all the same when the scale is fixed by the pairs themselves.

        Fixed by known poses, a pair that shrinks would gain by its errors shrinking with it, and pull the depths in; so
        its distances are then taken in its own scale.
        """
        return np.ones(self.pairs) if self.normalized else 1.0 / variables.scales

    def allowed(self, vector: np.ndarray) -> np.ndarray:
        """A gradient or step (m,) without what may not move."""
        kept = np.where(self.free, vector, 0.0)
        if self.normalized:
            kept[self.log_scales] -= kept[self.log_scales].mean()
        return kept

    def moved(self, variables: Variables, step: np.ndarray) -> Variables:
        """The variables after a step (m,)."""
        pairs = step[: PAIR * self.pairs].reshape(-1, PAIR)
        cameras = step[PAIR * self.pairs :][: CAMERA * self.images].reshape(-1, CAMERA)
        focals = step[PAIR * self.pairs + CAMERA * self.images :]
        growth = np.exp(pairs[:, 6])
        linear = growth[:, None, None] * (rotation_from_vector(pairs[:, :3]) @ variables.linear)
        anchors = variables.anchors + pairs[:, 3:6]
        turned = nearest_rotation(variables.rotations @ rotation_from_vector(cameras[:, :3]))
        return Variables(
            linear,
            anchors - np.einsum("eij,ej->ei", linear, variables.middles),
            variables.middles,
            np.where(cameras[:, :3, None].any(axis=1, keepdims=True), turned, variables.rotations),
            variables.positions + np.einsum("nij,nj->ni", variables.rotations, cameras[:, 3:]),
            variables.focals * np.exp(focals[self.focal_of]),
        )


def known_rows(values: np.ndarray | None, count: int) -> np.ndarray:
    """(count,) bool: which rows of values are known, that is, finite."""
    if values is None:
        return np.zeros(count, dtype=bool)
    return np.isfinite(np.asarray(values, dtype=np.float64).reshape(count, -1)).all(axis=1)


def normalized(variables: Variables) -> Variables:
    """The world scaled so that the pairs' scales have their fixed geometric mean."""
    return variables.scaled(float(np.exp(LOG_MEAN_SCALE - np.log(variables.scales).mean())))
