"""The cameras of a stream as they grow: found, corrected, interpolated between, with one focal length or many."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...geometry.interpolation import interpolate_poses
from ...media.frames import FrameSource
from ...reconstruction import Check, Intrinsics, Reconstruction, View
from ..base import CamerasSolved
from ..lenses import read_intrinsics
from ..pairwise.pictures import Picture
from ..views import FOCAL_RANGE, UNBELIEVABLE, guessed_lens
from .drivers.finished import Finished
from .options import Options

# A shared focal length follows the median of all frames' once it is off by that much: each time all cameras change.
FOCAL_TOLERANCE = 0.003
WAITING = "It has not been looked at yet."
BETWEEN = "It lies between frames that went through the network, one of which has no camera."


class Track:
    """Cameras of all n frames of a source.

    poses: (n, 4, 4) world_from_camera, nan where unknown. focals: (n, 2) of x and y in units of the frame's long side;
    centres: (n, 2) principal points in frame pixels. notes: by frame, why it has no camera. keys: indices of the frames
    that go through the network.
    """

    def __init__(self, frames: FrameSource, options: Options, keys: list[int], method: str, is_metric: bool) -> None:
        self.frames, self.options, self.keys, self.method, self.is_metric = frames, options, keys, method, is_metric
        count = len(frames)
        self.poses = np.full((count, 4, 4), np.nan)
        self.focals, self.centres = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
        self.notes: dict[int, str] = {}
        self.warnings: list[str] = []
        self.known = _known_lenses(frames, options)
        self._shares = options.shares_focal(frames.kind)
        self._shared: np.ndarray | None = None
        self._told: tuple[np.ndarray, np.ndarray] | None = None  # poses and focals as announced

    def add(self, frame: int, found: Finished, picture: Picture) -> None:
        """Take what is known of a frame; it replaces what was known before."""
        self.notes.pop(frame, None)
        info = self.frames.infos[frame]
        self.poses[frame] = np.nan if found.pose is None else found.pose
        if found.points is not None:
            lens = picture.intrinsics(found.focal)
            self.focals[frame] = np.array([lens.fx, lens.fy]) / max(info.width, info.height)
            self.centres[frame] = lens.cx, lens.cy
        if found.pose is None or not (self._shares or self.known or _believable(self.focals[frame])):
            self.poses[frame] = np.nan
            self.notes[frame] = UNBELIEVABLE.format(Path(info.file).name)

    def announce(self, is_final: bool = False) -> CamerasSolved:
        """The cameras of all frames so far, and which of those announced before are changed."""
        poses, focals, interpolated = self._all_cameras(is_final)
        corrected: tuple[int, ...] = ()
        if self._told is not None:
            before, after = (np.hstack([a.reshape(len(a), 16), b]) for a, b in (self._told, (poses, focals)))
            changed = (before != after).any(axis=1) & np.isfinite(before).all(axis=1)
            corrected = tuple(np.flatnonzero(changed).tolist())
        self._told = poses, focals
        return CamerasSolved(self._reconstruction(poses, focals, interpolated, is_final), corrected=corrected)

    # -- keeping it

    def state(self) -> dict[str, np.ndarray]:
        """What must be kept to go on."""
        seen = np.array(json.dumps({"notes": self.notes, "warnings": self.warnings}))
        shared = np.full(2, np.nan) if self._shared is None else self._shared
        return {"poses": self.poses, "focals": self.focals, "centres": self.centres, "shared": shared, "said": seen}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state. Raises ValueError or KeyError for what is none of these frames."""
        for name in ("poses", "focals", "centres"):
            if arrays[name].shape != getattr(self, name).shape or arrays[name].dtype != np.float64:
                raise ValueError(f"{name} are those of other frames")
        if arrays["shared"].shape != (2,):
            raise ValueError("the shared focal length is damaged")
        said = json.loads(str(arrays["said"]))
        self.notes = {int(frame): str(note) for frame, note in said["notes"].items()}
        self.warnings = [str(warning) for warning in said["warnings"]]
        self.poses, self.focals, self.centres = arrays["poses"], arrays["focals"], arrays["centres"]
        self._shared = arrays["shared"] if np.isfinite(arrays["shared"]).all() else None
        self._told = self._all_cameras(False)[:2]

    # -- inside

    def _all_cameras(self, is_final: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(poses (n, 4, 4), focals (n, 2), which are interpolated (n,))."""
        poses, focals = self.poses.copy(), self.focals.copy()
        if self._shares and not self.known:
            self._share_focal(is_final)
            focals[:] = np.nan if self._shared is None else self._shared
            if self._shared is None:
                poses[:] = np.nan
        interpolated = np.zeros(len(poses), dtype=bool)
        solved = np.flatnonzero(np.isfinite(poses).all(axis=(1, 2)))
        if len(solved) > 1:
            interpolated[solved[0] : solved[-1]] = True
            interpolated[self.keys] = False
            between = np.flatnonzero(interpolated)
            poses[between] = interpolate_poses(solved, poses[solved], between)
            for axis in range(2):
                focals[between, axis] = np.interp(between, solved, focals[solved, axis])
        return poses, focals, interpolated

    def _share_focal(self, is_final: bool) -> None:
        """The median of what the frames' own points say."""
        good = [focal for focal in self.focals if _believable(focal)]
        if not good:
            return
        median = np.median(good, axis=0)
        tolerance = 0.0 if is_final else FOCAL_TOLERANCE
        if self._shared is None or np.abs(median / self._shared - 1).max() > tolerance:
            self._shared = median

    def _reconstruction(
        self, poses: np.ndarray, focals: np.ndarray, interpolated: np.ndarray, is_final: bool
    ) -> Reconstruction:
        frames = self.frames
        solved = np.isfinite(poses).all(axis=(1, 2))
        typical = float(np.median(focals[solved])) if solved.any() else None
        views = []
        for index, info in enumerate(frames.infos):
            lens = self._lens(index, focals[index], typical)
            if solved[index]:
                views.append(View(info.file, info.frame, lens, poses[index], interpolated=bool(interpolated[index])))
            else:
                views.append(View(info.file, info.frame, lens, note=self._note(index, is_final)))
        lens = "shared" if self._shares else "zoom" if frames.kind == "video" else "groups"
        return Reconstruction(
            views,
            frames.kind,
            self.method,
            lens=lens,
            metric=self.is_metric,
            focal_is_certain=bool(self.known) or len(self.keys) > 1,
            fps=frames.fps,
            source=frames.source.name,
            checks=[self._check()] if is_final else [],
            warnings=[*self.warnings, *(f"Left out: {note}" for note in list(self.notes.values())[:8])],
        )

    def _lens(self, index: int, focal: np.ndarray, typical: float | None) -> Intrinsics:
        info = self.frames.infos[index]
        if self.known:
            return self.known[index]
        if not np.isfinite(focal).all():
            return guessed_lens(info.width, info.height, typical)
        centre = self.centres[index]
        if not np.isfinite(centre).all():
            centre = info.width / 2, info.height / 2
        long = max(info.width, info.height)
        numbers = (float(value) for value in (*(focal * long), *centre))
        return Intrinsics(info.width, info.height, *numbers)

    def _note(self, index: int, is_final: bool) -> str:
        return self.notes.get(index, BETWEEN if is_final else WAITING)

    def _check(self) -> Check:
        placed = int(np.isfinite(self.poses[self.keys]).all(axis=(1, 2)).sum())
        share = placed / len(self.keys)
        if share == 1.0:
            return Check("placed", True, "Every frame that went through the network has a camera.", 1.0, 1.0)
        text = f"Only {placed} of the {len(self.keys)} frames for the network have a camera."
        return Check("placed", False, text, share, 1.0)


def _believable(focal: np.ndarray) -> bool:
    """Whether a camera could have it, in units of the long side."""
    return bool(np.isfinite(focal).all() and FOCAL_RANGE[0] <= focal.min() and focal.max() <= FOCAL_RANGE[1])


def _known_lenses(frames: FrameSource, options: Options) -> list[Intrinsics]:
    """What the user says of the lenses, without distortion, which the networks do not know; empty for nothing.

    Raises EngineError("usage") for a file that cannot be used.
    """
    if options.intrinsics is not None:
        lenses = read_intrinsics(Path(options.intrinsics), frames)
        return [replace(lens, k1=0.0, k2=0.0, p1=0.0, p2=0.0) for lens in lenses]
    if options.focal_px is None:
        return []
    focal = float(options.focal_px)
    return [Intrinsics(i.width, i.height, focal, focal, i.width / 2, i.height / 2) for i in frames.infos]
