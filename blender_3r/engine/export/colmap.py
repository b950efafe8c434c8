"""COLMAP's text model: cameras.txt, images.txt, points3D.txt."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import Intrinsics, Reconstruction
from . import ExportOptions
from .cloud import Block, sparse_block
from .images import without_distortion, write_images
from .names import image_names


def write_model(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """Cameras (PINHOLE, or OPENCV where there is distortion), solved images and the sparse points with their colours.

    Pixel and camera conventions are COLMAP's own already. 2D observations are not part of it, so tracks are empty.
    """
    camera_ids: dict[Intrinsics, int] = {}
    image_lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then an empty line of 2D points"]
    names, original = image_names(result), result
    if options.undistorted:
        result = without_distortion(result)
    for index in result.solved:
        view = result.views[index]
        camera_id = camera_ids.setdefault(view.intrinsics, len(camera_ids) + 1)
        camera_from_world = np.linalg.inv(view.world_from_camera)
        pose = [*quaternion(camera_from_world[:3, :3]), *camera_from_world[:3, 3]]
        image_lines += [f"{index + 1} {_numbers(pose)} {camera_id} {names[index]}", ""]
    camera_lines = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS"]
    camera_lines += [f"{number} {_camera(lens)}" for lens, number in camera_ids.items()]
    (out / "cameras.txt").write_text("\n".join(camera_lines) + "\n", encoding="utf-8")
    (out / "images.txt").write_text("\n".join(image_lines) + "\n", encoding="utf-8")
    with open(out / "points3D.txt", "w", encoding="utf-8") as file:
        file.write("# POINT3D_ID X Y Z R G B ERROR TRACK[]\n")
        sparse = sparse_block(job, options.points)
        if sparse is not None:
            _write_points(file, sparse)
    if options.images or options.undistorted:
        write_images(job, original, out / "images", options.undistorted)


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) with w >= 0 of a 3x3 rotation: the leading eigenvector of a symmetric 4x4, good for every angle."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    leading = np.linalg.eigh(symmetric)[1][:, -1]
    return leading if leading[0] >= 0 else -leading


def _camera(lens: Intrinsics) -> str:
    pinhole = [lens.fx, lens.fy, lens.cx, lens.cy]
    if lens.is_distorted:
        return f"OPENCV {lens.width} {lens.height} {_numbers([*pinhole, *lens.distortion])}"
    return f"PINHOLE {lens.width} {lens.height} {_numbers(pinhole)}"


def _write_points(file: TextIO, sparse: Block) -> None:
    for number, (point, (red, green, blue), error) in enumerate(zip(sparse.points, sparse.color, sparse.quality), 1):
        file.write(f"{number} {_numbers(point)} {red} {green} {blue} {error:.4f}\n")


def _numbers(values: object) -> str:
    return " ".join(f"{value:.12g}" for value in values)
