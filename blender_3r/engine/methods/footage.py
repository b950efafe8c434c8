"""Footage to cameras: tracks, cuts, a tripod or a moving camera, and whether the result can be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..geometry.interpolation import interpolate_poses
from ..media.frames import FrameSource
from ..media.interlace import WARNING as INTERLACED
from ..media.interlace import is_interlaced
from ..media.masks import Masks
from ..solve.alignment import Aligned, align_tracks
from ..solve.checks import check_solution, given_focal, refuse_hopeless, track_pairs
from ..solve.mapping import LensModel
from ..solve.moving import moving_tracks
from ..solve.posed import hold_given
from ..solve.reduced import solve_reduced
from ..solve.shots import Shots, find_shots, named, only, same_pictures
from ..solve.solution import Solution
from ..solve.steady import hold_scale, predicted_depth
from ..solve.tracks import track_video
from ..solve.tripod import Motion, classify_motion, solve_tripod
from ..solve.video import KEEP_PX, MAX_JOINT_FRAMES, VideoSettings, bundle_options
from .base import Context, Event, Progress
from .depth_maps import DepthMaps

SHORTEST = 2  # frames of a piece that can be solved


@dataclass(frozen=True)
class Footage:
    """How footage is solved. track_side: longer side in px of the images tracked in. tracks: points kept alive.
    lens: "auto", "shared" or "zoom". distortion, center: see VideoSettings. masks: what is left out. given: cameras to
    start from; holds: they stay as they are. observations: tracks that were followed by something else.
    depth: of a network, that the scale is held to.
    """

    track_side: int
    tracks: int
    lens: str = "auto"
    distortion: int | None = None
    center: bool | None = None
    masks: Masks | None = None
    given: Cameras | None = None
    holds: bool = False
    observations: Observations | None = None
    depth: DepthMaps | None = None


class Reporter:
    """Progress within the part of a job that solves the cameras."""

    def __init__(self, context: Context, report: Callable[[Event], None], share: float) -> None:
        self.context, self._report, self._share = context, report, share
        self._highest = 0.0

    def stage(self, stage: str, part: float, done: int = 0, total: int = 0) -> None:
        """part: how much of the camera solve is done, 0..1; never falls, even when a stage is gone through again.

        Raises Cancelled.
        """
        self.context.check_cancelled()
        self._highest = max(self._highest, part)
        self._report(Progress(stage, done, total, self._share * self._highest))

    def counted(self, stage: str, start: float, end: float, total: int) -> Callable[[int], None]:
        """A callback that takes how many of total are done and reports from part start to end."""
        return lambda done: self.stage(stage, start + (end - start) * done / max(1, total), done, total)


def solve_footage(frames: FrameSource, lenses: LensModel, footage: Footage, reporter: Reporter) -> Solution:
    """Cameras of the frames of a video, those of its longest shot where it has cuts.

    Raises EngineError("unsolved") with what to do about it.
    """
    log = reporter.context.log
    observations = _track(frames, footage, reporter)
    shots = find_shots(observations, len(frames))
    observations = only(observations, shots.longest)
    solution = _solve(frames, observations, lenses, footage, reporter)
    moving = moving_tracks(observations, solution.cameras, turns_only=solution.motion == "tripod")
    solution.moving = moving[: len(solution.points)]  # the last ones may have been joined to others
    log(f"{int(solution.moving.sum())} of {len(solution.moving)} tracks move by themselves")
    _fill_flashes(solution, shots)
    told = [*_tell_pieces(frames, solution, shots), *_tell_oddities(frames, shots)]
    for text in told:
        log(text)
    solution.warnings += told
    return solution


def _track(frames: FrameSource, footage: Footage, reporter: Reporter) -> Observations:
    if footage.observations is not None:
        return _unmasked(footage.observations, frames, footage.masks)
    count = reporter.counted("Following points", 0.0, 0.25, len(frames))
    observations = track_video(
        frames, footage.track_side, footage.tracks, lambda index: count(index + 1), footage.masks
    )
    tracks = int(observations.track.max(initial=-1)) + 1
    reporter.context.log(f"{tracks} tracks, {len(observations)} observations")
    if len(observations) == 0:
        raise EngineError(
            "unsolved",
            "No points could be followed through the footage.",
            "It may be too dark, blurred or plain; use sharper footage with visible texture.",
        )
    return observations


def _unmasked(observations: Observations, frames: FrameSource, masks: Masks | None) -> Observations:
    if masks is None:
        return observations
    keep = np.ones(len(observations), bool)
    for index in np.unique(observations.frame):
        rows, info = observations.frame == index, frames.infos[int(index)]
        keep[rows] = ~masks.covered(int(index), observations.xy[rows], (info.width, info.height))
    return observations[keep]


def _solve(
    frames: FrameSource, observations: Observations, lenses: LensModel, footage: Footage, reporter: Reporter
) -> Solution:
    context = reporter.context
    if footage.holds and footage.given is not None:
        reporter.stage("Holding the given cameras", 0.3)
        solution = hold_given(observations, footage.given, lenses)
        solution.checks = check_solution(solution, lenses, track_pairs(observations, solution.cameras))
        return solution
    reporter.stage("Looking at the camera's motion", 0.25)
    longest = max(max(info.width, info.height) for info in frames.infos)
    pixel = max(1.0, longest / footage.track_side)  # of the images that were tracked in
    unplaced = Cameras.from_intrinsics(lenses.start, np.full((len(frames), 4, 4), np.nan))
    motion = classify_motion(observations, unplaced, lenses.focal_known)
    context.log(motion.text)
    if motion.is_tripod:
        reporter.stage("Solving a tripod shot", 0.5)
        return _tripod(observations, unplaced, motion, lenses, footage.lens, KEEP_PX * pixel)
    settings = VideoSettings(
        footage.lens,
        footage.distortion,
        footage.center,
        context.threads,
        lambda stage, part: reporter.stage(stage, 0.3 + 0.7 * part),
        context.check_cancelled,
        context.log,
        lambda seen, cameras, points: _aligned(frames, seen, cameras, points, footage, reporter),
    )
    solution = solve_reduced(observations, lenses, settings, footage.given, pixel)
    if footage.depth is not None:
        solution = _held(frames, solution, footage.depth, lenses, reporter)
    checks = check_solution(solution, lenses, track_pairs(observations, solution.cameras))
    refuse_hopeless(checks)
    if lenses.focal_known:
        known = given_focal(solution, bundle_options("fixed", int(np.any(solution.cameras.distortion))))
        if known is not None:
            checks.append(known)
            solution.warnings += [] if known.passed else [known.text]
    solution.checks = [*solution.checks, *checks]
    return solution


def _aligned(
    frames: FrameSource,
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    footage: Footage,
    reporter: Reporter,
) -> Aligned:
    total = 2 * len(frames)
    count = reporter.counted("Aligning points", 0.86, 0.93, total)
    threads = reporter.context.threads
    return align_tracks(frames, observations, cameras, points, footage.track_side, threads, count)


def _held(frames: FrameSource, solution: Solution, depth: DepthMaps, lenses: LensModel, reporter: Reporter) -> Solution:
    """The solution with its scale held to known depth."""
    reporter.stage("Holding the scale to the depth", 0.95)
    if int(solution.cameras.solved.sum()) > MAX_JOINT_FRAMES:
        solution.warnings.append(f"The depth given is not used: it takes a shot of {MAX_JOINT_FRAMES} frames at most.")
        return solution
    sizes = [(info.width, info.height) for info in frames.infos]
    log_depth = predicted_depth(solution.observations, depth.read, sizes)
    lens = "fixed" if lenses.focal_known else solution.lens
    found = np.flatnonzero(np.any(solution.cameras.distortion, axis=0))
    start = np.array([(one.cx, one.cy) for one in lenses.start])
    is_free = not np.allclose(solution.cameras.center, start, equal_nan=True)  # else it was held
    options = bundle_options(lens, 0 if len(found) == 0 else (1, 2, 4, 4)[found[-1]])
    held = hold_scale(solution, log_depth, replace(options, center=is_free))
    reporter.context.log(
        f"scale held to the depth of {len(np.unique(solution.observations.frame[np.isfinite(log_depth)]))} frames: "
        f"mean error {solution.mean_error_px:.3f} px before, {held.mean_error_px:.3f} after"
    )
    return held


def _tripod(
    observations: Observations, cameras: Cameras, motion: Motion, lenses: LensModel, lens: str, threshold_px: float
) -> Solution:
    bundle = solve_tripod(observations, cameras, motion, "fixed" if lenses.focal_known else lens, threshold_px)
    spread = np.ptp(np.log(bundle.cameras.focal[bundle.cameras.solved]))
    solution = Solution.from_bundle(bundle, observations, "zoom" if spread > 1e-6 else "shared")
    solution.motion = "tripod"
    still = motion.kind == "static"
    solution.warnings.append(
        f"The camera {'does not move' if still else 'only turns (tripod)'}, so nothing tells how far away things are: "
        "there are no points, and objects placed in the shot have no scale."
    )
    return solution


def _fill_flashes(solution: Solution, shots: Shots) -> None:
    """Cameras of frames without tracks, as a flash leaves them, from those before and after."""
    solved = np.flatnonzero(solution.cameras.solved)
    between = [frame for frame in shots.blind if len(solved) and solved[0] < frame < solved[-1]]
    wanted = np.array([frame for frame in between if not solution.cameras.solved[frame]], dtype=int)
    if len(wanted) == 0:
        return
    cameras = solution.cameras
    cameras.world_from_camera[wanted] = interpolate_poses(solved, cameras.world_from_camera[solved], wanted)
    cameras.focal[wanted] = np.exp(np.interp(wanted, solved, np.log(cameras.focal[solved])))
    solution.interpolated = frozenset(wanted.tolist())


def _tell_pieces(frames: FrameSource, solution: Solution, shots: Shots) -> list[str]:
    """Where the footage was cut; the frames outside of the piece that was solved get a note."""
    if len(shots.pieces) < 2:
        return []
    first, last = shots.longest
    # The world of a tripod shot stands still by itself: frames of the other pieces have a pose that means nothing.
    outside = np.ones(len(frames), bool)
    outside[first : last + 1] = False
    solution.cameras.world_from_camera[outside] = np.nan
    note = "This frame belongs to another shot than the one that was solved."
    solution.notes.update({int(frame): note for frame in np.flatnonzero(outside)})
    numbers = [frames.infos[index].frame for index in range(len(frames))]
    cuts = [numbers[piece[0]] for piece in shots.pieces[1:]]
    return [
        f"No points lead on to {named(cuts)}: the footage is cut there, or moves too fast. Frames {numbers[first]} to "
        f"{numbers[last]}, the longest part, are solved; give the others a job of their own by the frame range."
    ]


def _tell_oddities(frames: FrameSource, shots: Shots) -> list[str]:
    told = []
    if shots.blind:
        lost = [frames.infos[index].frame for index in shots.blind]
        told.append(f"Nothing could be followed in {named(lost)} (a flash?): their cameras are interpolated.")
    copies = same_pictures(frames, shots.copies)
    if copies:
        told.append(
            f"{len(copies)} of {len(frames)} frames repeat the one before: "
            f"{named([frames.infos[index].frame for index in copies])}. The camera stands still there too."
        )
    if is_interlaced(frames):
        told.append(INTERLACED)
    return told
