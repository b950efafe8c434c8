"""A shot's own geometry, rendered in Blender through the solved camera, against the edges of the plate.

    python -m benchmarks.edges [--scenes SCENE ...] [--pictures FOLDER] [--reuse]

The engine solves the footage with nothing given; Blender imports the job as an artist does and renders the geometry
through its camera; the engine's ST-map bends the render as the lens does; then its edges are sought in the footage.
The same goes through the true camera, which shows what the measure itself is worth.
Writes its part of benchmarks/RESULTS.md (a run of some scenes only: out/benchmarks/RESULTS.md). FOLDER gets a picture
of each scene. Exit status: 0 done; 1 a scene failed; 2 the scenes are missing or the command is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blender_3r.engine.export.stmap import redistort_map
from blender_3r.engine.export.undistort import resample
from blender_3r.engine.geometry.grid_mesh import grid_mesh
from blender_3r.engine.geometry.similarity import fit_cameras, fit_similarity
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.reconstruction import Reconstruction, View
from blender_3r.engine.source import source_from_path
from blender_3r.scene.jobdata import read_job

from .classic import FULL_REPORT, WORK, versions
from .edge_measure import Edges, edge_displacement
from .edge_picture import write_picture
from .measure import busy, machine, run_measured
from .page import write_part
from .runs import BLENDER_PYTHON, ROOT
from .scenes import NoData, data_folder, footage

COURTYARD = "courtyard"  # the demo shot, whose scene is here
SCENES = (COURTYARD, "syn_walk", "syn_moving", "syn_zoom")
CAMERAS = ("solved", "true", "by centres")  # the last: solved, its world laid on by the cameras' places alone
FIRST, EVERY = 5, 10  # frames that are rendered: between those whose depth is known
SAMPLES = 16
AROUND_MOVING = 25  # px round what moves that are left out: where it is in between is not known
_BETWEEN = "solved against true"


@dataclass
class Measured:
    """frames: what was rendered. edges: {camera: those of each frame}, and of the two renders against each other.
    plates, renders: by frame, of the solved camera; (h, w, 3) uint8 RGB and (h, w, 4) float32, bent by the lens.
    up_deg: how far the way up that the import guesses is off."""

    scene: str
    frames: list[int]
    up_deg: float
    edges: dict[str, list[Edges]] = field(default_factory=dict)
    plates: list[np.ndarray] = field(default_factory=list)
    renders: list[np.ndarray] = field(default_factory=list)

    def row(self) -> list[str]:
        """The cells of the table."""
        cells = [self.scene, str(len(self.frames))]
        means = {name: [edges.mean_px for edges in all_] for name, all_ in self.edges.items()}
        for name in ("solved", "true"):
            cells += [f"{np.nanmean(means[name]):.3f}", f"{np.nanmax(means[name]):.3f}"]
        cells += [f"{np.nanmean(means[name]):.3f}" for name in (_BETWEEN, "by centres")]
        cells.append(f"{self.up_deg:.2f}")
        return [*cells, f"{100 * np.mean([edges.share for edges in self.edges['solved']]):.0f} %"]


PAGE = """\
# Results of edges in Blender

Written by `{command}`; what is measured and how: [README.md](README.md#edges).

- Machine: {machine}
- Versions: {versions}

| shot | frames | solved camera, mean px | its worst frame | true camera, mean px | its worst frame | \
solved render against true render, mean px | solved, world laid on by centres, mean px | up, degrees off | edges found |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

![The demo shot: its own geometry through the solved camera over the plate](../docs/images/edges-courtyard.jpg)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        folders = {name: ROOT / "demo" if name == COURTYARD else data_folder() / name for name in options.scenes}
        movies = {name: footage(folder) for name, folder in folders.items()}
    except NoData as error:
        print(error, file=sys.stderr)
        return 2
    rows, failed = [], False
    for name, folder in folders.items():
        work = options.work / name
        try:
            if not (options.reuse and (work / "job" / "cameras.json").is_file()):
                solve(movies[name], work / "job", options.limit)
            measured = measure(name, folder, movies[name], work, options.limit, options.reuse)
        except (RuntimeError, OSError, ValueError) as error:
            print(f"{name:12} FAILED: {error}", flush=True)
            failed = True
            continue
        rows.append(measured.row())
        print("  ".join(rows[-1]), flush=True)
        if options.pictures:
            middle = len(measured.frames) // 2
            write_picture(
                options.pictures / f"edges-{name}.jpg",
                measured.plates[middle],
                measured.renders[middle],
                measured.edges["solved"][middle],
            )
    said = " ".join(["python -m benchmarks.edges", *(sys.argv[1:] if arguments is None else arguments)])
    full = set(options.scenes) == set(SCENES) and not failed
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    page = PAGE.format(command=said, machine=machine(), versions=f"{versions()}, {busy()} at the end", rows=table)
    out = options.out or (FULL_REPORT if full else WORK / "RESULTS.md")
    write_part(out, "edges", page)
    print(f"Wrote {out}")
    return 1 if failed else 0


def solve(movie: Path, job: Path, limit_s: float) -> None:
    """The engine's command line, nothing given. Raises RuntimeError."""
    command = [sys.executable, ROOT / "blender_3r" / "engine", "reconstruct", movie, "--out", job]
    run = run_measured([*command, "--method", "classic", "--no-dense", "--restart"], job.parent, limit_s, ROOT)
    if run.ending:
        raise RuntimeError(f"not solved ({run.ending})")


def measure(name: str, folder: Path, movie: Path, work: Path, limit_s: float, reuse: bool = False) -> Measured:
    """Render, and compare with the plate. reuse: renders that are there. Raises RuntimeError when Blender fails."""
    truth = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    true = Reconstruction.from_json({"images": truth["images"], "kind": "video", "lens": _lens(truth)})
    solved = JobFolder.open(work / "job").read_cameras()
    plates = _Plates(movie)
    frames = [frame for frame in range(FIRST, len(true.views), EVERY) if solved.views[frame].is_solved]
    matrices = {
        "solved": _alignment(solved, true, _typical_depth(work / "job", solved)).tolist(),
        "true": np.eye(4).tolist(),
        "by centres": _alignment(solved, true, 0.0).tolist(),
    }
    if not (reuse and all((work / "render" / f"{CAMERAS[-1]}_{frame:04d}.png").is_file() for frame in frames)):
        _render(name, folder, work, true, frames, plates, matrices, limit_s)
    measured = Measured(name, frames, _up_error(work / "job", matrices["solved"]))
    results = {"solved": solved, "true": true, "by centres": solved}
    return _compare(measured, folder, work / "render", results, plates)


def _render(
    name: str,
    folder: Path,
    work: Path,
    true: Reconstruction,
    frames: list[int],
    plates: _Plates,
    matrices: dict[str, list[list[float]]],
    limit_s: float,
) -> None:
    """All frames through all cameras, to work/render. matrices: 4x4, the true world from each camera's."""
    for new in ("truth", "render", "mesh"):
        shutil.rmtree(work / new, ignore_errors=True)
        (work / new).mkdir(parents=True)
    JobFolder(work / "truth").write_cameras(true)
    shots = [_geometry(folder, work / "mesh", true, frame, plates) for frame in frames]
    jobs = {camera: str(work / ("truth" if camera == "true" else "job")) for camera in CAMERAS}
    spec = {
        "courtyard": name == COURTYARD,
        "cameras": {camera: {"job": jobs[camera], "matrix": matrices[camera]} for camera in CAMERAS},
        "frames": shots,
        "samples": SAMPLES,
        "out": str(work / "render"),
    }
    (work / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    script = ROOT / "benchmarks" / "edges_scene.py"
    run = run_measured([BLENDER_PYTHON, script, work / "spec.json"], work / "blender", limit_s, ROOT)
    if run.ending:
        raise RuntimeError(f"Blender did not render ({run.ending}): {run.stderr[-300:]}")


class _Plates:
    """The frames of a movie by their numbers."""

    def __init__(self, movie: Path) -> None:
        self._frames = open_source(source_from_path(movie))
        self._indices = {info.frame: info.index for info in self._frames.infos}

    def read(self, frame: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""
        return self._frames.read(self._indices[frame])


def _lens(truth: dict[str, Any]) -> str:
    return "zoom" if len({image["fx"] for image in truth["images"]}) > 1 else "shared"


def _typical_depth(job: Path, solved: Reconstruction) -> float:
    """Median depth of the sparse points from the middle camera, in the solved world's units."""
    pose = solved.views[solved.solved[len(solved.solved) // 2]].world_from_camera
    depths = (JobFolder(job).read_sparse()["points"] - pose[:3, 3]) @ pose[:3, 2]
    return float(np.median(depths[depths > 0]))


def _alignment(solved: Reconstruction, true: Reconstruction, depth: float) -> np.ndarray:
    """4x4: the true world from the solved one.

    It brings together what the cameras look at: four points of each, that far away. The places of cameras that move
    along a line, with depth 0, leave the turn about it to their noise.
    """
    both = [index for index in solved.solved if true.views[index].is_solved]
    source, target = (np.array([result.views[index].world_from_camera for index in both]) for result in (solved, true))
    scale = float(fit_cameras(source, target).scale)
    corners = np.array([(x, y, 1.0) for x in (-0.5, 0.5) for y in (-0.3, 0.3)])

    def looked_at(poses: np.ndarray, far: float) -> np.ndarray:
        return (poses[:, None, :3, 3] + far * corners @ poses[:, :3, :3].swapaxes(1, 2)).reshape(-1, 3)

    return fit_similarity(looked_at(source, depth), looked_at(target, scale * depth)).matrix


def _up_error(job: Path, true_from_solved: list[list[float]]) -> float:
    """Degrees between the true vertical, +z, and what the import takes for it."""
    guessed = read_job(job, 0).placement[2, :3]
    true = np.array(true_from_solved)[2, :3]
    cosine = guessed @ true / (np.linalg.norm(guessed) * np.linalg.norm(true))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _geometry(folder: Path, out: Path, true: Reconstruction, frame: int, plates: _Plates) -> dict[str, Any]:
    """What is rendered at frame: the nearest earlier true depth as a surface with its own frame on it, or nothing.

    Never that of the frame itself: its texture would be the plate.
    """
    keys = [int(path.stem[-4:]) for path in sorted((folder / "depth").glob("frame_*.npz"))]
    if not keys:
        return {"frame": frame, "mesh": None, "texture": None}
    key = max(number for number in keys if number < frame)
    mesh, texture = out / f"{key:04d}.npz", out / f"{key:04d}.png"
    if not mesh.is_file():
        maps = np.load(folder / "depth" / f"frame_{key:04d}.npz")
        depth = np.where(maps["moving"], 0, maps["depth"]).astype(np.float32) if "moving" in maps else maps["depth"]
        points, pixels, triangles = grid_mesh(true.views[key], depth.astype(np.float32), np.ones(depth.shape))
        rows, columns = np.divmod(pixels, depth.shape[1])
        uv = np.stack([(columns + 0.5) / depth.shape[1], 1 - (rows + 0.5) / depth.shape[0]], axis=1)
        np.savez(mesh, points=points, uv=uv, triangles=triangles)
        cv2.imwrite(str(texture), plates.read(key)[:, :, ::-1])
    return {"frame": frame, "mesh": str(mesh), "texture": str(texture)}


def _still(folder: Path, frame: int, shape: tuple[int, ...]) -> np.ndarray:
    """(h, w) bool: what nothing moves near, by the masks of the frames around whose depth is known."""
    moving = np.zeros(shape[:2], np.uint8)
    for path in (folder / "depth").glob("frame_*.npz"):
        if abs(int(path.stem[-4:]) - frame) < EVERY:
            maps = np.load(path)
            moving |= maps["moving"].astype(np.uint8) if "moving" in maps else moving
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * AROUND_MOVING + 1, 2 * AROUND_MOVING + 1))
    return cv2.dilate(moving, kernel) == 0


def _compare(
    measured: Measured, folder: Path, renders: Path, results: dict[str, Reconstruction], plates: _Plates
) -> Measured:
    """Fill in the edges of all frames, of renders in a folder. folder: of the scene."""
    measured.edges = {name: [] for name in (*CAMERAS, _BETWEEN)}
    for frame in measured.frames:
        plate = plates.read(frame)
        still = _still(folder, frame, plate.shape)
        seen = {name: _bent(renders / f"{name}_{frame:04d}.png", results[name].views[frame]) for name in CAMERAS}
        for name, render in seen.items():
            measured.edges[name].append(edge_displacement(_gray(render), _gray(plate), still & (render[..., 3] > 254)))
        valid = still & (seen["solved"][..., 3] > 254) & (seen["true"][..., 3] > 254)
        measured.edges[_BETWEEN].append(edge_displacement(_gray(seen["solved"]), _gray(seen["true"]), valid))
        measured.plates.append(plate)
        measured.renders.append(seen["solved"])
    return measured


def _bent(path: Path, view: View) -> np.ndarray:
    """A render as the view's lens would have filmed it: (h, w, 4) float32, RGB and alpha 0 to 255."""
    image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA).astype(np.float32)
    return resample(image, redistort_map(view.intrinsics)) if view.intrinsics.is_distorted else image


def _gray(picture: np.ndarray) -> np.ndarray:
    return picture[..., :3].astype(np.float32) @ np.float32([0.299, 0.587, 0.114])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edges", description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=SCENES, metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="a picture of each scene goes there")
    parser.add_argument("--reuse", action="store_true", help="take jobs and renders of an earlier run where there are")
    parser.add_argument("--limit", type=float, default=1800, metavar="S", help="seconds for each run (default: 1800)")
    parser.add_argument("--work", type=Path, default=WORK / "edges", help="where jobs and renders are kept")
    parser.add_argument("--out", type=Path, help="where the page is written")
    return parser


def _on_terminate(*_: object) -> None:
    """Ended from outside, end what is running too: it is in a process group of its own."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _on_terminate)
    sys.exit(main())
