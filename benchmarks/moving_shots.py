"""Made shots of a textured room with boxes that move in it, each in a way of its own, with the truth of every frame.

They are seen through the compression and the noise of no camera but a little of it, at a modest size, so that all of
them together take a few minutes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from tests.engine.support.moving_shot import PILLAR, cast

FRAMES = 32
LENS = Intrinsics(480, 270, 430.0, 430.0, 240.0, 135.0)
NOISE = 1.5  # grey levels
_SUBPIXELS = ((0.25, 0.25), (0.75, 0.75))
_GRAINS = (0.04, 0.13, 0.5)  # scene units, of the texture
_TINTS = np.array([(1, 0.95, 0.9), (0.9, 1, 0.85), (0.95, 0.9, 1), (1, 0.9, 0.7), (1, 0.45, 0.35), (0.4, 0.6, 1)])


@dataclass(frozen=True)
class Walker:
    """A box by its two corners at the middle of the shot, where it is at a time from -0.5 to 0.5, and how much of a
    texture it has.
    """

    box: tuple[tuple[float, float, float], tuple[float, float, float]]
    way: Callable[[float], tuple[float, float, float]]
    contrast: float = 1.0


def _halts(t: float) -> float:
    """From -0.5 to 0.5 like t, but standing still in the middle third."""
    return 0.5 * np.sign(t) * max(0.0, 6 * abs(t) - 1) / 2


SHOTS: dict[str, tuple[Walker, ...]] = {
    "quick": (
        Walker(((-0.2, 0.3, 3.0), (0.2, 0.7, 3.4)), lambda t: (4.5 * t, 0, 0)),
        Walker(((0.2, -0.6, 4.5), (0.7, -0.1, 5.0)), lambda t: (-3.5 * t, 0.8 * np.sin(9 * t), 0)),
    ),
    "slow": (Walker(((-0.5, -0.2, 3.6), (0.8, 1.5, 4.4)), lambda t: (0.9 * t, 0, 0)),),
    "halts": (Walker(((-0.3, 0.2, 3.2), (0.5, 1.5, 3.9)), lambda t: (2.6 * _halts(t), 0, 0)),),
    "comes": (
        Walker(((0.3, 0.4, 3.4), (0.9, 1.5, 4.0)), lambda t: (-0.3 * t, 0, -3.0 * t)),
        Walker(((-1.0, -0.4, 4.5), (-0.3, 0.6, 5.1)), lambda t: (0.4 * t, 0, 2.4 * t)),
    ),
    "plain": (Walker(((-0.4, 0.3, 3.4), (0.5, 1.5, 4.2)), lambda t: (2.4 * t, 0, 0), contrast=0.1),),
    "still": (),
}


def write_shot(name: str, folder: Path) -> Path:
    """The folder as benchmarks.moving takes it: images, reference.json, depth/frame_NNNN.npz of every frame."""
    if (folder / "reference.json").is_file():
        return folder
    for part in ("images", "depth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    views = []
    for index, t in enumerate(np.linspace(-0.5, 0.5, FRAMES)):
        pose = _pose(float(t))
        image, depth, moving = _seen(pose, float(t), SHOTS[name], index)
        cv2.imwrite(str(folder / "images" / f"frame_{index:04d}.png"), image[..., ::-1])
        np.savez_compressed(folder / "depth" / f"frame_{index:04d}.npz", depth=depth, moving=moving)
        views.append(View(f"frame_{index:04d}.png", index, LENS, pose))
    (folder / "reference.json").write_text(json.dumps(Reconstruction(views).to_json()), encoding="utf-8")
    return folder


def _pose(t: float) -> np.ndarray:
    """A walk sideways and a little forward, not quite steady."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_vector(np.array([[0.02 * np.sin(7 * t), -0.25 * t, 0.01 * np.sin(5 * t)]]))[0]
    pose[:3, 3] = 1.5 * t + 0.06 * np.sin(8 * t), 0.06 * np.sin(6 * t), 0.4 * t
    return pose


def _seen(
    pose: np.ndarray, t: float, walkers: tuple[Walker, ...], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (h, w, 3) uint8 RGB, depth (h, w), and which of it moves (h, w)."""
    boxes = [(PILLAR, np.zeros(3)), *((np.array(one.box), np.array(one.way(t))) for one in walkers)]
    contrasts = np.array([1.0, 1.0, 1.0, 1.0, *(one.contrast for one in walkers)])
    corner = np.moveaxis(np.mgrid[: LENS.height, : LENS.width][::-1], 0, -1)
    depth, thing, _ = cast(pose, LENS, corner + 0.5, boxes)
    picture = np.zeros((*depth.shape, 3))
    for shift in _SUBPIXELS:
        _, part, places = cast(pose, LENS, corner + shift, boxes)
        gray = 128 + contrasts[part] * _texture(places)
        picture += gray[..., None] * _TINTS[part] / len(_SUBPIXELS)
    picture += np.random.default_rng(seed).normal(0, NOISE, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), depth, thing > 3


def _texture(places: np.ndarray) -> np.ndarray:
    """About -110 to 110 at places (..., 3): noise of several grains, the same from every side."""
    table = np.random.default_rng(0).uniform(-1, 1, (64, 64, 64)).astype(np.float32)
    total = np.zeros(places.shape[:-1], np.float32)
    for number, grain in enumerate(_GRAINS):
        scaled = places / grain + 17.3 * number
        cell = np.floor(scaled).astype(np.int64)
        part = (scaled - cell).astype(np.float32)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, part, 1 - part), axis=-1)
            total += weight * table[tuple(np.moveaxis((cell + corner) % 64, -1, 0))]
    return 80 * total
