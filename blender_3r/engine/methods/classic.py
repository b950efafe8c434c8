"""Cameras and depth without any model: feature tracks, structure from motion, multi-view stereo.

Footage is followed by Lucas-Kanade, photos are matched by SIFT; pycolmap maps them, a bundle adjustment of our own
refines them, plane sweep stereo fills in depth. Works offline on any machine, and its results may be used commercially.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..media.checks import require_frames
from ..media.frames import FrameSource
from ..media.masks import Masks
from ..reconstruction import Intrinsics, Reconstruction
from ..solve.dense import DenseSettings, choose_views, dense_depth
from ..solve.features import choose_pairs, extract_features, match_features
from ..solve.key_cameras import GUESSED_FOCAL
from ..solve.mapping import LensModel
from ..solve.pair import solve_pair
from ..solve.photos import PhotoSettings, solve_photos
from ..solve.solution import Solution
from .base import CamerasSolved, Context, Event, MethodInfo, Progress, ViewReady, run_reporting
from .depth_maps import DepthMaps
from .footage import Footage, Reporter, solve_footage
from .lenses import read_intrinsics
from .results import read_cameras, read_tracks
from .solved import make_reconstruction
from .sparse_cloud import sparse_cloud, track_arrays

INFO = MethodInfo(
    id="classic",
    title="Classic",
    description="Feature tracks and multi-view stereo; no download, works offline, commercial use allowed.",
    commercial_use=True,
)

OWN_DEPTH = "model"  # as depth prior: that of the network whose cameras are refined
DISTORTIONS = {"auto": None, "none": 0, "k1": 1, "k1k2": 2, "full": 4}  # to how many coefficients
CENTERS = {"auto": None, "fixed": False, "free": True}  # to VideoSettings.center


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
    mask: str | None = None
    mask_invert: bool = False
    poses: str | None = None
    hold_poses: bool = False
    tracks: str | None = None
    depth_prior: str | None = None
    distortion: str = "auto"
    center: str = "auto"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known and value is not None})

    def masks(self, frames: FrameSource) -> Masks | None:
        """What is to be left out of the frames, None for nothing. Raises EngineError("input")."""
        return Masks(self.mask, frames, self.mask_invert) if self.mask else None


def run(frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """Solve the cameras, then the depth of chosen views; see Method.

    What an earlier run of the same request left in context.job is used: solved cameras are not solved again, views
    that are there are not computed again.
    """
    require_frames(frames, 2)
    chosen = Settings.from_json(settings)
    if chosen.depth_prior == OWN_DEPTH:
        raise EngineError(
            "usage",
            "There is no network's depth here that the scale could be held to.",
            "Give the job folder of a network, or depth files, as depth prior.",
        )
    quality = QUALITIES[chosen.quality]
    masks = chosen.masks(frames)
    earlier = context.job.read_cameras()
    if earlier is None:
        if masks is not None:
            masks.require_something(frames)
        share = 0.35 if chosen.dense else 1.0
        lenses = start_lenses(frames, chosen)
        solution = yield from run_reporting(
            lambda report: solve_cameras(frames, lenses, chosen, masks, Reporter(context, report, share))
        )
        solution.warnings += [] if masks is None else masks.warnings
        reconstruction = make_reconstruction(frames, solution, lenses)
        sparse = None if solution.motion == "tripod" else sparse_cloud(frames, solution)
        yield CamerasSolved(reconstruction, sparse, track_arrays(solution))
    else:
        context.log("cameras of an earlier run are used")
        reconstruction = earlier
    if chosen.dense and reconstruction.motion != "tripod":
        yield from _dense(frames, reconstruction, quality, masks, context, 0.0 if earlier else 0.35)


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


def solve_cameras(
    frames: FrameSource,
    lenses: LensModel,
    settings: Settings,
    masks: Masks | None,
    reporter: Reporter,
    given: Cameras | None = None,
    observations: Observations | None = None,
) -> Solution:
    """Cameras by the way that fits the source. given: to start from, in place of those that the settings name.
    observations: tracks of footage, in place of following points again.

    Raises EngineError: "unsolved" when there are none to be had, "usage" for files of the settings that cannot be used.
    """
    if given is None and settings.poses:
        given = read_cameras(Path(settings.poses), frames)
    if given is not None and lenses.distortion_known:
        given = Cameras.from_intrinsics(lenses.start, given.world_from_camera)
    if given is not None and settings.hold_poses:
        start = [given.intrinsics(info.index, info.width, info.height) for info in frames.infos]
        lenses = LensModel(start, np.arange(len(start)), focal_known=True, distortion_known=True)
    if len(frames) == 2 and given is None:
        return _solve_pair(frames, lenses, settings, masks, reporter)
    if frames.kind == "video" and len(frames) > 2:
        footage = _footage(frames, settings, masks, given)
        return solve_footage(
            frames, lenses, replace(footage, observations=observations or footage.observations), reporter
        )
    context = reporter.context
    graph = _match_photos(frames, settings, masks, reporter)
    photo_settings = PhotoSettings(
        context.threads,
        lambda stage, part: reporter.stage(stage, 0.6 + 0.4 * part),
        context.check_cancelled,
        context.log,
    )
    return solve_photos(graph, lenses, photo_settings, given, settings.hold_poses)


def _footage(frames: FrameSource, settings: Settings, masks: Masks | None, given: Cameras | None) -> Footage:
    quality = QUALITIES[settings.quality]
    return Footage(
        quality.track_side,
        quality.tracks,
        settings.lens,
        DISTORTIONS[settings.distortion],
        CENTERS[settings.center],
        masks,
        given,
        settings.hold_poses,
        read_tracks(Path(settings.tracks), frames) if settings.tracks else None,
        DepthMaps(Path(settings.depth_prior), frames) if settings.depth_prior else None,
    )


def _match_photos(frames: FrameSource, settings: Settings, masks: Masks | None, reporter: Reporter) -> Any:
    quality, threads = QUALITIES[settings.quality], reporter.context.threads
    features = extract_features(
        frames,
        quality.match_side,
        quality.features,
        threads,
        reporter.counted("Finding features", 0.0, 0.25, len(frames)),
        masks,
    )
    pairs = choose_pairs(features)
    reporter.context.log(f"{sum(len(f.xy) for f in features)} features, {len(pairs)} pairs to match")
    return match_features(features, pairs, threads, reporter.counted("Matching photos", 0.25, 0.6, len(pairs)))


def _solve_pair(
    frames: FrameSource, lenses: LensModel, settings: Settings, masks: Masks | None, reporter: Reporter
) -> Solution:
    graph = _match_photos(frames, settings, masks, reporter)
    reporter.stage("Solving the pair", 0.7)
    matches = graph.matches.get((0, 1), np.zeros((0, 2), np.uint32))
    xy_a, xy_b = graph.keypoints[0][matches[:, 0]], graph.keypoints[1][matches[:, 1]]
    return solve_pair(xy_a, xy_b, lenses)


def _dense(
    frames: FrameSource,
    reconstruction: Reconstruction,
    quality: _Quality,
    masks: Masks | None,
    context: Context,
    start: float,
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
            report(ViewReady(index, _unmasked(arrays, masks, index)))
            report(Progress("Computing depth", done, len(views), start + (1 - start) * done / len(views)))

    if waiting:
        yield from run_reporting(work)


def _unmasked(arrays: dict[str, np.ndarray], masks: Masks | None, index: int) -> dict[str, np.ndarray]:
    """The arrays of a view, without depth where the mask leaves the picture out."""
    allowed = None if masks is None else masks.allowed(index, arrays["depth"].shape)
    if allowed is None:
        return arrays
    hidden = {name: np.where(allowed, arrays[name], np.float32(0)) for name in ("depth", "confidence")}
    return {**arrays, **hidden}
