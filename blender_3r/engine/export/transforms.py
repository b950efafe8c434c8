"""nerfstudio's transforms.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction, View
from . import ExportOptions
from .cloud import sparse_block
from .images import without_distortion, write_images
from .names import image_names
from .ply import write_sparse

_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def write_transforms(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """transforms.json (camera model OPENCV, intrinsics per frame, OpenGL camera axes, the job's world) and sparse.ply.

    file_path points to images/NAME beside it, which the option images writes.
    """
    names, original = image_names(result), result
    if options.undistorted:
        result = without_distortion(result)
    data: dict[str, Any] = {
        "camera_model": "OPENCV",
        "frames": [_frame(result.views[index], f"images/{names[index]}") for index in result.solved],
    }
    sparse = sparse_block(job, options.points)
    if sparse is not None:
        write_sparse(sparse, out / "sparse.ply")
        data["ply_file_path"] = "sparse.ply"
    (out / "transforms.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    if options.images or options.undistorted:
        write_images(job, original, out / "images", options.undistorted)


def _frame(view: View, file_path: str) -> dict[str, Any]:
    lens = view.intrinsics
    return {
        "file_path": file_path,
        "w": lens.width,
        "h": lens.height,
        "fl_x": lens.fx,
        "fl_y": lens.fy,
        "cx": lens.cx,
        "cy": lens.cy,
        "k1": lens.k1,
        "k2": lens.k2,
        "p1": lens.p1,
        "p2": lens.p2,
        "transform_matrix": (view.world_from_camera @ _OPENGL_FROM_OPENCV).tolist(),
    }
