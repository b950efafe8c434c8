"""How the installer ends in every case, with a Python and a uv that only pretend."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from blender_3r.client import environment, locks
from blender_3r.client.environment import environment_folder, find_engine, python_of, read_marker
from blender_3r.client.installer import Installer, Remover, Repair
from tests.fake_python import write_fake_python


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
    assert any(re.fullmatch(r"Downloading opencv-python-headless \(\d+\.\d MB\)", state.step) for state in states)
    assert "Unpacking packages" in [state.step for state in states]
    loading = [state for state in states if state.total_bytes]
    assert [state.done_bytes for state in loading] == sorted(state.done_bytes for state in loading)
    assert loading[-1].done_bytes == loading[-1].total_bytes > 1e7
    found = find_engine("", folder)
    assert found.state == "ready"
    assert found.python == python_of(environment_folder(folder))


@pytest.mark.parametrize(
    ("mode", "message", "hint"),
    [
        ("offline", "package index does not answer", "network"),
        ("offline pip", "package index does not answer", "network"),
        ("no wheel", "in a form for Python 3.12", "another Python"),
        ("no wheel pip", "no ready-made numpy==1.0 for Python 3.12", "another Python"),
        ("wrong hash", "its hash is another", "index"),
        ("full", "disk is full", "Free"),
        ("full pip", "disk is full", "Free"),
        ("odd pip", "The moon is in the wrong phase", "log"),
        ("odd", "The moon is in the wrong phase", "log"),
        ("broken engine", "does not start: OpenCV cannot be loaded.", "log"),
        ("no venv", "No Python", "Install Python 3.11 to 3.13"),
        ("old", "No Python", "Install Python 3.11 to 3.13"),
        ("ill", "environment cannot be made: error: the link cannot be made", "log"),
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


def test_without_uv_pip_does_the_work(install, tmp_path):
    installer = install("no uv", pause=0.05)
    states = finish(installer)
    assert states[-1].status == "done"
    assert any(state.step.startswith("Downloading pycolmap") for state in states)
    assert "uv cannot be used here" in installer.log.read_text()
    assert find_engine("", tmp_path / "engine home").state == "ready"


def test_passwords_stay_out_of_the_log(install):
    installer = install("good")
    finish(installer)
    text = installer.log.read_text()
    assert "uv is told: UV_DEFAULT_INDEX" in text
    assert "secret" not in text


def test_a_system_without_ready_made_packages_is_told(tmp_path):
    installer = Installer([write_fake_python(tmp_path)], tmp_path / "engine", lock=tmp_path / "none.txt")
    finish(installer)
    assert locks.platform_id() in installer.state.failure.message
    assert "name it in the preferences" in installer.state.failure.hint


def test_a_cancelled_repair_does_not_count_as_whole(install, tmp_path):
    """The stand-in has no packages, so all of them are to be repaired."""
    folder = tmp_path / "engine home"
    finish(install("good"))
    write_fake_python(environment.tools_folder(folder) / "bin", pause=30).replace(
        environment.tools_folder(folder) / "bin" / "uv"
    )
    repair = Repair([write_fake_python(tmp_path / "good")], folder)
    deadline = time.monotonic() + 60
    while not repair.state.step.startswith("Downloading"):
        assert time.monotonic() < deadline, repair.state
        time.sleep(0.01)
    repair.cancel()
    finish(repair)
    assert repair.state.status == "cancelled"
    assert find_engine("", folder).state == "broken"


def test_without_the_network_only_what_needs_none_is_repaired(install, tmp_path):
    folder = tmp_path / "engine home"
    finish(install("good"))
    place = environment_folder(folder)
    (tmp_path / "lock.txt").write_text("")  # nothing is wanted, so nothing is missing
    environment.write_marker(place, {"lock": "another"})
    pythons = [write_fake_python(tmp_path / "good")]
    repair = Repair(pythons, folder, lock=tmp_path / "lock.txt", use_network=False)
    assert finish(repair)[-1].status == "done", repair.state.failure
    repair = Repair(pythons, folder, use_network=False)
    finish(repair)
    assert repair.state.status == "failed"
    assert "Packages are needed (numpy, " in repair.state.failure.message
    assert "Allow Online Access" in repair.state.failure.hint
    assert find_engine("", folder).state == "outdated", "what works is not touched"
    (place / environment.MARKER).unlink()
    repair = Repair(pythons, folder, use_network=False)
    finish(repair)
    assert "All packages are needed, and Blender may not use the network." in repair.state.failure.message
    assert python_of(place).exists()


def test_remove_takes_only_what_is_ours(install, tmp_path):
    folder = tmp_path / "engine home"
    finish(install("good"))
    (folder / "notes.txt").write_text("mine")
    remover = Remover(folder)
    finish(remover)
    assert remover.state.status == "done"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_log_tells_of_all_that_was_done(install, tmp_path):
    finish(install("odd"))
    finish(install("good"))
    text = environment.install_log(tmp_path / "engine home").read_text()
    assert text.count("== Installing the engine, ") == 2
    assert "The moon is in the wrong phase" in text


def test_something_unforeseen_is_an_end_too(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "read_lock", lambda path: 1 / 0)
    installer = Installer([], tmp_path)
    finish(installer)
    assert installer.state.status == "failed"
    assert "ZeroDivisionError" in installer.state.failure.message


def test_the_real_thing_without_packages(tmp_path, monkeypatch):
    """A real environment, a real pip that has nothing to fetch, a stand-in for the engine."""
    lock = tmp_path / "none.txt"
    lock.write_text("# nothing\n")
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "__main__.py").write_text(
        "import sys; sys.exit(sys.argv[1:] != ['check', '--profile', 'classic'] or sys.prefix == sys.base_prefix)"
    )
    monkeypatch.setattr(locks, "uv_lock_path", lambda: tmp_path / "no such lock")
    installer = Installer([Path(sys.executable)], tmp_path / "home", lock=lock, engine=engine)
    finish(installer)
    assert installer.state.status == "done", installer.state.failure
    marker = read_marker(environment_folder(tmp_path / "home"))
    assert marker.pop("bytes") > 1e6
    assert marker == {
        "lock": locks.read_lock(lock).hash,
        "profile": "classic",
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "packages": {},
    }
