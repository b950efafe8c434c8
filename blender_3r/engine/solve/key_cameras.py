"""Cameras of the key frames of footage: mapped from scratch, or from given poses, under the lens that fits.

They are mapped globally, incrementally where that fails, refined by themselves, and asked whether the lens zooms.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..geometry.resection import resect_missing
from ..geometry.triangulation import triangulate_tracks
from .alignment import Aligned
from .bundle import BundleOptions, BundleResult, adjust, refine, spread_tracks, zoom_evidence
from .checks import MAX_K1
from .mapping import LensModel, MatchDatabase, MatchGraph
from .solution import share_lens

LOSS_PX = 0.5  # where the robust loss turns from square to less
SMOOTHNESS = 1e5  # of a zoom to begin with: weight on the second difference of log focal
FAR_ZOOM = 0.25  # relative span of the focals
GUESSED_FOCAL = 1.2  # in units of the long side: about 43 mm on full frame
KEY_TRACKS = 1200  # for each twenty key frames; all tracks take part in the end
TOLERANCE = 1e-4  # of the cost; a tenth of it moves the cameras by less than their error
SCORE_TIE = 0.05  # scores this close say nothing
GIVEN_SHARE = 0.06  # of the long side that given poses may be off by
GIVEN_LOSS = 0.01  # of the long side, of the first adjustment from them


@dataclass(frozen=True)
class VideoSettings:
    """lens: "auto", "shared" or "zoom". distortion: how many of k1 k2 p1 p2 are found, None for k1 where the footage
    calls for it, and k2 where there is no doubt. center: whether the principal point is found, None for where there is
    no doubt that it is not in the middle. threads: for the mappers. on_stage(stage, fraction of this solve) reports;
    check_cancelled raises to stop; log takes a line. align: finds the tracks' places in the pictures again under solved
    cameras and points, see align_tracks(); None where there are no pictures.
    """

    lens: str = "auto"
    distortion: int | None = None
    center: bool | None = None
    threads: int = -1
    on_stage: Callable[[str, float], None] = lambda stage, fraction: None
    check_cancelled: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda text: None
    align: Callable[[Observations, Cameras, np.ndarray], Aligned] | None = None


@dataclass
class KeyframeStart:
    """Refined key frames: bundle over observations of the key frames alone."""

    bundle: BundleResult
    observations: Observations
    lens: str  # "shared", "zoom" or "fixed"
    distortion: int

    @property
    def solved_count(self) -> int:
        return int(self.bundle.cameras.solved.sum())

    def score(self) -> float:
        """Share of the solved frames' observations that fit within a pixel and a half: more is better."""
        error = self.bundle.errors_px[self.bundle.cameras.solved[self.observations.frame]]
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


class KeyframeSolver:
    def __init__(
        self, observations: Observations, graph: MatchGraph, lenses: LensModel, settings: VideoSettings
    ) -> None:
        self.graph, self.lenses, self.settings = graph, lenses, settings
        chosen = observations[np.isin(observations.frame, graph.frames)]
        seen = np.bincount(chosen.track)
        chosen = chosen[seen[chosen.track] >= 3]
        chosen = chosen[spread_tracks(chosen, len(lenses.start), key_tracks(len(graph.frames)))]
        self.observations = Observations(chosen.frame, np.unique(chosen.track, return_inverse=True)[1], chosen.xy)
        self.track_count = int(self.observations.track.max(initial=-1)) + 1
        self.pair_types: dict[str, int] = {}
        self.focals: tuple[float, float] | None = None  # two that two ways of solving led to

    def solve(self) -> KeyframeStart:
        """The best of what the mappers give under the lens models asked for."""
        if self.lenses.focal_known:
            start = self._map(self.lenses, "fixed")
        elif self.settings.lens == "zoom":
            start = self._map(self.lenses.per_frame(), "zoom")
        else:
            start = self._map_unknown_focal()
            if start is not None and self.settings.lens == "auto":
                start = self._try_zoom(start)
        if start is None or start.is_doubtful(len(self.graph.frames)):
            self.settings.on_stage("Solving key frames one after the other", 0.5)
            lens = "fixed" if self.lenses.focal_known else "shared"
            other = self._map(self.lenses, lens, globally=False)
            start = max((s for s in (start, other) if s is not None), key=KeyframeStart.score, default=None)
        if start is None:
            raise EngineError(
                "unsolved",
                "The camera could not be solved: the followed points do not fit one rigid scene.",
                "Use footage with more parallax and fewer moving things, or give the focal length.",
            )
        return start

    def solve_from(self, given: Cameras) -> KeyframeStart | None:
        """Refined from given cameras; None when they do not lead to a fit."""
        self.settings.on_stage("Refining the given cameras", 0.1)
        keyed = given.copy()
        keyed.world_from_camera[~np.isin(np.arange(len(given)), self.graph.frames)] = np.nan
        if keyed.solved.sum() < 2:
            return None
        if self.lenses.focal_known:
            keyed.focal = np.array([intrinsics.fx for intrinsics in self.lenses.start])
            return self._from_given(keyed, "fixed")
        if self.settings.lens != "auto":
            return self._from_given(keyed, self.settings.lens)
        start = self._from_given(keyed, "shared")
        if start is None:
            # Under one focal a far zoom has no fit to begin with; the given cameras may well know its focals.
            zoom = self._from_given(keyed, "zoom")
            start = None if zoom is None else self._believed(self._refine(zoom.bundle.cameras, "shared"))
            if start is None:
                return zoom
        return self._believed(self._try_zoom(start))

    def _from_given(self, keyed: Cameras, lens: str) -> KeyframeStart | None:
        """Refined from cameras of the key frames under one lens model; None when nothing fits."""
        side = max(self.lenses.start[0].width, self.lenses.start[0].height)
        points = triangulate_tracks(self.observations, keyed, self.track_count, max_error_px=GIVEN_SHARE * side)
        options = BundleOptions(lens=lens, distortion=0, scale_px=GIVEN_LOSS * side, smoothness=SMOOTHNESS)
        try:
            bundle = adjust(self.observations, share_lens(keyed, self.lenses), points, options, self.lenses.group)
        except ValueError:
            return None
        start = self._refine(bundle.cameras, lens)
        self._log("from the given cameras, no", lens, start)
        return self._believed(start)

    def _believed(self, start: KeyframeStart | None) -> KeyframeStart | None:
        return None if start is None or start.is_doubtful(len(self.graph.frames)) else start

    def _map_unknown_focal(self) -> KeyframeStart | None:
        """Map twice: with focals from the pairs' own geometry, and with a guessed focal that is freed afterwards.

        On a straight drive the first way can end at three times the true focal with a tiny error. Where the two ways
        disagree the footage does not firmly hold the focal, and the user must know.
        """
        with ThreadPoolExecutor(2) as pool:  # the mappers leave cores idle for much of their time
            both = [pool.submit(self._map, self.lenses, "shared"), pool.submit(self._map_with_guess)]
            first, second = (future.result() for future in both)
        if first is not None and second is not None:
            self.focals = (first.focal(), second.focal())
        if second is None or (first is not None and first.score() > second.score() - SCORE_TIE):
            return first
        points = triangulate_tracks(self.observations, second.bundle.cameras, self.track_count)
        return self._refine(resect_missing(self.observations, second.bundle.cameras, points), "shared")

    def _map(self, lenses: LensModel, lens: str, globally: bool = True) -> KeyframeStart | None:
        """Map and refine under one lens model."""
        cameras = self._mapped(lenses, globally)
        start = None if cameras is None else self._refine(cameras, lens)
        self._log("global" if globally else "incremental", lens, start)
        return start

    def _map_with_guess(self) -> KeyframeStart | None:
        """On every other key frame, which is enough for an opinion."""
        guess = self.lenses if self.lenses.focal_measured else self.lenses.with_focal(GUESSED_FOCAL)
        graph = self.graph if len(self.graph.frames) < 16 else _every_other(self.graph)
        cameras = self._mapped(replace(guess, focal_known=True, distortion_known=True), True, graph)
        start = None if cameras is None else self._refine(cameras, "shared", distortion=0, thresholds_px=(8.0,))
        if start is not None and not self.lenses.distortion_known:
            start = self._refine(start.bundle.cameras, "shared", thresholds_px=(2.5,))
        self._log("global, from a guessed focal,", "shared", start)
        return start

    def _mapped(self, lenses: LensModel, globally: bool, graph: MatchGraph | None = None) -> Cameras | None:
        settings = self.settings
        settings.on_stage("Matching key frames", 0.0)
        with MatchDatabase(graph or self.graph, lenses, settings.threads, settings.check_cancelled) as database:
            if not lenses.distortion_known or self.lenses.distortion_known:  # types under a guess tell nothing
                self.pair_types = self.pair_types or database.verified()[1]
            settings.on_stage("Solving key frames", 0.1)
            mapping = database.map_globally() if globally else database.map_incrementally()
        if mapping is None or mapping.solved_count < 2:
            return None
        return share_lens(mapping.cameras, self.lenses)

    def _refine(
        self,
        cameras: Cameras,
        lens: str,
        distortion: int = 1,
        thresholds_px: tuple[float, ...] = (8.0, 2.5),
    ) -> KeyframeStart | None:
        """Key frames refined from these cameras; None when nothing fits."""
        self.settings.check_cancelled()
        points = triangulate_tracks(self.observations, cameras, self.track_count)
        distortion = 0 if self.lenses.distortion_known else distortion
        options = bundle_options(lens, distortion)
        try:
            bundle = refine(self.observations, cameras, points, options, self.lenses.group, thresholds_px)
        except ValueError as error:
            self.settings.log(f"nothing to refine: {error}")
            return None
        return KeyframeStart(bundle, self.observations, lens, distortion)

    def _try_zoom(self, start: KeyframeStart) -> KeyframeStart:
        """A zooming lens solved as a fixed one can fit to 0.7 px with the camera path bent; so ask what a free focal
        per frame would do, and where it makes use of that freedom, solve with it."""
        settings = self.settings
        settings.on_stage("Checking for zoom", 0.45)
        evidence = zoom_evidence(self.observations, start.bundle, bundle_options("shared", start.distortion))
        settings.log(
            f"one focal per frame: cost {100 * evidence.gain:.1f} % lower, focal spans {100 * evidence.span:.1f} %: "
            f"{'it zooms' if evidence.is_zoom else 'it does not zoom'}"
        )
        if not evidence.is_zoom:
            return start
        self.focals = None
        found = [self._refine(evidence.result.cameras, "zoom")]
        if evidence.span > FAR_ZOOM:  # a path bent that far may not unbend by refining alone
            found.append(self._map(self.lenses.per_frame(), "zoom"))
        return min((zoom for zoom in found if zoom is not None), key=KeyframeStart.typical_error, default=start)

    def _log(self, mapper: str, lens: str, start: KeyframeStart | None) -> None:
        if start is None:
            self.settings.log(f"{mapper} mapper, {lens} lens: nothing")
            return
        cameras = start.bundle.cameras
        self.settings.log(
            f"{mapper} mapper, {lens} lens: {start.solved_count} of {len(self.graph.frames)} key frames, "
            f"{start.bundle.mean_px:.3f} px, {100 * start.score():.0f} % fit, "
            f"focal {np.median(cameras.focal[cameras.solved]):.1f} px, k1 {cameras.distortion[0, 0]:.4f}"
        )


def _every_other(graph: MatchGraph) -> MatchGraph:
    frames = set(graph.frames[::2])
    matches = {pair: found for pair, found in graph.matches.items() if frames.issuperset(pair)}
    return MatchGraph({frame: graph.keypoints[frame] for frame in frames}, matches)


def key_tracks(key_frames: int) -> int:
    """How many tracks are enough for that many key frames."""
    return KEY_TRACKS * max(1, key_frames // 20)


def bundle_options(lens: str, distortion: int) -> BundleOptions:
    """How footage is refined: moving things and slipped tracks are many, so the loss lets go of them early."""
    return BundleOptions(
        lens=lens, distortion=distortion, loss="cauchy", scale_px=LOSS_PX, smoothness=SMOOTHNESS, tolerance=TOLERANCE
    )
