"""Settings under a name, for all files: some of our own, and those that the artist saves.

Footage and what is known of its lens belong to a shot, so a preset leaves them alone.
"""

from __future__ import annotations

from pathlib import Path

import bpy
from bl_operators.presets import AddPresetBase

SUBFOLDER = "blender_3r"  # of Blender's folders for presets, and of ours
HERE = str(Path(__file__).resolve().parent.parent)
NAMES = (
    *("method", "model", "every", "chunk_size", "refine", "hold_scale"),
    *("device", "card", "precision", "use_memory_limit", "memory_gb", "allow_smaller"),
    *("quality", "lens", "dense", "points", "points_as", "match_scene", "moving", "find_moving", "slideshow"),
)


class THREER_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Save method, quality, device and result settings under a name, or remove the preset of that name"""

    bl_idname = "threer.add_preset"
    bl_label = "Add Reconstruction Preset"
    preset_menu = "THREER_PT_presets"
    preset_subdir = SUBFOLDER
    preset_defines = ["settings = bpy.context.scene.threer"]
    preset_values = [f"settings.{name}" for name in NAMES]


def register_presets() -> None:
    """Let Blender find the presets that come with the extension."""
    bpy.utils.register_preset_path(HERE)


def unregister_presets() -> None:
    bpy.utils.unregister_preset_path(HERE)


classes = (THREER_OT_add_preset,)
