"""What a pass takes, said before it starts: bytes of a view, views that fit. No torch.

A pass takes a fixed part, and per view a part that grows with its patches and one that grows with its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..memory import DoesNotFit, in_gigabytes

DEFAULT_MODEL, DEFAULT_SIZE = "vggt-1b", 518
ARCHITECTURES = ("vggt", "pi3", "pi3x", "fast3r", "mv_dust3r")


@dataclass(frozen=True)
class Need:
    """Bytes in float32. fixed: of the parts that take a few views at a time. per_token, per_pixel: of every view's
    patches and pixels. most: views in a pass, as drivers have it.
    """

    fixed: int
    per_token: int
    per_pixel: int
    most: int


# Measured with layers of the published widths: `python -m benchmarks.multiview`.
NEEDS = {
    "vggt": Need(2_600_000_000, 100_000, 40, 200),
    "pi3": Need(800_000_000, 70_000, 120, 1000),
    "pi3x": Need(1_500_000_000, 70_000, 120, 1000),
    "fast3r": Need(2_000_000_000, 90_000, 60, 1000),
    "mv_dust3r": Need(800_000_000, 120_000, 120, 24),
}
HALF = 0.6  # of that in 16 bits: heads and results stay in float32


class Room:
    """What fits into so many bytes beside the network."""

    def __init__(
        self, architecture: str, size: tuple[int, int], tokens: int, available: int | None, precision: str = "float32"
    ) -> None:
        """size: (h, w) of the largest picture, tokens: its patches. available: bytes, None = any number."""
        self.need, self.available = NEEDS[architecture], available
        factor = 1.0 if precision == "float32" else HALF
        self.fixed = int(factor * self.need.fixed)
        self.per_view = int(factor * (self.need.per_token * tokens + self.need.per_pixel * size[0] * size[1]))

    def needed(self, views: int) -> int:
        """Bytes that a pass over so many views takes, without the network."""
        return self.fixed + self.per_view * views

    @property
    def views_that_fit(self) -> int:
        """In one pass; 0 when not even one does."""
        if self.available is None:
            return self.need.most
        return max(0, min(self.need.most, (self.available - self.fixed) // self.per_view))

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
