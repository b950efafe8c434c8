"""An import cut in slices: between two of them the scene is as it was, whatever happens meanwhile."""

from __future__ import annotations

import bpy
import jobs
import pytest
from test_import_job import datablocks, video_job

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.source import Source
from blender_3r.scene import aside as aside_module
from blender_3r.scene import job as job_module
from blender_3r.scene.job import build_job, build_job_in_slices, finish, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.point_kind import can_be_cloud, other_kind


def seen(scene: bpy.types.Scene) -> tuple:
    """What an artist could notice."""
    objects = [(item.name, item.data and item.data.name, len(item.modifiers)) for item in scene.objects]
    points = [len(item.data.vertices) for item in scene.objects if item.type == "MESH"]
    size = scene.render.resolution_x, scene.frame_end, scene.camera
    return objects, points, size, [collection.name for collection in scene.collection.children_recursive]


def photo_job(folder, count=6):
    """Photos that Blender can load."""
    names = [f"IMG_{index}.png" for index in range(count)]
    for name in names:
        image = bpy.data.images.new("made", 64, 36)
        image.filepath_raw, image.file_format = str(folder / name), "PNG"
        image.save()
        bpy.data.images.remove(image)
    source = Source("photos", tuple(str(folder / name) for name in names))
    return jobs.make_job(folder / "job", Reconstruction(jobs.photos(names), kind="photos"), source)


def test_nothing_shows_until_the_last_step(tmp_path, empty_file):
    video_job(tmp_path)
    before = seen(empty_file)
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
        count += 1
        assert seen(empty_file) == before
        assert all(mesh.users == 0 for mesh in bpy.data.meshes)
    assert count >= 10
    assert len(result.points.data.vertices) == 2 * 36 * 64
    assert result.cameras[0] == empty_file.camera


def test_an_update_in_slices_shows_the_old_result_until_the_last_step(tmp_path, empty_file):
    job = video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    mesh_name = first.points.data.name
    before = seen(empty_file)
    jobs.add_plane_view(job, 2)
    for _ in build_job_in_slices(empty_file, read_job(tmp_path)):
        assert seen(empty_file) == before
    assert len(first.points.data.vertices) == 3 * 36 * 64
    assert [mesh.name for mesh in bpy.data.meshes] == [mesh_name]


@pytest.mark.parametrize("make", [video_job, photo_job])
def test_closed_at_any_step_it_leaves_nothing(make, tmp_path, empty_file):
    make(tmp_path)
    data = read_job(tmp_path / "job" if make is photo_job else tmp_path)
    before, scene_before = datablocks(), seen(empty_file)
    total = sum(1 for _ in build_job_in_slices(empty_file, data))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    for stop in range(1, total + 1):
        steps = build_job_in_slices(bpy.context.scene, data)
        for _ in range(stop):
            next(steps)
        steps.close()
        assert datablocks() == before, f"closed after step {stop} of {total}"
        assert seen(bpy.context.scene) == scene_before


def test_what_the_artist_makes_between_two_steps_stays(tmp_path, empty_file):
    video_job(tmp_path)
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    next(steps)
    mine = bpy.data.objects.new("mine", bpy.data.meshes.new("mine"))
    empty_file.collection.objects.link(mine)
    next(steps)
    steps.close()
    assert mine.name in empty_file.objects
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    next(steps)
    mine.name = "renamed"
    result = finish(steps)
    assert {"renamed", result.points.name} <= set(empty_file.objects.keys())


def test_an_error_at_the_end_leaves_what_the_artist_made_meanwhile(tmp_path, empty_file, monkeypatch):
    video_job(tmp_path)
    monkeypatch.setattr(job_module, "match_scene", lambda *_: 1 / 0)
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    next(steps)
    empty_file.collection.objects.link(bpy.data.objects.new("mine", None))
    before = datablocks()
    before["meshes"] = []
    with pytest.raises(ZeroDivisionError):
        finish(steps)
    assert datablocks() | {"node_groups": [], "materials": []} == before


@pytest.mark.parametrize("when", range(1, 12))
def test_a_purge_between_two_steps_lets_it_begin_again(when, tmp_path, empty_file):
    video_job(tmp_path)
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    for _ in range(when):
        next(steps)
    bpy.ops.outliner.orphans_purge(do_recursive=True)
    assert len(bpy.data.meshes) == 0
    assert len(finish(steps).points.data.vertices) == 2 * 36 * 64
    assert not [name for names in datablocks().values() for name in names if ".001" in name]


def test_the_same_job_imported_between_two_steps(tmp_path, empty_file):
    video_job(tmp_path)
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    next(steps)
    next(steps)
    other = import_job(empty_file, tmp_path)
    result = finish(steps)
    assert result.updated
    assert result.points == other.points
    assert len(bpy.data.meshes) == len(bpy.data.movieclips) + 1 == 1
    assert len(result.points.data.vertices) == 2 * 36 * 64


def test_deleted_between_two_steps_it_is_made_anew(tmp_path, empty_file):
    video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    names = datablocks()
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    next(steps)
    bpy.data.objects.remove(first.points)
    finish(steps)
    assert datablocks() == names


def test_what_the_user_gave_the_points_survives_an_update(tmp_path, empty_file):
    job = video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    mesh = first.points.data
    mesh.name, mesh.use_fake_user, mesh["note"] = "Dots", True, "mine"
    mesh.materials.append(bpy.data.materials.new("Mine"))
    twin = bpy.data.objects.new("twin", mesh)
    empty_file.collection.objects.link(twin)
    jobs.add_plane_view(job, 2)
    again = import_job(empty_file, tmp_path)
    assert again.points == first.points
    assert again.points.data == twin.data
    after = twin.data
    assert (after.name, after.use_fake_user, after["note"], after.materials[0].name) == ("Dots", True, "mine", "Mine")
    assert len(after.vertices) == 3 * 36 * 64


@pytest.mark.skipif(not can_be_cloud(), reason="this Blender's point clouds cannot be filled by Python")
def test_points_that_were_made_a_point_cloud_are_updated_as_one(tmp_path, empty_file):
    job = video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    cloud = other_kind(first.points)
    name = cloud.data.name
    jobs.add_plane_view(job, 2)
    again = import_job(empty_file, tmp_path)
    assert again.points == cloud
    assert again.point_count == 3 * 36 * 64
    assert "6,912 points" in again.text
    assert [block.name for block in bpy.data.pointclouds] == [name]
    assert len(bpy.data.meshes) == 0


def test_photos_bring_their_cameras_in_steps(tmp_path, empty_file):
    photo_job(tmp_path)
    own = bpy.data.images.load(str(tmp_path / "IMG_2.png"))
    steps = build_job_in_slices(empty_file, read_job(tmp_path / "job"))
    for _ in range(4):
        next(steps)
        assert len(empty_file.objects) == 0
    steps.close()
    assert list(bpy.data.images) == [own]
    result = build_job(empty_file, read_job(tmp_path / "job"))
    assert [camera.name for camera in result.cameras] == [f"IMG_{index}" for index in range(6)]
    assert all(camera.parent == result.root for camera in result.cameras)
    pictures = [camera.data.background_images[0].image for camera in result.cameras]
    assert pictures[2] == own
    assert len(set(pictures)) == len(bpy.data.images) == 6


def test_a_step_takes_one_array_at_most(tmp_path, empty_file, monkeypatch):
    """What is made aside is written by the steps of the points' own module, one `next` each."""
    video_job(tmp_path)
    made = []
    real = aside_module.write_points_in_slices

    def counted(block, cloud):
        for step in real(block, cloud):
            made.append(block.users)
            yield step

    monkeypatch.setattr(aside_module, "write_points_in_slices", counted)
    steps = build_job_in_slices(empty_file, read_job(tmp_path))
    for number in range(1, 5):
        next(steps)
        assert len(made) == number
    finish(steps)
    assert set(made) == {0}
