"""The zip: the same bytes each time, accepted by Blender's own validator, and working once it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
VALIDATOR = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"


def build(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "build_addon.py"), "--out", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return build(tmp_path_factory.mktemp("zip"))


def test_the_same_bytes_twice(archive, tmp_path):
    assert build(tmp_path).read_bytes() == archive.read_bytes()


def test_what_is_in_it(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert archive.name == f"blender_3r-{manifest()['version']}.zip"
    for needed in (
        "__init__.py",
        "blender_manifest.toml",
        "LICENSE",
        "client/engine-classic.txt",
        "engine/__main__.py",
        "engine/service/process.py",
        "scene/job.py",
    ):
        assert needed in names
    for name in names:
        assert Path(name).suffix in (".py", ".toml", ".txt", ""), name
        assert "test" not in name
        assert "__pycache__" not in name
    assert archive.stat().st_size < 1_000_000


@pytest.mark.parametrize("what", ["archive", "folder"])
def test_blenders_validator_accepts_it(archive, what):
    target = archive if what == "archive" else ROOT / "blender_3r"
    done = subprocess.run(
        [sys.executable, str(VALIDATOR), "validate", str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def manifest() -> dict:
    return tomllib.loads((ROOT / "blender_3r" / "blender_manifest.toml").read_text(encoding="utf-8"))


def test_the_manifest():
    data = manifest()
    assert data["id"] == "blender_3r"
    assert "blender" not in data["name"].lower()
    assert data["blender_version_min"] == "4.2.0"
    assert data["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(data["permissions"]) == {"files", "network"}
    assert "wheels" not in data
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert data["version"] == project["project"]["version"]


def test_importing_the_package_imports_nothing_of_blender():
    code = "import sys, blender_3r, blender_3r.client.job, blender_3r.client.installer; sys.exit('bpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0


SCRIPT = """
import os, sys, traceback
import bpy
def run():
    archive, movie, python, jobs = sys.argv[1:]
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    name = "bl_ext.user_default.blender_3r"
    preferences = bpy.context.preferences.addons[name].preferences
    preferences.job_folder, preferences.engine_python = jobs, python
    bpy.context.scene.threer.path = movie
    assert bpy.ops.threer.reconstruct() == {"FINISHED"}
    assert bpy.data.objects["courtyard Points"].data.vertices
    bpy.ops.preferences.addon_disable(module=name)
    assert not hasattr(bpy.context.scene, "threer")
    left = [n for n in dir(bpy.types) if "THREER" in n]
    assert not left, left
try:
    run()
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
"""


def test_the_installed_zip_reconstructs(archive, tmp_path):
    python = tmp_path / "python-work"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/fake_engine.py" work 0.3\n')
    python.chmod(0o755)
    movie = ROOT / "demo" / "courtyard.mp4"
    resources = tmp_path / "ressources"
    resources.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(archive), str(movie), str(python), str(tmp_path / "jobs")],
        env=os.environ | {"BLENDER_USER_RESOURCES": str(resources)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
