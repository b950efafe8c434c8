"""Networks that walk through a sequence and know the answer; they stand where real ones do, behind the real drivers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.geometry.pose_encoding import quaternion_from_rotation
from blender_3r.engine.methods.streaming.pictures import prepare_for
from blender_3r.engine.models.cut3r import Cut3rState
from blender_3r.engine.models.dust3r import Encoded
from blender_3r.engine.models.outputs import StreamPrediction, ViewPrediction
from blender_3r.engine.models.point3r import Point3rState
from blender_3r.engine.models.spann3r import PairStep
from blender_3r.engine.models.spann3r_memory import MemoryLimits, SpatialMemory
from blender_3r.engine.models.wint3r import WindowOutput
from tests.models.support.pair_scene import PairScene
from tests.models.support.true_network import PATCH, world_points

SURE = 6.0


class TrueStream:
    """What all have in common. The world is the first view's camera."""

    def __init__(self, architecture: str, scene: PairScene, images: list[np.ndarray], size: int) -> None:
        self.scene = scene
        self.config = SimpleNamespace(
            patch_size=PATCH, window_size=4, enc_embed_dim=4, dec_embed_dim=4, limits=MemoryLimits(sim_thresh=1.0)
        )
        self._view = {prepare_for(architecture, one, size).tensor.tobytes(): k for k, one in enumerate(images)}
        self._to_world = np.linalg.inv(scene.world_from_camera[0])

    def encode(self, images: Tensor) -> Encoded:
        views = [self._view[image.numpy().tobytes()] for image in images]
        rows, columns = images.shape[-2] // PATCH, images.shape[-1] // PATCH
        tokens = torch.tensor(views, dtype=torch.float32)[:, None, None].expand(-1, rows * columns, 4).contiguous()
        return Encoded(tokens, torch.zeros(len(images), rows * columns, 2, dtype=torch.int64), (rows, columns))

    def pose(self, view: int) -> np.ndarray:
        return self._to_world @ self.scene.world_from_camera[view]

    def world(self, view: int) -> np.ndarray:
        return world_points(self.scene, view) @ self._to_world[:3, :3].T + self._to_world[:3, 3]

    def own(self, view: int) -> np.ndarray:
        camera = np.linalg.inv(self.scene.world_from_camera[view])
        return world_points(self.scene, view) @ camera[:3, :3].T + camera[:3, 3]

    def prediction(self, view: int) -> StreamPrediction:
        own, world, pose = self.own(view), self.world(view), self.pose(view)
        x, y, z, w = quaternion_from_rotation(pose[:3, :3])
        sure = np.full(own.shape[:2], SURE)
        numbers = np.array([*pose[:3, 3], w, x, y, z])
        return StreamPrediction(*(one_tensor(part) for part in (own, sure, world, sure, numbers)))


class TrueCut3r(TrueStream):
    """Behind a reset the world is the camera of the next view, in another scale."""

    def start(self) -> Cut3rState:
        return Cut3rState(torch.zeros(1, 1, 4), torch.zeros(1, 1, 8))

    def step(self, view: Encoded, state: Cut3rState, update: bool = True, reset: bool = False):
        index, anchor = int(view.tokens[0, 0, 0]), int(state.tokens[0, 0, 0])
        found = self.prediction(index)
        if anchor:  # number of the anchoring view, and one
            scale = 0.5 + 0.25 * anchor
            moved = np.linalg.inv(self.pose(anchor - 1)) @ self.pose(index)
            x, y, z, w = quaternion_from_rotation(moved[:3, :3])
            numbers = np.array([*(scale * moved[:3, 3]), w, x, y, z])
            found = found._replace(own_points=scale * found.own_points, pose=one_tensor(numbers))
        tokens = torch.full((1, 1, 4), float(index + 1)) if reset else state.tokens
        return found, Cut3rState(tokens, state.memory, state.views + 1)


class TruePoint3r(TrueStream):
    def start(self) -> Point3rState:
        return Point3rState(torch.zeros(1, 1, 8))

    def step(self, view: Encoded, state: Point3rState, merging: bool = True, units: float | None = None):
        return self.prediction(int(view.tokens[0, 0, 0])), state._replace(views=state.views + 1)


class TrueSpann3r(TrueStream):
    def start(self) -> SpatialMemory:
        return SpatialMemory(self.config.limits)

    def look_up(self, view: Encoded, query: Tensor, memory: SpatialMemory) -> Encoded:
        return view

    def step(self, first: Encoded, fused: Encoded, second: Encoded) -> PairStep:
        views = [ViewPrediction(*self._view_of(int(one.tokens[0, 0, 0]))) for one in (first, second)]
        return PairStep(*views, first.tokens, first.tokens, second.tokens)

    def _view_of(self, view: int) -> tuple[Tensor, Tensor]:
        points = self.world(view)
        return one_tensor(points), one_tensor(np.full(points.shape[:2], SURE))


class TrueWinT3r(TrueStream):
    """Poses come in a world of their own, with quaternions of any length."""

    def start(self) -> Tensor:
        return torch.zeros(1, 1, 4)

    def window(self, views: list[Encoded], state: Tensor) -> WindowOutput:
        indices = [int(view.tokens[0, 0, 0]) for view in views]
        points = torch.cat([one_tensor(self.own(index)) for index in indices])[None]
        tokens = torch.tensor(indices, dtype=torch.float32)[None, :, None].expand(-1, -1, 8)
        return WindowOutput(state, tokens, points, torch.full(points.shape[:-1], SURE))

    def cameras(self, pool: Tensor, size: int) -> Tensor:
        turned = np.array([[0, 0, 1, 3], [1, 0, 0, -2], [0, 1, 0, 0.5], [0, 0, 0, 1.0]])
        encodings = []
        for place, token in enumerate(pool[0, :, 0].tolist()):
            pose = turned @ self.pose(int(token))
            length = 0.5 + 0.1 * (place % 7)
            encodings.append([*pose[:3, 3], *(length * quaternion_from_rotation(pose[:3, :3]))])
        return torch.tensor(encodings, dtype=torch.float32)[None, None]


def one_tensor(values: np.ndarray) -> Tensor:
    """A batch of one, float32."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32))[None]


TRUE = {"cut3r": TrueCut3r, "point3r": TruePoint3r, "spann3r": TrueSpann3r, "wint3r": TrueWinT3r}
