"""What the multi-view method can be told; the command line's help says what each means."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import EngineError
from ..network_options import NetworkOptions

HEADS = ("auto", "depth", "points")
OVERLAP = (2, 8)  # views: the fewest and the most that chunks share unless it is said
OVERLAP_SHARE = 0.25  # of a chunk
TRACKS = {"draft": (1, 256), "normal": (2, 512), "fine": (4, 1024)}  # views of a chunk asked, points in each


@dataclass(frozen=True)
class Options(NetworkOptions):
    """image_size: long side in pixels. chunk_size: views in one pass, overlap: views that two chunks share. head: which
    of two heads depth comes from. min_confidence: of points that are kept, 0..1. poses, depth_maps: what is known, for
    models that take it into account. learned_tracks: adjust cameras to points that the network follows.
    """

    image_size: int | None = None
    chunk_size: int | None = None
    overlap: int | None = None
    head: str = "auto"
    min_confidence: float | None = None
    poses: str | None = None
    depth_maps: str | None = None
    learned_tracks: bool = False

    def overlap_of(self, size: int) -> int:
        """Views that chunks of `size` share; fewer than asked for where chunks had to become smaller.

        Raises EngineError("usage") when chunks as asked for would add nothing.
        """
        if self.overlap is None:
            low, high = OVERLAP
            return max(1, min(size - 1, high, max(low, round(OVERLAP_SHARE * size))))
        if self.chunk_size is not None and self.overlap >= self.chunk_size:
            raise EngineError(
                "usage",
                f"Chunks of {self.chunk_size} views cannot share {self.overlap}.",
                "Let them share fewer views, or make them larger.",
            )
        return max(1, min(size - 1, int(self.overlap)))
