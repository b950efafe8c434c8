"""Cameras and depth without any model: feature tracks, structure from motion, multi-view stereo.

Footage is followed by Lucas-Kanade, photos are matched by SIFT; pycolmap maps them, a bundle adjustment of our own
refines them, plane sweep stereo fills in depth. Works offline on any machine, and its results may be used commercially.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..media.checks import require_frames
from ..media.frames import FrameSource
from ..reconstruction import Intrinsics, Reconstruction, View
from ..solve.checks import check_solution, refuse_hopeless, track_pairs
from ..solve.dense import DenseSettings, choose_views, dense_depth
from ..solve.features import choose_pairs, extract_features, match_features
from ..solve.mapping import LensModel
from ..solve.pair import solve_pair
from ..solve.photos import PhotoSettings, solve_photos
from ..solve.solution import Solution
from ..solve.tracks import track_video
from ..solve.tripod import classify_motion, solve_tripod
from ..solve.video import GUESSED_FOCAL, VideoSettings, solve_video
from .base import CamerasSolved, Context, Event, MethodInfo, Progress, ViewReady, run_reporting
from .lenses import read_intrinsics
from .sparse_cloud import sparse_cloud, track_arrays

INFO = MethodInfo(
    id="classic",
    title="Classic",
    description="Feature tracks and multi-view stereo; no download, works offline, commercial use allowed.",
    commercial_use=True,
)

FOCAL_CHECKS = ("focal firmness", "focal stability", "lens")


@dataclass(frozen=True)
class _Quality:
    """track_side, match_side: longer side in px of images tracked and matched in. depth_side, depth_views: size and
    number of depth maps; points: budget of dense points.
    """

    track_side: int
    tracks: int
    match_side: int
    features: int
    depth_side: int
    depth_views: int


QUALITIES = {
    "draft": _Quality(960, 700, 1200, 2000, 320, 16),
    "normal": _Quality(1280, 1200, 2000, 4096, 512, 32),
    "fine": _Quality(1920, 1800, 3200, 8192, 768, 64),
}


@dataclass(frozen=True)
class Settings:
    """See the command line's help. points, the import's budget, is not used here: depth maps are kept whole."""

    quality: str = "normal"
    lens: str = "auto"
    focal_px: float | None = None
    dense: bool = True
    points: int | None = None
    intrinsics: str | None = None
    threads: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known and value is not None})


def run(frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """Solve the cameras, then the depth of chosen views; see Method.

    What an earlier run of the same request left in context.job is used: solved cameras are not solved again, views
    that are there are not computed again.
    """
    require_frames(frames, 2)
    chosen = Settings.from_json(settings)
    quality = QUALITIES[chosen.quality]
    earlier = context.job.read_cameras()
    if earlier is None:
        share = 0.35 if chosen.dense else 1.0
        lenses = start_lenses(frames, chosen)
        solution = yield from run_reporting(lambda report: _solve(frames, lenses, chosen, context, report, share))
        reconstruction = _reconstruction(frames, solution, lenses)
        sparse = None if solution.motion == "tripod" else sparse_cloud(frames, solution)
        yield CamerasSolved(reconstruction, sparse, track_arrays(solution))
    else:
        context.log("cameras of an earlier run are used")
        reconstruction = earlier
    if chosen.dense and reconstruction.motion != "tripod":
        yield from _dense(frames, reconstruction, quality, context, 0.0 if earlier else 0.35)


def start_lenses(frames: FrameSource, settings: Settings) -> LensModel:
    """What is known of the lenses: from the file of intrinsics, the focal given, EXIF, or nothing.

    Raises EngineError("usage") when the file of intrinsics cannot be read or lacks a frame.
    """
    names = {camera: number for number, camera in enumerate(dict.fromkeys(info.camera for info in frames.infos))}
    group = np.array([names[info.camera] for info in frames.infos])
    if settings.intrinsics is not None:
        start = read_intrinsics(Path(settings.intrinsics), frames)
        return LensModel(start, np.arange(len(start)), focal_known=True, distortion_known=True)
    start = []
    for info in frames.infos:
        guess = info.focal_px or GUESSED_FOCAL * max(info.width, info.height)
        focal = settings.focal_px or guess
        start.append(Intrinsics(info.width, info.height, focal, focal, info.width / 2, info.height / 2))
    measured = all(info.focal_px for info in frames.infos)
    return LensModel(start, group, focal_known=settings.focal_px is not None, focal_measured=measured)


def _solve(
    frames: FrameSource,
    lenses: LensModel,
    settings: Settings,
    context: Context,
    report: Callable[[Event], None],
    share: float,
) -> Solution:
    """Cameras by the way that fits the source; share: of the whole job, for the progress reported."""
    reporter = _Reporter(context, report, share)
    if len(frames) == 2:
        return _solve_pair(frames, lenses, settings, reporter)
    if frames.kind == "video":
        return _solve_video(frames, lenses, settings, reporter)
    graph = _match_photos(frames, settings, reporter)
    photo_settings = PhotoSettings(
        context.threads,
        lambda stage, part: reporter.stage(stage, 0.6 + 0.4 * part),
        context.check_cancelled,
        context.log,
    )
    return solve_photos(graph, lenses, photo_settings)


class _Reporter:
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


def _solve_video(frames: FrameSource, lenses: LensModel, settings: Settings, reporter: _Reporter) -> Solution:
    quality, context = QUALITIES[settings.quality], reporter.context
    count = reporter.counted("Following points", 0.0, 0.25, len(frames))
    observations = track_video(frames, quality.track_side, quality.tracks, lambda index: count(index + 1))
    context.log(f"{int(observations.track.max(initial=-1)) + 1} tracks, {len(observations)} observations")
    if len(observations) == 0:
        raise EngineError(
            "unsolved",
            "No points could be followed through the footage.",
            "It may be too dark, blurred or plain; use sharper footage with visible texture.",
        )
    reporter.stage("Looking at the camera's motion", 0.25)
    unplaced = Cameras.from_intrinsics(lenses.start, np.full((len(frames), 4, 4), np.nan))
    motion = classify_motion(observations, unplaced, lenses.focal_known)
    context.log(motion.text)
    if motion.is_tripod:
        reporter.stage("Solving a tripod shot", 0.5)
        return _tripod(observations, unplaced, motion, lenses, settings)
    video_settings = VideoSettings(
        settings.lens,
        context.threads,
        lambda stage, part: reporter.stage(stage, 0.3 + 0.7 * part),
        context.check_cancelled,
        context.log,
    )
    solution = solve_video(observations, lenses, video_settings)
    checks = check_solution(solution, lenses, track_pairs(observations, solution.cameras))
    refuse_hopeless(checks)
    solution.checks = [*solution.checks, *checks]
    return solution


def _tripod(
    observations: Observations, cameras: Cameras, motion: Any, lenses: LensModel, settings: Settings
) -> Solution:
    bundle = solve_tripod(observations, cameras, motion, "fixed" if lenses.focal_known else settings.lens)
    spread = np.ptp(np.log(bundle.cameras.focal[bundle.cameras.solved]))
    solution = Solution.from_bundle(bundle, observations, "zoom" if spread > 1e-6 else "shared")
    solution.motion = "tripod"
    still = motion.kind == "static"
    solution.warnings.append(
        f"The camera {'does not move' if still else 'only turns (tripod)'}, so nothing tells how far away things are: "
        "there are no points, and objects placed in the shot have no scale."
    )
    return solution


def _match_photos(frames: FrameSource, settings: Settings, reporter: _Reporter) -> Any:
    quality, threads = QUALITIES[settings.quality], reporter.context.threads
    features = extract_features(
        frames,
        quality.match_side,
        quality.features,
        threads,
        reporter.counted("Finding features", 0.0, 0.25, len(frames)),
    )
    pairs = choose_pairs(features)
    reporter.context.log(f"{sum(len(f.xy) for f in features)} features, {len(pairs)} pairs to match")
    return match_features(features, pairs, threads, reporter.counted("Matching photos", 0.25, 0.6, len(pairs)))


def _solve_pair(frames: FrameSource, lenses: LensModel, settings: Settings, reporter: _Reporter) -> Solution:
    graph = _match_photos(frames, settings, reporter)
    reporter.stage("Solving the pair", 0.7)
    matches = graph.matches.get((0, 1), np.zeros((0, 2), np.uint32))
    xy_a, xy_b = graph.keypoints[0][matches[:, 0]], graph.keypoints[1][matches[:, 1]]
    return solve_pair(xy_a, xy_b, lenses)


def _reconstruction(frames: FrameSource, solution: Solution, lenses: LensModel) -> Reconstruction:
    errors, support = solution.frame_errors(), solution.support()
    views = []
    for index, info in enumerate(frames.infos):
        lens = solution.cameras.intrinsics(index, info.width, info.height)
        solved = bool(solution.cameras.solved[index])
        views.append(
            View(
                info.file,
                info.frame,
                lens,
                solution.cameras.world_from_camera[index] if solved else None,
                float(errors[index]) if solved and np.isfinite(errors[index]) else None,
                "" if solved else _why_missing(int(support[index]), frames.kind),
            )
        )
    held = all(check.passed for check in solution.checks if check.name in FOCAL_CHECKS)
    certain = lenses.focal_known or (solution.focal_is_certain and held)
    warnings = list(solution.warnings)
    if not certain and not any("focal length" in warning for warning in warnings):
        warnings.append(
            "The focal length is uncertain: this footage hardly tells it. Give the focal length if you know it."
        )
    missing = sum(not view.is_solved for view in views)
    if missing:
        warnings.append(f"{missing} of {len(views)} frames have no camera; the others are kept.")
    error = solution.mean_error_px
    return Reconstruction(
        views,
        frames.kind,
        "classic",
        solution.motion,
        solution.lens,
        False,
        certain,
        float(error) if np.isfinite(error) else None,
        frames.fps,
        frames.source.name,
        solution.checks,
        warnings,
    )


def _why_missing(support: int, kind: str) -> str:
    seen = "could be followed" if kind == "video" else "match the other photos"
    return f"Only {support} points {seen} here." if support else f"No points that {seen} fit the solve here."


def _dense(
    frames: FrameSource, reconstruction: Reconstruction, quality: _Quality, context: Context, start: float
) -> Generator[Event, None, None]:
    sparse = context.job.read_sparse()
    points = None if sparse is None else np.array(sparse["points"], dtype=np.float64)
    views = choose_views(reconstruction, quality.depth_views, points)
    ready = {index for index in views if context.job.has_view(index)}
    waiting = [index for index in views if index not in ready]
    settings = DenseSettings(max_side=quality.depth_side, threads=context.threads)

    def work(report: Callable[[Event], None]) -> None:
        done = len(ready)
        report(Progress("Computing depth", done, len(views), start + (1 - start) * done / max(1, len(views))))
        results = dense_depth(frames, reconstruction, waiting, points, settings, context.check_cancelled, context.log)
        for index, arrays in results:
            done += 1
            report(ViewReady(index, arrays))
            report(Progress("Computing depth", done, len(views), start + (1 - start) * done / len(views)))

    if waiting:
        yield from run_reporting(work)
