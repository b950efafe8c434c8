"""A program that answers as a Python does that the installer drives, without making or fetching anything."""

from __future__ import annotations

from pathlib import Path

MODES = ("good", "offline", "no wheel", "full", "odd", "broken engine", "no venv", "old", "ill")

_SCRIPT = """#!/bin/sh
mode="{mode}"
case "$*" in
  *" -c "*)
    [ "$mode" = "no venv" ] && {{ echo "No module named ensurepip"; exit 1; }}
    [ "$mode" = old ] && {{ echo 3.9; exit 0; }}
    echo 3.12;;
  *"-m venv"*)
    [ "$mode" = ill ] && {{ echo "Error: the link cannot be made"; exit 1; }}
    for folder; do :; done
    mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python"; touch "$folder/pyvenv.cfg";;
  *"-m pip"*)
    for package in numpy opencv-python-headless pillow pycolmap; do
      echo "Collecting $package==1.0 (from -r requirements (line 1))"
      echo "  Downloading $(echo $package | tr - _)-1.0-cp312-cp312-linux_x86_64.whl (21.3 MB)"
      sleep {pause}
      [ "$mode" = offline ] && {{ echo "WARNING: Retrying (Retry(total=0)) after NewConnectionError"; \
        echo "ERROR: No matching distribution found for $package==1.0"; exit 1; }}
      [ "$mode" = "no wheel" ] && {{ echo "ERROR: No matching distribution found for $package==1.0"; exit 1; }}
      [ "$mode" = full ] && {{ echo "ERROR: Could not install: [Errno 28] No space left on device"; exit 1; }}
      [ "$mode" = odd ] && {{ echo "ERROR: The moon is in the wrong phase"; exit 1; }}
    done
    echo "Installing collected packages: pillow, numpy, pycolmap, opencv-python-headless"
    sleep {pause}
    echo "Successfully installed numpy-1.0";;
  *check*)
    [ "$mode" = "broken engine" ] && {{ echo "Problem: OpenCV cannot be loaded."; echo "No good."; exit 5; }}
    echo "All is well.";;
  *) echo "not understood: $*"; exit 2;;
esac
"""


def write_fake_python(folder: Path, mode: str = "good", pause: float = 0.0) -> Path:
    """An executable in folder that behaves as mode says; pause: seconds per package."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python3.12"
    path.write_text(_SCRIPT.format(mode=mode, pause=pause))
    path.chmod(0o755)
    return path
