"""Cameras of photos: incremental mapping, the global mapper as a second opinion, refined together.

Incremental is the better first choice for photos: the global mapper can tear a round walk apart at 0.7 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from .bundle import BundleOptions, BundleResult, refine
from .checks import PAIRS_CHECKED, check_solution
from .lens_terms import needed_terms
from .mapping import LensModel, Mapping, MatchDatabase, MatchGraph
from .posed import hold_given, join_matches, refine_given
from .solution import Solution, share_lens

LOSS_PX = 0.5
MIN_SUPPORT = 20
NEEDED = ("pair rotations", "reprojection error", "lens")  # checks without which given cameras are no start
REFUSED = "The given cameras do not fit the photos; they were solved without them."


@dataclass(frozen=True)
class PhotoSettings:
    """See VideoSettings."""

    threads: int = -1
    on_stage: Callable[[str, float], None] = lambda stage, fraction: None
    check_cancelled: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda text: None


def solve_photos(
    graph: MatchGraph, lenses: LensModel, settings: PhotoSettings, given: Cameras | None = None, holds: bool = False
) -> Solution:
    """Cameras of the photos that overlap. Raises EngineError("unsolved") when none do.

    given: cameras to start from, nan poses where they are not known; where they do not fit the photos are mapped, with
    a warning. holds: the given cameras stay as they are, lens and all, and only the others are found.
    """
    settings.on_stage("Verifying matches", 0.0)
    with MatchDatabase(graph, lenses, settings.threads, settings.check_cancelled) as database:
        inliers, types = database.verified()
        settings.log(f"pair types: {types}")
        inliers = {pair: matches for pair, matches in inliers.items() if len(matches) >= MIN_SUPPORT}
        if not inliers:
            raise no_overlap(len(graph.frames))
        refused = False
        if given is not None:
            solution = _from_given(graph, inliers, types, lenses, given, holds, settings)
            if solution is not None:
                return solution
            refused = True
        attempts = (
            ("Solving photos one after the other", 0.15, database.map_incrementally),
            ("Solving photos again, all at once", 0.6, database.map_globally),
            ("Solving photos from another start", 0.75, lambda: database.map_incrementally(seed=2)),
        )
        best: Solution | None = None
        for stage, fraction, mapper in attempts:
            settings.on_stage(stage, fraction)
            solution = _finish(mapper(), graph, inliers, types, lenses, settings)
            if solution is None:
                continue
            settings.log(f"{stage}: {_describe(solution)}")
            if best is None or _rank(solution) > _rank(best):
                best = solution
            if all(check.passed for check in best.checks) and best.cameras.solved.mean() > 0.9:
                break
    if best is None:
        raise no_overlap(len(graph.frames))
    if refused:
        best.warnings.append(REFUSED)
    return best


def _from_given(
    graph: MatchGraph,
    inliers: dict[tuple[int, int], np.ndarray],
    types: dict[str, int],
    lenses: LensModel,
    given: Cameras,
    holds: bool,
    settings: PhotoSettings,
) -> Solution | None:
    """From cameras that are known; None where they do not fit, but EngineError("unsolved") where they are to stay."""
    settings.on_stage("Holding the given cameras" if holds else "Refining the given cameras", 0.3)
    observations = join_matches(graph, inliers)
    solution = hold_given(observations, given, lenses) if holds else refine_given(observations, given, lenses)
    if solution is not None and solution.kept.any():
        solution.pair_types = types
        weak = solution.support() < MIN_SUPPORT
        solution.cameras.world_from_camera[weak & ~(holds & given.solved)] = np.nan
    if solution is not None and solution.kept.any() and solution.cameras.solved.sum() >= 2:
        solution.checks = check_solution(solution, lenses, graph_pairs(graph, inliers, solution.cameras.solved))
        settings.log(f"from the given cameras: {_describe(solution)}")
        if holds or not any(check.name in NEEDED and not check.passed for check in solution.checks):
            return solution
    if holds:
        raise EngineError(
            "unsolved",
            "The photos do not fit the cameras given: no point lies where they say.",
            "Check that names, axes and units are those of cameras.json, or let the cameras be refined.",
        )
    return None


def no_overlap(count: int) -> EngineError:
    """The refusal of photos that cannot be joined."""
    return EngineError(
        "unsolved",
        f"The {count} photos do not overlap enough to be joined: no camera can be had from them.",
        "Take photos of one thing from places a step apart, so that each shows most of what its neighbour shows.",
    )


def graph_pairs(
    graph: MatchGraph, inliers: dict[tuple[int, int], np.ndarray], solved: np.ndarray
) -> Iterable[tuple[np.ndarray, np.ndarray, int, int]]:
    """Frame pairs for check_solution(): verified pairs between solved photos, spread over all of them."""
    candidates = sorted(pair for pair in inliers if solved[pair[0]] and solved[pair[1]] and len(inliers[pair]) >= 50)
    for k in np.unique(np.linspace(0, len(candidates) - 1, min(len(candidates), PAIRS_CHECKED)).astype(int)):
        a, b = candidates[k]
        matches = inliers[(a, b)]
        yield graph.keypoints[a][matches[:, 0]], graph.keypoints[b][matches[:, 1]], a, b


def _finish(
    mapping: Mapping | None,
    graph: MatchGraph,
    inliers: dict[tuple[int, int], np.ndarray],
    types: dict[str, int],
    lenses: LensModel,
    settings: PhotoSettings,
) -> Solution | None:
    if mapping is None or mapping.solved_count < 2:
        return None
    settings.check_cancelled()
    options = BundleOptions(
        lens="fixed" if lenses.focal_known else "shared",
        distortion=0 if lenses.distortion_known else 1,
        scale_px=LOSS_PX,
    )
    cameras = share_lens(mapping.cameras, lenses)
    try:
        bundle = refine(mapping.observations, cameras, mapping.points, options, lenses.group, (4.0, 2.5), 0.5, 2)
        bundle = _with_fuller_lens(bundle, mapping.observations, options, lenses, settings)
    except ValueError as error:
        settings.log(f"nothing to refine: {error}")
        return None
    lens = "groups" if len(np.unique(lenses.group)) > 1 else "shared"
    solution = Solution.from_bundle(bundle, mapping.observations, lens)
    solution.pair_types = types
    solution.cameras.world_from_camera[solution.support() < MIN_SUPPORT] = np.nan
    solved = solution.cameras.solved
    if solved.sum() < 2:
        return None
    solution.checks = check_solution(solution, lenses, graph_pairs(graph, inliers, solved))
    return solution


def _with_fuller_lens(
    bundle: BundleResult,
    observations: Observations,
    options: BundleOptions,
    lenses: LensModel,
    settings: PhotoSettings,
) -> BundleResult:
    """Refined again with what else the lens shows; as it is where it shows nothing, or each photo may have its own."""
    if lenses.distortion_known or len(np.unique(lenses.group)) > 1:
        return bundle
    kept = observations[bundle.kept]
    fuller = needed_terms(kept, bundle.cameras, bundle.points, options, free_center=True, free_k2=True)
    if fuller == options:
        return bundle
    settings.log(f"the lens shows {fuller.distortion} coefficients, {'and' if fuller.center else 'not'} its own center")
    return refine(observations, bundle.cameras, bundle.points, fuller, lenses.group, (2.5,), 0.5, 2)


def _rank(solution: Solution) -> tuple[int, int]:
    """Believed before complete; a smaller error alone is no reason to prefer a solution."""
    return (-sum(not check.passed for check in solution.checks), int(solution.cameras.solved.sum()))


def _describe(solution: Solution) -> str:
    failed = [check.name for check in solution.checks if not check.passed]
    return (
        f"{int(solution.cameras.solved.sum())} photos, {solution.mean_error_px:.3f} px, "
        f"failed checks: {', '.join(failed) or 'none'}"
    )
