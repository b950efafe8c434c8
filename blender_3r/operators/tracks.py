"""The engine's tracks into the movie clip."""

from __future__ import annotations

import bpy

from ..engine.errors import EngineError
from ..scene.surfaces import job_of
from ..scene.tracks import add_tracks
from .on_job import has_job


class THREER_OT_add_tracks(bpy.types.Operator):
    """Write the longest tracks of the solve into the footage's movie clip, and an empty at each one's solved point"""

    bl_idname = "threer.add_tracks"
    bl_label = "Add Tracks to Clip"
    bl_options = {"REGISTER", "UNDO"}

    count: bpy.props.IntProperty(
        name="Tracks", description="At most so many: the longest of every part of the picture", default=200, min=1
    )
    empties: bpy.props.BoolProperty(
        name="Points", description="Also put an empty at the solved point of each track", default=True
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_job(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            result = add_tracks(context.scene, job_of(context), self.count, self.empties)
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, result.text)
        return {"FINISHED"}


classes = (THREER_OT_add_tracks,)
