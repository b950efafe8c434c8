"""What a run leaves in the job folder for the next one of the same request: pairs already predicted, the scene.

Files of the form NAME.npz; the runner removes them with the results when the request changes.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from ...errors import EngineError
from ...jobfolder import JobFolder
from .alignment.scene import Scene
from .results import Solved

if TYPE_CHECKING:
    from collections.abc import Callable

_SCENE = "scene"
_PAIR = "pair_{0:05d}_{1:05d}"
PAIRS_AT_MOST = 4 << 30  # bytes of predictions kept on disk
_DISK_SHARE = 0.25  # of the free disk


def write_scene(job: JobFolder, solved: Solved) -> None:
    """Keep what is needed to go on with the views."""
    scene = solved.scene
    maps = {}
    for k in range(scene.count):
        maps[f"depth_{k}"], maps[f"confidence_{k}"] = scene.depth[k], scene.confidence[k]
    job.write_npz(
        _SCENE,
        world_from_camera=scene.world_from_camera,
        focals=np.asarray(scene.focals),
        principal_points=np.asarray(scene.principal_points),
        used=np.array(solved.used),
        input=np.array(solved.input),
        min_confidence=np.array(solved.min_confidence),
        **maps,
    )


def read_scene(job: JobFolder) -> Solved | None:
    """What write_scene kept, as far as the views need it; None when it is not there or damaged."""
    data = job.read_npz(_SCENE)
    if data is None:
        return None
    try:
        size, patch_size = (int(value) for value in data["input"])
        used = [int(frame) for frame in data["used"]]
        scene = Scene(
            data["world_from_camera"],
            data["focals"],
            data["principal_points"],
            [data[f"depth_{k}"] for k in range(len(used))],
            [data[f"confidence_{k}"] for k in range(len(used))],
        )
        return Solved(scene, used, (size, patch_size), float(data["min_confidence"]))
    except (KeyError, ValueError, TypeError):
        return None


class PairStore:
    """Predictions of pairs on disk: on a computer without a graphics card each takes seconds.

    keeps: false when all of them would be too large, or where predicting anew is quicker than reading.
    """

    def __init__(self, job: JobFolder, expected_bytes: int, is_slow: bool, log: Callable[[str], None]) -> None:
        """is_slow: predicting a pair takes longer than reading its file."""
        self._job = job
        limit = min(PAIRS_AT_MOST, int(_DISK_SHARE * shutil.disk_usage(job.path).free))
        self.keeps = is_slow and expected_bytes <= limit
        self._log = log

    def read(self, edge: tuple[int, int]) -> dict[str, np.ndarray] | None:
        """Arrays of one pair, or None."""
        return self._job.read_npz(_PAIR.format(*edge)) if self.keeps else None

    def write(self, edge: tuple[int, int], arrays: dict[str, np.ndarray]) -> None:
        """Keep one pair; a disk that is full only means that nothing more is kept."""
        try:
            self._job.write_npz(_PAIR.format(*edge), **arrays)
        except EngineError as error:
            self.keeps = False
            self._log(f"predictions are no longer kept for another run: {error}")


def discard_pairs(job: JobFolder) -> None:
    """Remove the predictions of pairs, once the scene is there."""
    for path in job.path.glob("pair_*.npz"):
        path.unlink(missing_ok=True)


def discard_scene(job: JobFolder) -> None:
    """Remove the scene, once all views are there."""
    (job.path / f"{_SCENE}.npz").unlink(missing_ok=True)
