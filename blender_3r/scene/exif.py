"""How a photo lies in its file. Blender shows pixels as stored; the engine turns them upright."""

from __future__ import annotations

import os
import struct

_HEADER = 1 << 16  # an APP1 segment cannot be longer
_ORIENTATION = 0x0112


def orientation(path: str | os.PathLike[str]) -> int:
    """The EXIF orientation (1..8) of a JPEG file; 1 (upright) for anything without one or unreadable."""
    try:
        with open(path, "rb") as file:
            head = file.read(2 * _HEADER)
    except OSError:
        return 1
    block = _exif_block(head)
    try:
        return _orientation_in(block) if block else 1
    except struct.error:
        return 1


def _exif_block(head: bytes) -> bytes | None:
    """The TIFF structure inside the APP1 segment of a JPEG header."""
    if head[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] not in (0xD9, 0xDA):
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        if head[at + 1] == 0xE1 and head[at + 4 : at + 10] == b"Exif\0\0":
            return head[at + 10 : at + 2 + length]
        at += 2 + length
    return None


def _orientation_in(block: bytes) -> int:
    """Raises struct.error when the block is cut short."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    (first,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    for entry in range(count):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", block, first + 2 + 12 * entry)
        if tag == _ORIENTATION and kind == 3:
            return value if 1 <= value <= 8 else 1
    return 1
