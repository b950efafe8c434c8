"""The buttons of the engine: install, check, repair, remove, in a Blender without a window."""

from __future__ import annotations

import time

import bpy
import extension
import pytest

from blender_3r.client import environment
from blender_3r.client.session import session
from blender_3r.operators import reconstruct
from tests.fake_python import write_fake_python


@pytest.fixture(autouse=True)
def folder(empty_file, tmp_path, monkeypatch):
    """The extension, on, with an engine folder of its own and a Python that only pretends."""
    extension.switch_on()
    bpy.context.preferences.system.use_online_access = True
    monkeypatch.setattr(environment, "base_pythons", lambda *_: [write_fake_python(tmp_path)])
    extension.preferences().engine_folder = str(tmp_path / "engine")
    yield tmp_path / "engine"
    extension.switch_off()


def test_a_script_waits_for_the_end(folder, capsys):
    assert bpy.ops.threer.install_engine() == {"FINISHED"}
    assert session.engine.state == "ready"
    assert "3R: " in capsys.readouterr().out


def test_a_script_is_told_of_a_failure(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "base_pythons", lambda *_: [write_fake_python(tmp_path, "offline")])
    with pytest.raises(RuntimeError, match=r"does not answer.*Check the network.*install\.log"):
        bpy.ops.threer.install_engine()
    assert session.engine.state == "missing"


def test_check_says_what_is_wrong_and_changes_nothing(folder):
    """The stand-in has no packages."""
    bpy.ops.threer.install_engine()
    before = (environment.environment_folder(folder) / environment.MARKER).read_bytes()
    assert bpy.ops.threer.check_engine() == {"FINISHED"}
    report = session.installer.report
    assert not report.is_healthy
    assert any("is damaged: it is not there" in finding.text for finding in report.findings)
    assert (environment.environment_folder(folder) / environment.MARKER).read_bytes() == before


def test_check_asks_nothing_of_the_network_without_permission(folder, monkeypatch):
    bpy.ops.threer.install_engine()
    bpy.context.preferences.system.use_online_access = False
    if bpy.app.online_access:
        pytest.skip("this Blender is online whatever its preferences say")
    bpy.ops.threer.check_engine()
    assert not any("index" in finding.name.lower() for finding in session.installer.report.findings)
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.threer.repair_engine()


def test_repair_ends_with_an_engine(folder):
    bpy.ops.threer.install_engine()
    environment.write_marker(environment.environment_folder(folder), {"lock": "another"})
    extension.preferences().engine_folder = str(folder)
    assert session.engine.state == "outdated"
    assert bpy.ops.threer.repair_engine() == {"FINISHED"}
    assert session.engine.state == "ready"


def test_remove_ends_without(folder):
    bpy.ops.threer.install_engine()
    assert bpy.ops.threer.remove_engine() == {"FINISHED"}
    assert session.engine.state == "missing"
    assert not folder.exists()


def test_from_a_folder_of_wheels(folder, tmp_path):
    with pytest.raises(RuntimeError, match=r"no package files \(\*\.whl\)"):
        bpy.ops.threer.install_engine_wheels(directory=str(tmp_path))
    (tmp_path / "numpy-1.0-py3-none-any.whl").touch()
    bpy.context.preferences.system.use_online_access = False
    assert bpy.ops.threer.install_engine_wheels(directory=str(tmp_path)) == {"FINISHED"}
    assert session.engine.state == "ready"
    log = environment.install_log(folder).read_text()
    assert f"--no-index --find-links {tmp_path.as_uri()}" in log
    assert "python install" not in log


def test_the_profile_chooses_the_engine(folder):
    bpy.ops.threer.install_engine()
    extension.preferences().profile = "full"
    assert session.engine.state == "missing"
    assert "(Full)" in session.engine.text
    extension.preferences().profile = "classic"
    assert session.engine.state == "ready"


def test_one_thing_at_a_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(reconstruct, "is_headless", lambda: False)
    monkeypatch.setattr(environment, "base_pythons", lambda *_: [write_fake_python(tmp_path, pause=30)])
    bpy.ops.threer.install_engine()
    for name in ("install_engine", "install_engine_wheels", "check_engine", "repair_engine", "remove_engine"):
        assert not getattr(bpy.ops.threer, name).poll()
    bpy.ops.threer.cancel_install()
    deadline = time.monotonic() + 30
    while session.is_installing:
        assert time.monotonic() < deadline
        session.tick()
        time.sleep(0.01)
    assert session.installer.state.status == "cancelled"
    assert bpy.ops.threer.install_engine.poll()


def test_what_is_not_there_cannot_be_checked(folder):
    for name in ("check_engine", "repair_engine", "remove_engine"):
        assert not getattr(bpy.ops.threer, name).poll()
    folder.mkdir()  # something went wrong, so these must be at hand
    assert bpy.ops.threer.repair_engine.poll()


def test_check_looks_at_a_python_of_the_users_own(folder, tmp_path):
    extension.preferences().engine_python = str(write_fake_python(tmp_path / "own", "broken engine"))
    assert bpy.ops.threer.check_engine() == {"FINISHED"}
    found = {finding.name: finding for finding in session.installer.report.findings}
    assert set(found) == {"Python", "Self-test"}
    assert found["Self-test"].state == "bad"
    assert "OpenCV cannot be loaded" in found["Self-test"].text
