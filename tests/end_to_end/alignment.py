"""Solved cameras beside the true ones. NumPy only: used in Blender and in the engine's environment."""

from __future__ import annotations

from typing import Any

import numpy as np


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (3, 3) and shift (3,) that take the source poses (n, 4, 4) onto the target poses.

    The rotation comes from the orientations: the centres of a sideways move lie almost on a line, and a line leaves
    the turn about itself open.
    """
    u, _, vt = np.linalg.svd(sum(b[:3, :3] @ a[:3, :3].T for a, b in zip(source, target)))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    centres, wanted = source[:, :3, 3] @ rotation.T, target[:, :3, 3]
    a, b = centres - centres.mean(axis=0), wanted - wanted.mean(axis=0)
    scale = float((a * b).sum() / (a * a).sum())
    return scale, rotation, wanted.mean(axis=0) - scale * centres.mean(axis=0)


def true_pixels(image: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Where the true camera sees points (n, 3): (n, 2), nan where not in the picture."""
    pose = np.array(image["c2w"])
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = local[:, :2] / local[:, 2:] * (image["fx"], image["fy"]) + (image["cx"], image["cy"])
    inside = (local[:, 2] > 0) & (pixels >= 0).all(axis=1) & (pixels < (image["width"], image["height"])).all(axis=1)
    return np.where(inside[:, None], pixels, np.nan)


def true_depths(image: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Planar depths (n,) of points (n, 3) from the true camera."""
    pose = np.array(image["c2w"])
    return (points - pose[:3, 3]) @ pose[:3, 2]


def path_error(reference: dict[str, Any], result: dict[str, Any]) -> float:
    """RMS distance of solved camera centres from the true ones after alignment, in percent of the path's length."""
    solved = {image["file"]: image["c2w"] for image in result["images"] if image["c2w"] is not None}
    truth = [image for image in reference["images"] if image["file"] in solved]
    wanted = np.array([image["c2w"] for image in truth])
    poses = np.array([solved[image["file"]] for image in truth])
    scale, rotation, shift = similarity(poses, wanted)
    off = scale * poses[:, :3, 3] @ rotation.T + shift - wanted[:, :3, 3]
    length = np.linalg.norm(np.diff(wanted[:, :3, 3], axis=0), axis=1).sum()
    return float(100 * np.sqrt((off**2).sum(axis=1).mean()) / length)
