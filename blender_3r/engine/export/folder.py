"""Folders that exports fill: whole or not at all, and nobody else's files are touched."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import EngineError

MANIFEST = "export.json"  # which files of a folder exports wrote: those, and no others, may be replaced


def fill_folder(out: Path, format_: str, write: Callable[[Path], None]) -> None:
    """write(empty folder), then move what it wrote to out and remove what an earlier export of this format left.

    Several formats may share a folder. Raises EngineError("usage") when a file that no export wrote is in the way.
    """
    existed = out.exists()
    out.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".tmp-export-", dir=out))
    try:
        write(staging)
        _publish(staging, out, format_)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()
        raise
    shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """A temporary path beside out that takes its place at the end; out stays as it was when the body raises."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".tmp-{out.name}")
    try:
        yield temporary
        os.replace(temporary, out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _publish(staging: Path, out: Path, format_: str) -> None:
    files = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file())
    exports = _read_manifest(out)
    ours = {file for entry in exports.values() for file in entry["files"]}
    for file in files:
        if file not in ours and os.path.lexists(out / file):
            raise _foreign(out, file)
    earlier = set(exports.pop(format_, {"files": []})["files"])
    # Said before it is done: what a killed export has moved already is known as ours the next time.
    _write_manifest(out, {**exports, format_: _entry(sorted(earlier | set(files)))})
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / file, out / file)
    kept = {file for entry in exports.values() for file in entry["files"]}
    for file in earlier - set(files) - kept:
        (out / file).unlink(missing_ok=True)
    _write_manifest(out, {**exports, format_: _entry(files)})


def _entry(files: list[str]) -> dict[str, Any]:
    return {"engine_version": __version__, "files": files}


def _read_manifest(out: Path) -> dict[str, dict[str, Any]]:
    """Format to {"files": [...]}; nothing where there is no manifest. Raises EngineError when it is not ours."""
    try:
        exports = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["exports"]
        for entry in exports.values():
            # a damaged list must not lead out of the folder
            if any(Path(file).is_absolute() or ".." in Path(file).parts for file in entry["files"]):
                raise ValueError("not inside the folder")
        return exports
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _foreign(out, MANIFEST) from error


def _write_manifest(out: Path, exports: dict[str, dict[str, Any]]) -> None:
    with whole_file(out / MANIFEST) as temporary:
        temporary.write_text(json.dumps({"exports": exports}, indent=1, ensure_ascii=False), encoding="utf-8")


def _foreign(out: Path, file: str) -> EngineError:
    return EngineError("usage", f"{out} holds a file {file} that no export wrote.", "Choose an empty or a new folder.")
