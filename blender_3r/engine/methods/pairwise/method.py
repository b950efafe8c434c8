"""Pairs of images to posed views by a network: DUSt3R, MASt3R, MASt3R-SfM, and MonST3R's weights.

Every image is encoded once, pairs of a scene graph are decoded, an alignment joins them into one scene.
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
    id="pairwise",
    title="Pairwise",
    description="DUSt3R, MASt3R and MonST3R: a network reads pairs of images; needs weights, no commercial use.",
    commercial_use=False,
    needs=("torch", "weights"),
)
_PACKAGES = {"torch": "PyTorch", "scipy": "SciPy", "safetensors": "safetensors"}


def run(frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """Cameras and depth of one image, two, or many; see Method.

    What an earlier run of the same request left in context.job is used: pairs that were predicted, the cameras, the
    views that are there.
    """
    require_frames(frames, 1)
    missing = [title for name, title in _PACKAGES.items() if find_spec(name) is None]
    if missing:
        raise EngineError(
            "machine",
            f"The pairwise method needs {', '.join(missing)}, which this engine does not have.",
            "Install the engine with the models' packages (engine-full.txt), or use the method classic.",
        )
    from .options import Options
    from .pipeline import reconstruct

    yield from reconstruct(frames, Options.from_json(settings), context, INFO.id)
