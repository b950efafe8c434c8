"""The plate: the right frame at the right time, the right way up, in a scene that fits it."""

from __future__ import annotations

import math
import struct

import bpy
import jobs
import numpy as np
import pytest

from blender_3r.engine.reconstruction import Reconstruction, View
from blender_3r.engine.source import Source
from blender_3r.scene import compat
from blender_3r.scene.exif import orientation
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.plate import photo_paths, split_fps


def gray_of(number: int) -> float:
    """The brightness (sRGB, 0..1) that marks a frame."""
    return 0.1 + 0.1 * (number % 9)


def write_picture(path, gray: float, size: tuple[int, int] = (64, 36)) -> None:
    picture = bpy.data.images.new("made", *size)
    picture.pixels.foreach_set(np.tile(np.float32([gray, gray, gray, 1.0]), size[0] * size[1]))
    picture.filepath_raw = str(path)
    picture.file_format = "JPEG" if path.suffix == ".jpg" else "PNG"
    picture.save()
    bpy.data.images.remove(picture)


def write_sequence(folder, numbers) -> Source:
    files = [folder / f"shot.{number:04d}.png" for number in numbers]
    for number, path in zip(numbers, files, strict=True):
        write_picture(path, gray_of(number))
    return Source("sequence", tuple(map(str, files)), tuple(numbers))


def write_movie(folder, count: int) -> Source:
    """A movie whose frame n (from 0) is as bright as gray_of(n)."""
    write_sequence(folder, range(count))
    scene = bpy.data.scenes.new("movie")
    scene.render.resolution_x, scene.render.resolution_y = 64, 36
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.view_settings.view_transform = "Standard"
    scene.camera = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    scene.collection.objects.link(scene.camera)
    scene.frame_start, scene.frame_end = 0, count - 1
    scene.world = bpy.data.worlds.new("light")
    if scene.world.node_tree is None:
        scene.world.use_nodes = True
    light = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
    for number in range(count):
        gray = gray_of(number)
        light.inputs["Color"].default_value = [((gray + 0.055) / 1.055) ** 2.4] * 3 + [1.0]
        light.inputs["Color"].keyframe_insert("default_value", frame=number)
    compat.use_movie_output(scene)
    scene.render.ffmpeg.format = "MPEG4"
    scene.render.ffmpeg.codec = "H264"
    scene.render.filepath = str(folder / "movie.mp4")
    bpy.ops.render.render(animation=True, scene=scene.name)
    bpy.data.scenes.remove(scene)
    return Source("movie", (str(folder / "movie.mp4"),))


def seen_at(scene, clip, frames) -> list[float]:
    """Brightness of the clip at scene frames, through Blender's own reader (the compositor)."""
    probe = bpy.data.scenes.new("probe")
    probe.camera = scene.camera
    probe.render.resolution_x, probe.render.resolution_y = 64, 36
    probe.render.engine = "CYCLES"
    probe.cycles.samples = 1
    probe.view_settings.view_transform = "Standard"
    tree, result = compat.compositor(probe)
    node = tree.nodes.new("CompositorNodeMovieClip")
    node.clip = clip
    tree.links.new(node.outputs["Image"], result)
    probe.render.image_settings.file_format = "PNG"
    probe.frame_start, probe.frame_end = min(frames), max(frames)
    probe.render.filepath = bpy.app.tempdir + "seen_####"
    bpy.ops.render.render(animation=True, scene=probe.name)
    grays = []
    for frame in frames:
        picture = bpy.data.images.load(f"{bpy.app.tempdir}seen_{frame:04d}.png")
        pixels = np.empty(64 * 36 * 4, np.float32)
        picture.pixels.foreach_get(pixels)
        grays.append(float(pixels.reshape(36, 64, 4)[18, 32, 0]))
        bpy.data.images.remove(picture)
    return grays


def test_movie_frame_n_is_shown_at_scene_frame_n_plus_1(tmp_path, empty_file):
    source = write_movie(tmp_path, 6)
    jobs.make_job(tmp_path / "job", Reconstruction(jobs.walk(6), fps=24.0), source)
    result = import_job(empty_file, tmp_path / "job")
    assert result.warnings == []
    clip = result.cameras[0].data.background_images[0].clip
    assert seen_at(empty_file, clip, range(1, 7)) == pytest.approx([gray_of(n) for n in range(6)], abs=0.03)
    assert (empty_file.frame_start, empty_file.frame_end) == (1, 6)


def test_sequence_keeps_its_numbers_and_gaps(tmp_path, empty_file):
    numbers = [1001, 1002, 1004, 1005]
    source = write_sequence(tmp_path, numbers)
    views = jobs.walk(4)
    for view, number in zip(views, numbers, strict=True):
        view.file, view.frame = f"shot.{number}.png", number
    jobs.make_job(tmp_path / "job", Reconstruction(views, fps=25.0), source)
    result = import_job(empty_file, tmp_path / "job")
    clip = result.cameras[0].data.background_images[0].clip
    assert seen_at(empty_file, clip, numbers) == pytest.approx([gray_of(n) for n in numbers], abs=0.01)
    assert (empty_file.frame_start, empty_file.frame_end) == (1001, 1005)
    curve = compat.fcurves_of(result.cameras[0], "").find("location", index=2)
    assert [key.co.x for key in curve.keyframe_points] == numbers


def test_plate_lies_behind_the_points_and_is_attached_once(tmp_path, empty_file):
    source = write_sequence(tmp_path, range(1, 4))
    views = [View(f"shot.{v.frame + 1:04d}.png", v.frame + 1, v.intrinsics, v.world_from_camera) for v in jobs.walk(3)]
    jobs.make_job(tmp_path / "job", Reconstruction(views), source)
    camera = import_job(empty_file, tmp_path / "job").cameras[0]
    camera.data.background_images[0].alpha = 0.5
    import_job(empty_file, tmp_path / "job")
    (background,) = camera.data.background_images
    assert camera.data.show_background_images
    assert (background.display_depth, background.alpha) == ("BACK", 0.5)  # the user's alpha stays
    assert len(bpy.data.movieclips) == 1
    assert not background.clip_user.use_render_undistorted


def test_lens_is_on_the_clip_and_a_distorted_plate_is_shown_undistorted(tmp_path, empty_file):
    source = write_sequence(tmp_path, range(1, 4))
    lens = jobs.lens(fx=60, cx=30, cy=16, k1=-0.1, k2=0.02, p1=0.003, p2=-0.004)
    views = [View(f"shot.{v.frame + 1:04d}.png", v.frame + 1, lens, v.world_from_camera) for v in jobs.walk(3)]
    jobs.make_job(tmp_path / "job", Reconstruction(views), source)
    (background,) = import_job(empty_file, tmp_path / "job").cameras[0].data.background_images
    tracking = background.clip.tracking.camera
    assert background.clip_user.use_render_undistorted
    assert tracking.distortion_model == "BROWN"
    assert tracking.focal_length_pixels == pytest.approx(60, abs=1e-3)
    assert tuple(tracking.principal_point_pixels) == pytest.approx((30, 20), abs=1e-3)
    brown = (tracking.brown_k1, tracking.brown_k2, tracking.brown_p1, tracking.brown_p2)
    assert brown == pytest.approx((-0.1, 0.02, -0.004, -0.003))


def test_missing_footage_is_told_and_does_not_stop_the_import(tmp_path, empty_file):
    jobs.make_job(tmp_path, Reconstruction(jobs.walk(3)))
    result = import_job(empty_file, tmp_path)
    assert len(result.cameras[0].data.background_images) == 0
    assert "missing.mp4" in result.warnings[0]


def test_unreadable_footage_is_told_and_does_not_stop_the_import(tmp_path, empty_file):
    (tmp_path / "torn.mp4").write_bytes(b"not a movie")
    jobs.make_job(tmp_path / "job", Reconstruction(jobs.walk(3)), Source("movie", (str(tmp_path / "torn.mp4"),)))
    result = import_job(empty_file, tmp_path / "job")
    assert result.points is None
    assert "torn.mp4" in result.warnings[0]
    assert len(bpy.data.movieclips) == 0


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(24, (24, 1.0)), (25.0, (25, 1.0)), (24000 / 1001, (24, 1.001)), (23.976, (24, 1.001)), (29.97, (30, 1.001))],
)
def test_frame_rates(fps, expected):
    assert split_fps(fps) == expected


@pytest.mark.parametrize("fps", [12.5, 0.4, 119.88, 14.985])
def test_odd_frame_rates_are_exact(fps):
    whole, base = split_fps(fps)
    assert whole / base == pytest.approx(fps, rel=1e-4)


def test_scene_is_matched_only_when_wanted(tmp_path, empty_file):
    jobs.make_job(tmp_path, Reconstruction(jobs.walk(7, jobs.lens(320, 200, 300, fy=250)), fps=24000 / 1001))
    render = empty_file.render
    before = (render.resolution_x, render.fps, empty_file.frame_end, empty_file.view_settings.view_transform)
    import_job(empty_file, tmp_path, ImportOptions(match_scene=False))
    assert before == (render.resolution_x, render.fps, empty_file.frame_end, empty_file.view_settings.view_transform)
    import_job(empty_file, tmp_path)
    assert (render.resolution_x, render.resolution_y, render.resolution_percentage) == (320, 200, 100)
    assert (render.pixel_aspect_x, render.pixel_aspect_y) == pytest.approx((1.0, 1.2))
    assert (render.fps, render.fps_base) == (24, pytest.approx(1.001))
    assert (empty_file.frame_start, empty_file.frame_end, empty_file.frame_current) == (1, 7, 1)
    assert empty_file.view_settings.view_transform == "Standard"


def exif(turn: int, order: str = "<") -> bytes:
    """An APP1 segment that holds nothing but an orientation."""
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, turn, 0, 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_read_from_a_jpeg(turn, order, tmp_path):
    path = tmp_path / "photo.jpg"
    write_picture(path, 0.5)
    stored = path.read_bytes()
    assert orientation(path) == 1
    path.write_bytes(stored[:2] + exif(turn, order) + stored[2:])
    assert orientation(path) == turn


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\x00\x20Exif\0\0II*\0\xff\xff\xff\xff", b"GIF89a"]
)
def test_orientation_of_what_is_no_photo_is_upright(content, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert orientation(path) == 1
    assert orientation(tmp_path / "nothing.jpg") == 1


UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("turn", UPRIGHT)
def test_every_orientation_is_turned_upright(turn, tmp_path, empty_file):
    """Blender mirrors a background first and then turns it clockwise."""
    write_picture(tmp_path / "a.jpg", 0.5)
    stored = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(stored[:2] + exif(turn) + stored[2:])
    lens = jobs.lens(36, 64) if turn > 4 else jobs.lens()
    source = Source("photos", (str(tmp_path / "a.jpg"),))
    jobs.make_job(tmp_path / "job", Reconstruction(jobs.photos(["a.jpg"], lens), kind="photos"), source)
    (background,) = import_job(empty_file, tmp_path / "job").cameras[0].data.background_images
    pixels = np.arange(6).reshape(2, 3)
    shown = np.fliplr(pixels) if background.use_flip_x else pixels
    shown = np.rot90(shown, -round(background.rotation / (math.pi / 2)))
    assert shown.tolist() == UPRIGHT[turn](pixels).tolist()
    assert background.scale == pytest.approx(64 / 36 if turn > 4 else 1.0)


def test_photos_show_their_own_picture_upright(tmp_path, empty_file):
    folder = tmp_path / "größe 1"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        write_picture(folder / name, 0.5)
    stored = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(stored[:2] + exif(6) + stored[2:])
    views = jobs.photos(["a.jpg", "b.jpg", "c.jpg"])
    views[1].intrinsics = jobs.lens(36, 64)
    source = Source("photos", tuple(str(folder / name) for name in ("a.jpg", "b.jpg", "c.jpg")))
    jobs.make_job(tmp_path / "job", Reconstruction(views, kind="photos"), source)
    result = import_job(empty_file, tmp_path / "job")
    first, second, third = (camera.data for camera in result.cameras)
    assert first.background_images[0].rotation == 0
    assert second.background_images[0].rotation == pytest.approx(math.pi / 2)
    assert second.background_images[0].scale == pytest.approx(64 / 36)
    assert len(third.background_images) == 0
    assert result.warnings == ["1 of 3 pictures are not there, so their cameras have no background."]
    import_job(empty_file, tmp_path / "job")
    assert len(first.background_images) == len(second.background_images) == 1
    assert len(bpy.data.images) == 2


def test_pictures_of_one_name_in_several_folders_are_told_apart(tmp_path, empty_file):
    files = [tmp_path / "set" / folder / "take.jpg" for folder in ("", "a", "b/a")]
    for number, path in enumerate(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, 0.1 * number)
    source = Source("photos", tuple(str(path) for path in reversed(files)))
    views = jobs.photos(["take.jpg", "a/take.jpg", "b/a/take.jpg", "c/take.jpg"])
    assert photo_paths(views, source) == [*map(str, files), None]


def test_rig_cameras_show_their_movie_at_the_chosen_frame(tmp_path, empty_file):
    source = write_movie(tmp_path, 4)
    source = Source("rig", source.files, rig_frame=2)
    jobs.make_job(tmp_path / "job", Reconstruction(jobs.photos(["movie.mp4"]), kind="photos"), source)
    (background,) = import_job(empty_file, tmp_path / "job").cameras[0].data.background_images
    assert background.image.source == "MOVIE"
    assert (background.image_user.frame_duration, background.image_user.frame_offset) == (1, 2)
