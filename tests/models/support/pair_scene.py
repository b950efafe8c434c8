"""Stand-in for a pairwise network: ground-truth pointmaps of pairs plus noise, each pair in a scale of its own.

make_scene() looks at a relief made on the spot, shot_scene() at a rendered shot with known depth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from blender_3r.engine.methods.pairwise.predictions import PairPredictions

Size = tuple[int, int]


@dataclass
class PairScene:
    """world_from_camera: (n, 4, 4). focals: (n,) pixels; principal points are (W / 2, H / 2). depth: per view."""

    predictions: PairPredictions
    world_from_camera: np.ndarray
    focals: np.ndarray
    depth: list[np.ndarray]

    @property
    def focal(self) -> float:
        """The focal of the first view."""
        return float(self.focals[0])

    @property
    def path_length(self) -> float:
        """Length of the way through all camera centres."""
        return float(np.linalg.norm(np.diff(self.world_from_camera[:, :3, 3], axis=0), axis=1).sum())


def complete_edges(views: int) -> list[tuple[int, int]]:
    """All ordered pairs."""
    forward = [(i, j) for i in range(views) for j in range(i)]
    return forward + [(j, i) for i, j in forward]


def make_scene(
    views: int = 8,
    size: Size | list[Size] = (96, 128),
    noise: float = 0.02,
    seed: int = 0,
    edges: list[tuple[int, int]] | None = None,
    field_of_view_deg: float = 60.0,
    relief: float = 1.0,
) -> PairScene:
    """Views on an arc around a relief.

    size: (H, W) of all, or of each. noise: of every coordinate, times the depth. relief: 1 is shallow, a quarter of a
    unit up and down at a distance of 4, in which focal lengths are hard to tell; 2 and more is like a real place.
    """
    rng = np.random.default_rng(seed)
    sizes = [size] * views if isinstance(size, tuple) else list(size)
    focals = np.array([max(s) / (2 * np.tan(np.radians(field_of_view_deg) / 2)) for s in sizes])
    poses = np.stack([_arc_pose(part, rng) for part in np.linspace(-1, 1, views)])
    waves = rng.normal(size=(6, 2)) * 1.1, rng.uniform(0, 2 * np.pi, 6), relief * rng.uniform(0.04, 0.16, 6)
    depth = [_relief_depth(pose, _rays(s, f), waves) for pose, s, f in zip(poses, sizes, focals)]
    predictions = predict(poses, focals, depth, edges or complete_edges(views), noise, rng)
    return PairScene(predictions, poses, focals, depth)


def shot_scene(folder: Path, step: int = 5, noise: float = 0.02, seed: int = 0, views: int = 8) -> PairScene:
    """The frames of a rendered shot that have a depth map, at 1 / step of the resolution; sky has confidence 1."""
    images = json.loads((folder / "reference.json").read_text(encoding="utf-8"))["images"]
    named = [image for image in images if (folder / "depth" / f"{image['file']}.npz").is_file()][:views]
    depth = [_shrunk(folder / "depth" / f"{image['file']}.npz", step) for image in named]
    poses = np.array([image["c2w"] for image in named])
    focals = np.array([image["fx"] / step for image in named])
    rng = np.random.default_rng(seed)
    predictions = predict(poses, focals, depth, complete_edges(len(named)), noise, rng)
    return PairScene(predictions, poses, focals, depth)


def predict(
    poses: np.ndarray,
    focals: np.ndarray,
    depth: list[np.ndarray],
    edges: list[tuple[int, int]],
    noise: float,
    rng: np.random.Generator,
) -> PairPredictions:
    """What a good network would say of the pairs: noisy points in random scales, confidence by how well seen."""
    local = [d[..., None] * _rays(d.shape, f) for d, f in zip(depth, focals)]
    rows: dict[str, list[torch.Tensor]] = {"points_i": [], "points_j": [], "confidence_i": [], "confidence_j": []}
    for i, j in edges:
        relative = np.linalg.inv(poses[i]) @ poses[j]
        other = local[j] @ relative[:3, :3].T + relative[:3, 3]
        scale = np.exp(0.3 * rng.normal())
        apart = np.degrees(np.arccos(np.clip(relative[2, 2], -1, 1)))
        for role, image, points, lost in (("i", i, local[i], apart / 120), ("j", j, other, apart / 40)):
            error = noise * depth[image][..., None] * rng.normal(size=points.shape)
            rows[f"points_{role}"].append(_tensor(scale * (points + error)))
            certain = 1 + np.exp(2.5 - lost + 0.4 * _smooth(points.shape[:2], rng))
            rows[f"confidence_{role}"].append(_tensor(np.where(depth[image] > 0, certain, 1.0)))
    return PairPredictions([d.shape for d in depth], list(edges), **rows)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _rays(size: Size, focal: float) -> np.ndarray:
    """(H, W, 3) with z = 1."""
    rows, columns = np.indices(size, dtype=np.float64)
    return np.stack([(columns - size[1] / 2) / focal, (rows - size[0] / 2) / focal, np.ones(size)], axis=-1)


def _arc_pose(part: float, rng: np.random.Generator) -> np.ndarray:
    """A camera at part -1 .. 1 of the arc, about 4 from the middle, looking there."""
    angle = np.radians(28) * part
    center = np.array([4 * np.sin(angle), 0.35 * np.sin(3 * part) - 0.2, -4 * np.cos(angle)]) + 0.08 * rng.normal(
        size=3
    )
    forward = 0.2 * rng.normal(size=3) - center
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = center
    return pose


def _relief_depth(pose: np.ndarray, rays: np.ndarray, waves: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Planar depth where rays meet the surface z = sum of waves over x and y, by bisection."""
    wave, phase, height = waves
    directions = rays @ pose[:3, :3].T
    near, far = np.full(rays.shape[:2], 0.5), np.full(rays.shape[:2], 40.0)
    for _ in range(45):
        middle = (near + far) / 2
        points = pose[:3, 3] + middle[..., None] * directions
        surface = np.sin(points[..., :2] @ wave.T + phase) @ height
        behind = points[..., 2] > surface
        near, far = np.where(behind, near, middle), np.where(behind, middle, far)
    return (near + far) / 2


def _smooth(size: Size, rng: np.random.Generator) -> np.ndarray:
    """(H, W) smooth random values of about unit variance."""
    rows, columns = np.indices(size) / max(size)
    total = np.zeros(size)
    for _ in range(4):
        x, y, phase = rng.uniform(-9, 9), rng.uniform(-9, 9), rng.uniform(0, 2 * np.pi)
        total += np.sin(x * columns + y * rows + phase)
    return total / np.sqrt(2)


def _shrunk(path: Path, step: int) -> np.ndarray:
    with np.load(path) as file:
        return file["depth"][::step, ::step].astype(np.float64)
