"""What the compositor of a shot shows, pixel by pixel: the plate unshifted, the shadow, the render, the lens."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
import shots

from blender_3r.scene import tags
from blender_3r.scene.depth_images import load_sequence
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.shot import ShotOptions, set_up_shot


def set_up(job, **options) -> None:
    scene = bpy.context.scene
    import_job(scene, job.path, ImportOptions())
    points = tags.objects_of(scene, str(job.path))["points", ""]
    points.hide_render = True
    result = set_up_shot(scene, bpy.context.view_layer, read_job(job.path, 0), ShotOptions(**options))
    assert result.warnings == []


def rendered(tmp_path, frame: int) -> np.ndarray:
    """(h, w, 3) 0..1 sRGB, of a PNG file."""
    scene = bpy.context.scene
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(tmp_path / "render.png")
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    return shots.read_pixels(tmp_path / "render.png")[..., :3]


@pytest.mark.parametrize("frame", [101, 103])
def test_the_plate_is_where_it_was(tmp_path, frame):
    """Outside the render and its shadow every pixel is the plate's, at the right frame, within a step of 8 bits."""
    set_up(shots.make_shot(tmp_path))
    picture = rendered(tmp_path, frame)
    same = (np.abs(picture - shots.texture(frame)) <= 1.01 / 255).all(axis=-1)
    assert same[: shots.HEIGHT // 4].all()
    assert 0.6 < same.mean() < 0.99
    darker = picture.mean(axis=-1) < shots.texture(frame).mean(axis=-1) - 0.1
    assert darker.sum() > 10  # the shadow


def test_undistorted_plates_lie_under_the_render(tmp_path):
    job = shots.make_shot(tmp_path, k1=-0.1)
    shots.write_plates(job)
    set_up(job, catcher="NONE", test_object=False)
    picture = rendered(tmp_path, 102)
    np.testing.assert_allclose(picture, shots.texture(602), atol=1.01 / 255)


def test_the_lens_bends_the_render_and_not_the_plate(tmp_path):
    """An ST-map that shifts by 7 pixels: the render moves by that, the footage stays as it was filmed."""
    job = shots.make_shot(tmp_path, k1=-0.1)
    shots.write_plates(job, shift=0.0)
    set_up(job, lens="RENDER")
    straight = rendered(tmp_path, 102)
    shots.write_plates(job, shift=7.0)
    set_up(job, lens="RENDER")
    bent = rendered(tmp_path, 102)
    plate = shots.texture(102)
    changed, moved = (np.abs(picture - plate).max(axis=-1) > 0.12 for picture in (straight, bent))
    assert changed.sum() > 100
    agree = moved[:, 7:] == changed[:, :-7]
    assert agree.mean() > 0.97
    assert (moved == changed).mean() < agree.mean()
    quiet = ~changed & ~moved
    np.testing.assert_allclose(bent[: shots.HEIGHT // 4], plate[: shots.HEIGHT // 4], atol=1.01 / 255)
    assert quiet.mean() > 0.5


def test_what_is_nearer_hides_the_render(tmp_path):
    """Depth of the footage, loaded: nearer than the cube everywhere but on the right half."""
    job = shots.make_shot(tmp_path)
    data = read_job(job.path, 0)
    depth = np.full((27, 48, 3), 1e-3, np.float32)  # at another size than the render
    depth[:, 24:] = 1e4
    for view in data.solved_views:
        shots.write_exr(tmp_path / "depth" / view.file.replace(".png", ".exr"), depth)
    load_sequence(data, "depth", tmp_path / "depth" / "shot.0101.exr", data.solved_views)
    set_up(job, foreground="DEPTH")
    changed = np.abs(rendered(tmp_path, 102) - shots.texture(102)).max(axis=-1) > 1.5 / 255
    assert not changed[:, :46].any()
    assert changed[:, 50:].sum() > 30


@pytest.mark.parametrize("lens", ["PLATE", "RENDER"])
def test_a_preview_of_half_the_size_shows_the_whole_plate(tmp_path, lens):
    """With resolution percentage 50 the plate is scaled with the render, not cut."""
    job = shots.make_shot(tmp_path, k1=-0.1)
    shots.write_plates(job)
    for view in job.read_cameras().views:
        ramp = np.linspace(0.2, 0.8, shots.WIDTH, dtype=np.float32)[None, :, None]
        picture = np.broadcast_to(ramp, (shots.HEIGHT, shots.WIDTH, 3))
        shots.write_png(tmp_path / "plate" / view.file, picture)
        shots.write_png(job.path / "undistorted" / "plates" / view.file, picture)
    set_up(job, catcher="NONE", test_object=False, lens=lens)
    bpy.context.scene.render.resolution_percentage = 50
    picture = rendered(tmp_path, 102)
    assert picture.shape[:2] == (shots.HEIGHT // 2, shots.WIDTH // 2)
    half = np.linspace(0.2, 0.8, shots.WIDTH).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(picture[..., 0], np.broadcast_to(half, picture.shape[:2]), atol=0.02)


def test_files(tmp_path):
    set_up(shots.make_shot(tmp_path), outputs=str(tmp_path / "files") + "/")
    scene = bpy.context.scene
    scene.frame_start = scene.frame_end = 102
    scene.cycles.samples = 1
    scene.render.filepath = str(tmp_path / "anim_")
    bpy.ops.render.render(animation=True)
    files = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert files == ["comp_0102.exr", "render_0102.exr", "shadow_0102.exr"]
    alpha = shots.read_pixels(tmp_path / "files" / "render_0102.exr", None)[..., 3]
    assert alpha.min() == 0
    assert alpha.max() == 1
