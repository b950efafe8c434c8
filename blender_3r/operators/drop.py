"""Footage dropped onto the 3D View. Where Blender knows more to do with the files, it asks."""

from __future__ import annotations

import os
from pathlib import Path

import bpy

from ..engine.source import IMAGE_SUFFIXES, MOVIE_SUFFIXES
from .footage import pick_paths
from .reconstruct import why_not

TAB = "3R"


class THREER_OT_drop_footage(bpy.types.Operator):
    """Reconstruct the dropped movie or images; several movies are the cameras of one take"""

    bl_idname = "threer.drop_footage"
    bl_label = "Reconstruct Footage"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    start: bpy.props.BoolProperty(
        name="Start", description="Reconstruct at once, instead of only picking the footage", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Pick, show the tab, and ask whether to begin where that is possible."""
        if not self._pick(context):
            return {"CANCELLED"}
        show_tab(context)
        if why_not(context.scene.threer):  # the tab tells
            return {"FINISHED"}
        self.start = True
        return context.window_manager.invoke_props_dialog(self, width=360, confirm_text="Reconstruct")

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.threer
        layout = self.layout
        layout.label(text=os.path.basename(settings.path.rstrip("/\\")))
        layout.label(text=settings.info_text, icon="FILE_MOVIE" if settings.info_kind == "movie" else "IMAGE_DATA")
        for warning in filter(None, settings.info_warnings.split("\n")):
            layout.label(text=warning, icon="ERROR")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        if settings.info_kind in ("sequence", "photos"):
            column.row().prop(settings, "image_kind", expand=True)
        column.prop(settings, "method")
        column.row().prop(settings, "quality", expand=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self._pick(context):
            return {"CANCELLED"}
        if not self.start:
            return {"FINISHED"}
        reason = why_not(context.scene.threer)
        if reason:
            self.report({"ERROR"}, reason)
            return {"CANCELLED"}
        return bpy.ops.threer.reconstruct()

    def _pick(self, context: bpy.types.Context) -> bool:
        settings = context.scene.threer
        paths = [os.path.join(self.directory, element.name) for element in self.files if element.name]
        if not paths:
            self.report({"ERROR"}, "Nothing was dropped")
            return False
        are_movies = all(Path(path).suffix.lower() in MOVIE_SUFFIXES for path in paths)
        pick_paths(settings, paths, is_rig=are_movies and len(paths) > 1)
        if settings.info_error:
            self.report({"WARNING"}, settings.info_error)
        return True


def show_tab(context: bpy.types.Context) -> None:
    """Open the sidebar of this 3D View at our tab, as far as Blender has drawn it before."""
    space, area = context.space_data, context.area
    if not isinstance(space, bpy.types.SpaceView3D):
        return
    if not space.show_region_ui:  # set again, Blender fades it out
        space.show_region_ui = True
    sidebar = next((region for region in area.regions if region.type == "UI"), None)
    try:
        sidebar.active_panel_category = TAB
    except (AttributeError, TypeError):  # a sidebar that was never open knows no tabs
        return


class THREER_FH_footage(bpy.types.FileHandler):
    """Movies and images dropped from outside"""

    bl_idname = "THREER_FH_footage"
    bl_label = "Footage"
    bl_import_operator = "threer.drop_footage"
    bl_file_extensions = ";".join(sorted(MOVIE_SUFFIXES | IMAGE_SUFFIXES))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


classes = (THREER_OT_drop_footage, THREER_FH_footage)
