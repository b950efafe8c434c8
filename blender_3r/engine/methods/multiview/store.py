"""What a run leaves in the job folder for the next one of the same request: the passes that are done.

Files chunk_00000.npz; the runner removes them with the results when the request changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import EngineError
from ...jobfolder import JobFolder
from .predictions import FOLLOWED, Followed, Prediction

_NAME = "chunk_{:05d}"


class ChunkStore:
    """The passes of one job. used: the frames of its pictures; passes over others are not taken."""

    def __init__(self, job: JobFolder, used: Sequence[int], sizes: Sequence[tuple[int, int]]) -> None:
        """sizes: (h, w) of the pictures."""
        self._job, self._sizes = job, list(sizes)
        self._key = np.array([*used, *(side for size in sizes for side in size)])

    def write(self, number: int, prediction: Prediction) -> None:
        """Keep a pass, before it is joined. Raises EngineError("machine") when the disk is full."""
        maps: dict[str, np.ndarray] = {}
        for k in range(len(prediction.views)):
            maps[f"depth_{k}"] = prediction.depth[k]
            maps[f"confidence_{k}"] = prediction.confidence[k]
            maps[f"kept_{k}"] = prediction.kept[k]
        for k, extras in enumerate(prediction.extras):
            maps |= {f"extra_{k}_{name}": values for name, values in extras.items()}
        if prediction.followed is not None:
            maps |= {f"followed_{name}": getattr(prediction.followed, name) for name in FOLLOWED}
        self._job.write_npz(
            _NAME.format(number),
            key=self._key,
            views=np.array(prediction.views),
            world_from_camera=prediction.world_from_camera,
            focals=prediction.focals,
            principal_points=prediction.principal_points,
            **maps,
        )

    def read(self, number: int, covered: int) -> Prediction | None:
        """The pass of that number, None when it is not there, is damaged, or does not go on where the others end.

        covered: how many pictures the passes before cover.
        """
        data = self._job.read_npz(_NAME.format(number))
        if data is None:
            return None
        try:
            views = [int(view) for view in data["views"]]
            goes_on = views == list(range(views[0], views[-1] + 1)) and views[0] <= covered <= views[-1]
            joins = views[0] < covered or covered == 0
            if not (goes_on and joins and np.array_equal(data["key"], self._key)):
                return None
            return self._prediction(views, data)
        except (KeyError, IndexError, ValueError, TypeError):
            return None

    def read_again(self, number: int) -> Prediction:
        """A pass that was written or read before. Raises EngineError("machine") when it is gone."""
        data = self._job.read_npz(_NAME.format(number))
        if data is None:
            raise EngineError("machine", "A file of the job was removed while it ran.", "Reconstruct again.")
        return self._prediction([int(view) for view in data["views"]], data)

    def discard(self) -> None:
        """Remove all passes, once the job is done."""
        for path in self._job.path.glob("chunk_*.npz"):
            path.unlink(missing_ok=True)

    def _prediction(self, views: list[int], data: dict[str, np.ndarray]) -> Prediction:
        numbers = range(len(views))
        followed = None
        if "followed_view" in data:
            followed = Followed(*(data[f"followed_{name}"] for name in FOLLOWED))
        extras = []
        for k in numbers:
            start = f"extra_{k}_"
            extras.append({name.removeprefix(start): data[name] for name in data if name.startswith(start)})
        found = Prediction(
            views,
            data["world_from_camera"],
            data["focals"],
            data["principal_points"],
            *([data[f"{name}_{k}"] for k in numbers] for name in ("depth", "confidence", "kept")),
            extras if any(extras) else [],
            followed,
        )
        shapes = [maps.shape for maps in (*found.depth, *found.confidence, *found.kept)]
        if shapes != 3 * [self._sizes[view] for view in views] or found.world_from_camera.shape != (len(views), 4, 4):
            raise ValueError("not of these pictures")
        return found
