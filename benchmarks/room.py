"""A made scene that pairs of views can be drawn from: a room with balls in it, cameras on an arc through it.

Depths are exact, so pointmaps of any pair are too. disturb() makes them what a network gives: noise, errors that hang
together, points strewn between near and far at edges, places that are plain wrong, and confidences that know of most
of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.methods.pairwise.predictions import PairPredictions

# Corners of the room, y down, in metres; centre and radius of the balls.
ROOM = ((-3.0, -1.4, -2.5), (3.0, 1.2, 6.0))
BALLS = (
    (-1.2, 0.7, 2.2, 0.5),
    (0.9, 0.6, 1.6, 0.35),
    (0.2, 0.4, 3.4, 0.6),
    (1.9, 0.3, 4.2, 0.8),
    (-2.1, 0.2, 4.6, 0.9),
    (-0.4, -0.6, 2.6, 0.25),
)
FIELD_OF_VIEW_DEG = 62.0


@dataclass(frozen=True)
class Disturbance:
    """What separates predictions from the truth, as shares of the depth or of the pixels.

    white: noise of each coordinate, independent. along: further noise along the ray. smooth: slow waves of depth over
    the image, of each pair its own. strewn: whether edges strew points. wrong: share of the pixels in wrong places.
    wrong_pairs: how many pairs are nonsense altogether, at low confidence.
    """

    white: float = 0.0
    along: float = 0.0
    smooth: float = 0.0
    strewn: bool = False
    wrong: float = 0.0
    wrong_pairs: int = 0


@dataclass
class Room:
    """Views of the scene. poses: (n, 4, 4) world_from_camera. focals: (n,) pixels. depth: (H, W) per view, 0 where
    there is nothing.
    """

    sizes: list[tuple[int, int]]
    poses: np.ndarray
    focals: np.ndarray
    depth: list[np.ndarray]

    @property
    def path(self) -> float:
        """Length of the way from camera to camera."""
        return path_length(self.poses)

    def points(self, image: int) -> np.ndarray:
        """(H, W, 3): the pixels of a view in its own camera."""
        return self.depth[image][..., None] * _rays(self.sizes[image], self.focals[image])


def path_length(poses: np.ndarray) -> float:
    """Length of the way through the centres of cameras (n, 4, 4)."""
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def make_room(sizes: list[tuple[int, int]], focals: np.ndarray | None = None) -> Room:
    """One view per size (height, width), on an arc. focals: pixels; the same angle of view for all when None."""
    count = len(sizes)
    part = np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(1)
    return filmed(sizes, np.stack([_looking(x) for x in part]), focals=focals)


def filmed(
    sizes: list[tuple[int, int]],
    poses: np.ndarray,
    walls: tuple[tuple[float, ...], tuple[float, ...]] = ROOM,
    balls: tuple[tuple[float, ...], ...] = BALLS,
    focals: np.ndarray | None = None,
) -> Room:
    """What cameras (n, 4, 4) see from inside a box with balls in it; walls and balls like ROOM and BALLS."""
    if focals is None:
        focals = np.array([max(size) / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2) for size in sizes])
    depth = [_depth(size, focal, pose, walls, balls) for size, focal, pose in zip(sizes, focals, poses)]
    return Room(sizes, poses, np.asarray(focals, dtype=np.float64), depth)


def _looking(part: float) -> np.ndarray:
    """world_from_camera at a place -1..1 of the arc, looking at the middle of the room."""
    position = np.array([1.6 * part, -0.2 + 0.25 * np.sin(2.5 * part), -0.8 + 0.5 * part**2])
    return looking(position, np.array([0.4 * part, 0.1 * np.cos(3.0 * part), 3.0]), 0.05 * part)


def looking(position: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """world_from_camera at a place, looking at another, y down; roll: tangent of how far it leans, about."""
    forward = target - position
    forward /= np.linalg.norm(forward)
    right = np.cross([roll, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def _rays(size: tuple[int, int], focal: float) -> np.ndarray:
    rows, columns = np.indices(size, dtype=np.float64)
    x, y = (columns - size[1] / 2) / focal, (rows - size[0] / 2) / focal
    return np.stack([x, y, np.ones(size)], axis=-1)


def _depth(
    size: tuple[int, int],
    focal: float,
    pose: np.ndarray,
    box: tuple[tuple[float, ...], tuple[float, ...]],
    balls: tuple[tuple[float, ...], ...],
) -> np.ndarray:
    """(H, W) depth of the first thing each pixel sees."""
    ray = _rays(size, focal) @ pose[:3, :3].T
    origin = pose[:3, 3]
    with np.errstate(divide="ignore"):
        walls = (np.where(ray > 0, box[1], box[0]) - origin) / ray
    depth = np.where(ray == 0, np.inf, walls).min(axis=-1)
    for *center, radius in balls:
        offset = origin - np.array(center)
        a, b = np.sum(ray * ray, axis=-1), ray @ offset
        inside = b * b - a * (offset @ offset - radius**2)
        near = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
        depth = np.where((inside > 0) & (near > 0) & (near < depth), near, depth)
    return depth


def predict(room: Room, edges: list[tuple[int, int]], disturbance: Disturbance, seed: int = 0) -> PairPredictions:
    """What a network would say of pairs of the views; each pair in a scale of its own. Deterministic."""
    random = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    nonsense = set(random.choice(len(edges), disturbance.wrong_pairs, replace=False).tolist())
    points: list[list[Tensor]] = [[], []]
    confidence: list[list[Tensor]] = [[], []]
    strewn = [_between(depth) if disturbance.strewn else None for depth in room.depth]
    for number, (i, j) in enumerate(edges):
        scale = float(np.exp(0.3 * random.standard_normal()))
        for role, image in enumerate((i, j)):
            depth, certain = _disturbed(room.depth[image], strewn[image], disturbance, random)
            local = depth[..., None] * _rays(room.sizes[image], room.focals[image])
            move = np.linalg.inv(room.poses[i]) @ room.poses[image]
            if number in nonsense:
                move = move @ _looking(0.7)
                certain = 1.0 + 0.03 * (certain - 1.0)
            moved = torch.from_numpy(scale * (local @ move[:3, :3].T + move[:3, 3])).float()
            spread = torch.from_numpy(scale * disturbance.white * room.depth[image]).float()[..., None]
            moved += spread * torch.randn(moved.shape, generator=generator)
            points[role].append(moved)
            confidence[role].append(torch.from_numpy(certain).float())
    return PairPredictions(room.sizes, list(edges), points[0], points[1], confidence[0], confidence[1])


def _between(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(where near meets far, the near depth, the far depth) of a depth map."""
    near, far = depth.copy(), depth.copy()
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            other = np.roll(depth, shift, axis)
            near, far = np.minimum(near, other), np.maximum(far, other)
    return far > 1.05 * near, near, far


def _disturbed(
    depth: np.ndarray,
    strewn: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    disturbance: Disturbance,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """(depth, confidence) as one pair sees one view, before the white noise."""
    height, width = depth.shape
    rows, columns = np.indices(depth.shape, dtype=np.float64)
    y, x = rows / height, columns / width
    factor, wave = np.ones_like(depth), np.zeros_like(depth)
    for _ in range(4):
        fx, fy, phase, high = (*random.uniform(-9, 9, 2), random.uniform(0, 6), random.standard_normal())
        wave += high * np.sin(fx * x + fy * y + phase)
    factor += disturbance.smooth * wave / np.sqrt(2)
    if disturbance.along:
        factor += disturbance.along * random.standard_normal(depth.shape)
    found = depth * factor
    certain = 1.0 + 12.0 / (1.0 + np.exp(wave)) * random.uniform(0.6, 1.4) + 0.5 * random.random(depth.shape)
    if strewn is not None:
        where, near, far = strewn
        share = random.random(depth.shape)
        found = np.where(where, near + share * (far - near), found)
        certain = np.where(where, 1.0 + 0.4 * share, certain)
    if disturbance.wrong:
        # Patches, not single pixels; one in five is wrong with confidence.
        cells = random.random(((height + 15) // 16, (width + 15) // 16, 2))
        cells = np.repeat(np.repeat(cells, 16, axis=0), 16, axis=1)[:height, :width]
        where = cells[..., 0] < disturbance.wrong
        found = np.where(where, found * (0.5 + 1.2 * cells[..., 1]), found)
        certain = np.where(where & (cells[..., 1] < 0.8), 1.0 + 0.3 * cells[..., 1], certain)
    return found, np.where(depth > 0, certain, 1.0)
