"""What the interface says, in other languages than English.

Blender looks up labels, tool tips and menu entries by itself; panels look up sentences that they put together, before
they fill in numbers and names. Keys are the English words. Contexts are those of Blender's own extraction: "Operator"
for the labels of buttons, "*" for all else, and "3R" where Blender itself means something else by the word: its own
words come first. What the engine says (why it chose a method, what failed) stays English.

A language is a folder of words and tool tips; german shows how.
"""

from __future__ import annotations

import bpy

from . import german

OWN = "3R"
_NAME = __package__.rpartition(".")[0]
DEFAULT, BUTTON = bpy.app.translations.contexts.default, bpy.app.translations.contexts.operator_default
MESSAGES = {(BUTTON, english): word for english, word in german.BUTTONS.items()}
MESSAGES |= {(DEFAULT, english): word for english, word in german.WORDS.items()}
MESSAGES |= {(OWN, english): word for english, word in german.OWN.items()}


def register() -> None:
    """Hand the words to Blender, whose name for German differs between versions."""
    bpy.app.translations.register(_NAME, {"de_DE": MESSAGES, "de": MESSAGES})


def unregister() -> None:
    bpy.app.translations.unregister(_NAME)
