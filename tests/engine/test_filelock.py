"""One process at a time: by flock here, by the C library's lock on Windows, and unguarded where there are no locks."""

from __future__ import annotations

import errno
import sys
from types import SimpleNamespace

import pytest

from blender_3r.engine import filelock


def test_the_second_one_is_refused_until_the_first_lets_go(tmp_path):
    path = tmp_path / "lock"
    with path.open("ab") as second:
        with path.open("ab") as first:
            assert filelock.try_lock(first)
            assert not filelock.try_lock(second)
        assert filelock.try_lock(second)


@pytest.mark.parametrize(("code", "is_ours"), [(None, True), (errno.EACCES, False), (errno.EDEADLK, False)])
def test_windows_way(tmp_path, monkeypatch, code, is_ours):
    asked = []

    def locking(descriptor, mode, count):
        asked.append((mode, count))
        if code is not None:
            raise OSError(code, "no")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with (tmp_path / "lock").open("ab") as file:
        assert filelock.try_lock(file) is is_ours
    assert asked == [(2, 1)]


def test_a_file_system_without_locks_does_not_keep_anybody_out(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("ab") as file:
        assert filelock.try_lock(file)
