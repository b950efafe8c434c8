"""What is known of a job's dense pixels once all views are there: how many views agree, and what looks like sky."""

from __future__ import annotations

from collections.abc import Iterator

from ..geometry.agreement import choose_partners, count_agreeing
from ..geometry.sky import find_sky
from ..jobfolder import JobFolder
from ..methods.base import Progress
from ..reconstruction import Reconstruction


def judge_views(job: JobFolder, result: Reconstruction) -> Iterator[Progress]:
    """Add support and sky (jobfolder.VIEW_EXTRAS) to every dense view; some 20 ms each, a step of progress each.

    With one view there is nothing to agree with, so it gets no support. Made anew each time: poses may have changed.
    Raises EngineError when arrays are damaged or cannot be written.
    """
    indices = [i for i in job.view_indices() if i < len(result.views) and result.views[i].is_solved]
    for done, index in enumerate(indices):
        yield Progress("Comparing views", done, len(indices), 1.0)
        arrays = job.read_view(index)
        extras = {"sky": find_sky(arrays["color"], arrays["depth"])}
        if len(indices) > 1:
            partners = choose_partners(result.views, index, indices)
            maps = [(result.views[other], job.read_view(other)["depth"]) for other in partners]
            extras["support"] = count_agreeing(result.views[index], arrays["depth"], maps)
        job.add_to_view(index, extras)
