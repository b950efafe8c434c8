"""The list of presets in the header of the main panel."""

from __future__ import annotations

import bpy
from bl_ui.utils import PresetPanel

from ..operators.presets import SUBFOLDER


class THREER_PT_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Reconstruction Presets"
    preset_subdir = SUBFOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = "threer.add_preset"


classes = (THREER_PT_presets,)
