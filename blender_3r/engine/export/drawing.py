"""What the report's pictures share: colours, text, lines. BGR uint8 images, drawn by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

Color = tuple[int, int, int]

BACK: Color = (38, 38, 38)
FIELD: Color = (29, 29, 29)
GRID: Color = (58, 58, 58)
TEXT: Color = (205, 205, 205)
FAINT: Color = (140, 140, 140)
BLUE: Color = (230, 160, 80)
PALE: Color = (110, 84, 52)
RED: Color = (80, 80, 225)
GREEN: Color = (110, 210, 110)
YELLOW: Color = (70, 200, 235)

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write(
    image: np.ndarray, text: str, place: tuple[int, int], size: float = 0.5, color: Color = TEXT, align: str = "left"
) -> None:
    """Text with its baseline at place (x, y). OpenCV has no letters beyond ASCII: those become question marks."""
    text = text.encode("ascii", "replace").decode()
    (width, _), _ = cv2.getTextSize(text, _FONT, size, 1)
    x = place[0] - {"left": 0, "middle": width // 2, "right": width}[align]
    cv2.putText(image, text, (x, place[1]), _FONT, size, color, 1, cv2.LINE_AA)


def nice_step(span: float, parts: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides span in about so many parts."""
    rough = max(span, 1e-12) / parts
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999))
