"""What is told of passes and when: cameras at once, depth of a view as soon as no later pass shares it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...geometry.similarity import Similarity
from ...media.frames import FrameSource
from ...reconstruction import Reconstruction
from ..base import CamerasSolved, Context, Event, ViewReady
from .chunks import ChunkChain
from .gaussians import move_gaussians
from .predictions import Prediction
from .reading import Pictures
from .results import Scene, make_reconstruction, view_arrays


class Teller:
    """Joins the passes of a source and reports what is known. covered: pictures that the passes so far cover."""

    def __init__(
        self,
        frames: FrameSource,
        scene: Scene,
        pictures: Pictures,
        context: Context,
        report: Callable[[Event], None],
        method: str,
    ) -> None:
        self.frames, self.scene, self.pictures, self.context, self.report = frames, scene, pictures, context, report
        self.method = method
        self.covered = 0
        self.owner: dict[int, int] = {}  # of a picture, the number of the pass that its depth is from
        self.moves: list[Similarity] = []
        self._chain = ChunkChain()
        self._parts: dict[int, Prediction] = {}  # passes with depth that is not told yet
        self._told: set[int] = set()

    def add(self, part: Prediction, in_place: bool = False) -> list[int]:
        """Join the next pass. in_place: it is in the joined world already. Returns the pictures whose cameras changed.

        Raises ValueError when no view that it shares with the last pass has a pose in both.
        """
        number = len(self.moves)
        chunk = part.as_chunk()
        placed = self._chain.add(chunk, in_place)
        if placed.seam is not None:
            used = self.scene.used
            seam = placed.seam._replace(first=used[placed.seam.first], last=used[placed.seam.last])
            self.scene.seams.append(seam)
            self.context.log(f"seam: {seam}")
        before = dict(self.scene.poses)
        self.scene.take(part, dict(zip(chunk.views, placed.world_from_camera, strict=True)), self.pictures.get)
        self.moves.append(placed.move)
        self._parts[number] = part
        self._own(number, chunk.views)
        self.covered = part.views[-1] + 1
        return [view for view, pose in before.items() if not np.array_equal(pose, self.scene.poses[view])]

    def cameras(self, changed: list[int] | None = None, **more: dict[str, np.ndarray]) -> None:
        """Tell all cameras. changed: pictures whose cameras were others before. more: sparse and tracks."""
        corrected = tuple(self.scene.used[view] for view in changed or ())
        self.report(CamerasSolved(self.reconstruction(), **more, corrected=corrected))

    def reconstruction(self) -> Reconstruction:
        """The cameras so far."""
        is_done = self.covered == len(self.scene.used)
        return make_reconstruction(self.frames, self.scene, self.method, is_done)

    def views(self, before: int) -> None:
        """Tell the depth of all pictures with lower numbers that has not been told."""
        believed = self.scene.believed()
        for view in sorted(set(self.owner) - self._told):
            if view not in believed:
                self._told.add(view)
            elif view < before:
                number = self.owner[view]
                self.view(view, self._parts[number].moved(self.moves[number]), self.moves[number])
        self.forget()

    def view(self, view: int, part: Prediction, move: Similarity, scale: float = 1.0) -> None:
        """Tell the depth of a picture by a pass, moved to its place by `move`. scale: of the depth."""
        self._told.add(view)
        frame = self.scene.used[view]
        if self.context.job.has_view(frame):
            return
        self.context.check_cancelled()
        k = part.views.index(view)
        if part.extras:
            self.context.job.write_gaussians(frame, move_gaussians(part.extras[k], move))
        depth = np.float32(scale) * part.depth[k]
        self.report(ViewReady(frame, view_arrays(self.pictures.get(view), depth, part.confidence[k], part.kept[k])))

    def forget(self, everything: bool = False) -> None:
        """Let go of passes of which all is told, or of all of them."""
        needed = set() if everything else {self.owner[view] for view in set(self.owner) - self._told}
        self._parts = {number: part for number, part in self._parts.items() if number in needed}

    def _own(self, number: int, views: list[int]) -> None:
        """Of the views that two passes share, each has the depth of the pass whose middle is nearer."""
        shared = [view for view in views if view in self.owner]
        for rank, view in enumerate(shared):
            if view not in self._told and 2 * rank + 1 > len(shared):
                self.owner[view] = number
        self.owner.update({view: number for view in views if view not in self.owner})
