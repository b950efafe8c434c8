"""What the buttons do, in a Blender without a window: there Reconstruct runs to the end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import bpy
import extension
import pytest
from test_client_process import is_alive, wait_gone

from blender_3r.client import courier as courier_module
from blender_3r.client import job as job_module
from blender_3r.client.session import session
from blender_3r.engine.errors import EngineError
from blender_3r.operators import footage, reconstruct

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"


pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def images(tmp_path):
    """Makes numbered PNG files and returns their folder."""

    def make(names, sizes=((64, 48),), folder=tmp_path / "bilder für alle"):
        folder.mkdir(exist_ok=True)
        for index, name in enumerate(names):
            width, height = sizes[index % len(sizes)]
            image = bpy.data.images.new("made", width, height)
            image.filepath_raw = str(folder / name)
            image.file_format = {".png": "PNG", ".jpg": "JPEG", ".exr": "OPEN_EXR"}[Path(name).suffix]
            image.save()
            bpy.data.images.remove(image)
        return folder

    return make


# -- footage


def test_a_movie_is_described(threer):
    threer.path = str(MOVIE)
    assert (threer.info_kind, threer.info_count, threer.info_width, threer.info_height) == ("movie", 40, 640, 360)
    assert threer.info_text == "40 frames, 640 × 360, 24 fps"
    assert (threer.first, threer.last) == (1, 40)
    assert threer.info_warnings == threer.info_error == ""
    assert len(bpy.data.movieclips) == 0, "looking at footage must leave nothing behind"


def test_a_sequence_with_a_gap(threer, images):
    folder = images([f"shot_{n:04d}.png" for n in (*range(7, 20), *range(22, 40))])
    threer.path = str(folder / "shot_0007.png")
    assert threer.info_kind == "sequence"
    assert threer.info_text == "31 frames (7 to 39), 64 × 48"
    assert "2 frames are missing" in threer.info_warnings
    assert (threer.first, threer.last) == (7, 39)
    assert footage.source_of(threer).numbers[0] == 7


def test_photos_and_the_override(threer, images):
    folder = images([f"IMG_{n}.jpg" for n in range(5)])
    threer.path = str(folder)
    assert threer.info_text == "5 photos, 64 × 48"
    threer.image_kind = "SEQUENCE"
    assert threer.info_kind == "sequence"
    assert "Only 5 frames" in threer.info_warnings


def test_mixed_sizes_one_image_small_images(threer, images):
    folder = images([f"IMG_{n}.jpg" for n in range(4)], sizes=((640, 480), (320, 240)))
    threer.path = str(folder)
    assert threer.info_text == "4 photos, 640 × 480 and others"
    threer.image_kind = "SEQUENCE"
    assert "differ in size" in threer.info_warnings
    threer.image_kind = "AUTO"
    threer.path = str(images(["one.png"], folder=folder / "alone") / "one.png")
    assert "One image shows no depth" in threer.info_warnings
    assert "very small" in threer.info_warnings


def test_an_image_that_only_blender_can_read(threer, images):
    folder = images([f"r_{n:03d}.exr" for n in range(3)], sizes=((200, 150),))
    threer.path = str(folder)
    assert (threer.info_width, threer.info_height) == (200, 150)
    assert len(bpy.data.images) == 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.mp4", None, "does not exist"),
        ("noise.mp4", os.urandom(5000), "noise.mp4 cannot be read"),
        ("cut.mp4", MOVIE.read_bytes()[:3000], "cut.mp4 cannot be read"),
        ("empty.png", b"", "empty.png cannot be read"),
        ("text.txt", b"hello", "neither a movie nor an image"),
    ],
)
def test_unusable_files_are_told(threer, tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    threer.path = str(tmp_path / name)
    assert sentence in threer.info_error
    assert threer.info_kind == ""
    assert len(bpy.data.movieclips) == len(bpy.data.images) == 0
    assert not bpy.ops.threer.reconstruct.poll()


def test_an_empty_folder(threer, tmp_path):
    threer.path = str(tmp_path)
    assert "no images or movies" in threer.info_error


def test_a_clip_and_an_image_of_this_file(threer, images):
    threer.source = "CLIP"
    assert threer.info_text == threer.info_error == ""
    threer.clip = bpy.data.movieclips.load(str(MOVIE))
    assert threer.info_text.startswith("40 frames")
    assert footage.source_of(threer).files == (str(MOVIE),)
    threer.source = "IMAGE"
    threer.image = bpy.data.images.new("painted", 64, 64)
    assert "painted is not a file on disk" in threer.info_error
    folder = images([f"f{n:02d}.png" for n in range(30)])
    threer.image = bpy.data.images.load(str(folder / "f00.png"))
    threer.image.source = "SEQUENCE"
    footage.refresh(threer)
    assert threer.info_text.startswith("30 frames")


def test_several_picked_movies_are_a_rig(threer, tmp_path):
    names = ["left.mp4", "right.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(MOVIE.read_bytes())
    files = [{"name": name} for name in names]
    bpy.ops.threer.pick_footage(directory=str(tmp_path), files=files, is_rig=True)
    assert threer.source == "RIG"
    assert threer.info_text == "2 cameras, 640 × 360, 24 fps"
    threer.rig_frame = 5
    source = footage.source_of(threer)
    assert (source.kind, len(source.files), source.rig_frame) == ("rig", 2, 4)


def test_picking_one_file_after_several(threer, tmp_path, images):
    folder = images([f"IMG_{n}.jpg" for n in range(5)])
    files = [{"name": f"IMG_{n}.jpg"} for n in (1, 3, 4)]
    bpy.ops.threer.pick_footage(directory=str(folder), files=files)
    assert threer.info_count == 3
    assert [Path(file).name for file in footage.source_of(threer).files] == ["IMG_1.jpg", "IMG_3.jpg", "IMG_4.jpg"]
    bpy.ops.threer.pick_footage(directory=str(MOVIE.parent), files=[{"name": MOVIE.name}])
    assert threer.info_kind == "movie"
    assert len(threer.files) == 0
    threer.path = str(folder)
    assert threer.info_count == 5


def test_relative_paths(threer, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    (tmp_path / "shot.mp4").write_bytes(MOVIE.read_bytes())
    bpy.ops.threer.pick_footage(directory=str(tmp_path), files=[{"name": "shot.mp4"}])
    assert threer.path == "//shot.mp4"
    assert footage.source_of(threer).files == (str(tmp_path / "shot.mp4"),)


def test_the_frame_range(threer, images):
    threer.path = str(MOVIE)
    threer.use_range = True
    threer.first, threer.last, threer.step = 5, 24, 2
    assert threer.info_used == 10
    source = footage.source_of(threer)
    assert (source.first, source.last, source.step) == (4, 23, 2)  # the engine counts a movie from 0
    threer.first = 30
    assert "lies before" in threer.info_error
    threer.use_range = False
    assert threer.info_error == ""
    assert (footage.source_of(threer).first, threer.info_used) == (None, 40)
    folder = images([f"shot_{n:04d}.png" for n in range(101, 131)])
    threer.path = str(folder / "shot_0101.png")
    threer.use_range = True
    threer.first, threer.last = 110, 119
    assert threer.info_used == 10
    assert footage.source_of(threer).first == 110
    threer.first, threer.last = 200, 300
    assert "leaves no frames" in threer.info_error


# -- settings


def test_the_request(threer):
    threer.path = str(MOVIE)
    threer.quality, threer.lens, threer.dense, threer.points = "draft", "zoom", False, 1234
    request = reconstruct.request_of(threer)
    assert request["method"] == "auto"
    assert request["source"]["files"] == (str(MOVIE),)
    assert request["settings"] == {"quality": "draft", "lens": "zoom", "dense": False, "points": 1234, "refine": True}
    threer.points, threer.center = 0, "fixed"
    settings = reconstruct.request_of(threer)["settings"]
    assert "points" not in settings
    assert settings["center"] == "fixed"
    json.dumps(request)


def test_the_focal_length_in_pixels(threer, images):
    threer.path = str(MOVIE)
    assert "focal_px" not in reconstruct.request_of(threer)["settings"]
    threer.focal_known, threer.focal_mm, threer.sensor_mm = "MM", 50.0, 36.0
    assert reconstruct.request_of(threer)["settings"]["focal_px"] == pytest.approx(50 / 36 * 640)
    threer.focal_known, threer.focal_px = "PX", 777.0
    assert reconstruct.request_of(threer)["settings"]["focal_px"] == 777.0
    threer.path = str(images([f"IMG_{n}.jpg" for n in range(3)], sizes=((90, 160),)))
    threer.focal_known = "MM"  # an upright photo: the sensor's width lies along the longer side
    assert reconstruct.request_of(threer)["settings"]["focal_px"] == pytest.approx(50 / 36 * 160)


# -- jobs


def test_a_whole_job(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "work")
    threer.path = str(MOVIE)
    assert bpy.ops.threer.reconstruct() == {"FINISHED"}
    assert session.job.state.status == "done"
    assert session.job.folder == tmp_path / "jobs" / "courtyard"
    assert bpy.data.objects["courtyard Points"].data.vertices
    assert bpy.context.scene.camera.name == "courtyard Camera"
    assert bpy.context.scene.render.resolution_x == 640
    pid = session.job.engine_pid
    bpy.ops.threer.dismiss()
    assert session.job is None
    assert is_alive(pid), "the engine did not stay for the next job"
    session.keeper.rest()
    wait_gone(pid)


def test_the_point_budget(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "work", 0.1)
    threer.path = str(MOVIE)
    threer.points = 500
    bpy.ops.threer.reconstruct()
    shown = len(bpy.data.objects["courtyard Points"].data.vertices)
    assert 0 < shown <= 500
    assert session.notes == [f"{shown} of the points are in the scene: Point Budget allows more."]


def test_again_updates_what_is_there(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "work", 0.1)
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    before = sorted(item.name for item in bpy.data.objects)
    bpy.ops.threer.reconstruct()
    assert sorted(item.name for item in bpy.data.objects) == before


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("fail", "There is no parallax. Move the camera sideways."),
        ("crash", "crashed"),
        ("exit", "ended before the job was done"),
        ("version", "protocol 99"),
        ("broken", "cameras.json cannot be read"),
    ],
)
def test_failures_are_reported(threer, tmp_path, mode, sentence):
    extension.use_fake_engine(tmp_path, mode)
    threer.path = str(MOVIE)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.threer.reconstruct()
    assert len(bpy.data.objects) == 0
    assert not session.is_running
    session.keeper.rest()
    wait_gone(session.job.engine_pid)


def test_garbage_does_no_harm(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "garbage")
    threer.path = str(MOVIE)
    assert bpy.ops.threer.reconstruct() == {"FINISHED"}


def test_what_a_crashed_job_left_can_be_imported(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "crash")
    threer.path = str(MOVIE)
    with pytest.raises(RuntimeError, match="crashed"):
        bpy.ops.threer.reconstruct()
    assert bpy.ops.threer.import_last() == {"FINISHED"}
    assert bpy.data.objects["courtyard Points"].data.vertices


def test_without_an_engine(threer, tmp_path):
    extension.preferences().engine_folder = str(tmp_path / "none")
    threer.path = str(MOVIE)
    assert session.engine.state == "missing"
    assert not bpy.ops.threer.reconstruct.poll()
    extension.preferences().engine_python = str(tmp_path / "python")
    assert session.engine.state == "wrong"
    assert not bpy.ops.threer.reconstruct.poll()


def test_an_engine_that_vanished_since(threer, tmp_path):
    script = extension.use_fake_engine(tmp_path, "work")
    threer.path = str(MOVIE)
    script.unlink()
    with pytest.raises(RuntimeError, match="not there"):
        bpy.ops.threer.reconstruct()


def test_an_engine_that_is_no_program(threer, tmp_path):
    script = extension.use_fake_engine(tmp_path, "work")
    script.write_text("no program")
    threer.path = str(MOVIE)
    with pytest.raises(RuntimeError, match="cannot be started"):
        bpy.ops.threer.reconstruct()
    assert session.failure is not None


def test_a_job_folder_that_cannot_be_made(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "work")
    (tmp_path / "file").touch()
    extension.preferences().job_folder = str(tmp_path / "file" / "jobs")
    threer.path = str(MOVIE)
    with pytest.raises(RuntimeError, match=r"job folder .* cannot be made"):
        bpy.ops.threer.reconstruct()


def test_where_jobs_go(threer, tmp_path, monkeypatch):
    from blender_3r import preferred

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert preferred.jobs_folder() == tmp_path / "data" / "blender_3r" / "jobs"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert preferred.jobs_folder() == tmp_path / "3r_jobs"
    extension.preferences().job_folder = str(tmp_path / "elsewhere")
    assert preferred.jobs_folder() == tmp_path / "elsewhere"


def test_jobs_of_equal_names_do_not_meet(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "work", 0.1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shot.mp4").write_bytes(MOVIE.read_bytes())
        threer.path = str(tmp_path / name / "shot.mp4")
        bpy.ops.threer.reconstruct()
    assert session.job.folder.name == "shot_2"
    (tmp_path / "jobs" / "courtyard").mkdir()
    (tmp_path / "jobs" / "courtyard" / "diary.txt").touch()
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    assert session.job.folder.name == "courtyard_2"


# -- the timer, turned by hand


@pytest.fixture
def window(monkeypatch, tmp_path):
    """Reconstruct starts a job and returns, as with a window; returns a function that turns until a condition holds."""
    monkeypatch.setattr(reconstruct, "is_headless", lambda: False)
    monkeypatch.setattr(courier_module, "GROW_AGAIN_S", 0.0)

    def turn(until):
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, "turned in vain"
            session.tick()
            time.sleep(0.01)

    return turn


def test_cameras_come_before_the_points(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "work", 2.0)
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    assert not bpy.ops.threer.reconstruct.poll(), "a second job beside the first"
    window(lambda: bpy.context.scene.camera is not None)
    assert session.is_running
    assert "courtyard Points" not in bpy.data.objects
    window(lambda: not session.is_taken)
    assert bpy.data.objects["courtyard Points"].data.vertices
    assert session.tick() is None, "the timer goes on though nothing is left to do"


def test_cancel(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "work", 30.0)
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    assert not bpy.ops.threer.dismiss.poll()
    window(lambda: session.job.state.fraction > 0)
    bpy.ops.threer.cancel()
    window(lambda: not session.is_running)
    assert session.job.state.status == "cancelled"
    assert len(bpy.data.objects) == 0


def test_a_hang_is_ended_by_force(threer, tmp_path, window, monkeypatch):
    monkeypatch.setattr(job_module, "CANCEL_GRACE_S", 0.2)
    extension.use_fake_engine(tmp_path, "hang")
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    window(lambda: session.job.state.solved is not None)
    bpy.ops.threer.cancel()
    window(lambda: not session.is_running)
    wait_gone(session.job.engine_pid)


def test_switching_off_while_a_job_runs(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "work", 30.0)
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    window(lambda: session.job.state.fraction > 0)
    pid = session.job.engine_pid
    extension.switch_off()
    assert not is_alive(pid)
    assert not hasattr(bpy.types.Scene, "threer")
    extension.switch_on()
    assert session.job is None


def test_a_result_waits_for_object_mode(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "work")
    threer.path = str(MOVIE)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.threer.reconstruct()
    bpy.ops.object.mode_set(mode="EDIT")
    window(lambda: session.is_waiting and not session.is_running)
    for _ in range(5):
        assert session.tick() is not None
    assert "courtyard" not in bpy.data.collections
    bpy.ops.object.mode_set(mode="OBJECT")
    window(lambda: "courtyard Points" in bpy.data.objects)


def test_a_result_stays_out_of_another_file_and_comes_back_to_its_own(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "work")
    threer.path = str(MOVIE)
    home = str(tmp_path / "home.blend")
    bpy.ops.wm.save_as_mainfile(filepath=home)
    bpy.ops.threer.reconstruct()
    bpy.ops.wm.read_homefile(use_empty=True)
    window(lambda: not session.is_running and session.tick() is None)
    assert len(bpy.data.objects) == 0
    assert session.home.file_name == "home.blend"
    bpy.ops.wm.open_mainfile(filepath=home)
    window(lambda: "courtyard Points" in bpy.data.objects)


def test_a_scene_that_was_removed_gets_nothing(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "work")
    threer.path = str(MOVIE)
    other = bpy.data.scenes.new("Other")
    bpy.ops.threer.reconstruct()
    bpy.data.scenes.remove(bpy.context.scene)
    window(lambda: not session.is_running and session.tick() is None)
    assert len(other.objects) == 0
    assert session.home.find_scene() is None


def test_a_broken_result_is_told_and_the_timer_lives_on(threer, tmp_path, window):
    extension.use_fake_engine(tmp_path, "broken")
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    window(lambda: session.failure is not None)
    assert "cameras.json" in session.failure.message
    extension.use_fake_engine(tmp_path, "work")
    bpy.ops.threer.reconstruct()
    window(lambda: "courtyard Points" in bpy.data.objects)
    assert session.failure is None


def test_a_bug_in_the_import_is_told(threer, tmp_path, window, monkeypatch, capsys):
    def build(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(reconstruct, "build_job_in_slices", build)
    extension.use_fake_engine(tmp_path, "work")
    threer.path = str(MOVIE)
    bpy.ops.threer.reconstruct()
    window(lambda: session.failure is not None and not session.is_running)
    assert "a bug" in session.failure.message
    assert "ZeroDivisionError" in capsys.readouterr().err


# -- installation


def test_no_network_without_permission(tmp_path, monkeypatch):
    extension.preferences().engine_folder = str(tmp_path / "engine")
    monkeypatch.setattr(bpy.context.preferences.system, "use_online_access", False)
    if bpy.app.online_access:
        pytest.skip("this Blender is online whatever its preferences say")
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.threer.install_engine()
    assert not (tmp_path / "engine").exists()


def test_installing_makes_the_engine_ready(tmp_path, window, monkeypatch):
    from blender_3r.client import environment
    from tests.fake_python import write_fake_python

    bpy.context.preferences.system.use_online_access = True
    python = write_fake_python(tmp_path, pause=0.05)
    monkeypatch.setattr(environment, "base_pythons", lambda *_: [python])
    extension.preferences().engine_folder = str(tmp_path / "engine")
    bpy.ops.threer.install_engine()
    assert not bpy.ops.threer.install_engine.poll()
    assert bpy.ops.threer.cancel_install.poll()
    window(lambda: session.engine.state == "ready")
    assert session.installer.state.status == "done"


def test_the_errors_of_a_source_are_sentences(threer):
    with pytest.raises(EngineError, match="No footage is picked"):
        footage.source_of(threer)
