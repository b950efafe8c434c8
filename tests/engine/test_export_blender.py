"""An exported GLB, imported by Blender's own importer: places, colours and cameras are the job's."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from export_jobs import COLUMNS, ROWS, make_job

from blender_3r.engine.export import export_job
from blender_3r.engine.reconstruction import depth_to_points
from scripts.environments import ENVIRONMENTS, ROOT
from scripts.extension import environment_for

SCRIPT = Path(__file__).parent / "support" / "import_glb.py"
BLENDER = ENVIRONMENTS["blender"]
FROM_OPENCV = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # Blender: z up, y away

pytestmark = pytest.mark.skipif(not BLENDER.interpreter.exists(), reason=f"{BLENDER.folder} is not there")


def import_in_blender(path, folder):
    found = folder / f"{path.stem}.json"
    done = subprocess.run(
        [str(BLENDER.interpreter), str(SCRIPT), str(path), str(found)],
        cwd=ROOT,
        env=environment_for(folder / "user"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert found.exists(), done.stdout + done.stderr
    return json.loads(found.read_text())


def linear(color):
    value = np.asarray(color) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def test_points_and_cameras(tmp_path):
    job = make_job(tmp_path / "job", kind="video", fps=24.0, unsolved=(0,))
    found = import_in_blender(export_job(job.path, "glb", tmp_path / "points.glb"), tmp_path)
    result = job.read_cameras()
    view, arrays = result.views[2], job.read_view(2)
    points, index = depth_to_points(view, np.asarray(arrays["depth"]))
    cloud = found["meshes"]["points frame_0002"]
    np.testing.assert_allclose(cloud["positions"], points @ FROM_OPENCV.T, atol=1e-5)
    np.testing.assert_allclose(cloud["colors"], linear(arrays["color"].reshape(-1, 3)[index]), atol=0.01)
    assert cloud["polygons"] == 0
    assert found["meshes"]["frusta"]["edges"] == 2 * 10

    assert set(found["cameras"]) == {"frame_0001", "frame_0002"}
    camera = found["cameras"]["frame_0002"]
    matrix, pose = np.array(camera["matrix"]), view.world_from_camera
    np.testing.assert_allclose(matrix[:3, 3], FROM_OPENCV @ pose[:3, 3], atol=1e-5)
    np.testing.assert_allclose(-matrix[:3, 2], FROM_OPENCV @ pose[:3, 2], atol=1e-5)  # looks along its -z
    np.testing.assert_allclose(matrix[:3, 1], -FROM_OPENCV @ pose[:3, 1], atol=1e-5)  # its y is up
    assert camera["fit"] == "VERTICAL"
    assert math.tan(camera["angle_y"] / 2) == pytest.approx(24 / 52, rel=1e-4)
    assert camera["frame"] == 4


def test_surface(tmp_path):
    job = make_job(tmp_path / "job", views=1)
    found = import_in_blender(export_job(job.path, "glb", tmp_path / "mesh.glb", mesh=True), tmp_path)
    surface = found["meshes"]["surface 00"]
    assert surface["polygons"] == 2 * 2 * (ROWS - 2) * (COLUMNS // 2 - 1)
    view, arrays = job.read_cameras().views[0], job.read_view(0)
    points, index = depth_to_points(view, np.asarray(arrays["depth"]))
    np.testing.assert_allclose(surface["positions"], points @ FROM_OPENCV.T, atol=1e-5)
    np.testing.assert_allclose(surface["colors"], linear(arrays["color"].reshape(-1, 3)[index]), atol=0.01)
    sight = FROM_OPENCV @ view.world_from_camera[:3, 2]
    assert np.dot(surface["normal"][0], sight) < -0.99  # the front shows to the camera
