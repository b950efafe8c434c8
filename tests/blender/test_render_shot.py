"""Render Shot: another Blender renders the file as it is now; what is in the way is said, what is there stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots

from blender_3r.client.render_job import RenderJob
from blender_3r.operators.render import render_command
from blender_3r.scene.job import ImportOptions, import_job

pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def shot(tmp_path):
    """Three frames, set up without objects, so that the picture is the plate."""
    job = shots.make_shot(tmp_path)
    import_job(bpy.context.scene, job.path, ImportOptions())
    bpy.data.objects["shot Points"].hide_render = True
    bpy.ops.threer.setup_shot(catcher="NONE", test_object=False)
    bpy.context.scene.cycles.samples = 1
    bpy.context.scene.render.threads_mode, bpy.context.scene.render.threads = "FIXED", 1
    return job


def test_frames_and_movie(shot, tmp_path):
    out = tmp_path / "render"
    before = bpy.data.filepath
    assert bpy.ops.threer.render_shot(directory=str(out)) == {"FINISHED"}
    files = sorted(path.name for path in out.iterdir())
    assert files == ["Scene.mp4", "Scene_0101.exr", "Scene_0102.exr", "Scene_0103.exr", "log.txt"]
    linear = shots.read_pixels(out / "Scene_0102.exr", None)[..., :3]
    plate = np.where(
        shots.texture(102) <= 0.04045, shots.texture(102) / 12.92, ((shots.texture(102) + 0.055) / 1.055) ** 2.4
    )
    np.testing.assert_allclose(linear, plate, atol=2e-3)  # of 16-bit floats
    movie = bpy.data.movieclips.load(str(out / "Scene.mp4"))
    assert (tuple(movie.size), movie.frame_duration) == ((shots.WIDTH, shots.HEIGHT), 3)
    assert bpy.data.filepath == before
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (101, 103)


def test_a_folder_that_cannot_be_written(shot, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RuntimeError, match=r"Nothing can be written to .*Choose another folder"):
        bpy.ops.threer.render_shot(directory=str(tmp_path / "file" / "render"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full(shot, tmp_path):
    out = tmp_path / "render"
    out.mkdir()
    (out / "Scene_0102.exr").symlink_to("/dev/full")
    with pytest.raises(RuntimeError, match=r"Frame 102 cannot be rendered to .*1 frame is there"):
        bpy.ops.threer.render_shot(directory=str(out), movie=False)
    assert (out / "Scene_0101.exr").stat().st_size > 1000


def test_cancel_and_going_on(shot, tmp_path):
    """Cancel leaves what is rendered; the same file goes on behind it, but for the last frame."""
    file = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    out = tmp_path / "render"
    job = RenderJob(render_command(file), out, "Scene", movie=False)
    until = time.monotonic() + 120
    while not (out / "Scene_0102.exr").is_file() and time.monotonic() < until:
        job.pump()
        time.sleep(0.01)
    job.cancel()
    while not job.state.is_over and time.monotonic() < until:
        job.pump()
        time.sleep(0.01)
    assert job.state.status == "cancelled"
    assert (out / "Scene_0101.exr").is_file()
    os.utime(out / "Scene_0101.exr", (2e9, 2e9))
    job = RenderJob(render_command(file), out, "Scene", movie=False)
    while not job.state.is_over and time.monotonic() < until:
        job.pump()
        time.sleep(0.01)
    assert job.state.status == "done", job.state.failure
    assert (out / "Scene_0101.exr").stat().st_mtime == 2e9
    assert (out / "Scene_0103.exr").is_file()


def test_no_camera():
    assert not bpy.ops.threer.render_shot.poll()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody may write to")
def test_a_folder_that_is_read_only(shot):
    with pytest.raises(RuntimeError, match=r"Nothing can be written to /proc/self .*Choose another folder"):
        bpy.ops.threer.render_shot(directory="/proc/self")
