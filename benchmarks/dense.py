"""Dense depth against true depth.

    python -m benchmarks.dense [SCENE ...] [--cameras FILE] [--points FILE.npy] [--pictures FOLDER]

Prints a table row per scene: filled, depth within 2 % (of all known static pixels, of the filled ones, of those with
confidence above 0.5), median error, seconds of processor and of wall clock a view. Scenes are folders of the data
folder (BLENDER_3R_DATA, else ../shared/data). --cameras: a solved cameras.json instead of the scene's reference;
--points: its sparse points (n, 3), else some are triangulated. --pictures: write picture, depth, confidence and
error side by side as PNG.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from blender_3r.engine.media.frames import open_source
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.solve.dense import DenseSettings, choose_views, dense_depth
from blender_3r.engine.source import IMAGE_SUFFIXES, MOVIE_SUFFIXES, Source

DATA = Path(os.environ.get("BLENDER_3R_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SCENES = (
    "syn_moving",
    "syn_walk",
    "syn_zoom",
    "motorcycle_stereo",
    "fountain_p11",
    "fox",
    "kitti07_drive",
    "fr3_office",
)
VIEW_BUDGET = 40
COLUMNS = "filled  <2% all  <2% filled  <2% conf>.5  conf>.5  median err  CPU s/view  wall s/view"


def main() -> int:
    parser = argparse.ArgumentParser(description="Dense depth against true depth.")
    parser.add_argument("scenes", nargs="*", default=SCENES)
    parser.add_argument("--cameras", type=Path)
    parser.add_argument("--points", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--max-side", type=int, default=DenseSettings.max_side)
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"No data in {DATA}: set BLENDER_3R_DATA.", file=sys.stderr)
        return 2
    print(f"{'scene':18s} views  {COLUMNS}")
    for scene in options.scenes:
        print(run(DATA / scene, options), flush=True)
    return 0


def run(folder: Path, options: argparse.Namespace) -> str:
    """Reconstruct the depth of one scene and return its table row."""
    reference = Reconstruction.from_json(json.loads((folder / "reference.json").read_text()))
    reference = replace(reference, kind="video" if "video" in reference_kind(folder) else "photos")
    cameras = reference
    if options.cameras:
        cameras = Reconstruction.from_json(json.loads(options.cameras.read_text()))
        cameras = replace(cameras, kind=reference.kind)
    points = np.load(options.points) if options.points else None
    frames = open_source(source_of(folder))
    scale = world_scale(cameras, reference)
    scores = []
    views = choose_views(cameras, VIEW_BUDGET, points)
    settings = DenseSettings(max_side=options.max_side, threads=os.cpu_count() or 1)
    processor, wall = time.process_time(), time.perf_counter()
    count = 0
    for index, arrays in dense_depth(frames, cameras, views, points, settings, log=print):
        count += 1
        truth = true_depth(folder, index)
        if truth is not None:
            scores.append(score(arrays, truth, scale))
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(options.pictures / f"{folder.name}_{index:04d}.png"), picture(arrays, truth, scale))
    spent = time.process_time() - processor, time.perf_counter() - wall
    frames.close()
    numbers = "  ".join(f"{v:.4f}" for v in (np.mean(scores, axis=0) if scores else []))
    seconds = "  ".join(f"{value / max(count, 1):.2f}" for value in spent)
    return f"{folder.name:18s} {count:3d}    {numbers or 'no truth'}  {seconds}"


def reference_kind(folder: Path) -> str:
    return json.loads((folder / "reference.json").read_text()).get("kind", "")


def source_of(folder: Path) -> Source:
    """The scene's movie, or its images in the order of the reference."""
    movies = [path for path in sorted(folder.iterdir()) if path.suffix in MOVIE_SUFFIXES]
    if movies:
        return Source("movie", (str(movies[0]),))
    images = [path for path in sorted((folder / "images").iterdir()) if path.suffix in IMAGE_SUFFIXES]
    return Source("photos", tuple(str(path) for path in images))


def world_scale(cameras: Reconstruction, reference: Reconstruction) -> float:
    """Scene units of the reference in one unit of the cameras: the scale of the best similarity."""
    both = [i for i in cameras.solved if reference.views[i].is_solved]
    ours, true = (np.array([r.views[i].world_from_camera[:3, 3] for i in both]) for r in (cameras, reference))
    ours, true = ours - ours.mean(axis=0), true - true.mean(axis=0)
    return float(np.linalg.svd(true.T @ ours)[1].sum() / (ours**2).sum())


def true_depth(folder: Path, index: int) -> np.ndarray | None:
    """(h, w) float32 depth of static things, 0 = unknown; None where the scene has no truth for that view."""
    file = folder / "depth" / f"frame_{index:04d}.npz"
    if file.is_file():
        with np.load(file) as data:
            return np.where(data["moving"], 0, data["depth"]).astype(np.float32)
    file = folder / "disparity.npz"
    if file.is_file() and index == 0:
        with np.load(file) as data:
            return data["depth"].astype(np.float32)
    return None


def score(arrays: dict[str, np.ndarray], truth: np.ndarray, scale: float) -> tuple[float, ...]:
    """filled, right of all, right of filled, right of confident, share of confident, median error of filled."""
    depth = arrays["depth"] * scale
    truth = cv2.resize(truth, depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
    known = truth > 0
    filled = known & (depth > 0)
    error = np.abs(depth / np.where(known, truth, 1) - 1)
    right = filled & (error < 0.02)
    sure = filled & (arrays["confidence"] > 0.5)
    every = known.sum()
    return (
        filled.sum() / every,
        right.sum() / every,
        right.sum() / max(filled.sum(), 1),
        (right & sure).sum() / max(sure.sum(), 1),
        sure.sum() / every,
        float(np.median(error[filled])) if filled.any() else np.nan,
    )


def picture(arrays: dict[str, np.ndarray], truth: np.ndarray | None, scale: float) -> np.ndarray:
    """Picture and depth above, confidence and error (or depth above confidence 0.5) below; BGR."""
    depth, confidence = arrays["depth"] * scale, arrays["confidence"]
    panels = list(depth_colors([depth, np.where(confidence > 0.5, depth, 0)]))
    if truth is not None:
        truth = cv2.resize(truth, depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        error = np.where((truth > 0) & (depth > 0), np.abs(depth / np.where(truth > 0, truth, 1) - 1), 0)
        panels[1] = cv2.applyColorMap((np.clip(error / 0.1, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    gray = cv2.cvtColor((confidence * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    return np.vstack([np.hstack([arrays["color"][..., ::-1], panels[0]]), np.hstack([gray, panels[1]])])


def depth_colors(maps: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Colour-mapped inverse depth, near red and far blue, unknown black; one scale for all maps."""
    known = maps[0][maps[0] > 0]
    low, high = np.percentile(1 / known, (1, 99)) if len(known) else (0, 1)
    for depth in maps:
        inverse = np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), 0)
        level = (np.clip((inverse - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
        yield np.where((depth > 0)[..., None], cv2.applyColorMap(level, cv2.COLORMAP_TURBO), 0).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
