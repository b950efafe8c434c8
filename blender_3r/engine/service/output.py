"""Standard output and standard error as files of their own, out of the reach of libraries that print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def claim_stdout() -> BinaryIO:
    """The real standard output, unbuffered; from now on whatever prints to it, C++ included, goes to standard error."""
    sys.stdout.flush()
    real = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return real


@contextmanager
def redirected_to(path: Path) -> Iterator[None]:
    """Everything printed to standard output and error goes to the end of a file meanwhile."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    no_links = getattr(os, "O_NOFOLLOW", 0)  # a job folder's log.txt must not lead out of it
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | no_links, 0o644)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip((1, 2), saved):
            os.dup2(original, number)
            os.close(original)
        os.close(file)
