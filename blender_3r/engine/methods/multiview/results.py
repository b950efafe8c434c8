"""Views of the joined world as a job's cameras and maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...geometry.cameras import Cameras
from ...media.frames import FrameSource
from ...reconstruction import Check, Intrinsics, Reconstruction, View
from ..pairwise.pictures import Picture
from ..solved import adjustment_check
from ..views import FOCAL_RANGE, guessed_lens
from .chunks import LARGEST_ERROR, Seam
from .predictions import Prediction

WAITING = "Not computed yet."
NO_POSE = "{}: what the network says of it gives no camera that could be."


@dataclass
class Scene:
    """What is known of a source so far, by the numbers of its pictures.

    used: the frame of every picture. poses: world_from_camera (4, 4). lenses: of the original frames; fixed: whether
    they were given. notes: by frame, why it is left out. seams: of chunks, by frames. adjusted: mean error in pixels
    before and after the bundle adjustment.
    """

    used: list[int]
    poses: dict[int, np.ndarray] = field(default_factory=dict)
    lenses: dict[int, Intrinsics] = field(default_factory=dict)
    fixed: bool = False
    shares_focal: bool = False
    is_metric: bool = False
    notes: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seams: list[Seam] = field(default_factory=list)
    adjusted: tuple[float, float] | None = None
    kind_of_lens: str = "groups"

    def take(self, prediction: Prediction, poses: dict[int, np.ndarray], picture_of: Callable[[int], Picture]) -> None:
        """Cameras of a pass. poses: in the joined world, of the views that have one."""
        for k, view in enumerate(prediction.views):
            if view not in poses:
                continue
            self.poses[view] = poses[view]
            center = tuple(float(value) for value in prediction.principal_points[k])
            focal = tuple(float(value) for value in prediction.focals[k])
            lens = picture_of(view).intrinsics(focal, center)
            self.lenses[view] = lens if self.fixed else with_square_pixels(lens)

    def believed(self) -> dict[int, Intrinsics]:
        """Lenses of the pictures that have a pose and a lens that can be; where all share one, with the median of all
        focal lengths.
        """
        shared = self._shared_focal()
        lenses = {}
        for view in sorted(self.poses):
            lens = self.lenses[view]
            if shared is not None:
                focal = shared * max(lens.width, lens.height)
                lens = replace(lens, fx=focal, fy=focal)
            if is_believable(lens):
                lenses[view] = lens
        return lenses

    def _shared_focal(self) -> float | None:
        """Over the long side; None where lenses are each their own, or none can be."""
        if self.fixed or not self.shares_focal:
            return None
        focals = [lens.fx / max(lens.width, lens.height) for lens in self.lenses.values() if is_believable(lens)]
        return float(np.median(focals)) if focals else None

    def adjust(self, cameras: Cameras, errors: tuple[float, float]) -> list[int]:
        """Take over cameras of all frames of the source. Returns the pictures whose cameras changed."""
        self.adjusted = errors
        changed = []
        for view, frame in enumerate(self.used):
            if view in self.poses and cameras.solved[frame]:
                lens = self.lenses[view]
                self.poses[view] = cameras.world_from_camera[frame]
                self.lenses[view] = cameras.intrinsics(frame, lens.width, lens.height)
                changed.append(view)
        return changed


def with_square_pixels(lens: Intrinsics) -> Intrinsics:
    """Cameras have square pixels: what networks say of x and y apart is averaged."""
    focal = float(np.sqrt(lens.fx * lens.fy)) if np.isfinite([lens.fx, lens.fy]).all() else float("inf")
    return replace(lens, fx=focal, fy=focal)


def is_believable(lens: Intrinsics | None) -> bool:
    """Whether a camera could have that lens."""
    if lens is None or not np.isfinite([lens.fx, lens.fy, lens.cx, lens.cy]).all():
        return False
    return FOCAL_RANGE[0] <= lens.fx / max(lens.width, lens.height) <= FOCAL_RANGE[1]


def view_arrays(picture: Picture, depth: np.ndarray, confidence: np.ndarray, kept: np.ndarray) -> dict[str, np.ndarray]:
    """depth, confidence and colour of one view on the grid of the whole scaled frame; depth is 0 where not kept."""
    good = kept & np.isfinite(depth) & (depth > 0)
    return {
        "depth": picture.to_whole(np.where(good, depth, 0).astype(np.float32)),
        "confidence": picture.to_whole(np.nan_to_num(confidence, nan=0.0).astype(np.float32)),
        "color": picture.whole,
    }


def make_reconstruction(frames: FrameSource, scene: Scene, method: str, is_done: bool) -> Reconstruction:
    """Cameras of all frames of the source so far; those without a pose say why."""
    number = {frame: k for k, frame in enumerate(scene.used)}
    lenses = scene.believed()
    typical = np.median([lens.fx / max(lens.width, lens.height) for lens in lenses.values()]) if lenses else None
    views = []
    for index, info in enumerate(frames.infos):
        k = number.get(index)
        if k in lenses:
            views.append(View(info.file, info.frame, lenses[k], scene.poses[k]))
            continue
        note = scene.notes.get(index, NO_POSE.format(Path(info.file).name) if is_done else WAITING)
        views.append(View(info.file, info.frame, guessed_lens(info.width, info.height, typical), note=note))
    checks = _seam_checks(scene.seams)
    if scene.adjusted is not None:
        checks.append(adjustment_check(*scene.adjusted, "points followed through the views"))
    return Reconstruction(
        views,
        frames.kind,
        method,
        lens=scene.kind_of_lens,
        metric=scene.is_metric,
        focal_is_certain=scene.fixed or len(scene.used) > 1,
        reproj_error_px=None if scene.adjusted is None else scene.adjusted[1],
        fps=frames.fps,
        source=frames.source.name,
        checks=checks,
        warnings=[*scene.warnings, *(f"Left out: {note}" for note in list(scene.notes.values())[:8])],
    )


def _seam_checks(seams: Sequence[Seam]) -> list[Check]:
    """One check for all seams, about the worst."""
    if not seams:
        return []
    worst = max(seams, key=lambda seam: (not seam.holds, seam.error))
    verdict = "at the worst of the seams" if worst.holds else "a seam does not hold:"
    text = f"{len(seams) + 1} chunks of views were joined; {verdict} {worst}."
    return [Check("seams", worst.holds, text, worst.error, LARGEST_ERROR)]
