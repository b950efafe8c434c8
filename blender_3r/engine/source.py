"""What the user picked, before anything is decoded: a movie, a numbered sequence, a set of photos, a rig of movies.

Read by both sides (names and numbers only): standard library, nothing else.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import EngineError

MOVIE_SUFFIXES = frozenset(".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .mts .m2ts .mxf .ogv .wmv".split())
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .tif .tiff .bmp .webp .exr .dpx .hdr .jp2 .tga".split())
KINDS = ("movie", "sequence", "photos", "rig")


@dataclass(frozen=True)
class Source:
    """kind: one of KINDS. files: the movie; or the images in order; or one movie per camera.

    numbers: the frame number of each file of a sequence (gaps kept), else empty. first, last: inclusive range in the
    source's own frame numbers (a movie counts from 0), None = open. step: take every n-th frame. rig_frame: the frame
    taken from each movie of a rig.
    """

    kind: str
    files: tuple[str, ...]
    numbers: tuple[int, ...] = ()
    first: int | None = None
    last: int | None = None
    step: int = 1
    rig_frame: int = 0
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """A short name for collections and folders: the movie's or sequence's stem, the photos' folder."""
        first = Path(self.files[0])
        if self.kind == "movie":
            return first.stem
        if self.kind == "sequence":
            return re.sub(r"[\W_]*\d+$", "", first.stem) or first.parent.name or "sequence"
        return first.parent.name or self.kind

    @property
    def is_video(self) -> bool:
        """One camera over time, as against separate cameras."""
        return self.kind in ("movie", "sequence")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Source:
        """Raises EngineError("usage") when the form is wrong."""
        try:
            values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
            for name in ("files", "numbers", "warnings"):
                values[name] = tuple(values.get(name) or ())
            source = cls(**values)
        except (TypeError, KeyError) as error:
            raise EngineError("usage", f"The request does not describe a source ({error}).") from error
        if source.kind not in KINDS or not source.files or source.step < 1:
            raise EngineError("usage", "The request does not describe a source.", "Pick footage again.")
        return source
