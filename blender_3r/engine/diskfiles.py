"""Files that are whole or not there at all, and what is said when a disk does not take them.

Read by both sides: standard library and numpy.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import numpy as np

from .errors import EngineError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            "machine",
            f"Cannot write to {path} ({error.strerror or error}).",
            "Free disk space or choose another job folder; what is already there stays importable.",
        ) from error


def open_to_append(path: Path) -> BinaryIO:
    """A file of a job folder for appending, unbuffered; never through a link, which could lead anywhere.

    Raises OSError.
    """
    if path.is_symlink():  # where O_NOFOLLOW is unknown
        raise OSError(errno.ELOOP, "it is a link", str(path))
    no_links = getattr(os, "O_NOFOLLOW", 0)
    return open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags | no_links, 0o644))


def write_array(path: Path, array: np.ndarray) -> None:
    """A .npy file. Raises OSError when the disk is full, which np.save overlooks for the last few kilobytes."""
    with open(path, "wb") as file:
        sink = SimpleNamespace(write=file.write)  # given a real file, numpy writes past Python and its checks
        np.lib.format.write_array(sink, np.ascontiguousarray(array), allow_pickle=False)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that takes the place of path once it is written; gone when writing fails."""
    handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)
