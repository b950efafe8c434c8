"""What a pass takes, said before it starts: bytes of a view, views that fit. No torch.

What a pass holds grows with the patches of its views, what its heads hold with those of the views they take at once.
Neither grows with the number of layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..memory import DoesNotFit, in_gigabytes
from .chunks import plan
from .layout import Layout
from .options import Options

DEFAULT_MODEL, DEFAULT_SIZE = "vggt-1b", 518
ARCHITECTURES = ("vggt", "pi3", "pi3x", "fast3r", "mv_dust3r")


@dataclass(frozen=True)
class Need:
    """Bytes in float32 for a patch of a view. kept: from the layers to the heads. passing: of a layer while all views
    go through it. heads: of the views that the heads take at once. followed: kept besides where points are followed.
    most: views in a pass, as drivers have it.
    """

    kept: int
    passing: int
    heads: int
    most: int
    followed: int = 0


# VGGT's were measured, but for what following takes: `python -m benchmarks.multiview`. The others are counted from the
# widths of the layers. Published for Pi3 in 16 bits: 42 kB a patch.
NEEDS = {
    "vggt": Need(50_000, 55_000, 320_000, 200, followed=110_000),
    "pi3": Need(35_000, 55_000, 80_000, 1000),
    "pi3x": Need(35_000, 55_000, 300_000, 1000),
    "fast3r": Need(40_000, 55_000, 450_000, 1000),
    "mv_dust3r": Need(40_000, 120_000, 800_000, 24),
}
FIXED = 100_000_000  # of the libraries, whatever the views
AT_ONCE = 8  # views that the heads take
HALF = 0.6  # of that in 16 bits: heads and results stay in float32


class Room:
    """What fits into so many bytes beside the network."""

    def __init__(
        self, architecture: str, tokens: int, available: int | None, precision: str = "float32", refine: bool = False
    ) -> None:
        """tokens: patches of the largest picture. available: bytes, None = any number. refine: points are followed."""
        self.need, self.available = NEEDS[architecture], available
        self._factor = tokens * (1.0 if precision == "float32" else HALF)
        self._kept = self.need.kept + (self.need.followed if refine else 0)

    def needed(self, views: int) -> int:
        """Bytes that a pass over so many views takes, without the network."""
        most = max(self.need.passing * views, self.need.heads * min(views, AT_ONCE))
        return FIXED + int(self._factor * (self._kept * views + most))

    @property
    def views_that_fit(self) -> int:
        """In one pass; 0 when not even one does."""
        if self.available is None:
            return self.need.most
        low, high = 0, self.need.most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.needed(middle) <= self.available else (low, middle - 1)
        return low

    def choose_size(self, count: int, asked: int | None) -> int:
        """Views of a pass over some of `count` views. asked: by the user; fewer where that does not fit.

        Raises DoesNotFit when not even two views (or the one there is) fit.
        """
        fitting = self.views_that_fit
        least = min(2, count)
        if fitting < least:
            raise DoesNotFit(
                f"A pass over {least} {'view' if least == 1 else 'views'} takes about "
                f"{in_gigabytes(self.needed(least))} of memory beside the network, and "
                f"{in_gigabytes(self.available or 0)} may be used.",
                "Use a smaller image size or a smaller model, close other programs, or compute on another device.",
            )
        return max(least, min(count, fitting, asked or count))


@dataclass(frozen=True)
class Forecast:
    """What a job over `views` pictures takes. pass_views, overlap, passes: how it is cut. fitting: views that fit into
    one pass. pass_bytes: memory of a pass beside the network. picture: (h, w) of the network's, whole: of the job's
    maps.
    """

    views: int
    pass_views: int
    overlap: int
    passes: int
    fitting: int
    pass_bytes: int
    picture: tuple[int, int]
    whole: tuple[int, int]

    @property
    def text(self) -> str:
        """How it is cut, as a phrase."""
        if self.passes == 1:
            return "1 image in one pass" if self.views == 1 else f"{self.views} images in one pass"
        return (
            f"{self.views} images in {self.passes} passes of {self.pass_views}, {self.overlap} of them shared "
            f"({self.fitting} fit into one)"
        )


def forecast(
    architecture: str,
    options: Options,
    count: int,
    size: tuple[int, int],
    image_size: int,
    available: int | None,
    precision: str = "float32",
) -> Forecast:
    """For count frames of size (W, H). available: bytes beside the network, None = any number.

    Raises DoesNotFit when not even two views fit.
    """
    layout = Layout(architecture, [(size[1], size[0])], image_size)
    room = Room(architecture, layout.tokens(0), available, precision, options.learned_tracks)
    views = room.choose_size(count, options.chunk_size)
    overlap = options.overlap_of(views) if views < count else 0
    parts = plan(count, views, overlap)
    return Forecast(
        count, views, overlap, len(parts), room.views_that_fit, room.needed(views), layout.sizes[0], layout.scaled[0]
    )
