"""Cameras of footage: key frames first, then every frame between them.

Key frames are mapped from scratch (globally, incrementally where that fails), refined by themselves, and asked whether
the lens zooms; the frames between are placed by the points they see, and all are refined together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..geometry.resection import resect_missing
from ..geometry.triangulation import triangulate_tracks
from ..reconstruction import Check
from .bundle import BundleOptions, BundleResult, adjust, refine
from .checks import MAX_K1
from .keyframes import choose_keyframes, match_keyframes
from .mapping import LensModel, MatchDatabase, MatchGraph
from .solution import Solution, share_lens
from .tracks import FramePairs

LOSS_PX = 0.5  # where the robust loss turns from square to less
SMOOTHNESS = 1e5  # weight on the second difference of log focal of a zooming lens
# A lens zooms if freeing the focal of every frame spreads it by more than this (log), and by that lowers the error.
ZOOM_SPREAD = 0.03
ZOOM_GAIN = 0.93
STABLE_FOCAL = 0.03  # two ways of solving must agree to this
MIN_SUPPORT = 20  # kept observations a frame needs for its pose to count


@dataclass(frozen=True)
class VideoSettings:
    """lens: "auto", "shared" or "zoom". threads: for the mappers. on_stage(stage, fraction of this solve) reports;
    check_cancelled raises to stop; log takes a line.
    """

    lens: str = "auto"
    threads: int = -1
    on_stage: Callable[[str, float], None] = lambda stage, fraction: None
    check_cancelled: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda text: None


def solve_video(observations: Observations, lenses: LensModel, settings: VideoSettings) -> Solution:
    """Cameras of all frames from tracks.

    observations: as of track_video(). lenses: one per frame. Raises EngineError("unsolved") when the tracks cannot be
    joined to a camera path.
    """
    total = len(lenses.start)
    pairs = FramePairs(observations, total)
    keyframes = choose_keyframes(pairs, total, max(lenses.start[0].width, lenses.start[0].height))
    graph = match_keyframes(pairs, keyframes)
    if len(keyframes) < 2 or not graph.matches:
        raise EngineError(
            "unsolved",
            "No points could be followed through the footage.",
            "Use sharper footage with visible texture, or a shorter frame range.",
        )
    settings.log(f"{len(keyframes)} key frames, {len(graph.matches)} pairs")
    solver = _KeyframeSolver(observations, graph, lenses, settings)
    start = solver.solve()
    settings.on_stage("Solving every frame", 0.6)
    solution = _complete(observations, start, settings)
    solution.pair_types = solver.pair_types
    if solver.focals is not None:
        solution.checks.append(_focal_stability(*solver.focals))
    return solution


def _focal_stability(first: float, second: float) -> Check:
    """Whether two ways of solving led to the same focal."""
    apart = abs(np.log(second / first))
    text = f"Two ways of solving led to focal lengths of {first:.0f} and {second:.0f} px."
    return Check("focal stability", bool(apart < STABLE_FOCAL), text, float(apart), STABLE_FOCAL)


@dataclass
class _Start:
    """Refined key frames: bundle over observations of the key frames alone."""

    bundle: BundleResult
    lens: str  # "shared", "zoom" or "fixed"
    distortion: int

    @property
    def solved_count(self) -> int:
        return int(self.bundle.cameras.solved.sum())

    def score(self) -> float:
        """Share of all key frame observations that fit within a pixel and a half: more is better."""
        error = self.bundle.errors_px
        return float(np.mean(np.where(np.isfinite(error), error, np.inf) < 1.5))

    def typical_error(self) -> float:
        """Median over all key frame observations, px."""
        return float(np.nanmedian(self.bundle.errors_px))

    def focal(self) -> float:
        """Median focal in px."""
        return float(np.median(self.bundle.cameras.focal[self.bundle.cameras.solved]))

    def is_doubtful(self, keyframes: int) -> bool:
        """Whether another way of mapping should be tried."""
        k1 = np.abs(self.bundle.cameras.distortion[self.bundle.cameras.solved, 0]).max()
        return self.solved_count < 0.8 * keyframes or self.score() < 0.5 or k1 > MAX_K1


class _KeyframeSolver:
    def __init__(
        self, observations: Observations, graph: MatchGraph, lenses: LensModel, settings: VideoSettings
    ) -> None:
        self.graph, self.lenses, self.settings = graph, lenses, settings
        chosen = observations[np.isin(observations.frame, graph.frames)]
        seen = np.bincount(chosen.track)
        chosen = chosen[seen[chosen.track] >= 3]
        self.observations = Observations(chosen.frame, np.unique(chosen.track, return_inverse=True)[1], chosen.xy)
        self.pair_types: dict[str, int] = {}
        self.focals: tuple[float, float] | None = None  # two that two ways of solving led to

    def solve(self) -> _Start:
        """The best of what the mappers give under the lens models asked for."""
        zooms = self.settings.lens == "zoom" and not self.lenses.focal_known
        lenses = self.lenses.per_frame() if zooms else self.lenses
        lens = "zoom" if zooms else "fixed" if self.lenses.focal_known else "shared"
        start = self._map(lenses, lens)
        if self.settings.lens == "auto" and lens == "shared":
            start = self._try_zoom(start)
        if start is None or start.is_doubtful(len(self.graph.frames)):
            self.settings.on_stage("Solving key frames one after the other", 0.5)
            other = self._map(lenses, lens, globally=False)
            start = max((s for s in (start, other) if s is not None), key=_Start.score, default=None)
        if start is None:
            raise EngineError(
                "unsolved",
                "The camera could not be solved: the followed points do not fit one rigid scene.",
                "Use footage with more parallax and fewer moving things, or give the focal length.",
            )
        return start

    def _map(self, lenses: LensModel, lens: str, globally: bool = True) -> _Start | None:
        """Map and refine under one lens model."""
        settings = self.settings
        settings.on_stage("Matching key frames", 0.0)
        with MatchDatabase(self.graph, lenses, settings.threads, settings.check_cancelled) as database:
            types = database.verified()[1]
            self.pair_types = self.pair_types or types
            settings.log(f"pair types: {types}")
            settings.on_stage("Solving key frames", 0.1)
            mapping = database.map_globally() if globally else database.map_incrementally()
        start = None
        if mapping is not None and mapping.solved_count >= 2:
            start = self._refine(share_lens(mapping.cameras, self.lenses), lens)
        self._log("global" if globally else "incremental", lens, start)
        return start

    def _refine(self, cameras: Cameras, lens: str) -> _Start | None:
        """Key frames refined from these cameras; None when nothing fits."""
        self.settings.check_cancelled()
        points = triangulate_tracks(self.observations, cameras, int(self.observations.track.max()) + 1)
        distortion = 0 if self.lenses.distortion_known else 1
        options = BundleOptions(lens=lens, distortion=distortion, scale_px=LOSS_PX, smoothness=SMOOTHNESS)
        try:
            return _Start(refine(self.observations, cameras, points, options, self.lenses.group), lens, distortion)
        except ValueError as error:
            self.settings.log(f"nothing to refine: {error}")
            return None

    def _try_zoom(self, start: _Start | None) -> _Start | None:
        """A zooming lens solved as a fixed one can fit to 0.7 px with the camera path bent; so ask what a free focal
        per frame would do, and map again with it if it makes use of that freedom. The other map is also a second
        opinion on a fixed lens: where it leads to another focal, the focal is not to be relied on."""
        settings = self.settings
        settings.on_stage("Checking for zoom", 0.45)
        if start is not None:
            spread = self._freed_focal_spread(start)
            settings.log(f"focal freed per frame spreads by {100 * spread:.1f} %")
            if spread < ZOOM_SPREAD:
                return start
        zoom = self._map(self.lenses.per_frame(), "zoom")
        if zoom is None or (start is not None and zoom.solved_count < start.solved_count):
            return start
        fixed = self._refine(_with_median_focal(zoom.bundle.cameras), "shared")
        self._log("per-frame", "shared", fixed)
        if start is None or (fixed is not None and fixed.score() > start.score()):
            if start is not None:
                self.focals = (start.focal(), fixed.focal())
            start = fixed
        if start is None:
            return zoom
        spread = _focal_spread(zoom.bundle.cameras)
        zooms = zoom.typical_error() < ZOOM_GAIN * start.typical_error() and spread > ZOOM_SPREAD
        if zooms:
            self.focals = None
        settings.log(
            f"fixed lens: {start.typical_error():.3f} px; zoom: {zoom.typical_error():.3f} px, "
            f"focal spreads by {100 * spread:.1f} %: {'it zooms' if zooms else 'it does not zoom'}"
        )
        return zoom if zooms else start

    def _freed_focal_spread(self, start: _Start) -> float:
        options = BundleOptions(
            lens="zoom", distortion=start.distortion, scale_px=LOSS_PX, smoothness=10.0, max_iterations=6
        )
        bundle = start.bundle
        some = self.observations.track % 2 == 0  # half of the tracks tell as much
        freed = adjust(self.observations[some & bundle.kept], bundle.cameras, bundle.points, options)
        return _focal_spread(freed.cameras)

    def _log(self, mapper: str, lens: str, start: _Start | None) -> None:
        if start is None:
            self.settings.log(f"{mapper} mapper, {lens} lens: nothing")
            return
        cameras = start.bundle.cameras
        self.settings.log(
            f"{mapper} mapper, {lens} lens: {start.solved_count} of {len(self.graph.frames)} key frames, "
            f"{start.bundle.mean_px:.3f} px, {100 * start.score():.0f} % fit, "
            f"focal {np.median(cameras.focal[cameras.solved]):.1f} px, k1 {cameras.distortion[0, 0]:.4f}"
        )


def _focal_spread(cameras: Cameras) -> float:
    """Range of log focal over the solved cameras, the outermost twentieths left out."""
    low, high = np.percentile(np.log(cameras.focal[cameras.solved]), [5, 95])
    return float(high - low)


def _with_median_focal(cameras: Cameras) -> Cameras:
    fixed = cameras.copy()
    fixed.focal[:] = np.exp(np.median(np.log(cameras.focal[cameras.solved])))
    return fixed


def _complete(observations: Observations, start: _Start, settings: VideoSettings) -> Solution:
    """Poses for the frames between the key frames, then everything refined together."""
    cameras = start.bundle.cameras.copy()
    solved = np.flatnonzero(cameras.solved)
    everything = np.arange(len(cameras))
    cameras.focal = np.exp(np.interp(everything, solved, np.log(cameras.focal[solved])))
    count = int(observations.track.max()) + 1
    points = triangulate_tracks(observations, cameras, count)
    cameras = resect_missing(observations, cameras, points)
    settings.check_cancelled()
    settings.on_stage("Refining all cameras", 0.75)
    options = BundleOptions(lens=start.lens, distortion=start.distortion, scale_px=LOSS_PX, smoothness=SMOOTHNESS)
    points = triangulate_tracks(observations, cameras, count)
    bundle = refine(observations, cameras, points, options, thresholds_px=(2.5,))
    settings.check_cancelled()
    solution = Solution.from_bundle(bundle, observations, "zoom" if start.lens == "zoom" else "shared")
    weak = solution.support() < MIN_SUPPORT
    solution.cameras.world_from_camera[weak] = np.nan
    solution.kept &= ~weak[observations.frame]
    return solution
