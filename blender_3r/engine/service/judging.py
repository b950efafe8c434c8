"""What is known of a job's dense pixels once all views are there: how many views agree, what is sky, what moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..geometry.agreement import choose_partners, count_agreeing
from ..geometry.sky import find_sky
from ..jobfolder import JobFolder
from ..media.frames import FrameSource
from ..methods.base import Progress
from ..reconstruction import Reconstruction
from .moving import AUTO, MovingParts


def judge_views(
    job: JobFolder, result: Reconstruction, frames: FrameSource, log: Callable[[str], None], moving: str = AUTO
) -> Iterator[Progress]:
    """Add support, sky and of footage moving (jobfolder.VIEW_EXTRAS) to every dense view, a step of progress each;
    looking for what moves goes over the views forward and backward, half a step each time.

    With one view there is nothing to agree with, so it gets no support. moving: the setting of that name. Made anew
    each time: poses may have changed. Raises EngineError when arrays or masks are damaged or arrays cannot be written.
    """
    indices = [i for i in job.view_indices() if i < len(result.views) and result.views[i].is_solved]
    parts = MovingParts(job, result, indices, moving, frames)
    passes = 2 if parts.is_wanted else 1
    for done, index in enumerate(indices):
        if done % passes == 0:
            yield Progress("Comparing views", done // passes, len(indices), 1.0)
        arrays = job.read_view(index)
        extras = {"sky": find_sky(arrays["color"], arrays["depth"])}
        if len(indices) > 1:
            partners = choose_partners(result.views, index, indices)
            maps = [(result.views[other], job.read_view(other)["depth"]) for other in partners]
            extras["support"] = count_agreeing(result.views[index], arrays["depth"], maps)
        job.add_to_view(index, extras)
        if parts.is_wanted:
            parts.look(done)
    if parts.is_wanted:
        yield from _add_moving(job, indices, parts, log)


def _add_moving(
    job: JobFolder, indices: list[int], parts: MovingParts, log: Callable[[str], None]
) -> Iterator[Progress]:
    shares = []
    for done, place in enumerate(reversed(range(len(indices))), start=len(indices)):
        if done % 2 == 0:
            yield Progress("Comparing views", done // 2, len(indices), 1.0)
        moving = parts.of(place)
        shares.append(float(np.mean(moving)))
        job.add_to_view(indices[place], {"moving": moving})
    some = sum(share > 0 for share in shares)
    log(f"something moves in {some} of {len(shares)} views with depth, in {np.mean(shares):.1%} of all pixels")
    for warning in parts.warnings:
        log(f"moving: {warning}")
