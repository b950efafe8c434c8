"""A made shot with known cameras and depth, a textured room with panels in it; and a network that nearly knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from blender_3r.engine.geometry.cameras import Cameras
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.methods.base import CamerasSolved, MethodInfo, Progress, ViewReady
from blender_3r.engine.reconstruction import Reconstruction, View

SIZE = (480, 270)
FOCAL = 420.0
ROOM = np.array([[-3.0, -1.6, -1.0], [3.0, 1.6, 8.0]])  # two corners
PANELS = ((-1.6, -0.4, -0.8, 0.6, 4.2), (0.5, 1.9, -0.3, 1.1, 5.2))  # x, x, y, y, z


@dataclass
class RoomShot:
    """cameras: the true ones. depth: (h, w) planar z each. images: (h, w, 3) uint8 each."""

    cameras: Cameras
    depth: list[np.ndarray]
    images: list[np.ndarray]

    def write(self, folder: Path, name: str = "shot.{:04d}.png") -> Path:
        """The images as a numbered sequence; returns the first."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(self.images):
            (folder / name.format(number)).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        return folder / name.format(0)


def film(frames: int, turns_only: bool = False, blank: tuple[int, ...] = ()) -> RoomShot:
    """A walk through the room. turns_only: from a tripod. blank: frames without any texture."""
    t = np.linspace(0.0, 1.0, frames)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    if not turns_only:
        poses[:, :3, 3] = np.stack([1.2 * (t - 0.5), 0.1 * np.sin(5 * t), 0.5 * t], axis=1)
    poses[:, :3, :3] = rotation_from_vector(np.stack([0.03 * np.sin(4 * t), 0.3 * (0.5 - t), 0.02 * t], axis=1))
    cameras = Cameras.simple(poses, FOCAL, SIZE)
    made = [_seen(pose) for pose in poses]
    images = [np.full_like(image, 90) if k in blank else image for k, (_, image) in enumerate(made)]
    return RoomShot(cameras, [depth for depth, _ in made], images)


def _seen(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width, height = SIZE
    rows, columns = np.mgrid[:height, :width] + 0.5
    local = np.stack([(columns - width / 2) / FOCAL, (rows - height / 2) / FOCAL, np.ones_like(rows)], axis=-1)
    rays, eye = local @ pose[:3, :3].T, pose[:3, 3]
    with np.errstate(divide="ignore"):
        walls = np.where(rays > 0, (ROOM[1] - eye) / rays, (ROOM[0] - eye) / rays)
    depth, surface = walls.min(axis=-1), walls.argmin(axis=-1)
    for number, (left, right, top, bottom, z) in enumerate(PANELS):
        reach = (z - eye[2]) / rays[..., 2]
        x, y = eye[0] + reach * rays[..., 0], eye[1] + reach * rays[..., 1]
        hit = (reach > 0) & (reach < depth) & (x > left) & (x < right) & (y > top) & (y < bottom)
        depth, surface = np.where(hit, reach, depth), np.where(hit, 3 + number, surface)
    where = eye + depth[..., None] * rays
    image = np.zeros((height, width), np.float32)
    for number in range(5):
        across, down = [(2, 1), (0, 2), (0, 1), (0, 1), (0, 1)][number]
        paint = _paint(number)
        maps = [np.float32((where[..., axis] + 4.0) * 60.0) for axis in (across, down)]
        painted = cv2.remap(paint, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        image = np.where(surface == number, painted, image)
    return depth.astype(np.float32), np.repeat(image[..., None].astype(np.uint8), 3, axis=2)


def _paint(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).integers(20, 235, (160, 160)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise, (960, 960), interpolation=cv2.INTER_CUBIC), (0, 0), 2.0)


class NearlyRight:
    """A method whose cameras and depth are the true ones but for noise, in a world of its own, three times as large.

    shift: of the path's extent; turn: degrees; focal, scale: relative, of every frame; missing: frames without camera.
    """

    INFO = MethodInfo("nearly", "Nearly", "True cameras and noise.", True)

    def __init__(self, shot: RoomShot, shift=0.02, turn=1.0, focal=0.05, scale=0.03, missing=(), seed=0) -> None:
        self.shot, self.missing, self.runs = shot, set(missing), 0
        rng, count = np.random.default_rng(seed), len(shot.cameras)
        cameras = shot.cameras.copy()
        extent = np.linalg.norm(np.ptp(cameras.centers, axis=0)) or 1.0
        cameras.world_from_camera[:, :3, 3] += shift * extent * rng.normal(size=(count, 3)) / np.sqrt(3)
        axes = rng.normal(size=(count, 3))
        wrong = rotation_from_vector(np.radians(turn) * axes / np.linalg.norm(axes, axis=1, keepdims=True))
        cameras.world_from_camera[:, :3, :3] = cameras.world_from_camera[:, :3, :3] @ wrong
        cameras.world_from_camera[:, :3, 3] = 3.0 * cameras.world_from_camera[:, :3, 3] + (10.0, 0.0, -4.0)
        cameras.focal = cameras.focal * (1 + focal * rng.normal(size=count))
        self.cameras = cameras
        self.scales = 3.0 * np.exp(scale * rng.normal(size=count))
        self.noise = [1 + 0.01 * rng.normal(size=depth.shape) for depth in shot.depth]

    def run(self, frames, settings, context):
        self.runs += 1
        yield Progress("Looking", 0, 1, 0.0)
        views = []
        for info in frames.infos:
            lens = self.cameras.intrinsics(info.index, info.width, info.height)
            pose = None if info.index in self.missing else self.cameras.world_from_camera[info.index]
            views.append(View(info.file, info.frame, lens, pose, note="" if pose is not None else "not seen"))
        yield CamerasSolved(Reconstruction(views, frames.kind, "nearly", metric=True, warnings=["of the network"]))
        for index in [view.index for view in frames.infos if view.index not in self.missing]:
            if settings.get("dense", True) and not context.job.has_view(index):
                yield ViewReady(index, self.view(index))
        yield Progress("Looking", 1, 1, 1.0)

    def view(self, index):
        """Half as large as the frame."""
        depth = (self.scales[index] * self.shot.depth[index] * self.noise[index])[::2, ::2].astype(np.float32)
        color = np.ascontiguousarray(self.shot.images[index][::2, ::2])
        return {"depth": depth, "confidence": np.ones_like(depth), "color": color}
