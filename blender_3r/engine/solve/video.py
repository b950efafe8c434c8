"""Cameras of footage: key frames first, then every frame between them.

The frames between are placed by the points they see, and all are refined together; then the tracked points are aligned
in the pictures, as the solved cameras see them, and all are refined once more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..geometry.resection import resect_missing
from ..geometry.triangulation import triangulate_tracks
from ..reconstruction import Check
from .alignment import Aligned
from .bundle import BundleOptions, needs_distortion, refine, residuals, select, spread_tracks
from .checks import may_be_hopeless
from .key_cameras import KeyframeSolver, KeyframeStart, VideoSettings, bundle_options, key_tracks
from .keyframes import choose_keyframes, match_keyframes
from .lens_terms import needed_terms
from .mapping import LensModel
from .solution import Solution, take_world
from .tracks import FramePairs

__all__ = ["VideoSettings", "bundle_options", "solve_video"]

STABLE_FOCAL = 0.03  # two ways of solving must agree to this
MAX_JOINT_FRAMES = 400  # refined together at most
KEEP_PX = 2.5  # observations farther off do not count
SMOOTHINGS = 3  # times that the smoothness of a zoom is estimated again at most
SMOOTHNESS_FACTOR = 1.5  # between two estimates, below which they agree
SMOOTHNESS_RANGE = (1.0, 1e9)
MIN_SUPPORT = 20  # kept observations a frame needs for its pose to count


def solve_video(
    observations: Observations, lenses: LensModel, settings: VideoSettings, given: Cameras | None = None
) -> Solution:
    """Cameras of all frames from tracks.

    observations: as of track_video(). lenses: one per frame. given: cameras to start from, as another method found
    them, nan poses where it has none; the solve keeps their world and size. Where they do not fit the tracks it starts
    from scratch and warns. Raises EngineError("unsolved") when the tracks cannot be
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
    solver = KeyframeSolver(observations, graph, lenses, settings)
    start = None if given is None else solver.solve_from(given)
    refused = given is not None and start is None
    start = start or solver.solve()
    settings.on_stage("Solving every frame", 0.6)
    solution = _complete(observations, start, lenses, settings)
    solution.pair_types = solver.pair_types
    if refused:
        solution.warnings.append("The given cameras do not fit the footage; it was solved without them.")
    elif given is not None:
        take_world(solution, given)
    if solver.focals is not None:
        side = max(lenses.start[0].width, lenses.start[0].height)
        solution.checks.append(_focal_stability(*solver.focals, side))
    return solution


def _focal_stability(first: float, second: float, long_side: int) -> Check:
    """Whether two ways of solving led to the same focal; all in pixels."""
    apart = abs(np.log(second / first))
    first, second = 36 * first / long_side, 36 * second / long_side
    text = f"Two ways of solving led to focal lengths of {first:.1f} and {second:.1f} mm on full frame."
    return Check("focal stability", bool(apart < STABLE_FOCAL), text, float(apart), STABLE_FOCAL)


def _complete(observations: Observations, start: KeyframeStart, lenses: LensModel, settings: VideoSettings) -> Solution:
    """Poses for the frames between the key frames, then everything refined together, twice: on the tracks as they were
    followed, and as the solved cameras align them."""
    options, keyed = _final_lens(start, settings)
    everything = np.ones(len(observations), bool)
    cameras = _between(observations, keyed)
    settings.check_cancelled()
    is_long = int(cameras.solved.sum()) > MAX_JOINT_FRAMES
    if is_long:
        settings.log("the shot is long: frames between key frames keep the place their points give them")
        solution = _placed(observations, everything, cameras, start)
    else:
        settings.on_stage("Refining all cameras", 0.7)
        solution = _refined(observations, everything, cameras, start, options)
    settings.check_cancelled()
    # What flies about by itself would be aligned until it looks like a solve, and never be told.
    if settings.align is None or may_be_hopeless(solution, lenses):
        return _drop_weak(solution)
    settings.on_stage("Aligning points", 0.8)
    aligned = settings.align(observations, solution.cameras, solution.points)
    settings.on_stage("Refining all cameras", 0.9)
    try:
        if is_long:
            cameras = _key_frames_again(aligned, solution, keyed, options, lenses, settings)
            again = _placed(aligned.observations, aligned.trusted, cameras, start)
        else:
            again = _refined(aligned.observations, aligned.trusted, solution.cameras, start, options)
            kept = again.observations[again.kept]
            fuller = _fuller_lens(kept, again.cameras, again.points, options, lenses, settings)
            if fuller != options:
                again = _refined(aligned.observations, aligned.trusted, again.cameras, start, fuller)
    except ValueError as error:
        settings.log(f"the aligned points cannot be solved: {error}")
        return _drop_weak(solution)
    before = solution.noise_of(aligned.source[aligned.trusted])
    after = again.noise_of(np.flatnonzero(aligned.trusted))
    settings.log(f"{100 * aligned.trusted.mean():.0f} % of the points aligned: {before:.3f} px became {after:.3f} px")
    return _drop_weak(again if after < before else solution)


def _final_lens(start: KeyframeStart, settings: VideoSettings) -> tuple[BundleOptions, Cameras]:
    """How all frames are to be refined, and the key frames' cameras with the lens that this begins with."""
    distortion, cameras = start.distortion, start.bundle.cameras.copy()
    if distortion and not needs_distortion(start.observations, start.bundle, bundle_options(start.lens, distortion)):
        settings.log("the lens shows no distortion")
        cameras.distortion[:] = 0.0
        distortion = 0
    if settings.distortion is not None and start.distortion:
        distortion = settings.distortion
    return replace(bundle_options(start.lens, distortion), center=bool(settings.center)), cameras


def _between(observations: Observations, keyed: Cameras) -> Cameras:
    """The cameras of the key frames and, by the points they see, of the frames between."""
    cameras = keyed.copy()
    solved = np.flatnonzero(cameras.solved)
    cameras.focal = np.exp(np.interp(np.arange(len(cameras)), solved, np.log(cameras.focal[solved])))
    return resect_missing(observations, cameras, triangulate_tracks(observations, cameras, _count(observations)))


def _refined(
    observations: Observations, trusted: np.ndarray, cameras: Cameras, start: KeyframeStart, options: BundleOptions
) -> Solution:
    """All cameras refined together, a zoom as smooth as it shows itself to be.

    Raises ValueError when nothing trusted can be used.
    """
    used = observations[trusted]
    points = triangulate_tracks(used, cameras, _count(observations))
    bundle = refine(used, cameras, points, options, thresholds_px=(KEEP_PX,))
    for _ in range(SMOOTHINGS):
        wanted = np.clip(bundle.smoothness, *SMOOTHNESS_RANGE)
        if not abs(np.log(wanted / options.smoothness)) > np.log(SMOOTHNESS_FACTOR):  # nan for lenses that do not zoom
            break
        options = replace(options, smoothness=float(wanted))
        bundle = refine(used, bundle.cameras, bundle.points, options, thresholds_px=(KEEP_PX,))
    kept = np.zeros(len(observations), bool)
    kept[trusted] = bundle.kept
    residual = residuals(observations, bundle.cameras, bundle.points)
    bundle = replace(bundle, kept=kept, residual=residual)
    return Solution.from_bundle(bundle, observations, _lens(start))


def _fuller_lens(
    kept: Observations,
    cameras: Cameras,
    points: np.ndarray,
    options: BundleOptions,
    lenses: LensModel,
    settings: VideoSettings,
) -> BundleOptions:
    """The options, with what else the lens shows; kept: the observations that took part in the solve."""
    if lenses.distortion_known:
        return options
    center, k2 = settings.center is None, settings.distortion is None
    fuller = needed_terms(kept, cameras, points, options, center, k2)
    if fuller != options:
        settings.log(
            f"the lens shows more: {fuller.distortion} coefficients, center {'free' if fuller.center else 'held'}"
        )
    return fuller


def _key_frames_again(
    aligned: Aligned,
    solution: Solution,
    keyed: Cameras,
    options: BundleOptions,
    lenses: LensModel,
    settings: VideoSettings,
) -> Cameras:
    """All cameras, those of the key frames refined on aligned observations. Raises ValueError as _refined()."""
    cameras = solution.cameras.copy()
    cameras.world_from_camera[~keyed.solved] = np.nan
    trusted = aligned.observations[aligned.trusted]
    chosen = trusted[keyed.solved[trusted.frame]]
    chosen = chosen[spread_tracks(chosen, len(cameras), key_tracks(int(keyed.solved.sum())))]
    points = triangulate_tracks(chosen, cameras, _count(aligned.observations))
    bundle = refine(chosen, cameras, points, options, thresholds_px=(KEEP_PX,))
    fuller = _fuller_lens(chosen[bundle.kept], bundle.cameras, bundle.points, options, lenses, settings)
    if fuller != options:
        bundle = refine(chosen, bundle.cameras, bundle.points, fuller, thresholds_px=(KEEP_PX,))
    return _between(trusted, bundle.cameras)


def _placed(observations: Observations, trusted: np.ndarray, cameras: Cameras, start: KeyframeStart) -> Solution:
    """The cameras as they are: refined key frames, and frames between them placed one by one.

    The linear system of a joint refinement grows with the square of the frames, its time with the cube.
    """
    used = observations[trusted]
    points = triangulate_tracks(used, cameras, _count(observations), max_error_px=KEEP_PX)
    error = np.linalg.norm(residuals(observations, cameras, points), axis=1)
    kept = np.zeros(len(observations), bool)
    kept[trusted] = select(used, cameras, points, KEEP_PX, 0.5, 3)
    deviation = start.bundle.focal_log_std[np.isfinite(start.bundle.focal_log_std)]
    return Solution(cameras, observations, points, error, kept, _lens(start), focal_log_std=float(np.median(deviation)))


def _count(observations: Observations) -> int:
    return int(observations.track.max()) + 1


def _lens(start: KeyframeStart) -> str:
    return "zoom" if start.lens == "zoom" else "shared"


def _drop_weak(solution: Solution) -> Solution:
    """The solution without cameras that hardly any observation holds."""
    weak = solution.support() < MIN_SUPPORT
    solution.cameras.world_from_camera[weak] = np.nan
    solution.kept &= ~weak[solution.observations.frame]
    return solution
