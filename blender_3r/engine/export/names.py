"""What the files of a view are called in an export."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from ..errors import EngineError
from ..reconstruction import Reconstruction

_IMAGES = (".jpg", ".jpeg", ".png")


def image_names(result: Reconstruction) -> list[str]:
    """The file name of each view's frame: image files keep theirs, frames of movies become PNG files."""
    _check(result)
    return [
        view.file if PurePosixPath(view.file).suffix.lower() in _IMAGES else f"{view.file}.png" for view in result.views
    ]


def map_names(result: Reconstruction) -> list[str]:
    """The name of each view's maps, without suffix: the frame's or image's, with its suffix where that tells two
    images apart.
    """
    _check(result)
    short = [str(PurePosixPath(view.file).with_suffix("")) for view in result.views]
    count = Counter(name.casefold() for name in short)
    return [name if count[name.casefold()] == 1 else view.file for name, view in zip(short, result.views)]


def _check(result: Reconstruction) -> None:
    """A damaged cameras.json must not make an export write outside its folder."""
    for view in result.views:
        path, here = PurePosixPath(view.file), Path(view.file)  # backslashes and drives count where they mean something
        if path.is_absolute() or ".." in (*path.parts, *here.parts) or here.anchor or not path.name:
            raise EngineError("input", f"cameras.json names a view {view.file!r}, which is no file name.")
