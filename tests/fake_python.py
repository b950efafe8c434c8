"""A program that answers as a Python does that the installer drives, without making or fetching anything.

What it makes as uv is a copy of itself that answers as uv does.
"""

from __future__ import annotations

from pathlib import Path

_SCRIPT = """#!/bin/sh
mode="{mode}"
here=$(dirname "$0")

environment() {{
  mkdir -p "$1/bin" "$1/lib/python3.12/site-packages"; cp "$0" "$1/bin/python"; touch "$1/pyvenv.cfg"
}}

packages() {{
  for package in numpy opencv-python-headless pillow pycolmap; do
    if [ "$1" = uv ]; then echo "Downloading $package (20.3MiB)"; else
      echo "Collecting $package==1.0 (from -r requirements (line 1))"
      echo "  Downloading $(echo $package | tr - _)-1.0-cp312-cp312-linux_x86_64.whl (21.3 MB)"
    fi
    sleep {pause}
    case "$mode" in
      offline*) echo "error: Failed to fetch: https://index/simple/$package/"; echo "  cause: dns error"; exit 2;;
      "no wheel pip") echo "ERROR: No matching distribution found for $package==1.0"; exit 1;;
      "no wheel") echo "error: No solution found"; echo "  cause: $package has no wheels with a matching tag"; exit 1;;
      full*) echo "ERROR: Could not install: [Errno 28] No space left on device"; exit 1;;
      odd*) echo "ERROR: The moon is in the wrong phase"; exit 1;;
      "wrong hash") echo "error: Hash mismatch for '$package==1.0'"; exit 1;;
    esac
    [ "$1" = uv ] && echo " Downloaded $package"
  done
  [ "$1" = uv ] && echo "Prepared 4 packages in 2s"
  [ "$1" = pip ] && echo "Installing collected packages: pillow, numpy, pycolmap, opencv-python-headless"
  sleep {pause}
  [ "$1" = uv ] && echo "Installed 4 packages in 10ms" || echo "Successfully installed numpy-1.0"
}}

if [ "$(basename "$0")" = uv ]; then
  case "$*" in
    --version) echo "uv {uv} (x86_64)";;
    "python install"*) echo "error: Failed to download"; exit 1;;
    venv*)
      [ "$mode" = ill ] && {{ echo "error: the link cannot be made"; exit 1; }}
      for folder; do :; done
      environment "$folder";;
    "pip install"*) packages uv;;
    *) echo "not understood: $*"; exit 2;;
  esac
  exit
fi

case "$*" in
  *" -c "*)
    [ "$mode" = "no venv" ] && {{ echo "No module named ensurepip"; exit 1; }}
    [ "$mode" = old ] && {{ echo 3.9; exit 0; }}
    echo 3.12;;
  *"-m venv"*)
    for folder; do :; done
    environment "$folder";;
  *"-m pip"*--version) echo "pip 25.0";;
  *"-m pip"*"config list") echo "global.index-url='https://user:secret@index/simple'";;
  *"-m pip"*uv-*)
    case "$mode" in *pip|"no uv") echo "ERROR: No matching distribution found for uv"; exit 1;; esac
    cp "$0" "$here/uv";;
  *"-m pip"*) packages pip;;
  *check*)
    [ "$mode" = "broken engine" ] && {{ echo "Problem: OpenCV cannot be loaded."; echo "No good."; exit 5; }}
    echo "All is well.";;
  *) echo "not understood: $*"; exit 2;;
esac
"""


def write_fake_python(folder: Path, mode: str = "good", pause: float = 0.0, uv: str = "0.13.9") -> Path:
    """An executable in folder that behaves as mode says; pause: seconds per package; uv: the version it brings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python3.12"
    path.write_text(_SCRIPT.format(mode=mode, pause=pause, uv=uv))
    path.chmod(0o755)
    return path
