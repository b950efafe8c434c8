"""What the streaming method can be told; the command line's help says what each means."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import EngineError
from ..network_options import NetworkOptions

DEFAULT_MODEL, DEFAULT_SIZE = "wint3r-512", 512
SMALLER_SIZE = 224  # of the long side, where memory does not do for more
CAMERA_FROM = ("head", "points")
# Which of the options a model knows, by architecture; the others are everybody's.
OF_MODELS: dict[str, tuple[str, ...]] = {
    "cut3r": ("camera_from", "revisit", "revisit_update", "reset_every"),
    "point3r": ("camera_from", "revisit", "merge_pointers", "merge_units"),
    "spann3r": ("memory_frames", "memory_tokens", "attention_threshold", "similarity_threshold"),
    "wint3r": ("window",),
}
TITLES = {"cut3r": "CUT3R", "point3r": "Point3R", "spann3r": "Spann3R", "wint3r": "WinT3R"}


@dataclass(frozen=True)
class Options(NetworkOptions):
    """image_size: long side in pixels (224: square). min_confidence: of points that are kept, the network's own, from
    1. every: only every n-th frame goes through the network.

    camera_from: one of CAMERA_FROM. revisit: how often the frames are gone through. revisit_update: whether later
    passes change the state. reset_every: frames after which the state begins anew. merge_pointers, merge_units: of
    Point3R's memory. memory_*, attention_threshold, similarity_threshold: of Spann3R's. window: views of WinT3R's.
    """

    image_size: int | None = None
    min_confidence: float | None = None
    every: int = 1
    camera_from: str | None = None
    revisit: int | None = None
    revisit_update: bool | None = None
    reset_every: int | None = None
    merge_pointers: bool | None = None
    merge_units: float | None = None
    memory_frames: int | None = None
    memory_tokens: int | None = None
    attention_threshold: float | None = None
    similarity_threshold: float | None = None
    window: int | None = None

    @property
    def passes(self) -> int:
        """How often the frames are gone through."""
        return int(self.revisit or 1)

    def refuse(self, architecture: str, kind: str) -> None:
        """Raise EngineError("usage") for options that the model does not know, or that contradict each other or the
        footage. kind: "video" or "photos".
        """
        for owner, names in OF_MODELS.items():
            for name in names if owner != architecture else ():
                if getattr(self, name) is not None and name not in OF_MODELS[architecture]:
                    raise EngineError(
                        "usage",
                        f"{TITLES[architecture]} knows no setting {name}.",
                        f"Leave it out, or choose one of the models of {TITLES[owner]}.",
                    )
        if self.every > 1 and kind != "video":
            raise EngineError(
                "usage",
                "Between photos nothing can be interpolated, so each must go through the network.",
                "Leave out --every, or give the images as a sequence (--kind sequence).",
            )
        if self.reset_every is not None and self.passes > 1:
            raise EngineError(
                "usage",
                "A state that begins anew within the shot cannot be revisited.",
                "Give either --reset-every or --revisit.",
            )
        if self.revisit_update is not None and self.passes == 1:
            raise EngineError("usage", "Nothing is revisited in a single pass.", "Give --revisit 2 too.")


def frames_for_network(count: int, every: int) -> list[int]:
    """Every n-th of so many frames, and the last, so that all others lie between two of them."""
    chosen = list(range(0, count, every))
    return chosen if chosen[-1] == count - 1 else [*chosen, count - 1]
