"""The engine as a program: `python blender_3r/engine COMMAND ...`; see `--help`."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path


def _make_importable() -> None:
    """Let `blender_3r.engine` be imported from wherever this folder lies, without importing its parent's __init__.

    Started as a folder, Python has put the folder itself at the head of sys.path, where its modules would hide others.
    """
    engine = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != engine]
    parent = types.ModuleType("blender_3r")
    parent.__path__ = [str(engine.parent)]
    sys.modules["blender_3r"] = parent


if __name__ == "__main__":
    if not __package__:
        _make_importable()
    # Bundle adjustment multiplies many small matrices: BLAS threads only wait for each other there, at four times the
    # CPU time. What is worth more threads has its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from blender_3r.engine.service.cli import main

    sys.exit(main())
