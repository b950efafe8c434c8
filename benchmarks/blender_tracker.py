"""Blender's own tracker and solver, automated. Runs in Blender's environment: bpy and numpy.

    python benchmarks/blender_tracker.py MOVIE RESULT.json

One recipe for all footage, as far as it goes without a person: features every 15 frames, followed both ways, short and
jumping tracks deleted; solved from the three widest key frame pairs, focal refined; from the best of these, the worst
tenth of the tracks dropped and solved again with radial distortion too, twice; the solution with the least error is
kept. Blender's own choice of key frames takes minutes and was never the best one here: it is the way out where no
other works. The result has the form of cameras.json.
Exit status 4: no camera could be solved.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np

DETECT_EVERY = 15
FEATURES = 70  # a detection
PATTERN, SEARCH, CORRELATION = 15, 61, 0.75
SHORTEST_TRACK = 8
SPIKES = (5.0, 10.0, 20.0, 40.0, 80.0)  # px, the first is Blender's default for "Filter Tracks"
START_FOCAL = 1.2  # of the width
KEYFRAME_PAIRS, KEYFRAME_STEP = 3, 5
LEAST_SHARED = 0.5  # of the tracks of the first key frame: wider pairs mislead the solver and take it minutes
EXIT_UNSOLVED = 4


class Tracker:
    """A clip in an editor of its own, with the settings of the recipe."""

    def __init__(self, movie: str) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=False)  # a file with a window: the operators need an editor
        self.clip = bpy.data.movieclips.load(movie)
        self.scene = bpy.context.scene
        self.scene.frame_start, self.scene.frame_end = 1, self.clip.frame_duration
        self.tracking = self.clip.tracking
        window = bpy.context.window_manager.windows[0]
        area = window.screen.areas[0]
        area.type = "CLIP_EDITOR"
        self._editor = area.spaces.active
        self._editor.clip = self.clip
        self._editor.mode = "TRACKING"
        region = next(region for region in area.regions if region.type == "WINDOW")
        self._context = {
            "window": window,
            "screen": window.screen,
            "area": area,
            "region": region,
            "scene": self.scene,
        }
        settings = self.tracking.settings
        settings.default_pattern_size, settings.default_search_size = PATTERN, SEARCH
        settings.default_motion_model = "Loc"
        settings.default_pattern_match = "PREV_FRAME"
        settings.default_correlation_min = CORRELATION
        settings.use_default_normalization = True
        settings.refine_intrinsics_focal_length = True
        self.tracking.camera.distortion_model = "POLYNOMIAL"

    @contextmanager
    def editor(self, frame: int | None = None) -> Iterator[None]:
        """The clip editor as context of operators, at a frame."""
        if frame is not None:
            self.scene.frame_set(frame)
            self._editor.clip_user.frame_current = frame  # follows the scene only where there is a window to draw
        with bpy.context.temp_override(**self._context):
            yield

    def track(self) -> None:
        """Detect every DETECT_EVERY frames and follow what is found both ways."""
        for frame in range(1, self.clip.frame_duration + 1, DETECT_EVERY):
            self._detect(frame)
            for backwards in (False, True):
                with self.editor(frame):
                    bpy.ops.clip.track_markers(backwards=backwards, sequence=True)
        with self.editor():
            bpy.ops.clip.select_all(action="SELECT")
            bpy.ops.clip.clean_tracks(frames=SHORTEST_TRACK, error=0, action="DELETE_TRACK")
        self._delete_jumping()

    def _delete_jumping(self) -> None:
        """Tracks that have jumped make most solves fail, and slow; but where all move fast, few would be left."""
        for threshold in SPIKES:
            with self.editor():
                bpy.ops.clip.select_all(action="DESELECT")
                bpy.ops.clip.filter_tracks(track_threshold=threshold)
                count = sum(one.select for one in self.tracking.tracks)
                if count <= len(self.tracking.tracks) / 2:
                    if count:
                        bpy.ops.clip.delete_track(confirm=False)
                    return

    def _detect(self, frame: int) -> None:
        """Ever denser until there are FEATURES; what is found is left selected."""
        before = len(self.tracking.tracks)
        for distance in (80, 60, 45, 32, 24):
            with self.editor(frame):
                bpy.ops.clip.select_all(action="DESELECT")
                bpy.ops.clip.detect_features(threshold=0.02, min_distance=distance, margin=16, placement="FRAME")
                if len(self.tracking.tracks) - before >= FEATURES or distance == 24:
                    return
                if len(self.tracking.tracks) > before:
                    bpy.ops.clip.delete_track(confirm=False)

    def positions(self) -> np.ndarray:
        """(tracks, frames, 2) pixels, nan where a track is not seen."""
        size = np.array(self.clip.size)
        found = np.full((len(self.tracking.tracks), self.clip.frame_duration, 2), np.nan)
        for row, one in zip(found, self.tracking.tracks):
            for marker in one.markers:
                if not marker.mute and 1 <= marker.frame <= len(row):
                    row[marker.frame - 1] = np.array(marker.co) * size
        return found

    def solve(self, keyframes: tuple[int, int] | None, anew: bool = True) -> float:
        """Mean error in pixels of a solve from these key frames (None: Blender chooses); infinite if it fails.

        anew: start from the first guess of the lens and refine the focal; else start from what the last solve found
        and refine radial distortion too (from the first guess, with the bad tracks still in, that runs away).
        """
        self.tracking.settings.refine_intrinsics_radial_distortion = not anew
        camera = self.tracking.camera
        if anew:
            camera.units = "PIXELS"
            camera.focal_length_pixels = START_FOCAL * self.clip.size[0]
            camera.k1 = camera.k2 = camera.k3 = 0.0
        self.tracking.settings.use_keyframe_selection = keyframes is None
        if keyframes is not None:
            self.tracking.objects[0].keyframe_a, self.tracking.objects[0].keyframe_b = keyframes
        with self.editor():
            try:
                bpy.ops.clip.solve_camera()
            except RuntimeError as error:  # how operators tell that there are too few tracks
                print(f"solve from {keyframes}: {error}", flush=True)
                return float("inf")
        result = self.tracking.reconstruction
        error = result.average_error if result.is_valid and len(result.cameras) else float("inf")
        print(f"solve from {keyframes}: {len(result.cameras)} cameras, {error:.3f} px", flush=True)
        return error

    def drop_worst(self, share: float) -> None:
        tracks = sorted(self.tracking.tracks, key=lambda one: one.average_error if one.has_bundle else np.inf)
        for one in tracks:
            one.select = False
        for one in tracks[round(len(tracks) * (1 - share)) :]:
            one.select = True
        with self.editor():
            bpy.ops.clip.delete_track(confirm=False)

    def cameras_json(self) -> dict[str, Any]:
        """The form of cameras.json."""
        width, height = self.clip.size
        camera, result = self.tracking.camera, self.tracking.reconstruction
        poses = {item.frame - 1: np.array(item.matrix) @ np.diag([1, -1, -1, 1]) for item in result.cameras}
        lens = {
            "width": width,
            "height": height,
            "fx": camera.focal_length_pixels,
            "fy": camera.focal_length_pixels,
            "cx": width / 2,
            "cy": height / 2,
            "dist": {"k1": camera.k1, "k2": camera.k2, "p1": 0.0, "p2": 0.0},
        }
        images = []
        for frame in range(self.clip.frame_duration):
            pose = poses[frame].tolist() if frame in poses else None
            images.append({"file": f"frame_{frame:04d}", "frame": frame, **lens, "c2w": pose})
        return {"images": images, "reproj_error_px": result.average_error}


def widest_pairs(positions: np.ndarray) -> list[tuple[int, int]]:
    """Of the pairs of frames (counted from 1) with LEAST_SHARED tracks, those whose tracks have moved most.

    positions: (tracks, frames, 2) pixels, nan where not seen.
    """
    frames = range(0, positions.shape[1], KEYFRAME_STEP)
    found = []
    for a in frames:
        for b in (b for b in frames if b > a):
            moved = np.linalg.norm(positions[:, b] - positions[:, a], axis=1)
            moved = moved[np.isfinite(moved)]
            if len(moved) >= max(10, LEAST_SHARED * np.isfinite(positions[:, a, 0]).sum()):
                found.append((float(np.median(moved)), (a + 1, b + 1)))
    return [pair for _, pair in sorted(found, reverse=True)[:KEYFRAME_PAIRS]]


def main(movie: str, result: str) -> int:
    tracker = Tracker(str(Path(movie).resolve()))
    tracker.track()
    print(f"Blender {bpy.app.version_string}: {len(tracker.tracking.tracks)} tracks", flush=True)
    errors = {pair: tracker.solve(pair) for pair in widest_pairs(tracker.positions())}
    if not np.isfinite(min(errors.values(), default=np.inf)):
        errors = {None: tracker.solve(None)}
    best = min(errors, key=errors.get)
    solutions = [(tracker.solve(best), tracker.cameras_json())]
    for _ in range(2):
        tracker.drop_worst(0.1)
        solutions.append((tracker.solve(best, anew=False), tracker.cameras_json()))
    error, cameras = min(solutions, key=lambda solution: solution[0])
    if not np.isfinite(error):
        print("No camera could be solved.", file=sys.stderr, flush=True)
        return EXIT_UNSOLVED
    Path(result).write_text(json.dumps(cameras))
    return 0


if __name__ == "__main__":
    try:
        status = main(*sys.argv[1:])
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Blender as a module may hang when Python ends in the usual way
