"""German."""

from __future__ import annotations

from . import scene_tips, scene_words, stages, tips, words
from .buttons import BUTTONS as BUTTONS
from .own import OWN as OWN

WORDS = words.WORDS | scene_words.WORDS | tips.TIPS | scene_tips.TIPS | stages.STAGES

# Names, which are the same in all languages.
SAME = (
    "16 Bit",
    "2K",
    "32 Bit",
    "4K",
    "After Effects",
    "Alembic",
    "COLMAP",
    "FBX",
    "PLY",
    "USD",
    "X",
    "Y",
    "Z",
    "glTF",
    "nerfstudio",
)
