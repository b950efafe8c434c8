"""What an alignment is asked for, and the scene it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ....errors import EngineError

# Report: (stage, done, total), as often as something was done. Check: raises Cancelled when the user wants to stop.
Report = Callable[[str, int, int], None]
Check = Callable[[], None]

ALGORITHMS = ("sampled", "fast", "reference")
SCHEDULES = ("cosine", "linear")
STARTS = ("tree", "known_poses")


def no_report(stage: str, done: int, total: int) -> None:
    """A report nobody listens to."""


def no_check() -> None:
    """A check of a job nobody can cancel."""


@dataclass(frozen=True)
class AlignSettings:
    """How pairs are joined into a scene. Whatever is per image follows the order of PairPredictions.sizes.

    algorithm: "reference" (the published one), "sampled" (the same on some of the pixels; the minimum where the end of
    its steps is not expected to hold, see finish.py), or "fast" (the minimum of the same loss by second-order steps).
    iterations, schedule ("cosine" or "linear"), learning_rate, last_rate: of the first two's Adam. shared_focal: one
    focal length for all images.
    known_focals: (n,) network pixels, nan where unknown. known_poses: (n, 4, 4) world_from_camera, nan where unknown;
    two at least. known_principal_points: (n, 2) network pixels, the first pixel's centre at 0, nan where unknown.
    start: "tree" (maximum spanning tree of the pairs), or "known_poses" (all poses and focals are known, each pair is
    put on them directly).
    published_start: begin like the published program even where that is a mistake: the focal of an image whose pair
    comes later in the tree is taken from the pair before.
    equal_pairs: every pair counts the same in the loss; otherwise every pixel does.
    min_confidence: pixels above it take part in pose estimation from points.
    joining_confidence, joining_share: a pair connects its images when at least this share of the pixels of both has
    at least this confidence.
    """

    algorithm: str = "sampled"
    iterations: int = 300
    schedule: str = "cosine"
    learning_rate: float = 0.01
    last_rate: float = 1e-6
    shared_focal: bool = False
    known_focals: np.ndarray | None = None
    known_poses: np.ndarray | None = None
    known_principal_points: np.ndarray | None = None
    start: str = "tree"
    published_start: bool = False
    equal_pairs: bool = False
    min_confidence: float = 3.0
    joining_confidence: float = float(np.log(3.0))
    joining_share: float = 0.02

    def __post_init__(self) -> None:
        for name, known in (("algorithm", ALGORITHMS), ("schedule", SCHEDULES), ("start", STARTS)):
            if getattr(self, name) not in known:
                raise EngineError(
                    "usage",
                    f"The alignment knows no {name} {getattr(self, name)!r}.",
                    f"Use one of {', '.join(known)}.",
                )
        if self.iterations < 0:
            raise EngineError("usage", "The number of iterations is negative.", "Give 0 or more.")

    def check_known(self, count: int) -> None:
        """Raise EngineError "usage" when what is known is not given for `count` images."""
        for title, values, shape in (
            ("focal lengths", self.known_focals, (count,)),
            ("poses", self.known_poses, (count, 4, 4)),
            ("principal points", self.known_principal_points, (count, 2)),
        ):
            if values is not None and np.shape(values) != shape:
                message = f"The known {title} have the shape {np.shape(values)} for {count} images."
                raise EngineError("usage", message, f"Give {shape}, with nan where nothing is known.")

    def select(self, images: list[int]) -> AlignSettings:
        """The settings for some of the images, in their order."""

        def rows(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else np.asarray(values)[images]

        return replace(
            self,
            known_focals=rows(self.known_focals),
            known_poses=rows(self.known_poses),
            known_principal_points=rows(self.known_principal_points),
        )


@dataclass
class Scene:
    """Posed views of n images in one world, OpenCV axes, arbitrary scale.

    world_from_camera: (n, 4, 4) float64, nan for images that were left out. focals: (n,) and principal_points: (n, 2)
    in network pixels, the first pixel's centre at 0. depth, confidence: (H, W) float32 per image, 0 depth where there
    is none; confidence from 1 upwards, 0 where cleaned away. loss: of the alignment, nan when there was none.
    left_out: indices of images that no pair connects to the others.
    """

    world_from_camera: np.ndarray
    focals: np.ndarray
    principal_points: np.ndarray
    depth: list[np.ndarray]
    confidence: list[np.ndarray]
    loss: float = float("nan")
    left_out: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of images, those left out included."""
        return len(self.depth)

    @property
    def intrinsics(self) -> np.ndarray:
        """(n, 3, 3) float64 pinhole matrices; the first pixel's centre at 0."""
        matrices = np.tile(np.eye(3), (self.count, 1, 1))
        matrices[:, 0, 0] = matrices[:, 1, 1] = self.focals
        matrices[:, :2, 2] = self.principal_points
        return matrices

    def camera_points(self, index: int) -> np.ndarray:
        """(H, W, 3) float32: the pixels of an image in its own camera's frame."""
        depth = self.depth[index]
        rows, columns = np.indices(depth.shape, dtype=np.float32)
        center = self.principal_points[index]
        x = (columns - center[0]) / self.focals[index] * depth
        y = (rows - center[1]) / self.focals[index] * depth
        return np.stack([x, y, depth], axis=-1).astype(np.float32)

    def world_points(self, index: int) -> np.ndarray:
        """(H, W, 3) float32: the pixels of an image in the world; nan for an image that was left out."""
        pose = self.world_from_camera[index]
        return (self.camera_points(index) @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
