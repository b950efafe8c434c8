"""Check fixture folders, one line per quantity.

    python -m tests.parity FOLDER [FOLDER ...]

A folder holds config.json, weights*.safetensors, io*.safetensors, procedure_* and checkpoint_keys.json[.gz], any of
them; folders inside it are checked too. Exit status: 0 when every quantity is within its tolerance, 1 when one is
not, 2 when a folder is missing or holds nothing that is known here, 3 when files in it were not checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .checkers import check_folder


def main(arguments: list[str] | None = None) -> int:
    """Check the folders and print what was found; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    status = 0
    for folder in parser.parse_args(arguments).folders:
        if not folder.is_dir():
            print(f"{folder} is not a folder.")
            status = _worse(status, 2)
            continue
        status = _worse(status, _check(folder))
    return status


def _worse(one: int, other: int) -> int:
    """Of two exit statuses; a wrong number outweighs what could not be checked."""
    return 1 if 1 in (one, other) else max(one, other)


def _check(folder: Path) -> int:
    print(f"== {folder}")
    count, failed, status = 0, 0, 0
    report = check_folder(folder)
    for result in report.results():
        print(result.line(), flush=True)
        count += 1
        failed += not result.passed
    skipped = report.skipped()
    for name in skipped:
        print(f"  not checked: {name}")
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        status = _worse(status, _check(inner))
    if count == 0 and not any(path.is_dir() for path in folder.iterdir()):
        print("  nothing here is known")
        return 2
    if count:
        print(f"  {count} quantities, {failed} outside their tolerance")
    if failed:
        return 1
    return _worse(status, 3 if skipped else 0)


if __name__ == "__main__":
    sys.exit(main())
