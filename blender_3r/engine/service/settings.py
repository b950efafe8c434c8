"""The request of a job: checked before anything is started, compared to know whether a job goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import EngineError
from ..source import Source


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 1 and value == int(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def absolute_path(path: str | None) -> str | None:
    """A path of the command line as requests hold it; None where none was given."""
    return str(Path(path).absolute()) if path else None


# Name of a setting to (what it must be, in words, test).
SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "quality": ("draft, normal or fine", lambda v: v in ("draft", "normal", "fine")),
    "lens": ("auto, shared or zoom", lambda v: v in ("auto", "shared", "zoom")),
    "focal_px": ("a positive number of pixels", lambda v: _is_number(v) and 0 < v < 1e6),
    "dense": ("true or false", lambda v: isinstance(v, bool)),
    "points": ("a positive whole number", _is_count),
    "intrinsics": ("the path of a file", _is_text),
    "threads": ("a positive whole number", _is_count),
    "mask": ("the path of masks, or the word alpha", _is_text),
    "mask_invert": ("true or false", lambda v: isinstance(v, bool)),
    "moving": ("auto, off, or the path of masks", _is_text),
    "tracks": ("the path of a job folder", _is_text),
    "distortion": ("auto, none, k1, k1k2 or full", lambda v: v in ("auto", "none", "k1", "k1k2", "full")),
    "center": ("auto, fixed or free", lambda v: v in ("auto", "fixed", "free")),
    # of methods with a network
    "model": ("the id of a model", _is_text),
    "weights": ("the path of a checkpoint", _is_text),
    "image_size": (
        "a whole number of pixels, a multiple of 16 from 64 on",
        lambda v: _is_count(v) and v >= 64 and v % 16 == 0,
    ),
    "scene_graph": ("the name of a scene graph", _is_text),
    "alignment": (
        "auto, global, optimal, sparse or reference",
        lambda v: v in ("auto", "global", "optimal", "sparse", "reference"),
    ),
    "iterations": ("a positive whole number", _is_count),
    "schedule": ("cosine or linear", lambda v: v in ("cosine", "linear")),
    "min_confidence": ("a number, 0 or more", lambda v: _is_number(v) and v >= 0),
    "clean": ("true or false", lambda v: isinstance(v, bool)),
    "poses": ("the path of a file", _is_text),
    "refine": ("true or false", lambda v: isinstance(v, bool)),
    "depth_prior": ("the path of a job folder or of depth files, or the word model", _is_text),
    "hold_poses": ("true or false", lambda v: isinstance(v, bool)),
    "device": ("auto, cpu, cuda, cuda:N or mps", _is_text),
    "precision": ("auto, float32, bfloat16 or float16", lambda v: v in ("auto", "float32", "bfloat16", "float16")),
    "memory_gb": ("a positive number of gigabytes", lambda v: _is_number(v) and v > 0),
    "allow_smaller": ("true or false", lambda v: isinstance(v, bool)),
    # of the multi-view method
    "chunk_size": ("a whole number, 2 or more", lambda v: _is_count(v) and v >= 2),
    "overlap": ("a positive whole number", _is_count),
    "head": ("auto, depth or points", lambda v: v in ("auto", "depth", "points")),
    "depth_maps": ("the path of a folder", _is_text),
    "learned_tracks": ("true or false", lambda v: isinstance(v, bool)),
    # of the streaming method
    "every": ("a positive whole number", _is_count),
    "camera_from": ("head or points", lambda v: v in ("head", "points")),
    "revisit": ("a positive whole number", _is_count),
    "revisit_update": ("true or false", lambda v: isinstance(v, bool)),
    "reset_every": ("a positive whole number", _is_count),
    "merge_pointers": ("true or false", lambda v: isinstance(v, bool)),
    "merge_units": ("a positive number", lambda v: _is_number(v) and v > 0),
    "memory_frames": ("a positive whole number", _is_count),
    "memory_tokens": ("a whole number, 0 or more", lambda v: v == 0 or _is_count(v)),
    "attention_threshold": ("a number from 0 to 1", _is_share),
    "similarity_threshold": ("a number from 0 to 1", _is_share),
    "window": ("an even number, 2 or more", lambda v: _is_count(v) and v % 2 == 0),
}


def make_request(method: str, source: Source, settings: dict[str, Any]) -> dict[str, Any]:
    """The form of request.json. Settings that are None are left out. Raises EngineError("usage")."""
    request = {
        "engine_version": __version__,
        "method": method,
        "source": source.to_json(),
        "settings": {name: value for name, value in settings.items() if value is not None},
    }
    check_request(request)
    return request


def check_request(request: Any) -> tuple[str, Source, dict[str, Any]]:
    """(method id, source, settings) of a request. Raises EngineError("usage") for what is not understood."""
    if not isinstance(request, dict) or not isinstance(request.get("source"), dict):
        raise EngineError("usage", "The request does not describe a source.", "Pick footage again.")
    settings = request.get("settings") or {}
    if not isinstance(settings, dict):
        raise EngineError("usage", "The settings of the request are not understood.")
    settings = {name: value for name, value in settings.items() if value is not None}
    for name, value in settings.items():
        if name not in SETTINGS:
            raise EngineError("usage", f"There is no setting {name!r}.", f"Known are: {', '.join(SETTINGS)}.")
        form, is_good = SETTINGS[name]
        if not is_good(value):
            raise EngineError("usage", f"The setting {name} is {value!r}, but it must be {form}.")
    return str(request.get("method") or ""), Source.from_json(request["source"]), settings


def fingerprint(request: dict[str, Any]) -> str:
    """Equal for requests whose results are the same: files' sizes and times count, the number of threads does not."""
    _, source, settings = check_request(request)
    described = {
        "engine_version": __version__,
        "method": request.get("method"),
        "source": {**source.to_json(), "warnings": None},
        "settings": {name: value for name, value in settings.items() if name != "threads"},
        "files": [_stamp(file) for file in source.files],
        "intrinsics": _stamp(settings["intrinsics"]) if "intrinsics" in settings else None,
        **{name: _stamp(settings[name]) for name in ("poses", "weights", "depth_maps") if name in settings},
        **{
            name: _folder_stamps(settings[name])
            for name in ("mask", "moving", "tracks", "depth_prior")
            if name in settings
        },
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _folder_stamps(path: str) -> list[list[int] | None]:
    """The stamp of a file, or those of all files of a folder."""
    if not os.path.isdir(path):
        return [_stamp(path)]
    return [_stamp(os.path.join(path, name)) for name in sorted(os.listdir(path))]


def _stamp(file: str) -> list[int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
