"""An aligned scene as the views of a job: cameras of the original frames, maps over the whole frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...media.frames import FrameSource
from ...reconstruction import Check, Intrinsics, Reconstruction, View
from ..views import FOCAL_RANGE, guessed_lens, no_camera
from .alignment.scene import Scene
from .pictures import Picture
from .reading import Pictures


@dataclass
class Solved:
    """What the alignment of a source gives.

    scene: of the pictures, in their order. used: the frame of each picture. input: image size and patch size of the
    pictures. min_confidence: of points that are kept, the network's own. notes: by frame, why it is left out. lens: as
    in Reconstruction. sparse: arrays of JobFolder.write_sparse, or None.
    """

    scene: Scene
    used: list[int]
    input: tuple[int, int]
    min_confidence: float
    notes: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    lens: str = "groups"
    is_metric: bool = False
    focal_is_certain: bool = True
    sparse: dict[str, np.ndarray] | None = None

    @property
    def placed(self) -> list[int]:
        """Indices of the pictures that have a pose."""
        return [k for k in range(len(self.used)) if np.isfinite(self.scene.world_from_camera[k]).all()]


def believable(scene: Scene) -> tuple[Scene, list[int]]:
    """(The scene without poses of cameras that cannot be, the indices of these).

    Raises EngineError("unsolved") when no camera is left.
    """
    absurd = []
    poses = scene.world_from_camera.copy()
    for k, depth in enumerate(scene.depth):
        if not np.isfinite(poses[k]).all():
            poses[k] = np.nan
            if k not in scene.left_out:
                absurd.append(k)
            continue
        relative = scene.focals[k] / max(depth.shape)
        if not (FOCAL_RANGE[0] <= relative <= FOCAL_RANGE[1] and np.isfinite(scene.principal_points[k]).all()):
            poses[k] = np.nan
            absurd.append(k)
    if not np.isfinite(poses).any():
        raise no_camera()
    return replace(scene, world_from_camera=poses), absurd


def make_reconstruction(pictures: Pictures, solved: Solved, method: str) -> Reconstruction:
    """Cameras of all frames of the source; those without a pose say why."""
    frames = pictures.frames
    picture_of = {frame: k for k, frame in enumerate(solved.used)}
    placed = set(solved.placed)
    lenses = {k: _lens(pictures.get(solved.used[k]), solved.scene, k) for k in placed}
    typical = np.median([lens.fx / max(lens.width, lens.height) for lens in lenses.values()]) if lenses else None
    views = []
    for index, info in enumerate(frames.infos):
        k = picture_of.get(index)
        if k in placed:
            views.append(View(info.file, info.frame, lenses[k], solved.scene.world_from_camera[k]))
            continue
        lens = guessed_lens(info.width, info.height, typical)
        note = solved.notes.get(index, "It does not overlap the other images enough.")
        views.append(View(info.file, info.frame, lens, note=note))
    return Reconstruction(
        views,
        frames.kind,
        method,
        lens=solved.lens,
        metric=solved.is_metric,
        focal_is_certain=solved.focal_is_certain,
        fps=frames.fps,
        source=frames.source.name,
        checks=[_overlap_check(solved)],
        warnings=_warnings(frames, solved, views),
    )


def _lens(picture: Picture, scene: Scene, index: int) -> Intrinsics:
    x, y = scene.principal_points[index]
    return picture.intrinsics(float(scene.focals[index]), (float(x), float(y)))


def _overlap_check(solved: Solved) -> Check:
    share = len(solved.placed) / max(1, len(solved.used))
    if share == 1.0:
        return Check("overlap", True, "All images are connected by pairs that overlap.", 1.0, 1.0)
    text = f"Only {len(solved.placed)} of {len(solved.used)} images are connected by pairs that overlap."
    return Check("overlap", False, text, share, 1.0)


def _warnings(frames: FrameSource, solved: Solved, views: list[View]) -> list[str]:
    warnings = list(solved.warnings)
    placed = {solved.used[k] for k in solved.placed}
    apart = [views[frame].file for frame in solved.used if frame not in placed]
    if apart:
        warnings.append(
            f"Left out, because they do not overlap the others enough: {', '.join(apart[:8])}"
            + (f" and {len(apart) - 8} more." if len(apart) > 8 else ".")
        )
    warnings += [f"Left out: {note}" for note in list(solved.notes.values())[:8]]
    return warnings
