"""All views of a scene in one pass of a network: VGGT, Pi3, Pi3X, Fast3R, MV-DUSt3R and MV-DUSt3R+.

Every picture is encoded once; what does not fit into one pass goes in chunks that overlap and are joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from ...errors import EngineError
from ...media.checks import require_frames
from ...media.frames import FrameSource
from ..base import Context, Event, MethodInfo, run_reporting

INFO = MethodInfo(
    id="multiview",
    title="Multi-View",
    description="VGGT, Pi3, Pi3X, Fast3R and MV-DUSt3R: a network sees all views at once; needs weights.",
    commercial_use=False,
    needs=("torch", "weights"),
)
_PACKAGES = {"torch": "PyTorch", "safetensors": "safetensors"}


def run(frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """Cameras and depth of one image or many; see Method.

    What an earlier run of the same request left in context.job is used: passes that are done, views that are there.
    """
    require_frames(frames, 1)
    missing = [title for name, title in _PACKAGES.items() if find_spec(name) is None]
    if missing:
        raise EngineError(
            "machine",
            f"The multi-view method needs {', '.join(missing)}, which this engine does not have.",
            "Install the engine with the models' packages (engine-full.txt), or use the method classic.",
        )
    from .options import Options
    from .solve import solve

    options = Options.from_json(settings)
    yield from run_reporting(lambda report: solve(frames, options, context, report, INFO.id))
