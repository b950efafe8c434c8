"""Results against the truth: cameras by eval_poses.py of the data folder, depth by its maps. NumPy only."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

TOLERANCE = 0.02  # a depth within 2 % of the true one is right


@cache
def eval_poses(data: Path) -> ModuleType:
    """The module eval_poses.py of the data folder."""
    spec = importlib.util.spec_from_file_location("eval_poses", data / "eval_poses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score_cameras(data: Path, scene: str, result: Path) -> dict[str, Any]:
    """The metrics of eval_poses.py; {"problem": sentence} where it refuses the result."""
    module = eval_poses(data)
    folder = data / scene
    try:
        truth = module.load(str(folder / "reference.json"), "reference")
        found = module.load(str(result), "result")
        return module.evaluate(truth, found, str(folder / "depth"))
    except module.Bad as error:
        return {"problem": f"eval_poses: {error}"}


def score_pair(data: Path, scene: str, result: Path) -> dict[str, float]:
    """Errors in degrees of the second camera's rotation and direction as seen from the first, if both are solved."""
    poses = []
    for path in (data / scene / "reference.json", result):
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        images = {Path(image["file"]).stem: image.get("c2w") for image in images}
        poses.append([images.get("left"), images.get("right")])
    if any(pose is None for pair in poses for pose in pair):
        return {}
    (left, right), (our_left, our_right) = np.array(poses, dtype=float)
    true, ours = np.linalg.inv(left) @ right, np.linalg.inv(our_left) @ our_right
    cosine = true[:3, 3] @ ours[:3, 3] / (np.linalg.norm(true[:3, 3]) * np.linalg.norm(ours[:3, 3]))
    return {
        "pair_rotation_deg": eval_poses(data).ang(true[:3, :3].T @ ours[:3, :3]),
        "pair_direction_deg": float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
    }


def score_dense(data: Path, scene: str, job: Path) -> dict[str, Any]:
    """Depth of the views that have a true depth map, brought to scale by the camera centres.

    Means over those views: shares of the static pixels with known depth (at the size of our map) that are filled,
    right of all, right of filled. views: how many there are; scored: how many of them have a truth.
    """
    module, folder = eval_poses(data), data / scene
    truth = module.load(str(folder / "reference.json"), "reference")["images"]
    ours = module.load(str(job / "cameras.json"), "result")["images"]
    pairs = {module.key(image): image["_M"] for image in ours if image["_M"] is not None}
    both = [(pairs[module.key(t)][:3, 3], t["_M"][:3, 3]) for t in truth if module.key(t) in pairs]
    scale = module.umeyama(*(np.array(side) for side in zip(*both)))[0]
    scores = []
    for index, depth in depth_maps(job):
        file = folder / "depth" / f"{module.key(ours[index])}.npz"
        if file.is_file():
            with np.load(file) as arrays:
                known = np.where(arrays["moving"], 0, arrays["depth"]).astype(np.float32)
            scores.append(depth_shares(depth * scale, sample(known, depth.shape)))
    views = len(depth_maps(job))
    if not scores:
        return {"views": views, "scored": 0}
    means = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
    return {"views": views, "scored": len(scores), **means}


def score_stereo_depth(data: Path, scene: str, job: Path) -> dict[str, Any]:
    """Depth of the left picture after one global scale, that of the medians; shares as in score_dense."""
    with np.load(data / scene / "disparity.npz") as arrays:
        truth = arrays["depth"].astype(np.float32)
    images = json.loads((job / "cameras.json").read_text(encoding="utf-8"))["images"]
    for index, depth in depth_maps(job):
        if Path(images[index]["file"]).stem == "left":
            known = sample(truth, depth.shape)
            both = (known > 0) & (depth > 0)
            scale = float(np.median(known[both] / depth[both])) if both.any() else 1.0
            return depth_shares(depth * scale, known)
    return {}


def depth_maps(job: Path) -> list[tuple[int, np.ndarray]]:
    """(view index, memory-mapped (h, w) float32 depth) of all views of a job folder."""
    return [
        (int(file.parent.name), np.load(file, mmap_mode="r")) for file in sorted(job.glob("views/[0-9]*/depth.npy"))
    ]


def sample(truth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels of truth (h, w) nearest to the pixel centres of a map of another size."""
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(int) for small, large in zip(shape, truth.shape, strict=True)
    )
    return truth[np.ix_(rows, columns)]


def depth_shares(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """depth, truth: (h, w), 0 = unknown, in the same units."""
    known = truth > 0
    filled = known & (depth > 0)
    right = filled & (np.abs(depth - truth) <= TOLERANCE * truth)
    return {
        "filled": float(filled.sum() / max(known.sum(), 1)),
        "right_of_all": float(right.sum() / max(known.sum(), 1)),
        "right_of_filled": float(right.sum() / max(filled.sum(), 1)),
    }


def dense_seconds(job: Path) -> float | None:
    """Wall time between the cameras and the last depth map, by the times of their files; None without a map."""
    finished = [file.stat().st_mtime for file in job.glob("views/[0-9]*/depth.npy")]
    return max(finished) - (job / "cameras.json").stat().st_mtime if finished else None
