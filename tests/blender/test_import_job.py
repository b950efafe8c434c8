"""A job folder into a scene, again and again; by script and by operator."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest
from mathutils import Matrix

from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Check, Reconstruction
from blender_3r.engine.source import Source
from blender_3r.operators import import_job as operator_module
from blender_3r.scene import aside as aside_module
from blender_3r.scene import tags
from blender_3r.scene.job import ImportOptions, build_job, import_job, push_undo
from blender_3r.scene.jobdata import read_job

KINDS = ("objects", "collections", "cameras", "meshes", "actions", "movieclips", "images", "node_groups", "materials")


def datablocks() -> dict[str, list[str]]:
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in KINDS}


def video_job(folder, count=5, views=2, **values):
    source = Source("movie", (str(folder / "my shot.mp4"),))
    job = jobs.make_job(folder, Reconstruction(jobs.walk(count), method="classic", fps=24.0, **values), source)
    for index in range(views):
        jobs.add_plane_view(job, index)
    return job


def test_everything_hangs_under_one_root_in_one_collection(tmp_path, empty_file):
    video_job(tmp_path, reproj_error_px=0.4)
    result = import_job(empty_file, tmp_path)
    assert [c.name for c in empty_file.collection.children] == ["my shot"]
    assert sorted(c.name for c in result.collection.children) == ["my shot Cameras", "my shot Points"]
    assert result.root.users_collection == (result.collection,)
    assert {child.name for child in result.root.children} == {"my shot Camera", "my shot Points"}
    assert empty_file.camera == result.cameras[0]
    assert not result.updated
    assert result.text == "Imported my shot: an animated camera, 4,608 points."
    facts = {name: result.root[f"threer_{name}"] for name in ("method", "engine_version", "solved", "total", "metric")}
    assert facts == {"method": "classic", "engine_version": "0.1.0", "solved": 5, "total": 5, "metric": False}
    assert result.root["threer_error_px"] == pytest.approx(0.4)
    assert result.root["threer_job"] == str(tmp_path.resolve())


def test_importing_again_makes_no_second_anything(tmp_path, empty_file):
    video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    before = datablocks()
    again = import_job(empty_file, tmp_path / ".." / tmp_path.name)
    assert again.updated
    assert (again.root, again.cameras, again.points) == (first.root, first.cameras, first.points)
    assert datablocks() == before


def test_a_growing_job_is_updated_in_place(tmp_path, empty_file):
    job = video_job(tmp_path, views=0)
    first = import_job(empty_file, tmp_path)
    assert first.points is None
    jobs.add_plane_view(job, 0)
    assert len(import_job(empty_file, tmp_path).points.data.vertices) == 36 * 64
    jobs.add_plane_view(job, 1)
    assert len(import_job(empty_file, tmp_path).points.data.vertices) == 2 * 36 * 64
    job.write_cameras(Reconstruction(jobs.walk(8)))
    again = import_job(empty_file, tmp_path)
    assert empty_file.frame_end == 8
    assert len(again.cameras) == 1
    assert not [name for names in datablocks().values() for name in names if ".001" in name]


def test_what_the_user_renamed_and_moved_is_found_by_its_tag(tmp_path, empty_file):
    video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    elsewhere = bpy.data.collections.new("Mine")
    empty_file.collection.children.link(elsewhere)
    elsewhere.objects.link(first.points)
    bpy.data.collections["my shot Points"].objects.unlink(first.points)
    first.root.name, first.cameras[0].name, first.collection.name = "Set", "Hero", "Shot 12"
    again = import_job(empty_file, tmp_path)
    assert (again.root.name, again.cameras[0].name, again.collection.name) == ("Set", "Hero", "Shot 12")
    assert again.points.users_collection == (elsewhere,)


def test_deleted_and_imported_again_gets_its_names_back(tmp_path, empty_file):
    video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    names = datablocks()
    for item in (*first.cameras, first.points, first.root):
        for collection in item.users_collection:
            collection.objects.unlink(item)
    empty_file.collection.children.unlink(first.collection)
    empty_file.camera = None
    again = import_job(empty_file, tmp_path)
    assert not again.updated
    assert datablocks() == names


def test_root_transform_of_the_user_stays_untouched_one_follows(tmp_path, empty_file):
    job = video_job(tmp_path)
    first = import_job(empty_file, tmp_path)
    guessed = first.root.matrix_basis.copy()
    moved = jobs.walk(5)
    for view in moved:
        view.world_from_camera[:3, 3] += (10, 0, 0)
    job.write_cameras(Reconstruction(moved))
    import_job(empty_file, tmp_path)
    assert first.root.matrix_basis != guessed
    mine = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.3, 4, "X") @ Matrix.Scale(7, 4)
    first.root.matrix_basis = mine
    import_job(empty_file, tmp_path)
    assert np.allclose(first.root.matrix_basis, mine, atol=1e-5)


def test_metric_worlds_keep_their_size_in_scene_units(tmp_path, empty_file):
    video_job(tmp_path, metric=True)
    empty_file.unit_settings.scale_length = 0.01  # one Blender unit is a centimetre
    root = import_job(empty_file, tmp_path).root
    assert tuple(root.scale) == pytest.approx((100, 100, 100), rel=1e-4)
    empty_file.unit_settings.scale_length = 1.0
    import_job(empty_file, tmp_path)
    assert tuple(root.scale) == pytest.approx((1, 1, 1), rel=1e-5)


def test_cameras_no_longer_solved_are_removed(tmp_path, empty_file):
    views = jobs.photos(["a.jpg", "b.jpg", "c.jpg"])
    job = jobs.make_job(tmp_path, Reconstruction(views, kind="photos"))
    first = import_job(empty_file, tmp_path)
    assert [camera.name for camera in first.cameras] == ["a", "b", "c"]
    assert [tuple(round(v, 4) for v in camera.location) for camera in first.cameras][2] == (0.6, 0.0, 0.0)
    views[1].world_from_camera = None
    job.write_cameras(Reconstruction(views, kind="photos"))
    again = import_job(empty_file, tmp_path)
    assert [camera.name for camera in again.cameras] == ["a", "c"]
    assert sorted(camera.name for camera in bpy.data.cameras) == ["a", "c"]
    assert again.cameras[0] == first.cameras[0]


def test_two_jobs_and_the_users_own_objects_do_not_meet(tmp_path, empty_file):
    own = bpy.data.objects.new("my shot", None)
    empty_file.collection.objects.link(own)
    video_job(tmp_path / "a")
    video_job(tmp_path / "b")
    first = import_job(empty_file, tmp_path / "a")
    second = import_job(empty_file, tmp_path / "b")
    import_job(empty_file, tmp_path / "a")
    assert len({own, first.root, second.root}) == 3
    assert len(empty_file.objects) == 7
    assert own.name == "my shot"


def test_scene_camera_of_the_user_is_kept_unless_the_scene_is_matched(tmp_path, empty_file):
    own = bpy.data.objects.new("own", bpy.data.cameras.new("own"))
    empty_file.collection.objects.link(own)
    empty_file.camera = own
    video_job(tmp_path)
    import_job(empty_file, tmp_path, ImportOptions(match_scene=False))
    assert empty_file.camera == own
    assert import_job(empty_file, tmp_path).cameras[0] == empty_file.camera


def test_failed_checks_are_facts_of_the_root(tmp_path, empty_file):
    checks = [Check("focal", False, "The focal length is not certain."), Check("overlap", True, "fine")]
    jobs.make_job(tmp_path, Reconstruction(jobs.walk(3), checks=checks, focal_is_certain=False))
    root = import_job(empty_file, tmp_path).root
    assert root["threer_failed_checks"] == "The focal length is not certain."
    assert root["threer_focal_is_certain"] is False


# -- what cannot be imported leaves no trace


def no_job(folder):
    folder.mkdir(exist_ok=True)


def no_cameras(folder):
    JobFolder.create(folder).write_json("request", {})


def nothing_solved(folder):
    jobs.make_job(folder, Reconstruction(jobs.walk(3, missing=(0, 1, 2))))


def torn_cameras(folder):
    path = video_job(folder).path / "cameras.json"
    path.write_text(path.read_text()[:500])


def cameras_without_images(folder):
    (video_job(folder).path / "cameras.json").write_text('{"kind": "video"}')


def torn_array(folder):
    path = video_job(folder).path / "views" / "000001" / "depth.npy"
    path.write_bytes(path.read_bytes()[:300])


def missing_array(folder):
    (video_job(folder).path / "views" / "000000" / "color.npy").unlink()


def torn_request(folder):
    video_job(folder)
    (folder / "request.json").write_text("{")


def mirrored_pose(folder):
    views = jobs.walk(3)
    views[1].world_from_camera[:3, 0] *= -1
    jobs.make_job(folder, Reconstruction(views))


def no_focal(folder):
    jobs.make_job(folder, Reconstruction(jobs.walk(3, jobs.lens(fx=-5.0))))


def no_frame_number(folder):
    views = jobs.walk(3)
    views[2].frame = None
    jobs.make_job(folder, Reconstruction(views))


DAMAGE = (
    no_job,
    no_cameras,
    nothing_solved,
    torn_cameras,
    cameras_without_images,
    torn_array,
    missing_array,
    torn_request,
    mirrored_pose,
    no_focal,
    no_frame_number,
)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda function: function.__name__)
def test_damage_is_a_sentence_and_leaves_nothing(damage, tmp_path, empty_file):
    before = datablocks()
    damage(tmp_path / "job")
    with pytest.raises(EngineError) as failure:
        import_job(empty_file, tmp_path / "job")
    assert failure.value.message.endswith(".")
    assert failure.value.hint
    assert datablocks() == before


def test_damage_leaves_what_was_imported_before(tmp_path, empty_file):
    video_job(tmp_path)
    result = import_job(empty_file, tmp_path)
    before = datablocks()
    torn_array(tmp_path)
    with pytest.raises(EngineError):
        import_job(empty_file, tmp_path)
    assert datablocks() == before
    assert len(result.points.data.vertices) == 2 * 36 * 64


def test_an_error_while_building_leaves_nothing(tmp_path, empty_file, monkeypatch):
    video_job(tmp_path)
    before = datablocks()

    def out_of_memory(mesh, cloud):
        yield
        raise MemoryError

    monkeypatch.setattr(aside_module, "write_points_in_slices", out_of_memory)
    with pytest.raises(MemoryError):
        import_job(empty_file, tmp_path)
    assert datablocks() == before


def test_points_in_edit_mode_are_left_alone(tmp_path, empty_file):
    video_job(tmp_path)
    result = import_job(empty_file, tmp_path)
    bpy.context.view_layer.objects.active = result.points
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(EngineError, match="being edited"):
        import_job(empty_file, tmp_path)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert import_job(empty_file, tmp_path).updated


def test_cameras_json_alone_can_be_imported(tmp_path, empty_file):
    job = video_job(tmp_path)
    (job.path / "request.json").unlink()
    result = import_job(empty_file, tmp_path)
    assert (empty_file.frame_start, empty_file.frame_end) == (1, 5)  # "frame_0000": a movie
    assert "not there" in result.warnings[0]


def test_reading_and_building_can_be_apart(tmp_path, empty_file):
    video_job(tmp_path)
    data = read_job(tmp_path, point_budget=1000)
    assert 900 <= len(data.cloud) <= 1000
    result = build_job(empty_file, data)
    assert len(result.points.data.vertices) == len(data.cloud)


def test_tags_tell_jobs_and_roles_apart(empty_file):
    block = bpy.data.meshes.new("m")
    tags.set_tag(block, "job", "cloud")
    assert tags.find(bpy.data.meshes, "job", "cloud") == block
    assert tags.find(bpy.data.meshes, "other", "cloud") is None
    assert tags.find(bpy.data.meshes, "job", "lens") is None
    tags.remove_unused("other")
    assert len(bpy.data.meshes) == 1
    tags.remove_unused("job")
    assert len(bpy.data.meshes) == 0


# -- the operator


@pytest.fixture
def operator():
    for cls in operator_module.classes:
        bpy.utils.register_class(cls)
    yield bpy.ops.threer.import_job
    for cls in operator_module.classes:
        bpy.utils.unregister_class(cls)


def test_operator_imports_and_updates(operator, tmp_path, empty_file):
    video_job(tmp_path / "größe 1")
    assert operator(directory=str(tmp_path / "größe 1"), point_budget=500) == {"FINISHED"}
    assert operator(directory=f"{tmp_path / 'größe 1'}/", match_scene=False) == {"FINISHED"}
    assert len(bpy.data.objects) == 3
    assert len(bpy.data.meshes[0].vertices) == 2 * 36 * 64


def test_operator_tells_what_is_wrong(operator, tmp_path, empty_file):
    with pytest.raises(RuntimeError, match=r"There is no reconstruction in .*Choose the folder"):
        operator(directory=str(tmp_path))
    with pytest.raises(RuntimeError, match="No job folder is chosen"):
        operator()


def test_import_is_one_undo_step(operator, tmp_path, empty_file):
    video_job(tmp_path)
    bpy.ops.ed.undo_push(message="before")
    operator("EXEC_DEFAULT", True, directory=str(tmp_path))
    assert len(bpy.data.objects) == 3
    bpy.ops.ed.undo()
    assert datablocks()["objects"] == datablocks()["meshes"] == datablocks()["cameras"] == []
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 3


def test_import_without_operator_becomes_an_undo_step_by_push(tmp_path, empty_file):
    video_job(tmp_path)
    bpy.ops.ed.undo_push(message="before")
    import_job(empty_file, tmp_path)
    push_undo("Import my shot")
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 0
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 3
