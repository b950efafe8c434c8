"""Dense depth of chosen views, one after the other, with only a window of them in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass

import numpy as np

from ...errors import Cancelled
from ...media.frames import FrameSource
from ...reconstruction import Reconstruction
from .depthmap import RawDepth, sweep_depth
from .fusion import fuse
from .neighbours import Scene
from .pictures import Picture
from .sparse import triangulate_sparse

# Raw depth maps kept on either side of the view that is being finished.
WINDOW = 8
# A view with fewer partners among the wanted ones gets some of its sources as helpers.
MIN_PARTNERS = 2
_VOLUME_BYTES = 1 << 30  # for cost volumes of all threads together; 6 bytes per pixel and plane each
_PICTURES = 64  # prepared pictures kept, about 0.6 MB each at 512 pixels


@dataclass(frozen=True)
class DenseSettings:
    """max_side: longer side of the maps in pixels, never above the frame's. sources: views matched with each view.

    planes: depths tried at most. partners: depth maps that check each map. threads: views worked on at a time, fewer
    where their cost volumes would not fit a gigabyte.
    """

    max_side: int = 512
    sources: int = 6
    planes: int = 112
    partners: int = 6
    threads: int = 2


def dense_depth(
    frames: FrameSource,
    reconstruction: Reconstruction,
    views: Sequence[int],
    sparse_points: np.ndarray | None = None,
    settings: DenseSettings = DenseSettings(),
    check_cancelled: Callable[[], None] = lambda: None,
    log: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield (view index, arrays of JobFolder.write_view) for each of views that has depth, in an order of its own.

    views: indices of solved views, see choose_views. sparse_points: (n, 3) in world axes; None = triangulate some.
    depth: (h, w) float32 planar z in scene units on the view's own distorted pixel grid, 0 = unknown; confidence:
    (h, w) float32, above 0.5 more than nine in ten are right to 2 %; color: (h, w, 3) uint8 RGB.
    A view without a baseline to any other, or with too few sparse points, is left out with a line in the log.
    check_cancelled is called at least every 0.2 s and ends the work by what it raises. Memory does not grow with the
    number of views.
    """
    if reconstruction.motion == "tripod":
        log("No dense depth: the camera only turns, so nothing tells how far away things are.")
        return
    if sparse_points is None:
        sparse_points = triangulate_sparse(frames, reconstruction, settings.max_side, check_cancelled)
    scene = Scene(reconstruction, sparse_points, settings.max_side)
    order = _with_helpers(scene, views)
    wanted = set(views)
    with _Sweeper(frames, reconstruction, scene, settings, check_cancelled, log) as sweeper:
        for place, view in enumerate(order):
            near = order[max(0, place - WINDOW) : place + WINDOW + 1]
            sweeper.start(near)
            if view not in wanted:
                continue
            own = sweeper.finished(view)
            if own is None:
                continue
            partners = [sweeper.finished(p) for p in scene.partners(view, near, settings.partners)]
            depth, confidence = fuse(*own, [partner for partner in partners if partner is not None])
            yield view, {"depth": depth, "confidence": confidence, "color": own[0].color}


def _with_helpers(scene: Scene, views: Sequence[int]) -> list[int]:
    """The solved ones of views in processing order, and between them, for those that would stand alone, helpers."""
    order = scene.processing_order(views)
    every = dict.fromkeys(order)
    for place, view in enumerate(order):
        near = order[max(0, place - WINDOW // 2) : place + WINDOW // 2 + 1]
        missing = MIN_PARTNERS - len(scene.partners(view, near, MIN_PARTNERS))
        if missing > 0:
            every.update(dict.fromkeys([s for s in scene.sources(view, 2 * MIN_PARTNERS) if s not in every][:missing]))
    return scene.processing_order(list(every))


class _Sweeper:
    """Raw depth of views in the background; keeps what it was last asked to start."""

    def __init__(
        self,
        frames: FrameSource,
        reconstruction: Reconstruction,
        scene: Scene,
        settings: DenseSettings,
        check_cancelled: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._frames = frames
        self._views = reconstruction.views
        self._scene = scene
        self._settings = settings
        self._check_cancelled = check_cancelled
        self._log = log
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        self._jobs: dict[int, Future[RawDepth] | None] = {}
        self._own: dict[int, Picture] = {}
        self._stop = threading.Event()
        fitting = _VOLUME_BYTES // (6 * settings.max_side**2 * settings.planes)
        self._pool = ThreadPoolExecutor(max(1, min(settings.threads, fitting)), thread_name_prefix="dense")

    def __enter__(self) -> _Sweeper:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, views: Sequence[int]) -> None:
        """Work on these views and forget all others."""
        for view in [v for v in self._jobs if v not in views]:
            del self._jobs[view]
            self._own.pop(view, None)
        for view in views:
            if view not in self._jobs:
                self._check_cancelled()
                self._jobs[view] = self._submit(view)

    def finished(self, view: int) -> tuple[Picture, RawDepth] | None:
        """Wait for a started view; None if it can have no depth."""
        job = self._jobs[view]
        while job is not None:
            self._check_cancelled()
            try:
                return self._own[view], job.result(timeout=0.1)
            except NotYet:
                continue
        return None

    def _submit(self, view: int) -> Future[RawDepth] | None:
        depth_range = self._scene.depth_range(view)
        sources = self._scene.sources(view, self._settings.sources) if depth_range else []
        if not sources:
            why = "no other view shows it from another place" if depth_range else "too few sparse points in it"
            self._log(f"No dense depth for {self._views[view].file}: {why}.")
            return None
        pictures = {index: self._picture(index) for index in sorted([view, *sources])}
        self._own[view] = pictures[view]
        return self._pool.submit(
            sweep_depth,
            pictures[view],
            [pictures[source] for source in sources],
            depth_range,
            self._settings.planes,
            self._raise_if_stopped,
        )

    def _picture(self, index: int) -> Picture:
        if index in self._pictures:
            self._pictures.move_to_end(index)
        else:
            color = self._frames.read(index, max_side=self._settings.max_side)
            self._pictures[index] = Picture.prepare(self._views[index], color)
            if len(self._pictures) > _PICTURES:
                self._pictures.popitem(last=False)
        return self._pictures[index]

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise Cancelled
