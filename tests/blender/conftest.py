"""Every test starts in an empty file; the process ends without Blender's own tear-down."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

if importlib.util.find_spec("bpy") is None:
    collect_ignore_glob = ["test_*.py"]

_exit_status = 0


@pytest.fixture(autouse=True)
def empty_file():
    """A file without objects, as after File > New > General and deleting everything."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return bpy.context.scene


@pytest.fixture
def threer(empty_file):
    """The extension switched on; the settings of the scene."""
    import extension

    extension.switch_on()
    yield empty_file.threer
    extension.switch_off()


def pytest_sessionfinish(session, exitstatus):
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Leaving Python with classes registered crashes Blender 4.2 and hangs 4.5; the tests' status is kept."""
    if "bpy" not in sys.modules:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_status)
