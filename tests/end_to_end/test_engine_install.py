"""The engine's environment made for real, from the package index; broken in every way that users meet, and mended.

The profile Full takes gigabytes where no build of PyTorch is at hand, so it is made only where pip is configured to
look into a folder that has one. BLENDER_3R_TEST_FULL=1 has it downloaded, 0 leaves it out.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blender_3r.client import environment, indexes, locks
from blender_3r.client.doctor import BAD, WARNING, Checkup, Finding, site_packages
from blender_3r.client.installer import Installer, Remover, Repair
from blender_3r.client.work import InstallState, Work

LIMIT_S = 900
PYTHONS = [Path(sys.executable)]
NOWHERE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "1",
}

pytestmark = pytest.mark.skipif(
    not locks.lock_path("classic").is_file(), reason=f"there is no ready-made engine for {locks.platform_id()}"
)


def finish(work: Work) -> list[InstallState]:
    """Wait for the end; the states on the way."""
    states = [work.state]
    until = time.monotonic() + LIMIT_S
    while work.state.status == "running":
        assert time.monotonic() < until, f"stuck: {work.state}"
        if work.state is not states[-1]:
            states.append(work.state)
        time.sleep(0.01)
    work.close(30)
    return [*states, work.state]


def check(folder: Path, profile: str = "classic") -> dict[str, Finding]:
    """What Check says: name to finding, a bad one before others of its name."""
    work = Checkup(folder, profile)
    finish(work)
    assert work.state.status == "done", work.state.failure
    found = sorted(work.report.findings, key=lambda finding: finding.state == BAD)
    assert work.report.is_healthy == all(finding.state != BAD for finding in found)
    return {finding.name: finding for finding in found}


def is_healthy(folder: Path, profile: str = "classic") -> bool:
    return all(finding.state != BAD for finding in check(folder, profile).values())


def repair(folder: Path, profile: str = "classic") -> InstallState:
    return finish(Repair(PYTHONS, folder, profile))[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> tuple[Path, list[InstallState]]:
    """An engine folder with the profile Classic, and the states on the way to it."""
    folder = tmp_path_factory.mktemp("engine") / "en gine ü"
    states = finish(Installer(PYTHONS, folder))
    assert states[-1].status == "done", states[-1].failure
    return folder, states


@pytest.fixture
def folder(installed) -> Path:
    """The engine folder, which a test may break if it mends it."""
    return installed[0]


def test_it_is_there_and_works(installed):
    folder, _ = installed
    found = environment.find_engine("", folder)
    assert (found.state, found.profile) == ("ready", "classic")
    assert 1e8 < found.bytes < 1e9
    done = subprocess.run(
        [found.python, "-I", environment.ENGINE, "check", "--json"], capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    assert report["ok"], report["problems"]
    assert report["profile"] == "classic"
    assert {**locks.read_lock(locks.lock_path("classic")).pins} == report["packages"]
    assert is_healthy(folder)


def test_its_progress_was_told_in_bytes(installed):
    _, states = installed
    fractions = [state.fraction for state in states]
    assert fractions == sorted(fractions)
    loading = [state for state in states if state.total_bytes]
    assert any(state.step.startswith("Downloading ") for state in loading)
    assert all(0 <= state.done_bytes <= state.total_bytes for state in loading)
    assert max(state.total_bytes for state in loading) > 5e7


def delete_a_package(folder: Path) -> None:
    shutil.rmtree(packages(folder) / "cv2")


def delete_a_package_with_its_records(folder: Path) -> None:
    for path in [*packages(folder).glob("PIL*"), *packages(folder).glob("pillow-*")]:
        shutil.rmtree(path)


def delete_its_records_only(folder: Path) -> None:
    for path in packages(folder).glob("pillow-*/RECORD"):
        path.unlink()


def truncate_a_file(folder: Path) -> None:
    library = max(packages(folder).glob("numpy/_core/*.so"), key=lambda path: path.stat().st_size)
    with open(library, "r+b") as file:
        file.truncate(library.stat().st_size // 2)


def write_a_wrong_hash_into_the_marker(folder: Path) -> None:
    place = environment.environment_folder(folder)
    environment.write_marker(place, environment.read_marker(place) | {"lock": "0" * 64})


def protect_a_folder(folder: Path) -> None:
    """By its mode, which Check reads because it would not stop an administrator."""
    packages(folder).chmod(stat.S_IRUSR | stat.S_IXUSR)


def put_a_file_in_a_folders_place(folder: Path) -> None:
    """Nothing can be written there, whoever tries."""
    shutil.rmtree(environment.tools_folder(folder))
    environment.tools_folder(folder).write_text("not a folder")


def cut_the_marker(folder: Path) -> None:
    place = environment.environment_folder(folder) / environment.MARKER
    place.write_text(place.read_text()[:20])


def packages(folder: Path) -> Path:
    return site_packages(environment.environment_folder(folder))


@pytest.mark.parametrize(
    ("breaks", "name", "text"),
    [
        (delete_a_package, "Packages", "opencv-python-headless is damaged: cv2/"),
        (delete_a_package_with_its_records, "Packages", "pillow is damaged: it is not there"),
        (delete_its_records_only, "Packages", "pillow is damaged: the list of its files is missing"),
        (truncate_a_file, "Packages", "numpy is damaged: numpy/_core/"),
        (write_a_wrong_hash_into_the_marker, "Installation", "another list of packages"),
        (protect_a_folder, "Folder", "it is write-protected"),
        (put_a_file_in_a_folders_place, "Folder", "should be a folder"),
        (cut_the_marker, "Installation", "did not come to its end"),
    ],
)
def test_check_tells_and_repair_mends(folder, breaks, name, text):
    breaks(folder)
    found = check(folder)
    assert found[name].state == BAD
    assert text in found[name].text
    outcome = repair(folder)
    assert outcome.status == "done", outcome.failure
    assert is_healthy(folder)
    assert environment.find_engine("", folder).state == "ready"


def test_without_a_network_check_and_repair_say_so(folder, monkeypatch):
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    found = check(folder)
    assert found["Package index"].state == WARNING
    assert "does not answer" in found["Package index"].text
    assert environment.find_engine("", folder).state == "ready"

    delete_a_package(folder)
    outcome = repair(folder)
    assert outcome.status == "failed"
    assert "does not answer" in outcome.failure.message
    assert "Check the network" in outcome.failure.hint
    assert environment.find_engine("", folder).state == "broken"  # and not taken for a whole one

    for name in NOWHERE:
        monkeypatch.delenv(name)
    assert repair(folder).status == "done"
    assert is_healthy(folder)


def test_repairing_what_is_whole_needs_no_network(folder, monkeypatch):
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    write_a_wrong_hash_into_the_marker(folder)
    assert environment.find_engine("", folder).state == "outdated"
    assert repair(folder).status == "done"
    assert environment.find_engine("", folder).state == "ready"


def test_a_second_blender_is_told_to_wait(folder):
    first = Checkup(folder)
    until = time.monotonic() + 60
    while first.state.step == "Starting":
        assert time.monotonic() < until
        time.sleep(0.001)
    second = finish(Checkup(folder))[-1]
    assert second.status == "failed"
    assert "Another Blender" in second.failure.message
    assert finish(first)[-1].status == "done"


def test_from_a_folder_of_wheels(tmp_path, monkeypatch):
    """As the README tells it, and then without a network."""
    wheels = tmp_path / "wheels, all"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    for lock in (locks.lock_path("classic"), locks.uv_lock_path()):
        subprocess.run([*command, "--require-hashes", "-r", lock, "-d", wheels], check=True, timeout=LIMIT_S)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    outcome = finish(Installer(PYTHONS, tmp_path / "engine", wheels=wheels))[-1]
    assert outcome.status == "done", outcome.failure
    assert environment.find_engine("", tmp_path / "engine").state == "ready"
    next(wheels.glob("pillow*")).unlink()
    outcome = finish(Installer(PYTHONS, tmp_path / "engine", wheels=wheels))[-1]
    assert outcome.status == "failed"
    assert "folder of wheels" in outcome.failure.hint


def is_torch_at_hand() -> bool:
    """Whether a folder of pip's configuration has the build of PyTorch that the profile wants."""
    if not locks.lock_path("full").is_file():
        return False
    version = locks.read_lock(locks.lock_path("full")).unlocked.get("torch")
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    folders = indexes.parse_pip_config(listed.stdout).get("find-links", "").split()
    return any(list(Path(folder.removeprefix("file://")).glob(f"torch-{version}*.whl")) for folder in folders)


@pytest.mark.skipif(
    os.environ.get("BLENDER_3R_TEST_FULL", "1" if is_torch_at_hand() else "0") != "1",
    reason="would download PyTorch: set BLENDER_3R_TEST_FULL=1 to run it",
)
def test_the_full_profile(tmp_path):
    states = finish(Installer(PYTHONS, tmp_path, "full"))
    assert states[-1].status == "done", states[-1].failure
    assert environment.find_engine("", tmp_path, "full").state == "ready"
    assert environment.find_engine("", tmp_path, "classic").profile == "full"
    shutil.rmtree(site_packages(environment.environment_folder(tmp_path, "full")) / "torch" / "nn")
    assert "torch is damaged" in check(tmp_path, "full")["Packages"].text
    assert repair(tmp_path, "full").status == "done"
    assert is_healthy(tmp_path, "full")


def test_remove_leaves_nothing_but_others_files(folder):
    """Last, because it takes the engine of the other tests away."""
    (folder / "notes.txt").write_text("mine")
    outcome = finish(Remover(folder))[-1]
    assert outcome.status == "done", outcome.failure
    assert "MB are free again" in outcome.text
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert environment.find_engine("", folder).state == "missing"
