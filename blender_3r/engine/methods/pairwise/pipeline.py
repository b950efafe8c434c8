"""The whole path of the pairwise method: frames, pairs, network, alignment, views."""

from __future__ import annotations

from collections.abc import Iterator

from ...media.frames import FrameSource
from ..base import CamerasSolved, Context, Event, Progress, ViewReady, run_reporting
from ..views import view_arrays
from .options import Options
from .reading import Pictures
from .results import Solved, make_reconstruction
from .solve import solve
from .stages import VIEWS
from .store import discard_pairs, discard_scene, read_scene, write_scene


def reconstruct(frames: FrameSource, options: Options, context: Context, method: str) -> Iterator[Event]:
    """Yield the cameras, then depth, confidence and colour of every view; see Method."""
    earlier = context.job.read_cameras()
    solved = None if earlier is None else read_scene(context.job)
    complete = earlier is not None and all(context.job.has_view(frame) for frame in earlier.solved)
    if earlier is not None and (solved is not None or complete or not options.dense):
        context.log("cameras of an earlier run are used")
        pictures = None if solved is None else Pictures(frames, *solved.input)
    else:
        solved, pictures = yield from run_reporting(lambda report: solve(frames, options, context, report))
        write_scene(context.job, solved)
        yield CamerasSolved(make_reconstruction(pictures, solved, method), solved.sparse)
    discard_pairs(context.job)
    if solved is not None and pictures is not None and options.dense:
        yield from _views(pictures, solved, context)
    discard_scene(context.job)


def _views(pictures: Pictures, solved: Solved, context: Context) -> Iterator[Event]:
    placed = solved.placed
    for done, k in enumerate(placed):
        context.check_cancelled()
        frame = solved.used[k]
        if not context.job.has_view(frame):
            depth, confidence = solved.scene.depth[k], solved.scene.confidence[k]
            yield ViewReady(frame, view_arrays(pictures.get(frame), depth, confidence, solved.min_confidence))
        yield Progress("Writing depth", done + 1, len(placed), VIEWS + (1 - VIEWS) * (done + 1) / len(placed))
