"""What the installer does on other systems: programs' places, files that are held, read-only or of too long names."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from blender_3r.client import doctor, environment, files, installer, process, tools, work
from tests.fake_python import write_fake_python


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")


def held(code=32):
    error = PermissionError(13, "The process cannot access the file", "python.exe")
    error.winerror = code
    return error


# -- files


def test_a_file_that_is_held_for_a_while_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "POLL_S", 0.01)
    tries = []

    def action():
        tries.append(1)
        if len(tries) < 3:
            raise held()
        return "done"

    assert files.patiently(action) == "done"
    assert len(tries) == 3


def test_patience_has_an_end_and_other_errors_have_none(monkeypatch):
    monkeypatch.setattr(files, "PATIENCE_S", 0.05)
    monkeypatch.setattr(files, "POLL_S", 0.01)
    tries = []

    def action(error):
        tries.append(1)
        raise error

    with pytest.raises(PermissionError):
        files.patiently(lambda: action(held()))
    assert len(tries) > 1
    tries.clear()
    with pytest.raises(PermissionError):
        files.patiently(lambda: action(PermissionError(13, "no")))
    assert len(tries) == 1


def test_remove_takes_what_there_is(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "file").write_text("x")
    (tmp_path / "link").symlink_to(folder)
    files.remove(tmp_path / "link")
    assert (folder / "inside" / "file").exists()
    files.remove(folder)
    assert list(tmp_path.iterdir()) == []
    files.remove(tmp_path / "nothing")


def test_what_is_read_only_is_removed_on_windows(tmp_path, windows):
    """What shutil.rmtree does when Windows refuses to delete a file for its attribute."""
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o444)
    files._make_writable(lambda path: Path(path).unlink(), str(file), held(5))
    assert not file.exists()
    file.write_text("x")
    with pytest.raises(PermissionError):  # it is not for that
        files._make_writable(lambda path: Path(path).unlink(), str(file), (PermissionError, held(32), None))
    assert file.exists()


@pytest.mark.parametrize(
    ("name", "verbatim"),
    [
        (r"C:\engine\full", r"\\?\C:\engine\full"),
        (r"\\server\share\engine", r"\\?\UNC\server\share\engine"),
        (r"\\?\C:\engine", r"\\?\C:\engine"),
    ],
)
def test_names_of_any_length(name, verbatim):
    assert files.verbatim(name) == verbatim
    assert files.whole(Path("/here")) == Path("/here")  # no such limit elsewhere


def test_a_marker_that_is_being_read_is_replaced_later(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "POLL_S", 0.01)
    replace, tries = Path.replace, []

    def refuse_once(self, target):
        tries.append(target)
        if len(tries) == 1:
            raise held(5)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_once)
    environment.write_marker(tmp_path, {"lock": "x"})
    assert environment.read_marker(tmp_path) == {"lock": "x"}


# -- the installer


def test_an_engine_in_use_is_told(tmp_path, monkeypatch):
    """As when a job of another Blender runs in it."""
    place = environment.environment_folder(tmp_path)
    place.mkdir()
    (place / "pyvenv.cfg").write_text("")

    def refuse(_):
        raise held()

    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    monkeypatch.setattr(files.shutil, "rmtree", lambda *_, **__: refuse(None))
    remover = installer.Remover(tmp_path)
    until = time.monotonic() + 30
    while remover.state.status == "running":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert remover.state.status == "failed"
    assert remover.state.failure.message == "python.exe is in use."
    assert "other Blender windows" in remover.state.failure.hint


@pytest.mark.parametrize(("letters", "is_refused"), [(60, False), (200, True)])
def test_a_folder_with_too_long_a_name_is_refused_on_windows(tmp_path, monkeypatch, letters, is_refused):
    folder = tmp_path / "engine"
    trial = installer.Installer([write_fake_python(tmp_path / "bin", pause=5.0)], folder)
    trial.cancel()
    trial.close()
    monkeypatch.setattr(sys, "platform", "win32")
    trial._environment = Path("/" + "x" * (letters - 1))
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 60}))
    if is_refused:
        with pytest.raises(work.Failed, match="too long for Windows"):
            trial._check_place()
    else:
        trial._check_place()


def test_a_read_only_folder_means_nothing_on_windows(tmp_path, monkeypatch):
    """There the attribute of a folder does not keep anybody from writing into it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o555)
    assert doctor._why_not_writable(folder)
    folder.chmod(0o755)
    monkeypatch.setattr(sys, "platform", "win32")
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **more: (folder.chmod(0o755), real(self, **more))[1])
    assert doctor._why_not_writable(folder) == ""


def test_packages_whose_records_lead_out_of_their_folder(tmp_path):
    """Scripts are noted as ../../../bin/x, which Windows does not take in a verbatim name."""
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    info = site / "one-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text("../../../bin/one,,3\none-1.0.dist-info/RECORD,,\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "one").write_text("one")
    assert doctor.damaged_packages(site, {"one": "1.0"}) == {}
    (tmp_path / "bin" / "one").unlink()
    assert "is missing" in doctor.damaged_packages(site, {"one": "1.0"})["one"]


@pytest.mark.parametrize(
    ("raw", "words"), [("Größe".encode(), "Größe"), ("Größe".encode("latin-1"), "Größe"), (b"\xff", "ÿ")]
)
def test_output_in_the_systems_own_encoding(monkeypatch, raw, words):
    monkeypatch.setattr(work.locale, "getencoding", lambda: "cp1252")
    assert work.decode(raw) == words


# -- programs


def test_where_windows_keeps_programs(windows, tmp_path):
    assert environment.python_of(tmp_path) == tmp_path / "Scripts" / "python.exe"
    box = tools.Toolbox(work=None, engine_folder=tmp_path)
    assert box._uv == tmp_path / "tools" / "Scripts" / "uv.exe"


def test_blenders_python_is_found_on_windows(windows, tmp_path, monkeypatch):
    """It lies in python/bin; Python's own installer puts it beside."""
    monkeypatch.setenv("PATH", "")
    for folder in (tmp_path / "bin", tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / "python.exe").touch()
    found = environment.base_pythons(r"C:\Blender\blender.exe", str(tmp_path), "")
    assert found == [tmp_path / "bin" / "python.exe", tmp_path / "python.exe"]


@pytest.mark.parametrize(("folder", "names"), [("Lib", ()), ("lib", ("python3.13",))])
def test_where_packages_lie_on_each_system(tmp_path, folder, names):
    site = tmp_path.joinpath(folder, *names, "site-packages")
    site.mkdir(parents=True)
    assert doctor.site_packages(tmp_path) == site


def test_a_program_is_started_without_a_console_on_windows(windows, tmp_path, monkeypatch):
    flags = {"CREATE_NO_WINDOW": 0x08000000, "CREATE_NEW_PROCESS_GROUP": 0x200, "BELOW_NORMAL_PRIORITY_CLASS": 0x4000}
    for name, value in flags.items():
        monkeypatch.setattr(subprocess, name, value, raising=False)
    started = {}
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.update(options))
    process.start_detached(["engine.exe"], tmp_path)
    assert started["creationflags"] == sum(flags.values())
    assert "start_new_session" not in started
    assert not any(name.startswith("PYTHON") for name in started["env"])


def test_a_program_and_what_it_started_are_ended_on_windows(windows, monkeypatch):
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    asked = []

    class Child:
        pid = 4711

        def poll(self):
            return 1 if asked else None

    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append((command, options)))
    process.kill_tree(Child())
    command, options = asked[0]
    assert command == ["taskkill", "/T", "/F", "/PID", "4711"]
    assert options["creationflags"] == 0x08000000  # nor a console of its own
