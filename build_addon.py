"""Write dist/blender_3r-VERSION.zip, the extension as Blender installs it. Needs nothing but Python.

    python build_addon.py [--out FOLDER]

The same sources give the same bytes: files are sorted, and all carry the same date and rights.
"""

from __future__ import annotations

import argparse
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "blender_3r"
SUFFIXES = {".py", ".toml", ".txt"}
DATE = (2026, 1, 1, 0, 0, 0)


def package_files() -> list[Path]:
    """What belongs into the zip: sources, the manifest, the pinned requirements."""
    return sorted(
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts
    )


def build(folder: Path) -> Path:
    """Write the zip into folder and return its path."""
    manifest = tomllib.loads((PACKAGE / "blender_manifest.toml").read_text(encoding="utf-8"))
    target = folder / f"{manifest['id']}-{manifest['version']}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in [*package_files(), ROOT / "LICENSE"]:
            base = PACKAGE if PACKAGE in path.parents else ROOT
            entry = zipfile.ZipInfo(path.relative_to(base).as_posix(), DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
    temporary.replace(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    print(build(parser.parse_args().out))


if __name__ == "__main__":
    main()
