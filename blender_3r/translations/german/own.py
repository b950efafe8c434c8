"""German: words that mean something else in Blender's own catalogue; looked up in the extension's context."""

from __future__ import annotations

OWN = {
    "All": "Alle",
    "Current": "Aktuelle",
    "Detail": "Feinheit",
    "Draft": "Grob",
    "Fine": "Fein",
    "Frames": "Bilder",
    "Lens": "Objektiv",
    "Normal": "Normal",
    "Quality": "Qualität",
    "Some": "Einige",
    "Surfaces": "Flächen",
    "Views": "Ansichten",
}
