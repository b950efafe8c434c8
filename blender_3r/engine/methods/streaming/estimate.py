"""What a stream keeps between two frames, besides its network: what each model's memory takes. No torch.

Widths are those of the published models, numbers in float32.
"""

from __future__ import annotations

from .options import Options

NUMBER = 4  # bytes
WIDTH, ENCODER_WIDTH = 768, 1024
POSE_MEMORY = 256 * 2 * WIDTH * NUMBER
PATCH = 16
SPANN3R_GROWTH = 5  # times the long-term memory's size, before it is pruned


def state_bytes(architecture: str, options: Options, frames: int, picture: tuple[int, int]) -> int:
    """At most so many bytes after so many frames. picture: (h, w) of the network's.

    CUT3R's state never grows. Spann3R's grows to a limit, WinT3R's by camera tokens only. Point3R's grows by what is
    seen anew: the worst case, that nothing is ever seen again, is 3 kB for every patch of every frame.
    """
    patches = (picture[0] // PATCH) * (picture[1] // PATCH)
    if architecture == "cut3r":
        return 768 * WIDTH * NUMBER + POSE_MEMORY
    if architecture == "point3r":
        return POSE_MEMORY + frames * patches * (WIDTH + 3) * NUMBER
    if architecture == "spann3r":
        kept = 4000 if options.memory_tokens is None else options.memory_tokens
        newest = (options.memory_frames or 5) * patches
        most = min(frames * patches, SPANN3R_GROWTH * kept + newest)
        return 2 * most * ENCODER_WIDTH * NUMBER
    window = options.window or 4
    tokens = 2 * frames * 2 * WIDTH  # every frame is in two windows
    return (1024 * WIDTH + tokens + window * patches * ENCODER_WIDTH) * NUMBER
