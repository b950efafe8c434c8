"""What points look like rendered: closed surfaces from near and far, colours as filmed or lit. Cycles, small stills."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest
from mathutils import Euler, Matrix

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import compat
from blender_3r.scene.cloud import read_cloud
from blender_3r.scene.point_kind import can_be_cloud, new_points
from blender_3r.scene.point_nodes import add_point_display, point_input
from blender_3r.scene.points import write_points

SIZE = (96, 54)
DEPTH = 2.0  # of the filmed wall
COLOR = (180, 90, 30)


@pytest.fixture
def wall(tmp_path, empty_file):
    """A wall filmed from the origin, of one colour; half of it wide and high when seen from twice as far."""
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(1)))
    jobs.add_plane_view(job, 0, depth=DEPTH, size=(36, 64))
    color = np.full((36, 64, 3), COLOR, np.uint8)
    job.write_view(0, {**job.read_view(0), "color": color})
    reconstruction = job.read_cameras()
    mesh = new_points("wall")
    write_points(mesh, read_cloud(job, reconstruction, 10**6))
    points = bpy.data.objects.new("wall", mesh)
    empty_file.collection.objects.link(points)
    points.matrix_world = Matrix(np.linalg.inv(reconstruction.views[0].world_from_camera).tolist())
    add_point_display(points)
    return points


def rendered(scene, tmp_path, distance=1.0, turn=0.0, transparent=True) -> np.ndarray:
    """(h, w, 4) 8-bit codes as saved, from a camera that many times as far from the wall, turned around its middle."""
    lens = bpy.data.cameras.new("eye")
    lens.sensor_width, lens.lens = 36.0, 36.0 * 60 / 64
    camera = bpy.data.objects.new("eye", lens)
    scene.collection.objects.link(camera)
    around = Matrix.Translation((0, 0, DEPTH)) @ Euler((0, turn, 0)).to_matrix().to_4x4()
    flip = Matrix.Diagonal((1, -1, -1, 1))
    camera.matrix_world = around @ Matrix.Translation((0, 0, -DEPTH * distance)) @ flip
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    scene.render.dither_intensity = 0
    scene.render.film_transparent = transparent
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(tmp_path / "still.png")
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(str(tmp_path / "still.png"))
    picture.colorspace_settings.name = "Non-Color"
    pixels = np.empty(SIZE[0] * SIZE[1] * 4, np.float32)
    picture.pixels.foreach_get(pixels)
    bpy.data.images.remove(picture)
    return np.round(pixels.reshape(SIZE[1], SIZE[0], 4) * 255)


def silhouette(distance: float, turn: float) -> np.ndarray:
    """(h, w) bool: pixels well inside of the wall's outline, by projecting its border."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [32 / 60 * DEPTH, 18 / 60 * DEPTH]
    x = corners[:, 0] * np.cos(turn)
    z = DEPTH * distance + corners[:, 0] * np.sin(turn)
    focal = 60 / 64 * SIZE[0]
    pixels = np.stack([x, corners[:, 1]], axis=1) / z[:, None] * focal + np.array(SIZE) / 2
    grid = np.stack(np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5), axis=-1)
    inside = np.ones(grid.shape[:2], dtype=bool)
    for a, b in zip(pixels, np.roll(pixels, -1, axis=0), strict=True):
        edge = (b - a) / np.linalg.norm(b - a)
        inside &= (edge[0] * (grid[..., 1] - a[1]) - edge[1] * (grid[..., 0] - a[0])) > 2.0
    return inside


@pytest.mark.parametrize(("distance", "turn"), [(1.0, 0.0), (0.1, 0.0), (4.0, 0.0), (1.0, 0.6), (1.0, -0.6)])
def test_surfaces_are_closed_from_near_and_far(wall, distance, turn, tmp_path, empty_file):
    still = rendered(empty_file, tmp_path, distance, turn)
    inside = silhouette(distance, turn)
    assert inside.mean() > 0.02
    assert (still[inside, 3] < 255).mean() < 0.002  # background shows
    assert np.abs(still[inside, :3] - COLOR).max() <= 1


def test_smaller_points_leave_holes(wall, tmp_path, empty_file):
    """What the test above measures can fail."""
    modifier = wall.modifiers[0]
    compat.set_modifier_input(modifier, point_input(modifier, "Point Size"), 0.4)
    still = rendered(empty_file, tmp_path, 0.5)
    assert (still[silhouette(0.5, 0.0), 3] < 255).mean() > 0.2


def test_thinned_points_still_close_the_surface(wall, tmp_path, empty_file):
    modifier = wall.modifiers[0]
    compat.set_modifier_input(modifier, point_input(modifier, "Density"), 0.3)
    still = rendered(empty_file, tmp_path)
    assert (still[silhouette(1.0, 0.0), 3] < 255).mean() < 0.3  # picked at random, so not quite


def test_light_changes_lit_points_only(wall, tmp_path, empty_file):
    empty_file.world = None
    inside = silhouette(1.0, 0.0)
    assert np.abs(rendered(empty_file, tmp_path)[inside, :3] - COLOR).max() <= 2
    modifier = wall.modifiers[0]
    compat.set_modifier_input(modifier, point_input(modifier, "Lit"), True)
    assert rendered(empty_file, tmp_path)[inside, :3].max() == 0
    lamp = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    lamp.data.energy = 3.0
    lamp.matrix_world = Matrix.Diagonal((1, -1, -1, 1))  # along the view
    empty_file.collection.objects.link(lamp)
    lit = rendered(empty_file, tmp_path)[inside, :3].mean(axis=0)
    assert lit.max() > 60
    assert lit[0] > lit[1] > lit[2]


@pytest.mark.skipif(not can_be_cloud(), reason="Blender fills point clouds from Python from 5.1 on")
def test_a_point_cloud_renders_as_the_mesh_does(wall, tmp_path, empty_file):
    from blender_3r.scene.point_kind import other_kind

    before = rendered(empty_file, tmp_path)
    other_kind(wall)
    assert np.array_equal(rendered(empty_file, tmp_path), before)
