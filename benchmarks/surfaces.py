"""Fused surfaces against the true depth of the rendered shots.

    .venv/models/bin/python -m benchmarks.surfaces [SCENE ...] [--detail NAME] [--no-poisson] [--work FOLDER]

Three rows a scene: the surface of the true cameras and true depth maps (every tenth frame has one); that of what the
classic method makes of the movie; and of the same, COLMAP's Poisson reconstruction of the points instead of our
fusion (left out by --no-poisson: it takes long). Jobs and rows that --work has already are used again. A run of all
scenes writes the part "surfaces" of RESULTS.md. Needs SciPy.

Accuracy: share of the surface (by area) that lies within 1 % of the scene's size of a true point; only what some true
depth map sees, or has nothing before, is judged, so that what lies beyond the known is neither right nor wrong.
Completeness: share of the true points that have the surface so near. The size of a scene is the diagonal of the box
around the middle 98 % of its true points along each axis.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from blender_3r.engine.geometry.rotations import nearest_rotation
from blender_3r.engine.geometry.similarity import Similarity
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.methods.base import Context
from blender_3r.engine.reconstruction import Reconstruction, View, depth_to_points
from blender_3r.engine.surfaces.fuse import FARTHEST, fuse
from blender_3r.engine.surfaces.mesh import Mesh
from blender_3r.engine.surfaces.settings import DETAIL, SurfaceSettings
from blender_3r.engine.surfaces.simplify import read_ply
from blender_3r.engine.surfaces.views import read_view

from .page import write_part
from .scenes import data_folder, footage, reference

ROOT = Path(__file__).resolve().parent.parent
SCENES = ("syn_walk", "syn_zoom", "syn_moving")
TRUE, OWN, FUSED = "true cameras and depth", "classic method", "fused"
CASES = (("true", TRUE, FUSED), ("own", OWN, FUSED), ("poisson", OWN, "Poisson (COLMAP)"))
SHARE = 0.01  # of the scene's size
SAMPLES = 300_000
POISSON_DEPTH, POISSON_TRIM = 9, 7.0  # the depth whose cells are as large as our voxels; COLMAP's default trims more


@dataclass(frozen=True)
class Truth:
    """views: (view, depth (h, w), 0 unknown or moving). points (n, 3). size: of the scene."""

    views: list[tuple[View, np.ndarray]]
    points: np.ndarray
    size: float
    cameras: Reconstruction


def read_truth(folder: Path) -> Truth:
    """The true cameras and depth maps of a rendered shot."""
    cameras = Reconstruction.from_json(reference(folder))
    views = []
    for index, view in enumerate(cameras.views):
        file = folder / "depth" / f"frame_{index:04d}.npz"
        if file.is_file():
            with np.load(file) as data:
                views.append((view, np.where(data["moving"], 0, data["depth"]).astype(np.float32)))
    points = np.concatenate([depth_to_points(view, depth)[0][::2] for view, depth in views]).astype(np.float64)
    low, high = np.percentile(points, [1, 99], axis=0)
    return Truth(views, points, float(np.linalg.norm(high - low)), cameras)


def true_job(truth: Truth, folder: Path) -> JobFolder:
    """A job folder as if an engine had found the truth."""
    job = JobFolder.create(folder)
    job.write_cameras(Reconstruction([view for view, _ in truth.views]))
    for index, (_, depth) in enumerate(truth.views):
        color = np.full((*depth.shape, 3), 128, np.uint8)
        job.write_view(index, {"depth": depth, "confidence": np.ones_like(depth), "color": color})
    return job


def own_job(scene: Path, folder: Path) -> JobFolder:
    """What the classic method makes of the movie."""
    if not (folder / "cameras.json").is_file():
        command = [sys.executable, ROOT / "blender_3r" / "engine", "reconstruct", footage(scene), "--out", folder]
        subprocess.run([*command, "--method", "classic"], check=True, stderr=subprocess.DEVNULL)
    return JobFolder.open(folder)


def poisson(job: JobFolder, result: Reconstruction, min_confidence: float) -> Mesh:
    """COLMAP's Poisson reconstruction of the pixels that a fusion would use, with the same normals."""
    import pycolmap

    blocks = []
    indices = list(job.view_indices())
    depths = [np.median(depth[depth > 0]) for depth in (job.read_view(index)["depth"] for index in indices)]
    for index in indices:
        view = read_view(result.views[index], job.read_view(index), min_confidence, FARTHEST * float(np.median(depths)))
        blocks.append(np.concatenate([view.points, view.normals], axis=1)[view.known])
    points = np.concatenate(blocks).astype("<f4")
    names = ("x", "y", "z", "nx", "ny", "nz")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [*(f"property float {name}" for name in names), "end_header", ""]
    options = pycolmap.PoissonMeshingOptions()
    options.depth, options.trim, options.color = POISSON_DEPTH, POISSON_TRIM, False
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "points.ply", Path(folder) / "mesh.ply"
        source.write_bytes("\n".join(header).encode() + points.tobytes())
        pycolmap.poisson_meshing(source, target, options)
        return read_ply(target)


# -- scores


def sample(mesh: Mesh, vertices: np.ndarray) -> np.ndarray:
    """SAMPLES points (n, 3) spread over the surface by area."""
    a, b, c = (vertices[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    rng = np.random.default_rng(0)
    face = np.searchsorted(np.cumsum(area), rng.random(SAMPLES) * area.sum()).clip(0, len(area) - 1)
    root, share = np.sqrt(rng.random((SAMPLES, 1))), rng.random((SAMPLES, 1))
    return (1 - root) * a[face] + root * (1 - share) * b[face] + root * share * c[face]


def is_known(points: np.ndarray, truth: Truth, tolerance: float) -> np.ndarray:
    """Points (n, 3) on or before what some true depth map shows."""
    known = np.zeros(len(points), dtype=bool)
    for view, depth in truth.views:
        local = (points - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
        place = view.intrinsics.project(local)
        with np.errstate(invalid="ignore"):
            inside = (place >= 0).all(axis=1) & (place < depth.shape[::-1]).all(axis=1)
        column, row = (np.where(inside, place[:, axis], 0).astype(int) for axis in range(2))
        seen = depth[row, column]
        known |= inside & (seen > 0) & (local[:, 2] < seen + tolerance)
    return known


def score(mesh: Mesh, truth: Truth, similarity: Similarity | None) -> dict[str, float]:
    """See the top of this module."""
    vertices = mesh.vertices.astype(np.float64)
    if similarity is not None:
        vertices = similarity.apply(vertices)
    tolerance = SHARE * truth.size
    surface = sample(mesh, vertices)
    judged = surface[is_known(surface, truth, tolerance)]
    off, _ = cKDTree(truth.points).query(judged, distance_upper_bound=10 * tolerance)
    missing, _ = cKDTree(surface).query(truth.points[::3], distance_upper_bound=10 * tolerance)
    return {
        "accuracy": float((off < tolerance).mean()),
        "completeness": float((missing < tolerance).mean()),
        "median_pct": float(np.median(off) / truth.size * 100),
        "judged": len(judged) / len(surface),
    }


def to_truth(result: Reconstruction, truth: Truth) -> Similarity:
    """From the solved cameras' world to the true one.

    Rotation by the cameras' orientations, since a path that is nearly straight leaves it open; scale and place by
    their centres.
    """
    both = [index for index in result.solved if truth.cameras.views[index].is_solved]
    ours, true = (np.array([one.views[index].world_from_camera for index in both]) for one in (result, truth.cameras))
    rotation = nearest_rotation(np.einsum("nij,nkj->ik", true[:, :3, :3], ours[:, :3, :3]))
    start, goal = ours[:, :3, 3] @ rotation.T, true[:, :3, 3]
    middle, aim = start.mean(axis=0), goal.mean(axis=0)
    scale = float(((start - middle) * (goal - aim)).sum() / ((start - middle) ** 2).sum())
    return Similarity(np.float64(scale), rotation, aim - scale * middle)


# -- the table


def row_of(name: str, label: str, way: str, settings: SurfaceSettings, work: Path) -> str:
    """One row of the table."""
    scene = data_folder() / name
    truth = read_truth(scene)
    is_true = label == TRUE
    job = true_job(truth, work / f"{name}_true") if is_true else own_job(scene, work / f"{name}_own")
    result = job.read_cameras()
    started = time.process_time()
    if way == FUSED:
        mesh = fuse(result, settings, Context(job, threads=1), lambda progress: None).mesh
    else:
        mesh = poisson(job, result, settings.min_confidence)
    cpu = time.process_time() - started
    values = score(mesh, truth, None if is_true else to_truth(result, truth))
    views = sum(1 for _ in job.view_indices())
    return (
        f"| {name} | {label} | {way} | {views} | {len(mesh.faces)} | {100 * values['accuracy']:.1f} | "
        f"{100 * values['completeness']:.1f} | {values['median_pct']:.3f} | {100 * values['judged']:.1f} | "
        f"{cpu:.0f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Fused surfaces against true depth.")
    parser.add_argument("scenes", nargs="*", default=SCENES, metavar="SCENE")
    parser.add_argument("--detail", choices=tuple(DETAIL), default="normal")
    parser.add_argument("--no-poisson", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "blender_3r_surfaces")
    options = parser.parse_args()
    settings = SurfaceSettings(detail=options.detail)
    options.work.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in options.scenes:
        for key, label, way in CASES:
            kept = options.work / f"{name}_{key}_{options.detail}.txt"
            if not kept.is_file():
                if key == "poisson" and options.no_poisson:
                    continue
                kept.write_text(row_of(name, label, way, settings, options.work), encoding="utf-8")
            lines.append(kept.read_text(encoding="utf-8"))
            print(lines[-1], flush=True)
    head = (
        "| scene | cameras and depth | surface | depth maps | faces | accuracy at 1 % | completeness at 1 % | "
        "median error % of size | judged % | CPU s |"
    )
    text = [
        f"# Surfaces (detail {options.detail}, at most {settings.faces} faces)",
        "Written by `python -m benchmarks.surfaces`, which tells what the columns mean. The two ways on the depth of "
        "the classic method have the same pixels and normals.",
        "\n".join([head, "|" + " --- |" * (head.count("|") - 1), *lines]),
    ]
    if tuple(options.scenes) == SCENES:
        write_part(ROOT / "benchmarks" / "RESULTS.md", "surfaces", "\n\n".join(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
