"""A job whose cameras and points grow in the scene while it runs, with the timer turned by hand."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import extension
import numpy as np
import pytest
from test_panel import drawn

from blender_3r.client import courier as courier_module
from blender_3r.client.session import session
from blender_3r.operators import reconstruct
from blender_3r.scene import compat
from blender_3r.scene import growth as growth_module
from tests.fake_engine import CORRECTED, CORRECTION, DEPTH_HEIGHT, DEPTH_WIDTH, FRAMES, STEPS

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"
VIEW = DEPTH_WIDTH * DEPTH_HEIGHT
POINTS = "courtyard Points"
LAST = STEPS - 1  # step of a job


@pytest.fixture(autouse=True)
def threer(empty_file):
    extension.switch_on()
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("mine", None))
    bpy.context.scene.threer.path = str(MOVIE)
    bpy.ops.ed.undo_push(message="Footage")
    yield bpy.context.scene.threer
    extension.switch_off()


@pytest.fixture(autouse=True)
def turn(monkeypatch):
    """Reconstruct returns at once, as with a window; returns what turns the timer until a condition holds."""
    monkeypatch.setattr(reconstruct, "is_headless", lambda: False)
    monkeypatch.setattr(courier_module, "GROW_AGAIN_S", 0.0)
    monkeypatch.setattr(courier_module, "GROW_SHARE", 1e9)
    monkeypatch.setattr(courier_module, "BUILD_S", 0.0)  # one step a tick

    def until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "turned in vain"
            session.tick()
            time.sleep(0.002)

    return until


@pytest.fixture
def begin(tmp_path):
    def start(seconds: float = 2.0, large: int = 1) -> None:
        extension.use_fake_engine(tmp_path, "stream", seconds, large)
        bpy.ops.threer.reconstruct()

    return start


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Keeps the engine before a step until that file is removed: on a busy machine it is faster than the test."""
    folder = tmp_path / "hold"
    folder.mkdir()
    monkeypatch.setenv("FAKE_ENGINE_HOLD", str(folder))

    def keep(step: int) -> Path:
        (folder / str(step)).touch()
        return folder / str(step)

    return keep


def shown() -> int:
    item = bpy.data.objects.get(POINTS)
    return len(item.data.vertices) if item else 0


def views_shown() -> int:
    """Of how many views there are points."""
    if not shown():
        return 0
    values = np.empty(shown(), np.int32)
    bpy.data.objects[POINTS].data.attributes["view"].data.foreach_get("value", values)
    return len(np.unique(values))


def is_building() -> bool:
    return session._courier.is_building


def is_at_rest() -> bool:
    return not session.is_taken and session.tick() is None


def user_step(value: float) -> None:
    bpy.data.objects["mine"].location.x = value
    bpy.ops.ed.undo_push(message=f"Move {value}")


def camera_x() -> float:
    return compat.fcurves_of(bpy.data.objects["courtyard Camera"], "").find("location", index=0).evaluate(1)


def counts_of_steps(monkeypatch) -> list[str]:
    """The messages of the undo steps that are pushed from now on."""
    pushed: list[str] = []
    real = courier_module.Courier._push

    def push(courier, delivered):
        if delivered.is_new:
            pushed.append("final" if courier._reading.is_final else "growth")
        real(courier, delivered)

    monkeypatch.setattr(courier_module.Courier, "_push", push)
    return pushed


def test_cameras_and_points_grow_until_the_end(begin, turn, hold, monkeypatch):
    pushed = counts_of_steps(monkeypatch)
    held = [hold(step) for step in (10, 20, CORRECTED, LAST)]
    begin(1.5)
    turn(lambda: shown())
    item, mesh = bpy.data.objects[POINTS], bpy.data.objects[POINTS].data
    counts, keys = [], []
    for most, file in zip((5, 10, 15, FRAMES - 1), held, strict=True):  # there is a view for every second step
        while shown() < most * VIEW:
            before = shown()
            turn(lambda before=before: shown() != before)
            counts.append(shown())
            keys.append(len(compat.fcurves_of(bpy.context.scene.camera, "")[0].keyframe_points))
            assert (bpy.data.objects[POINTS], item.data) == (item, mesh)
        assert session.is_running
        file.unlink()
    assert len(counts) >= 3
    assert counts == sorted(counts)
    assert keys == sorted(keys)
    assert all(count % VIEW == 0 for count in counts)
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW
    assert bpy.data.objects[POINTS] == item
    assert not [block.name for block in (*bpy.data.objects, *bpy.data.meshes) if ".001" in block.name]
    assert pushed.count("final") == 1
    assert 1 <= pushed.count("growth") <= 2, "growing fills the list of undo steps"


def test_the_points_never_exceed_the_budget(begin, turn, threer):
    threer.points = 3 * VIEW
    begin()
    most = 0
    turn(lambda: shown())
    while session.is_running:
        session.tick()
        most = max(most, shown())
        time.sleep(0.002)
    turn(is_at_rest)
    assert 2.9 * VIEW < max(most, shown()) <= 3 * VIEW


def test_corrections_are_followed_while_the_job_runs(begin, turn, hold):
    correction, end = hold(CORRECTED), hold(LAST)
    begin(1.0)
    turn(lambda: shown())
    first = camera_x()
    correction.unlink()
    turn(lambda: camera_x() != first)
    assert session.is_running
    assert camera_x() == pytest.approx(first + CORRECTION, abs=1e-5)
    end.unlink()
    turn(is_at_rest)
    assert camera_x() == pytest.approx(first + CORRECTION, abs=1e-5)


def test_it_does_not_grow_more_often_than_it_may(begin, turn, monkeypatch):
    monkeypatch.setattr(courier_module, "GROW_AGAIN_S", 3600.0)
    begin()
    turn(lambda: bpy.context.scene.camera is not None)
    first = shown()
    seen = session.job.state.results_revision
    turn(lambda: session.job.state.results_revision > seen + 10)
    assert shown() == first


def test_the_dearer_the_rarer(begin, turn, monkeypatch):
    monkeypatch.setattr(courier_module, "GROW_SHARE", 1e-9)
    begin()
    turn(lambda: bpy.context.scene.camera is not None)
    first = shown()
    seen = session.job.state.results_revision
    turn(lambda: session.job.state.results_revision > seen + 10)
    assert shown() == first


def test_a_window_that_redraws_slowly_gets_fewer_points_until_the_end(begin, turn, hold, monkeypatch):
    monkeypatch.setattr(courier_module, "has_window", lambda: True)
    monkeypatch.setattr(growth_module, "FEWEST_POINTS", VIEW)
    monkeypatch.setattr(growth_module, "REDRAW_S", 0.0)  # whatever it takes is too long
    held = hold(LAST)
    begin(1.5)
    turn(lambda: views_shown() >= 2)
    turn(lambda: views_shown() >= FRAMES - 2)
    assert session.is_running
    assert 0.9 * VIEW < shown() <= VIEW
    held.unlink()
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW


def test_it_waits_for_object_mode(begin, turn, hold):
    hold(LAST)
    bpy.ops.mesh.primitive_cube_add()
    begin()
    bpy.ops.object.mode_set(mode="EDIT")
    turn(lambda: session.is_waiting)
    assert session.is_running
    assert "courtyard" not in bpy.data.collections
    assert "as soon as you are back in Object Mode" in drawn()
    bpy.ops.object.mode_set(mode="OBJECT")
    turn(lambda: shown())
    assert session.is_running
    assert not session.is_waiting


def test_undo_in_mid_job_takes_back_the_artists_step_only(begin, turn):
    begin(3.0)
    turn(lambda: shown())
    user_step(1)
    user_step(2)
    count = shown()
    turn(lambda: shown() > count)
    bpy.ops.ed.undo()
    assert bpy.data.objects["mine"].location.x == 1
    bpy.context.view_layer.update()
    count = shown()
    turn(lambda: shown() > count or not session.is_running)
    assert bpy.data.objects["mine"].location.x == 1
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW
    bpy.ops.ed.undo()
    bpy.context.view_layer.update()
    assert bpy.data.objects["mine"].location.x == 1
    bpy.ops.ed.redo()
    bpy.context.view_layer.update()
    assert shown() == (FRAMES - 1) * VIEW


def test_undone_in_mid_job_the_result_comes_at_the_end(begin, turn, hold):
    correction, end = hold(CORRECTED), hold(LAST)
    begin(1.0)
    turn(lambda: shown())
    bpy.ops.ed.undo()
    while "courtyard" in bpy.data.collections:  # cameras and first points may have come one after the other
        bpy.ops.ed.undo()
    seen = session.job.state.results_revision
    correction.unlink()
    turn(lambda: session.job.state.results_revision > seen + 4 or not session.is_running)
    assert session.is_running
    assert "courtyard" not in bpy.data.collections
    end.unlink()
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW
    bpy.ops.ed.undo()
    assert "courtyard" not in bpy.data.collections
    assert "mine" in bpy.data.objects


def test_cancelled_in_mid_job_what_has_grown_stays(begin, turn):
    begin(30.0)
    turn(lambda: shown() > VIEW)
    bpy.ops.threer.cancel()
    turn(is_at_rest)
    assert session.job.state.status == "cancelled"
    count = shown()
    assert count > VIEW
    user_step(1)
    bpy.ops.ed.undo()
    bpy.context.view_layer.update()
    assert shown() == count, "an undo of the artist's own step took back what had grown"
    assert bpy.ops.threer.import_last() == {"FINISHED"}
    assert shown() >= count


# -- between two slices of the final result


def until_it_builds(turn) -> None:
    turn(lambda: not session.is_running)
    turn(is_building)
    for _ in range(4):
        session.tick()
    assert is_building()
    assert sum(mesh.users == 0 for mesh in bpy.data.meshes) == 1


def test_undo_between_two_slices(begin, turn):
    begin(1.0)
    turn(lambda: shown())
    user_step(1)
    count = shown()
    until_it_builds(turn)
    bpy.ops.ed.undo()
    assert not is_building()
    assert bpy.data.objects["mine"].location.x == 0
    assert shown() <= (FRAMES - 2) * VIEW
    assert sum(mesh.users == 0 for mesh in bpy.data.meshes) == 0
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW > count
    bpy.context.view_layer.update()


def test_another_file_between_two_slices(begin, turn, tmp_path):
    home = str(tmp_path / "home.blend")
    bpy.ops.wm.save_as_mainfile(filepath=home)
    begin(0.5)
    until_it_builds(turn)
    bpy.ops.wm.read_homefile(use_empty=True)
    turn(is_at_rest)
    assert len(bpy.data.objects) == len(bpy.data.meshes) == 0
    bpy.ops.wm.open_mainfile(filepath=home)
    assert len(bpy.data.meshes) == 0
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW


def test_saved_between_two_slices(begin, turn, tmp_path):
    begin(0.5)
    until_it_builds(turn)
    half = str(tmp_path / "half.blend")
    bpy.ops.wm.save_as_mainfile(filepath=half, copy=True)
    turn(is_at_rest)
    bpy.ops.wm.open_mainfile(filepath=half)
    assert all(mesh.users for mesh in bpy.data.meshes), "what is half built was saved"


def test_another_mode_between_two_slices(begin, turn):
    bpy.ops.mesh.primitive_cube_add()
    begin(0.5)
    until_it_builds(turn)
    count = shown()
    bpy.ops.object.mode_set(mode="EDIT")
    for _ in range(40):
        session.tick()
    assert session.is_waiting
    assert shown() == count
    assert session.tick() > courier_module.BUILD_S + 0.05, "it turns fast though it only waits"
    bpy.ops.object.mode_set(mode="OBJECT")
    turn(is_at_rest)
    assert shown() == (FRAMES - 1) * VIEW


def test_dismissed_and_switched_off_between_two_slices(begin, turn):
    begin(0.5)
    until_it_builds(turn)
    count = shown()
    bpy.ops.threer.dismiss()
    assert all(mesh.users for mesh in bpy.data.meshes)
    assert shown() == count
    begin(0.5)
    until_it_builds(turn)
    extension.switch_off()
    assert all(mesh.users for mesh in bpy.data.meshes)
    extension.switch_on()


def test_reconstruct_again_waits_for_the_last_slice(begin, turn):
    begin(0.5)
    until_it_builds(turn)
    begin(0.3)
    assert len(session.waiting) == 1
    turn(lambda: not session.waiting)
    assert shown() == (FRAMES - 1) * VIEW, "the first result was lost"
    turn(is_at_rest)


def test_the_scene_removed_between_two_slices(begin, turn):
    other = bpy.data.scenes.new("Other")
    begin(0.5)
    until_it_builds(turn)
    bpy.data.scenes.remove(bpy.context.scene)
    turn(is_at_rest)
    assert len(other.objects) == 0
    assert all(mesh.users for mesh in bpy.data.meshes)
    assert session.failure is None
