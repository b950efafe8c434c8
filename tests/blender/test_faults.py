"""What the artist sees when things go wrong, how jobs wait for their turn, and that the timer outlives what it must."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import bpy
import extension
import pytest
from test_client_process import is_alive, wait_gone
from test_panel import drawn

from blender_3r.client import courier as courier_module
from blender_3r.client import session as session_module
from blender_3r.client.session import session
from blender_3r.operators import reconstruct

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"


pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture(autouse=True)
def turn(monkeypatch):
    """Reconstruct returns at once, as with a window; returns what turns the timer until a condition holds."""
    monkeypatch.setattr(reconstruct, "is_headless", lambda: False)
    monkeypatch.setattr(courier_module, "GROW_AGAIN_S", 0.0)

    def until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "turned in vain"
            session.tick()
            time.sleep(0.01)

    return until


@pytest.fixture
def shot(tmp_path):
    """Makes a movie of that name, and picks it."""

    def pick(name: str, folder: str = "footage") -> Path:
        path = tmp_path / folder / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(MOVIE.read_bytes())
        bpy.context.scene.threer.path = str(path)
        return path

    return pick


def is_at_rest() -> bool:
    return not session.is_taken and session.tick() is None


# -- the engine dies


def kill_when_it_gets_on(turn):
    """The engine of the running job, as soon as it has told more than where it begins."""
    pid = session.job.engine_pid
    turn(lambda: session.job.state.status == "running" and session.job.state.fraction > 0.1)
    os.kill(pid, signal.SIGKILL)
    turn(lambda: not session.is_running or session.job.engine_pid != pid)


def test_killed_in_mid_job_and_started_again(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 2.0)
    shot("street")
    bpy.ops.threer.reconstruct()
    kill_when_it_gets_on(turn)
    assert session.is_running
    shown = drawn()
    assert "Starting the engine again" in shown
    assert "The engine stopped unexpectedly and was started again." in shown
    turn(is_at_rest)
    shown = drawn()
    assert "19 of 20 frames solved" in shown
    assert "The engine stopped unexpectedly and was started again." in shown
    assert bpy.data.objects["street Points"].data.vertices
    assert "the engine was killed, and was started again" in session.job.log.read_text()


def test_killed_twice_in_one_job(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 3.0)
    shot("street")
    bpy.ops.threer.reconstruct()
    kill_when_it_gets_on(turn)
    turn(lambda: session.job.state.views_ready)
    os.kill(session.job.engine_pid, signal.SIGKILL)
    turn(lambda: not session.is_running)
    shown = drawn()
    assert "Reconstruction Failed" in shown
    assert "The engine was killed before the job was done." in shown
    assert "What was computed is kept." in shown
    assert "[threer.reconstruct: Retry]" in shown
    assert bpy.ops.threer.import_last() == {"FINISHED"}
    assert bpy.data.objects["street Points"].data.vertices
    extension.use_fake_engine(tmp_path, "work", 0.2)
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    assert "19 of 20 frames solved" in drawn()
    assert "unexpectedly" not in drawn()


def test_killed_before_it_got_on_it_is_not_started_again(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 30.0)
    shot("street")
    bpy.ops.threer.reconstruct()
    pid = session.job.engine_pid
    os.kill(pid, signal.SIGKILL)
    turn(lambda: not session.is_running)
    assert "The engine was killed before the job was done." in drawn()
    assert session.job.engine_pid == pid


def test_killed_between_two_jobs(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.2)
    shot("street")
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    first = session.job.engine_pid
    assert is_alive(first)
    os.kill(first, signal.SIGKILL)
    shot("yard")
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    assert "19 of 20 frames solved" in drawn()
    assert session.job.engine_pid != first
    assert {"street Points", "yard Points"} <= set(bpy.data.objects.keys())


def test_an_extension_that_was_updated_beneath_blender(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "release")
    shot("street")
    bpy.ops.threer.reconstruct()
    turn(lambda: not session.is_running)
    shown = drawn()
    assert "The engine does not fit this extension: one is version 0.0.1" in shown
    assert "Restart Blender" in shown


# -- the engine between two jobs


def test_one_engine_for_all_jobs_of_a_session(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.2)
    pids = set()
    for name in ("street", "yard", "street"):
        shot(name)
        bpy.ops.threer.reconstruct()
        turn(is_at_rest)
        pids.add(session.job.engine_pid)
    assert len(pids) == 1
    extension.switch_off()
    assert not any(is_alive(pid) for pid in pids)
    extension.switch_on()


def test_a_render_gets_the_graphics_card(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.2)
    shot("street")
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    pid = session.job.engine_pid
    assert is_alive(pid)
    for handler in bpy.app.handlers.render_init:
        handler(bpy.context.scene)
    wait_gone(pid)
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    assert session.job.state.status == "done"


def test_another_engine_in_the_preferences_is_taken(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.2)
    shot("street")
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    first = session.job.engine_pid
    extension.use_fake_engine(tmp_path, "garbage", 0.2)
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    assert session.job.state.status == "done"
    wait_gone(first)


# -- one after the other


def test_a_second_job_waits_for_its_turn(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 1.0)
    shot("street")
    bpy.ops.threer.reconstruct()
    assert "[threer.reconstruct" not in drawn()
    assert not bpy.ops.threer.reconstruct.poll(), "the same footage twice"
    shot("yard")
    assert "[threer.reconstruct: Reconstruct Next]" in drawn()
    bpy.ops.threer.reconstruct()
    assert not bpy.ops.threer.reconstruct.poll(), "the same footage twice"
    shown = drawn()
    assert "Next: yard" in shown
    assert session.job.folder.name == "street"
    assert not (tmp_path / "jobs" / "yard").exists()
    turn(lambda: session.job.folder.name == "yard")
    assert "street Points" in bpy.data.objects, "the next job began before the first result was there"
    assert "street: 19 of 20 frames solved." in drawn()
    turn(is_at_rest)
    assert "yard Points" in bpy.data.objects
    assert "street: 19 of 20 frames solved." in drawn()
    bpy.ops.threer.dismiss()
    assert session.past == []


def test_footage_of_the_same_name_gets_a_folder_of_its_own(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.3)
    shot("street", "monday")
    bpy.ops.threer.reconstruct()
    shot("street", "tuesday")
    bpy.ops.threer.reconstruct()
    turn(is_at_rest)
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["street", "street_2"]


def test_a_failure_does_not_hold_up_those_that_wait(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 8.0)
    shot("street")
    bpy.ops.threer.reconstruct()
    extension.use_fake_engine(tmp_path, "work", 0.3)
    shot("yard")
    bpy.ops.threer.reconstruct()
    gone = extension.use_fake_engine(tmp_path / "gone", "work", 0.3)
    shot("park")
    bpy.ops.threer.reconstruct()
    extension.use_fake_engine(tmp_path, "fail", 0.3)
    shot("wall")
    bpy.ops.threer.reconstruct()
    gone.unlink()
    os.kill(session.job.engine_pid, signal.SIGKILL)  # at once: it is not started again
    turn(is_at_rest)
    shown = drawn()
    assert "street: The engine was killed before the job was done." in shown
    assert "yard: 19 of 20 frames solved." in shown
    assert "park: The engine cannot be started (No such file or directory)." in shown
    assert "There is no parallax." in shown
    assert "yard Points" in bpy.data.objects


def test_cancel_stops_the_running_job_only(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 8.0)
    shot("street")
    bpy.ops.threer.reconstruct()
    extension.use_fake_engine(tmp_path / "quick", "work", 0.3)
    shot("yard")
    bpy.ops.threer.reconstruct()
    bpy.ops.threer.cancel()
    turn(is_at_rest)
    assert "street was cancelled." in drawn()
    assert "yard Points" in bpy.data.objects


def test_those_that_wait_can_be_removed(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.5)
    assert not bpy.ops.threer.forget_waiting.poll()
    shot("street")
    bpy.ops.threer.reconstruct()
    shot("yard")
    bpy.ops.threer.reconstruct()
    bpy.ops.threer.forget_waiting()
    turn(is_at_rest)
    assert "street Points" in bpy.data.objects
    assert not (tmp_path / "jobs" / "yard").exists()


def test_those_that_wait_stay_out_of_another_file(shot, tmp_path, turn):
    extension.use_fake_engine(tmp_path, "work", 0.5)
    home = str(tmp_path / "home.blend")
    bpy.ops.wm.save_as_mainfile(filepath=home)
    for name in ("street", "yard"):
        shot(name)
        bpy.ops.threer.reconstruct()
    bpy.ops.wm.read_homefile(use_empty=True)
    turn(is_at_rest)
    assert len(bpy.data.objects) == 0
    shown = drawn()
    assert "street: 19 of 20 frames solved. It is kept in its job folder" in shown
    assert "The job was started in home.blend" in shown
    assert (tmp_path / "jobs" / "yard" / "cameras.json").exists()
    bpy.ops.wm.open_mainfile(filepath=home)
    turn(lambda: "yard Points" in bpy.data.objects)


# -- the timer


@pytest.fixture
def timer(monkeypatch):
    """Blender without a window gets the timer too; nothing turns it but the test."""
    monkeypatch.setattr(session_module, "has_window", lambda: True)
    return lambda: bpy.app.timers.is_registered(session_module._tick)


def test_the_timer_outlives_files_and_undo_and_ends_with_the_extension(shot, tmp_path, turn, timer):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    assert not timer()
    extension.use_fake_engine(tmp_path, "work", 30.0)
    shot("street")
    bpy.ops.ed.undo_push(message="Footage")
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="Cube")
    bpy.ops.threer.reconstruct()
    assert timer()
    turn(lambda: session.job.state.fraction > 0)
    bpy.ops.ed.undo()
    assert timer(), "undo took the timer"
    bpy.ops.ed.redo()
    for load in (
        lambda: bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend")),
        lambda: bpy.ops.wm.revert_mainfile(),
        lambda: bpy.ops.wm.read_homefile(use_empty=True),
    ):
        load()
        assert timer(), "a file took the timer"
        before = session.job.state.revision
        turn(lambda before=before: session.job.state.revision > before)
    pid = session.job.engine_pid
    extension.switch_off()
    assert not timer()
    assert not is_alive(pid)
    for handlers in (bpy.app.handlers.load_pre, bpy.app.handlers.load_post, bpy.app.handlers.render_init):
        assert not any(handler.__module__ == session_module.__name__ for handler in handlers)
    extension.switch_on()


def test_the_timer_rests_when_nothing_is_left(shot, tmp_path, turn, timer):
    extension.use_fake_engine(tmp_path, "work", 0.2)
    shot("street")
    bpy.ops.threer.reconstruct()
    turn(lambda: session.tick() is None)
    assert "street Points" in bpy.data.objects
    assert session.tick() is None
