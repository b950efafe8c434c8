"""What holds for all files: where the engine's Python and the job folders are."""

from __future__ import annotations

import bpy

from . import preferred
from .client import locks
from .client.session import session
from .panels import engine, models


def _place_edited(self: THREER_AP_preferences, context: bpy.types.Context) -> None:
    preferred.refresh_engine()


class THREER_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    profile: bpy.props.EnumProperty(
        name="Profile",
        description="What the engine can do, and how large it is",
        items=[(profile.id, profile.title, profile.text) for profile in locks.PROFILES.values()],
        update=_place_edited,
    )
    engine_folder: bpy.props.StringProperty(
        name="Engine Folder",
        description="Where the engine is installed; empty: a folder of your user account for all Blender versions",
        subtype="DIR_PATH",
        update=_place_edited,
    )
    engine_python: bpy.props.StringProperty(
        name="Engine Python",
        description="Use this Python instead of an installed engine; it must have the packages the engine needs",
        subtype="FILE_PATH",
        update=_place_edited,
    )
    job_folder: bpy.props.StringProperty(
        name="Job Folder",
        description="Where results are kept; empty: a folder 3r_jobs beside the .blend file",
        subtype="DIR_PATH",
    )
    models_folder: bpy.props.StringProperty(
        name="Models Folder",
        description="Where model weights are kept, for several machines too; empty: the Hugging Face cache of your "
        "user account, which other programs share",
        subtype="DIR_PATH",
        update=_place_edited,
    )
    commercial_only: bpy.props.BoolProperty(
        name="Only Models for Commercial Use",
        description="Neither list, download nor run models whose licence rules out commercial use",
        update=_place_edited,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        engine.draw_preferences(layout, self, preferred.engine_folder())
        column = layout.column()
        column.enabled = not session.is_installing
        column.prop(self, "engine_folder")
        column.prop(self, "engine_python")
        layout.prop(self, "job_folder")
        layout.separator()
        layout.label(text="Models")
        layout.prop(self, "models_folder")
        layout.prop(self, "commercial_only")
        models.draw_models(layout.column())


classes = (THREER_AP_preferences,)
