"""Footage through a network that keeps a memory: CUT3R, Point3R, Spann3R, WinT3R. Results come while it runs.

Frames are decoded as they are needed, each is encoded once, and what is known of them goes out at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from ...errors import EngineError
from ...media.checks import require_frames
from ...media.frames import FrameSource
from ..base import Context, Event, MethodInfo

INFO = MethodInfo(
    id="streaming",
    title="Streaming",
    description="WinT3R, CUT3R, Point3R and Spann3R: a network walks through the footage and shows what it has at "
    "once; needs weights, no commercial use.",
    commercial_use=False,
    needs=("torch", "weights"),
)
_PACKAGES = {"torch": "PyTorch", "safetensors": "safetensors"}


def run(frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """Cameras and depth, frame by frame or window by window; see Method.

    A run of the same request that was stopped goes on from the last window whose state lies in context.job.
    """
    require_frames(frames, 1)
    missing = [title for name, title in _PACKAGES.items() if find_spec(name) is None]
    if missing:
        raise EngineError(
            "machine",
            f"The streaming method needs {', '.join(missing)}, which this engine does not have.",
            "Install the engine with the models' packages (engine-full.txt), or use the method classic.",
        )
    from .options import Options
    from .pipeline import reconstruct

    yield from reconstruct(frames, Options.from_json(settings), context, INFO.id)
