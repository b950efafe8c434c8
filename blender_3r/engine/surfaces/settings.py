"""What may be asked of a surface."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import EngineError

# Pixels of the depth maps that a voxel covers, at the typical depth.
DETAIL = {"draft": 4.0, "normal": 2.0, "fine": 1.2}
FACES = 500_000
TEXTURES = (256, 16384)  # texels a side that a texture may have


@dataclass(frozen=True)
class SurfaceSettings:
    """detail: a key of DETAIL. voxel: the size of a voxel in scene units, instead of detail.

    faces: at most so many, 0 for all there are. min_confidence: 0..1, depth below it is left out. specks: connected
    parts of less than this share of the largest are left out.
    memory_gb: how much may be used; None: what is free. texture: texels a side of a picture composed of the original
    frames, None for none. moving: what moves by itself is fused, too, as if it stood.
    """

    detail: str = "normal"
    voxel: float | None = None
    faces: int = FACES
    min_confidence: float = 0.1
    specks: float = 0.005
    memory_gb: float | None = None
    texture: int | None = None
    moving: bool = False

    def check(self) -> None:
        """Raises EngineError("usage") for a value that makes no sense."""
        wrong = [
            (self.detail in DETAIL, f"The detail must be one of {', '.join(DETAIL)}."),
            (self.voxel is None or 0 < self.voxel < float("inf"), "The size of a voxel must be above 0."),
            (self.faces == 0 or self.faces >= 4, "The number of faces must be at least 4, or 0 for all."),
            (0 <= self.min_confidence <= 1, "The minimum confidence must lie between 0 and 1."),
            (0 <= self.specks <= 1, "The share of specks must lie between 0 and 1."),
            (
                self.texture is None or (isinstance(self.texture, int) and TEXTURES[0] <= self.texture <= TEXTURES[1]),
                f"The texture must have {TEXTURES[0]} to {TEXTURES[1]} texels a side.",
            ),
            (isinstance(self.moving, bool), "Whether what moves is fused must be true or false."),
            (self.memory_gb is None or 0 < self.memory_gb < float("inf"), "The memory limit must be above 0."),
        ]
        for is_right, sentence in wrong:
            if not is_right:
                raise EngineError("usage", sentence, "See the command surface --help.")

    @classmethod
    def from_json(cls, data: Any) -> SurfaceSettings:
        """From a message; what is None keeps its default. Raises EngineError("usage") for what is not understood."""
        if not isinstance(data, dict):
            raise EngineError("usage", "The settings of the surface are not understood.")
        known = {field.name for field in fields(cls)}
        for name in data:
            if name not in known:
                raise EngineError("usage", f"A surface has no setting {name!r}.", f"Known are: {', '.join(known)}.")
        try:
            settings = cls(**{name: value for name, value in data.items() if value is not None})
            settings.check()
        except TypeError as error:
            text = f"A setting of the surface has the wrong form ({error})."
            raise EngineError("usage", text, "See the command surface --help.") from error
        return settings
