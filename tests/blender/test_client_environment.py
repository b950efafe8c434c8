"""Where the engine's Python is looked for, and how the installer ends in every case."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from blender_3r.client import environment
from blender_3r.client.environment import base_pythons, environment_folder, find_engine, python_of, read_marker
from blender_3r.client.installer import Installer
from tests.fake_python import write_fake_python

ROOT = Path(__file__).resolve().parent.parent.parent


def finish(installer: Installer) -> list:
    """Wait for the end; the states on the way."""
    states = [installer.state]
    deadline = time.monotonic() + 120
    while installer.state.status == "running":
        assert time.monotonic() < deadline, f"stuck: {installer.state}"
        if installer.state is not states[-1]:
            states.append(installer.state)
        time.sleep(0.002)
    return [*states, installer.state]


@pytest.fixture
def install(tmp_path):
    made = []

    def start(mode: str, pause: float = 0.0, folder: Path = tmp_path / "engine home") -> Installer:
        made.append(Installer([write_fake_python(tmp_path / mode, mode, pause)], folder))
        return made[-1]

    yield start
    for installer in made:
        installer.close()


def test_a_good_installation(install, tmp_path):
    folder = tmp_path / "engine home"
    assert find_engine("", folder).state == "missing"
    states = finish(install("good", pause=0.05))
    assert states[-1].status == "done"
    fractions = [state.fraction for state in states]
    assert fractions == sorted(fractions)
    steps = [state.step for state in states]
    assert "Downloading opencv-python-headless (21.3 MB)" in steps
    assert "Unpacking packages" in steps
    found = find_engine("", folder)
    assert found.state == "ready"
    assert found.python == python_of(environment_folder(folder))


@pytest.mark.parametrize(
    ("mode", "message", "hint"),
    [
        ("offline", "package index does not answer", "network"),
        ("no wheel", "no ready-made numpy==1.0 for Python 3.12", "another Python"),
        ("full", "disk is full", "Free"),
        ("odd", "The moon is in the wrong phase", "log"),
        ("broken engine", "does not start: OpenCV cannot be loaded.", "log"),
        ("no venv", "No Python", "Install Python 3.11 to 3.13"),
        ("old", "No Python", "Install Python 3.11 to 3.13"),
        ("ill", "environment cannot be made: Error: the link cannot be made", "log"),
    ],
)
def test_a_failed_installation_says_why_and_leaves_nothing(install, tmp_path, mode, message, hint):
    installer = install(mode)
    finish(installer)
    assert installer.state.status == "failed"
    assert message in installer.state.failure.message
    assert hint in installer.state.failure.hint
    assert not environment_folder(tmp_path / "engine home").exists()
    assert find_engine("", tmp_path / "engine home").state == "missing"
    assert installer.log.stat().st_size > 0


def test_cancel_leaves_nothing(install, tmp_path):
    installer = install("good", pause=30)
    deadline = time.monotonic() + 60
    while not installer.state.step.startswith("Downloading"):
        assert time.monotonic() < deadline, installer.state
        time.sleep(0.01)
    assert environment_folder(tmp_path / "engine home").exists()
    installer.cancel()
    finish(installer)
    assert installer.state.status == "cancelled"
    assert not environment_folder(tmp_path / "engine home").exists()


def test_what_is_there_is_replaced(install, tmp_path):
    finish(install("good"))
    old = environment_folder(tmp_path / "engine home") / "old file"
    old.touch()
    finish(install("good"))
    assert not old.exists()
    assert find_engine("", tmp_path / "engine home").state == "ready"


def test_cancel_before_anything_changed_keeps_what_is_there(install, tmp_path):
    finish(install("good"))
    finish(install("no venv"))
    assert find_engine("", tmp_path / "engine home").state == "ready"


def test_other_peoples_files_are_left_alone(install, tmp_path):
    place = environment_folder(tmp_path / "engine home")
    place.mkdir(parents=True)
    (place / "thesis.odt").write_text("years of work")
    installer = install("good")
    finish(installer)
    assert "holds other files" in installer.state.failure.message
    assert (place / "thesis.odt").read_text() == "years of work"


def test_too_little_room_is_said_before_anything_is_fetched(install, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**10, 10**10, 10**8))
    installer = install("good")
    finish(installer)
    assert "0.1 GB are free" in installer.state.failure.message


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Installer([], tmp_path / "file" / "engine")


def test_a_half_made_folder_does_not_count(tmp_path):
    place = environment_folder(tmp_path)
    python_of(place).parent.mkdir(parents=True)
    python_of(place).touch()
    assert find_engine("", tmp_path).state == "missing"
    (place / environment.MARKER).write_text('{"requirements": "')  # cut short
    assert find_engine("", tmp_path).state == "missing"


def test_a_change_of_the_pins_asks_for_an_update(install, tmp_path):
    finish(install("good"))
    folder = tmp_path / "engine home"
    other = tmp_path / "requirements.txt"
    other.write_text(environment.REQUIREMENTS.read_text() + "\nscipy==1.0\n")
    assert find_engine("", folder, other).state == "outdated"
    other.write_text(environment.REQUIREMENTS.read_text() + "\n# scipy==1.0\n")
    assert find_engine("", folder, other).state == "ready"


def test_an_engine_whose_blender_is_gone_is_missing(install, tmp_path):
    finish(install("good"))
    python = python_of(environment_folder(tmp_path / "engine home"))
    python.unlink()
    python.symlink_to(tmp_path / "removed" / "python3.12")
    assert "gone" in find_engine("", tmp_path / "engine home").text


def test_an_engine_python_of_the_users_own(tmp_path):
    assert find_engine(sys.executable, tmp_path).python == Path(sys.executable)
    wrong = find_engine(str(tmp_path / "python"), tmp_path)
    assert wrong.state == "wrong"
    assert str(tmp_path / "python") in wrong.text


def test_blender_is_never_taken_for_a_python(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    blender = write_fake_python(tmp_path / "blender")  # some builds name Blender itself as Python's executable
    ours = write_fake_python(tmp_path / "prefix" / "bin")
    system = write_fake_python(tmp_path / "bin")
    assert base_pythons(str(blender), str(tmp_path / "prefix"), str(blender)) == [ours, system]
    assert base_pythons("/opt/blender/blender", str(tmp_path / "prefix"), "") == [ours, system]
    assert base_pythons(str(ours), str(tmp_path / "prefix"), "")[0] == ours


def test_the_real_thing_without_packages(tmp_path):
    """A real environment, a real pip that has nothing to fetch, a stand-in for the engine."""
    requirements = tmp_path / "none.txt"
    requirements.write_text("# nothing\n")
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "__main__.py").write_text(
        "import sys; sys.exit(sys.argv[1:] != ['check'] or sys.prefix == sys.base_prefix)"
    )
    installer = Installer([Path(sys.executable)], tmp_path / "home", requirements, engine)
    finish(installer)
    assert installer.state.status == "done", installer.state.failure
    marker = read_marker(environment_folder(tmp_path / "home"))
    assert marker == {
        "requirements": environment.requirements_hash(requirements),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    json.dumps(marker)


def test_the_requirements_have_one_source():
    text = (ROOT / "requirements" / "engine-classic.txt").read_text()
    target = (ROOT / "requirements" / text.split("-r ")[1].strip()).resolve()
    assert target == environment.REQUIREMENTS
    assert all("==" in pin for pin in environment.read_pins())
    assert "torch" not in target.read_text()


@pytest.mark.parametrize(
    ("platform", "names", "end"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/blender_3r"),
        ("linux", {}, ".local/share/blender_3r"),
        ("darwin", {}, "Library/Application Support/blender_3r"),
        ("win32", {"LOCALAPPDATA": "/c/Local"}, "/c/Local/blender_3r"),
    ],
)
def test_the_data_folder_of_each_system(monkeypatch, platform, names, end):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert environment.data_folder().as_posix().endswith(end)


def test_the_engine_is_started_apart_from_blenders_python():
    command = environment.serve_command(Path("/x/python"))
    assert command[:4] == [str(Path("/x/python")), "-I", "-X", "utf8"]
    assert command[-2:] == ["--parent", str(os.getpid())]
