"""Where the engine's Python is looked for, and what its lock files say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from blender_3r.client import environment, locks
from blender_3r.client.environment import base_pythons, environment_folder, find_engine, python_of
from tests.fake_python import write_fake_python

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text(
        "numpy==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n# numpy-1.0-cp312-cp312-linux_x86_64.whl 1000\n"
    )
    return path


def pretend(engine_folder: Path, lock: Path, profile: str = "classic", **more: object) -> Path:
    """An environment as a finished installation leaves it; its marker."""
    place = environment_folder(engine_folder, profile)
    python_of(place).parent.mkdir(parents=True)
    python_of(place).touch()
    environment.write_marker(place, {"lock": locks.read_lock(lock).hash, "profile": profile, **more})
    return place / environment.MARKER


def test_a_half_made_folder_does_not_count(tmp_path):
    place = environment_folder(tmp_path)
    python_of(place).parent.mkdir(parents=True)
    python_of(place).touch()
    assert find_engine("", tmp_path).state == "missing"
    (place / environment.MARKER).write_text('{"lock": "')  # cut short
    assert find_engine("", tmp_path).state == "missing"


def test_a_change_of_the_pins_asks_for_an_update(tmp_path, lock):
    pretend(tmp_path / "engine", lock, bytes=1234)
    found = find_engine("", tmp_path / "engine", lock=lock)
    assert (found.state, found.profile, found.bytes) == ("ready", "classic", 1234)
    lock.write_text(lock.read_text() + "# a comment\n")
    assert find_engine("", tmp_path / "engine", lock=lock).state == "ready"
    lock.write_text(lock.read_text().replace("sha256:0", "sha256:1"))
    assert find_engine("", tmp_path / "engine", lock=lock).state == "outdated"


def test_what_has_no_hashes_counts_too(tmp_path, lock):
    before = locks.read_lock(lock).hash
    lock.with_suffix(".unlocked.txt").write_text("torch==2.13.0\n")
    found = locks.read_lock(lock)
    assert found.unlocked == {"torch": "2.13.0"}
    assert found.hash != before


def test_a_repair_that_did_not_end_is_told(tmp_path, lock):
    pretend(tmp_path / "engine", lock, unfinished=True)
    assert find_engine("", tmp_path / "engine", lock=lock).state == "broken"


def test_the_full_engine_does_for_classic_and_not_the_other_way_round(tmp_path):
    full = locks.lock_path("full")
    if not full.is_file():
        pytest.skip(f"there is no ready-made engine for {locks.platform_id()}")
    pretend(tmp_path / "a", full, "full")
    assert find_engine("", tmp_path / "a", "classic").profile == "full"
    pretend(tmp_path / "b", locks.lock_path("classic"))
    assert find_engine("", tmp_path / "b", "classic").state == "ready"
    missing = find_engine("", tmp_path / "b", "full")
    assert missing.state == "missing"
    assert "(Full)" in missing.text


def test_an_engine_whose_blender_is_gone_is_missing(tmp_path, lock):
    pretend(tmp_path / "engine", lock)
    python = python_of(environment_folder(tmp_path / "engine"))
    python.unlink()
    python.symlink_to(tmp_path / "removed" / "python3.12")
    assert "gone" in find_engine("", tmp_path / "engine", lock=lock).text


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


@pytest.mark.parametrize("profile", locks.PROFILES)
@pytest.mark.parametrize("platform", ["linux-x86_64", "windows-x86_64", "macos-arm64"])
def test_the_lock_files_cover_every_platform_and_python(profile, platform):
    lock = locks.read_lock(locks.FOLDER / f"{profile}-{platform}.txt")
    text = lock.path.read_text()
    assert {"numpy", "opencv-python-headless", "pillow", "pycolmap"} <= set(lock.pins)
    assert ("safetensors" in lock.pins) == (profile == "full")
    assert text.count("--hash=sha256:") == len(lock.wheels)
    for python in environment.PYTHONS:
        sizes = lock.download_bytes(python)
        assert set(sizes) == set(lock.pins)
        assert all(size > 1000 for size in sizes.values())
    assert ("torch" in {**lock.pins, **lock.unlocked}) == (profile == "full")
    assert ("torch" in lock.unlocked) == (profile == "full" and platform != "macos-arm64")


@pytest.mark.parametrize("profile", locks.PROFILES)
def test_lock_files_hold_what_the_requirements_ask_for(profile):
    asked = {}
    names = ["engine-classic.txt"] if profile == "classic" else ["engine-classic.txt", "engine-full.txt"]
    for name in names:
        for line in (ROOT / "blender_3r" / "client" / name).read_text().splitlines():
            if "==" in line:
                package, version = line.split("==")
                asked[locks.normal_name(package)] = version.strip()
    for path in locks.FOLDER.glob(f"{profile}-*[0-9].txt"):
        if path.name.endswith(".unlocked.txt"):
            continue
        lock = locks.read_lock(path)
        assert asked.items() <= {**lock.pins, **lock.unlocked}.items(), path


def test_the_requirements_have_one_source():
    for profile in locks.PROFILES:
        text = (ROOT / "requirements" / f"engine-{profile}.txt").read_text()
        target = (ROOT / "requirements" / text.split("-r ")[1].strip()).resolve()
        assert target == ROOT / "blender_3r" / "client" / f"engine-{profile}.txt"
    assert "torch" not in (ROOT / "blender_3r" / "client" / "engine-classic.txt").read_text()


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", "linux-x86_64"),
        ("win32", "AMD64", "windows-x86_64"),
        ("darwin", "arm64", "macos-arm64"),
        ("linux", "aarch64", "linux-aarch64"),
    ],
)
def test_the_platforms_name(monkeypatch, system, machine, name):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(locks.platform, "machine", lambda: machine)
    assert locks.platform_id() == name


def test_size_on_disk_counts_a_file_once(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "again").hardlink_to(tmp_path / "a" / "b" / "file")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "b")
    assert 1000 <= environment.folder_bytes(tmp_path / "a") < 1500
    assert environment.folder_bytes(tmp_path / "none") == 0


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
