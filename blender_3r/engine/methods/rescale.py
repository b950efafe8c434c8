"""Depth of a network's views scaled to the points that its cameras were refined with."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ..geometry.depth_scale import LogScale, measure_scale, sampled, smooth_scales
from ..geometry.similarity import Similarity
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction, View
from ..solve.solution import Solution
from .base import Context, Event, Progress, ViewReady
from .multiview.gaussians import move_gaussians

SCALES = "refined"  # .npz of the job folder: how each view is scaled, and by what to tell whether it is
DEPTH_CHANGE = 2.0  # at most, of a view's scale from that of the others


def rescale_views(
    context: Context, predicted: Reconstruction, refined: Reconstruction, solution: Solution | None, start: float
) -> Generator[Event, None, None]:
    """Report every dense view anew, with its depth scaled, and move its Gaussians.

    solution: where the cameras are from, None where a stopped run has measured the scales already. start: how far the
    step is. What that run has scaled is not scaled again.
    """
    job = context.job
    dense = [index for index in job.view_indices() if refined.views[index].is_solved]
    scales = _scales_of(job, dense) if solution is None else _measured(job, dense, refined, solution)
    if scales:
        factors = np.array([scales[index][0] for index in dense])
        context.log(f"depth of {len(dense)} views scaled by {factors.min():.3f} to {factors.max():.3f}")
    for done, index in enumerate(dense):
        context.check_cancelled()
        scale, depth_before, place_before = scales[index]
        gaussians = job.read_gaussians(index)
        if gaussians is not None and _sign(gaussians["position"]) == place_before:
            move = _move(predicted.views[index], refined.views[index], scale)
            job.write_gaussians(index, move_gaussians(gaussians, move))
        if scale != 1.0 and _sign(job.read_view(index)["depth"]) == depth_before:
            arrays = {name: np.array(array) for name, array in job.read_view(index).items()}
            yield ViewReady(index, {**arrays, "depth": arrays["depth"] * np.float32(scale)})
        yield Progress("Scaling depth", done + 1, len(dense), start + (1 - start) * (done + 1) / len(dense))


def _measured(
    job: JobFolder, dense: list[int], refined: Reconstruction, solution: Solution
) -> dict[int, tuple[float, float, float]]:
    """{view: (its factor, _sign of its depth, of its Gaussians)}; kept in the job folder before anything is changed."""
    found = [_scale_of(job, index, refined.views[index], solution) for index in dense]
    known = [scale.value for scale in found if scale is not None]
    limit = np.log(DEPTH_CHANGE)
    middle = float(np.median(known)) if known else 0.0
    found = [scale if scale is not None and abs(scale.value - middle) < limit else None for scale in found]
    if refined.kind == "video":
        logs = smooth_scales(np.array(dense), found)
    else:
        logs = np.array([middle if scale is None else scale.value for scale in found])
    signs = [(_sign(job.read_view(index)["depth"]), _sign_of_gaussians(job, index)) for index in dense]
    table = np.array([[index, np.exp(log), *sign] for index, log, sign in zip(dense, logs, signs, strict=True)])
    job.write_npz(SCALES, views=table.reshape(-1, 4))
    return _scales_of(job, dense)


def _scales_of(job: JobFolder, dense: list[int]) -> dict[int, tuple[float, float, float]]:
    """What _measured kept; views that it did not know stay as they are."""
    kept = job.read_npz(SCALES) or {}
    rows = {int(row[0]): tuple(row[1:].tolist()) for row in kept.get("views", np.zeros((0, 4)))}
    return {index: rows.get(index, (1.0, np.nan, np.nan)) for index in dense}


def _scale_of(job: JobFolder, index: int, view: View, solution: Solution) -> LogScale | None:
    """Of a view's depth against the points seen in it that stand still."""
    if solution.motion == "tripod":
        return None
    chosen = solution.kept & (solution.observations.frame == index)
    if solution.moving is not None:
        chosen &= ~solution.moving[solution.observations.track]
    seen = solution.observations[chosen]
    depth = job.read_view(index)["depth"]
    found = solution.cameras.in_camera(seen.frame, solution.points[seen.track])[:, 2]
    return measure_scale(found, sampled(depth, seen.xy, (view.intrinsics.width, view.intrinsics.height)))


def _move(before: View, after: View, scale: float) -> Similarity:
    """From the world of a predicted camera to that of the refined one, things growing about the camera by scale."""
    turn = after.world_from_camera[:3, :3] @ before.world_from_camera[:3, :3].T
    shift = after.world_from_camera[:3, 3] - scale * turn @ before.world_from_camera[:3, 3]
    return Similarity(np.float64(scale), turn, shift)


def _sign(values: np.ndarray) -> float:
    """What tells a map from a scaled or moved one: its first number that is not 0."""
    flat = np.asarray(values).reshape(-1)
    filled = np.flatnonzero(flat)
    return float(flat[filled[0]]) if len(filled) else 0.0


def _sign_of_gaussians(job: JobFolder, index: int) -> float:
    gaussians = job.read_gaussians(index)
    return 0.0 if gaussians is None else _sign(gaussians["position"])
