"""Where weights and records lie on this machine. Standard library only: looked up without any package.

Files from the Hugging Face hub lie in the hub's own cache, which all programs share (HF_HUB_CACHE, HF_HOME); files from
elsewhere, own records and what is known of checked files lie in the zoo's home (BLENDER_3R_ZOO).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Record, WeightFile

COMMIT = re.compile(r"[0-9a-f]{40}")


def zoo_home() -> Path:
    """BLENDER_3R_ZOO, or a folder beside the engine in the user's data folder; not created."""
    if given := os.environ.get("BLENDER_3R_ZOO"):
        return Path(given).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "blender_3r" / "zoo"


def record_folders() -> list[Path]:
    """Where the user's own records are looked for, there or not; later ones win."""
    named = os.environ.get("BLENDER_3R_RECORDS", "")
    return [zoo_home() / "records", *(Path(part).expanduser() for part in named.split(os.pathsep) if part)]


def hub_cache() -> Path:
    """The cache of huggingface_hub, by its own rules."""
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(os.path.expandvars(named)).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def is_offline() -> bool:
    """Whether the environment forbids to reach the hub (HF_HUB_OFFLINE); then nothing at all is downloaded."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def hub_endpoint() -> str:
    """HF_ENDPOINT, or the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def repo_folder(repo: str) -> Path:
    """The folder of a repository in the hub's cache."""
    return hub_cache() / ("models--" + repo.replace("/", "--"))


def snapshot_path(file: WeightFile, commit: str) -> Path:
    """Where the hub's cache shows a file of a commit: a link to a blob, or the file itself where links are not to be
    had.
    """
    return repo_folder(file.repo) / "snapshots" / commit / Path(*file.file.split("/"))


def url_folder(record: Record) -> Path:
    """Where the files from plain addresses of a record lie."""
    return zoo_home() / "weights" / record.id


def find_file(record: Record, file: WeightFile) -> Path | None:
    """The file on this machine, checked or not; None when it is not there."""
    if file.path:
        path = Path(file.path)
    elif file.url:
        path = url_folder(record) / file.name
    else:
        commit = file.revision
        if not COMMIT.fullmatch(commit):
            try:
                commit = (repo_folder(file.repo) / "refs" / file.revision).read_text(encoding="utf-8").strip()
            except OSError:
                return None
        if not COMMIT.fullmatch(commit):
            return None
        path = snapshot_path(file, commit)
    return path if path.is_file() else None
