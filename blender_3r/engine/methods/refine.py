"""The step behind a network's cameras: they are adjusted to points in the pictures, until they stick.

Networks give cameras that are nearly right and jitter. Footage is followed by Lucas-Kanade, photos are matched, as the
method classic does; its bundle adjustment starts from the network's cameras and keeps their world and size. The depth
of every view is scaled to the points found. Where that fails, the network's result stays as it is, and it is said why.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras
from ..media.frames import FrameSource
from ..reconstruction import Check, Reconstruction
from ..solve.mapping import LensModel
from ..solve.solution import Solution, take_world
from . import classic
from .base import CamerasSolved, Context, Event, Method, Progress, run_reporting
from .correct import corrected_views, turned_on_the_spot
from .footage import Reporter
from .rescale import SCALES, rescale_views
from .solved import adjustment_check, make_reconstruction, placed_error
from .sparse_cloud import sparse_cloud, track_arrays

PREDICTED = "predicted"  # .json of the job folder: the network's cameras, once all of its work is done
SHARE = 0.8  # of the job, that the network takes
SOLVING = 0.9  # of the rest, that solving takes
FEWEST = 3  # pictures
# Checks without which refined cameras are not believed.
NEEDED = ("adjustment", "pair rotations", "reprojection error", "lens")
DEGENERATE = (np.linalg.LinAlgError, cv2.error)  # what solvers say of points from which nothing follows


def is_refined(method_id: str, settings: dict[str, Any]) -> bool:
    """Whether the step follows; not where the network adjusts its cameras to tracks of its own, or takes given ones."""
    by_others = settings.get("learned_tracks") or settings.get("poses")
    return bool(settings.get("refine")) and method_id != classic.INFO.id and not by_others


def run_refined(method: Method, frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """The events of a method, and of this step where the settings ask for it; see Method.

    A job that was stopped in this step goes on with it: what the network found is in the job folder by then.
    """
    if not is_refined(method.INFO.id, settings) or len(frames) < FEWEST:
        yield from method.run(frames, settings, context)
        return
    job = context.job
    found = job.read_json(PREDICTED)
    if found is None:
        with closing(method.run(frames, settings, context)) as events:
            for event in events:
                yield replace(event, fraction=SHARE * event.fraction) if isinstance(event, Progress) else event
        predicted = job.read_cameras()
        if predicted is None or not predicted.solved:
            return
        job.write_json(PREDICTED, predicted.to_json())
    else:
        context.log("what the network found is there from an earlier run")
        predicted = Reconstruction.from_json(found)
    yield from _refine(frames, settings, predicted, context)


def _refine(
    frames: FrameSource, settings: dict[str, Any], predicted: Reconstruction, context: Context
) -> Generator[Event, None, None]:
    if context.job.read_npz(SCALES) is not None:
        refined = context.job.read_cameras()
        yield from _in_the_rest(rescale_views(context, predicted, refined, None, SOLVING))
        return
    chosen = classic.Settings.from_json(settings)
    if chosen.depth_prior == classic.OWN_DEPTH:
        has_depth = any(True for _ in context.job.view_indices())
        chosen = replace(chosen, depth_prior=str(context.job.path) if has_depth else None)

    def work(report: Callable[[Event], None]) -> tuple[Solution, LensModel, list[Check]] | str:
        try:
            return _solve(frames, chosen, predicted, Reporter(context, report, SOLVING))
        except EngineError as error:
            if error.kind != "unsolved":
                raise
            return error.message
        except DEGENERATE as error:
            return f"The points that were followed lead to no cameras ({error})."

    outcome = yield from _in_the_rest(run_reporting(work))
    if isinstance(outcome, str):
        context.log(f"not refined: {outcome}")
        told = f"The cameras are as the network gave them, not refined: {outcome}"
        yield CamerasSolved(replace(predicted, warnings=[*predicted.warnings, told]))
        return
    solution, lenses, won = outcome
    refined = _merged(frames, predicted, solution, lenses, won)
    sparse = None if solution.motion == "tripod" else sparse_cloud(frames, solution)
    yield CamerasSolved(refined, sparse, track_arrays(solution), tuple(predicted.solved))
    yield from _in_the_rest(rescale_views(context, predicted, refined, solution, SOLVING))


def _in_the_rest(events: Generator[Event, None, Any]) -> Generator[Event, None, Any]:
    """Events whose progress is that of this step alone."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        is_progress = isinstance(event, Progress)
        yield replace(event, fraction=SHARE + (1 - SHARE) * event.fraction) if is_progress else event


# -- solving


def _solve(
    frames: FrameSource, settings: classic.Settings, predicted: Reconstruction, reporter: Reporter
) -> tuple[Solution, LensModel, list[Check]]:
    """Cameras of all frames in the network's world, what was known of the lenses, and how much is won.

    Raises EngineError("unsolved") where the network's are to stay.
    """
    masks = settings.masks(frames)
    lenses = classic.start_lenses(frames, settings)
    given = Cameras.from_views(predicted.views)
    solution = classic.solve_cameras(frames, lenses, settings, masks, reporter, given)
    if not lenses.focal_known and _is_loose(solution) and solution.motion != "tripod":
        solution = _with_focal_held(frames, settings, solution, lenses, given, reporter)
    if solution.motion == "tripod":
        turned_on_the_spot(solution, given)
        won = []
    else:
        won = [_won(solution, given, frames.kind)]
        _refuse_doubtful([*won, *solution.checks])
        take_world(solution, given)
    solution.warnings += [] if masks is None else masks.warnings
    return solution, lenses, won


def _is_loose(solution: Solution) -> bool:
    return any(check.name == "focal firmness" and not check.passed for check in solution.checks)


def _with_focal_held(
    frames: FrameSource,
    settings: classic.Settings,
    solution: Solution,
    lenses: LensModel,
    given: Cameras,
    reporter: Reporter,
) -> Solution:
    """Solved again with the focal of EXIF or the network, where pictures hardly tell one: a drive straight ahead."""
    sides = np.array([max(lens.width, lens.height) for lens in lenses.start])
    focal = float(np.median((given.focal / sides)[given.solved]))
    reporter.context.log("the pictures hardly tell the focal length: it is held")
    known = replace(lenses, focal_known=True) if lenses.focal_measured else lenses.with_focal(focal)
    tracks = solution.observations if frames.kind == "video" else None
    held = classic.solve_cameras(frames, known, settings, settings.masks(frames), reporter, given, tracks)
    own = [check for check in solution.checks if check.name == "focal firmness"]
    held.checks = [*(check for check in held.checks if check.name != "focal firmness"), *own]
    held.focal_is_certain = False
    return held


def _won(solution: Solution, given: Cameras, kind: str) -> Check:
    """How much nearer points lie to where they are seen."""
    seen = solution.observations[solution.kept & given.solved[solution.observations.frame]]
    before = placed_error(seen, given, len(solution.points))
    what = "points followed through the footage" if kind == "video" else "points matched in the photos"
    return adjustment_check(before, solution.mean_error_px, what)


def _refuse_doubtful(checks: list[Check]) -> None:
    """Raise EngineError("unsolved") for cameras that are not to be believed, or no better."""
    for check in checks:
        if check.name in NEEDED and not check.passed:
            raise EngineError("unsolved", f"What was refined cannot be believed. {check.text}")


def _merged(
    frames: FrameSource, predicted: Reconstruction, solution: Solution, lenses: LensModel, won: list[Check]
) -> Reconstruction:
    """The refined cameras with what the network knows besides: other frames' cameras, metres, its own checks."""
    refined = make_reconstruction(frames, solution, lenses)
    told = [warning for warning in refined.warnings if "have no camera; " not in warning]
    views, others = corrected_views(predicted, refined)
    return replace(
        refined,
        views=views,
        method=predicted.method,
        motion="free",
        metric=predicted.metric,
        checks=[*predicted.checks, *won, *refined.checks],
        warnings=[*predicted.warnings, *told, *others],
    )
