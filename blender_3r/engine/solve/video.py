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
from .bundle import BundleOptions, BundleResult, adjust, refine
from .keyframes import choose_keyframes, match_keyframes
from .mapping import LensModel, Mapping, MatchDatabase, MatchGraph
from .solution import Solution, share_lens
from .tracks import FramePairs

LOSS_PX = 0.5  # where the robust loss turns from square to less
SMOOTHNESS = 1e5  # weight on the second difference of log focal of a zooming lens
# A lens zooms if freeing the focal of every frame spreads it by more than this (log), and by that lowers the error.
ZOOM_SPREAD = 0.03
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
    return solution


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

    def solve(self) -> _Start:
        """The best of what the mappers give under the lens models asked for."""
        if self.settings.lens == "zoom" and not self.lenses.focal_known:
            start = self._map(self.lenses.per_frame(), "zoom")
            if start is not None:
                return start
        start = self._map(self.lenses, "fixed" if self.lenses.focal_known else "shared")
        if start is None:
            raise EngineError(
                "unsolved",
                "The camera could not be solved: the followed points do not fit one rigid scene.",
                "Use footage with more parallax and fewer moving things, or give the focal length.",
            )
        if self.settings.lens == "auto" and not self.lenses.focal_known:
            start = self._try_zoom(start)
        return start

    def _map(self, lenses: LensModel, lens: str) -> _Start | None:
        """Map and refine under one lens model: globally, and incrementally if that leaves doubts."""
        settings = self.settings
        settings.on_stage("Matching key frames", 0.0)
        with MatchDatabase(self.graph, lenses, settings.threads, settings.check_cancelled) as database:
            types = database.verified()[1]
            self.pair_types = self.pair_types or types
            settings.log(f"pair types: {types}")
            settings.on_stage("Solving key frames", 0.1)
            best = self._refine(database.map_globally(), lenses, lens)
            self._log("global", lens, best)
            if best is None or best.solved_count < 0.8 * len(self.graph.frames) or best.score() < 0.4:
                settings.on_stage("Solving key frames again, one after the other", 0.3)
                other = self._refine(database.map_incrementally(), lenses, lens)
                self._log("incremental", lens, other)
                best = max((s for s in (best, other) if s is not None), key=_Start.score, default=None)
        return best

    def _refine(self, mapping: Mapping | None, lenses: LensModel, lens: str) -> _Start | None:
        if mapping is None or mapping.solved_count < 2:
            return None
        cameras = share_lens(mapping.cameras, lenses if lens != "zoom" else self.lenses)
        points = triangulate_tracks(self.observations, cameras, int(self.observations.track.max()) + 1)
        distortion = 0 if lenses.distortion_known else 1
        options = BundleOptions(lens=lens, distortion=distortion, scale_px=LOSS_PX, smoothness=SMOOTHNESS)
        try:
            bundle = refine(self.observations, cameras, points, options, self.lenses.group)
        except ValueError as error:
            self.settings.log(f"nothing to refine: {error}")
            return None
        finally:
            self.settings.check_cancelled()
        return _Start(bundle, lens, distortion)

    def _try_zoom(self, start: _Start) -> _Start:
        """A zooming lens solved as a fixed one can fit to 0.7 px with the camera path bent; so ask what a free focal
        per frame would do, and map again with it if it makes use of that freedom."""
        settings = self.settings
        settings.on_stage("Checking for zoom", 0.45)
        spread = self._freed_focal_spread(start)
        settings.log(f"focal freed per frame spreads by {100 * spread:.1f} %")
        if spread < ZOOM_SPREAD:
            return start
        zoom = self._map(self.lenses.per_frame(), "zoom")
        if zoom is None or zoom.solved_count < start.solved_count:
            return start
        noise, zoom_noise = (np.nanmedian(s.bundle.errors_px) for s in (start, zoom))
        spread = _focal_spread(zoom.bundle.cameras)
        settings.log(
            f"fixed lens: median {noise:.3f} px; zoom: {zoom_noise:.3f} px, focal spreads {100 * spread:.1f} %"
        )
        return zoom if zoom_noise < 0.93 * noise and spread > ZOOM_SPREAD else start

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
