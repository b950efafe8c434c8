"""Photos: stepping from camera to camera, and the one camera that jumps from photo to photo."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import extension
import jobs
import pytest
from test_panel import Layout
from test_scene_cameras import keys, largest_miss
from test_scene_plate import exif, write_picture

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.source import Source
from blender_3r.panels.photos import THREER_PT_photos
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.plate import look_through
from blender_3r.scene.slideshow import fitted_lens

NAMES = ("img_2.jpg", "img_10.jpg", "img_1.jpg")
LENSES = (jobs.lens(64, 36, 60, cx=30), jobs.lens(36, 64, 50, cy=30), jobs.lens(40, 40, 45))


@pytest.fixture
def switched_on():
    extension.switch_on()
    yield
    extension.switch_off()


def photo_job(folder, names=NAMES, missing=()):
    """Photos of three sizes, the second one stored on its side."""
    folder.mkdir(exist_ok=True)
    views = jobs.photos(list(names))
    for view, lens in zip(views, LENSES, strict=False):
        view.intrinsics = lens
        stored = (lens.width, lens.height) if lens.height < lens.width else (lens.height, lens.width)
        if view.file not in missing:
            write_picture(folder / view.file, 0.5, stored)
            if stored != (lens.width, lens.height):
                data = (folder / view.file).read_bytes()
                (folder / view.file).write_bytes(data[:2] + exif(6) + data[2:])
    source = Source("photos", tuple(str(folder / name) for name in names))
    return jobs.make_job(folder / "job", Reconstruction(views, kind="photos"), source), views


def test_slideshow_stands_and_looks_where_each_photo_was_taken(tmp_path, empty_file):
    job, views = photo_job(tmp_path)
    result = import_job(empty_file, job.path, ImportOptions(slideshow=True))
    camera = result.slideshow
    assert empty_file.camera == camera
    assert (empty_file.frame_start, empty_file.frame_end) == (1, 3)
    size = empty_file.render.resolution_x, empty_file.render.resolution_y
    assert size == (64, 36)
    for number, view in enumerate(views):
        empty_file.frame_set(number + 1)
        seen = type(view)(view.file, None, fitted_lens(view.intrinsics, size), view.world_from_camera)
        assert largest_miss(empty_file, camera, seen, result.root) < 0.01
    assert {key.interpolation for key in keys(camera, "location")} == {"CONSTANT"}
    assert [key.co.x for key in keys(camera, "location")] == [1, 2, 3]


def test_slideshow_shows_the_photo_of_its_frame_only(tmp_path, empty_file):
    job, _ = photo_job(tmp_path)
    backgrounds = import_job(empty_file, job.path, ImportOptions(slideshow=True)).slideshow.data.background_images
    assert [bpy.path.basename(item.image.filepath) for item in backgrounds] == list(NAMES)
    for frame in (1, 2, 3):
        empty_file.frame_set(frame)
        assert [item.show_background_image for item in backgrounds] == [frame == 1, frame == 2, frame == 3]
    assert len(bpy.data.images) == 3  # shared with the photos' own cameras


def test_photos_are_fitted_into_the_picture_of_the_first(tmp_path, empty_file):
    """Blender fits the stored picture, then scales and turns it."""
    job, _ = photo_job(tmp_path)
    _, turned, square = import_job(empty_file, job.path, ImportOptions(slideshow=True)).slideshow.data.background_images
    assert (turned.frame_method, square.frame_method) == ("FIT", "FIT")
    stored_height = 36 * min(64 / 64, 36 / 36) * turned.scale  # of the 64 x 36 picture that lies on its side
    assert stored_height == pytest.approx(fitted_lens(LENSES[1], (64, 36)).fx / LENSES[1].fx * 36)
    assert square.scale == 1.0


def test_a_photo_that_is_gone_leaves_its_frame_empty(tmp_path, empty_file):
    job, _ = photo_job(tmp_path, missing=("img_10.jpg",))
    backgrounds = import_job(empty_file, job.path, ImportOptions(slideshow=True)).slideshow.data.background_images
    shown = []
    for frame in (1, 2, 3):
        empty_file.frame_set(frame)
        shown.append([bpy.path.basename(item.image.filepath) for item in backgrounds if item.show_background_image])
    assert shown == [["img_2.jpg"], [], ["img_1.jpg"]]


def test_importing_again_updates_the_slideshow_and_makes_no_second_one(tmp_path, empty_file):
    job, views = photo_job(tmp_path)
    first = import_job(empty_file, job.path, ImportOptions(slideshow=True))
    first.slideshow.data.background_images[0].alpha = 0.4
    views[2].world_from_camera = None
    job.write_cameras(Reconstruction(views, kind="photos"))
    again = import_job(empty_file, job.path)  # what is there stays, without the option too
    assert again.slideshow == first.slideshow
    assert [key.co.x for key in keys(again.slideshow, "location")] == [1, 2]
    assert len(again.slideshow.data.background_images) == 2
    assert again.slideshow.data.background_images[0].alpha == pytest.approx(0.4)
    assert len([item for item in bpy.data.objects if item.type == "CAMERA"]) == 3
    assert "2 cameras, a slideshow camera" in again.text


def test_no_slideshow_without_wish_nor_for_footage(tmp_path, empty_file):
    job, _ = photo_job(tmp_path)
    assert import_job(empty_file, job.path).slideshow is None
    jobs.make_job(tmp_path / "video", Reconstruction(jobs.walk(3)))
    assert import_job(empty_file, tmp_path / "video", ImportOptions(slideshow=True)).slideshow is None


def test_looking_through_a_photo_and_back_through_the_slideshow(tmp_path, empty_file):
    job, _ = photo_job(tmp_path)
    result = import_job(empty_file, job.path, ImportOptions(slideshow=True))
    look_through(empty_file, result.cameras[1])
    assert empty_file.render.resolution_x == 36
    look_through(empty_file, result.slideshow)
    assert (empty_file.render.resolution_x, empty_file.render.resolution_y) == (64, 36)


# -- stepping


def test_step_goes_through_the_photos_by_number_and_around(switched_on, tmp_path, empty_file):
    job, _ = photo_job(tmp_path)
    import_job(empty_file, job.path, ImportOptions(match_scene=False))
    empty_file.camera = None
    seen = []
    for _ in range(4):
        assert bpy.ops.threer.step_camera() == {"FINISHED"}
        seen.append((empty_file.camera["threer_view"], empty_file.render.resolution_x))
    assert seen == [("img_1.jpg", 40), ("img_2.jpg", 64), ("img_10.jpg", 36), ("img_1.jpg", 40)]
    bpy.ops.threer.step_camera(step=-1)
    assert empty_file.camera["threer_view"] == "img_10.jpg"


def test_step_begins_with_the_selected_camera_and_turns_the_view(switched_on, tmp_path, empty_file):
    job, _ = photo_job(tmp_path)
    chosen = import_job(empty_file, job.path).cameras[1]
    empty_file.camera = None
    bpy.context.view_layer.objects.active = chosen
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.threer.step_camera()
    assert empty_file.camera == chosen
    assert area.spaces.active.region_3d.view_perspective == "CAMERA"


def test_step_stays_in_the_reconstruction_that_is_meant(switched_on, tmp_path, empty_file):
    for name in ("a", "b"):
        job, _ = photo_job(tmp_path / name, ("1.jpg", "2.jpg"))
        result = import_job(empty_file, job.path)
    bpy.context.view_layer.objects.active = result.root
    bpy.ops.threer.step_camera()
    bpy.ops.threer.step_camera()
    assert empty_file.camera in result.cameras


def test_step_needs_photos(switched_on, tmp_path, empty_file):
    assert not bpy.ops.threer.step_camera.poll()
    jobs.make_job(tmp_path, Reconstruction(jobs.walk(3)))
    import_job(empty_file, tmp_path)
    assert not bpy.ops.threer.step_camera.poll()


def test_panel_tells_which_photo_is_seen(switched_on, tmp_path, empty_file):
    def drawn():
        layout = Layout()
        THREER_PT_photos.draw(SimpleNamespace(layout=layout), bpy.context)
        return layout.lines

    assert not THREER_PT_photos.poll(bpy.context)
    job, _ = photo_job(tmp_path)
    result = import_job(empty_file, job.path)
    empty_file.camera = None
    assert THREER_PT_photos.poll(bpy.context)
    assert "[threer.step_camera: Look Through Photos]" in drawn()
    empty_file.camera = result.cameras[1]
    assert "[threer.step_camera: img_10 (3 of 3)]" in drawn()


def test_page_keys_step_and_are_taken_back():
    def bound():
        keymap = bpy.context.window_manager.keyconfigs.addon.keymaps["3D View"]
        return [(i.type, i.properties.step) for i in keymap.keymap_items if i.idname == "threer.step_camera"]

    extension.switch_on()
    assert bound() == [("PAGE_DOWN", 1), ("PAGE_UP", -1)]
    extension.switch_off()
    assert bound() == []
