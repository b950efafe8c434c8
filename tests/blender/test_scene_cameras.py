"""Cameras: what Blender's camera sees is what the solved one saw, to 0.01 pixels."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from blender_3r.engine.reconstruction import Reconstruction, View
from blender_3r.scene import compat
from blender_3r.scene.cameras import continuous_quaternions
from blender_3r.scene.job import import_job
from blender_3r.scene.plate import look_through

LENSES = {
    "landscape": jobs.lens(640, 360, 500),
    "portrait": jobs.lens(360, 640, 480),
    "square": jobs.lens(512, 512, 700),
    "off-centre": jobs.lens(640, 360, 500, cx=350, cy=168),
    "portrait off-centre": jobs.lens(360, 640, 500, cx=150, cy=350),
    "fx > fy": jobs.lens(640, 360, 550, fy=500, cx=330, cy=190),
    "fx < fy": jobs.lens(640, 360, 500, fy=550),
    "portrait fx < fy": jobs.lens(360, 640, 500, fy=550, cx=170, cy=300),
    "wide by pixel aspect": jobs.lens(360, 400, 500, fy=380, cx=170, cy=210),
}


def largest_miss(scene, camera, view: View, root) -> float:
    """Largest distance in pixels between where the solved and the Blender camera see points in front of view."""
    bpy.context.view_layer.update()
    lens = view.intrinsics
    random = np.random.default_rng(1)
    local = np.column_stack([random.uniform(-1, 1, (30, 2)), random.uniform(3, 6, 30)])
    expected = np.column_stack(
        [local[:, 0] / local[:, 2] * lens.fx + lens.cx, local[:, 1] / local[:, 2] * lens.fy + lens.cy]
    )
    world = local @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
    seen = [world_to_camera_view(scene, camera, root.matrix_world @ Vector(point)) for point in world]
    pixels = np.array([[p.x * lens.width, (1 - p.y) * lens.height] for p in seen])
    return float(np.abs(pixels - expected).max())


@pytest.mark.parametrize("name", LENSES)
def test_footage_camera_sees_what_the_solved_one_saw(name, tmp_path, empty_file):
    views = jobs.walk(4, LENSES[name])
    jobs.make_job(tmp_path, Reconstruction(views, fps=24.0))
    result = import_job(empty_file, tmp_path)
    assert result.root.matrix_basis.median_scale != pytest.approx(1.0)  # the root's scale must not disturb the lens
    for view in views:
        empty_file.frame_set(view.frame + 1)
        assert largest_miss(empty_file, result.cameras[0], view, result.root) < 0.01


def test_photo_cameras_see_what_the_solved_ones_saw(tmp_path, empty_file):
    views = jobs.photos([f"{name}.jpg" for name in LENSES])
    for view, lens in zip(views, LENSES.values(), strict=True):
        view.intrinsics = lens
    jobs.make_job(tmp_path, Reconstruction(views, kind="photos"))
    result = import_job(empty_file, tmp_path)
    assert len(result.cameras) == len(views)
    for camera, view in zip(result.cameras, views, strict=True):
        look_through(empty_file, camera)
        assert largest_miss(empty_file, camera, view, result.root) < 0.01


def test_zoom_is_keyed_per_frame(tmp_path, empty_file):
    views = jobs.walk(6)
    for view in views:
        view.intrinsics = jobs.lens(640, 360, 500 + 40 * view.frame, cx=322)
    jobs.make_job(tmp_path, Reconstruction(views, lens="zoom", fps=24.0))
    result = import_job(empty_file, tmp_path)
    for view in views:
        empty_file.frame_set(view.frame + 1)
        assert largest_miss(empty_file, result.cameras[0], view, result.root) < 0.01
    assert [key.co.x for key in keys(result.cameras[0].data, "lens")] == [1, 2, 3, 4, 5, 6]
    assert keys(result.cameras[0].data, "shift_x") is None


def keys(block, path, index=0):
    curve = compat.fcurves_of(block, "").find(path, index=index) if block.animation_data else None
    return None if curve is None else curve.keyframe_points


def test_one_focal_has_no_keys_so_that_it_can_be_changed(tmp_path, empty_file):
    jobs.make_job(tmp_path, Reconstruction(jobs.walk(4)))
    camera = import_job(empty_file, tmp_path).cameras[0]
    assert keys(camera.data, "lens") is None
    assert camera.data.lens == pytest.approx(60 * 36 / 64)


def test_unsolved_frames_are_gaps_and_never_shift_time(tmp_path, empty_file):
    views = jobs.walk(6, missing=(0, 2, 3))
    jobs.make_job(tmp_path, Reconstruction(views))
    result = import_job(empty_file, tmp_path)
    camera = result.cameras[0]
    for path, width in (("location", 3), ("rotation_quaternion", 4)):
        for index in range(width):
            points = keys(camera, path, index)
            assert [key.co.x for key in points] == [2, 5, 6]
            assert {key.interpolation for key in points} == {"LINEAR"}
    assert (empty_file.frame_start, empty_file.frame_end) == (1, 6)
    for index in (1, 4, 5):
        empty_file.frame_set(index + 1)
        assert largest_miss(empty_file, camera, views[index], result.root) < 0.01


def test_rotation_keys_never_flip_sign(tmp_path, empty_file):
    turning = [View(f"frame_{i:04d}", i, jobs.lens(), jobs.pose(0, 0, 0.1 * i, yaw_deg=40.0 * i)) for i in range(30)]
    jobs.make_job(tmp_path, Reconstruction(turning))
    camera = import_job(empty_file, tmp_path).cameras[0]
    rotations = np.column_stack([[key.co.y for key in keys(camera, "rotation_quaternion", i)] for i in range(4)])
    steps = np.einsum("ij,ij->i", rotations[1:], rotations[:-1])
    assert steps.min() == pytest.approx(np.cos(np.radians(20)), abs=1e-5)
    assert rotations.min() < -0.9  # three whole turns: both signs are needed


def test_single_view_has_a_rotation():
    matrices = [__import__("mathutils").Matrix.Rotation(1.0, 4, "X")]
    assert np.linalg.norm(continuous_quaternions(matrices)) == pytest.approx(1.0)


def test_tripod_turns_on_the_spot_and_has_no_points(tmp_path, empty_file):
    views = [View(f"frame_{i:04d}", i, jobs.lens(), jobs.pose(0, 0, 0, yaw_deg=3.0 * i)) for i in range(5)]
    job = jobs.make_job(tmp_path, Reconstruction(views, motion="tripod"))
    jobs.add_sparse(job, np.random.default_rng(0).normal(size=(50, 3)))
    result = import_job(empty_file, tmp_path)
    assert keys(result.cameras[0], "location") is None
    assert len(keys(result.cameras[0], "rotation_quaternion")) == 5
    assert result.points is None
    for view in views:
        empty_file.frame_set(view.frame + 1)
        assert largest_miss(empty_file, result.cameras[0], view, result.root) < 0.01


def test_distortion_is_kept_as_facts_of_the_camera(tmp_path, empty_file):
    lens = jobs.lens(k1=-0.1, k2=0.02, p1=0.003, p2=-0.004)
    jobs.make_job(tmp_path, Reconstruction(jobs.walk(3, lens)))
    data = import_job(empty_file, tmp_path).cameras[0].data
    assert [data[f"threer_{name}"] for name in ("k1", "k2", "p1", "p2")] == [-0.1, 0.02, 0.003, -0.004]
    assert (data["threer_width"], data["threer_fx"]) == (64, 60.0)


def test_look_through_refuses_a_camera_without_a_solved_lens(empty_file):
    camera = bpy.data.objects.new("mine", bpy.data.cameras.new("mine"))
    with pytest.raises(ValueError, match="mine"):
        look_through(empty_file, camera)


def test_interpolated_frames_are_breakdowns(tmp_path, empty_file):
    views = jobs.walk(6, jobs.lens(fx=60.0))
    for index in (1, 4):
        views[index].interpolated = True
    job = jobs.make_job(tmp_path, Reconstruction(views))
    result = import_job(empty_file, tmp_path)
    camera = result.cameras[0]
    curves = compat.fcurves_of(camera, "")
    assert len(curves) == 7
    for curve in curves:
        types = [key.type for key in curve.keyframe_points]
        assert types == ["KEYFRAME", "BREAKDOWN", "KEYFRAME", "KEYFRAME", "BREAKDOWN", "KEYFRAME"]
    assert result.root["threer_interpolated"] == 2
    assert "an animated camera, 2 frames interpolated, 0 points" in result.text
    views[1].interpolated = views[4].interpolated = False
    job.write_cameras(Reconstruction(views))
    again = import_job(empty_file, tmp_path)
    assert {key.type for curve in compat.fcurves_of(camera, "") for key in curve.keyframe_points} == {"KEYFRAME"}
    assert "interpolated" not in again.text
