"""Floor, origin, axis and size of a reconstruction from selected points."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
from bpy.app.translations import pgettext_iface as iface_

from ..engine.errors import EngineError
from ..scene import orient
from ..scene.orient_picks import MODES, Picks, find_root, leave_edit_mode, picked_corners, picked_points


class _OrientOperator:
    """What they share. Edit Mode is left: only in Object Mode can the step be undone."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if find_root(context) is None:
            cls.poll_message_set("Select anything of an imported reconstruction")
            return False
        if context.mode not in MODES:
            cls.poll_message_set("Switch to Object Mode or to Edit Mode first")
            return False
        return True

    def move(
        self,
        context: bpy.types.Context,
        pick: Callable[[bpy.types.Context, bpy.types.Object], Picks],
        matrix_of: Callable[[Picks, bpy.types.Object], tuple[np.ndarray, str]],
    ) -> set[str]:
        """matrix_of(picks, root): how the world moves, and a sentence what was done."""
        root = find_root(context)
        try:
            picks = pick(context, root)
            matrix, text = matrix_of(picks, root)
            leave_edit_mode(context)
            orient.move_world(context.scene, root, matrix, picks.objects)
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, text)
        return {"FINISHED"}


class THREER_OT_set_floor(_OrientOperator, bpy.types.Operator):
    """Make the selected points the floor: three or more, of which strays are left out from six on"""

    bl_idname = "threer.set_floor"
    bl_label = "Set Floor"

    def execute(self, context: bpy.types.Context) -> set[str]:
        def matrix_of(picks: Picks, root: bpy.types.Object) -> tuple[np.ndarray, str]:
            points = picks.need_at_least(3, "The floor")
            matrix, plane = orient.level(points, orient.camera_places(context.scene, root))
            tilt = np.degrees(np.arccos(np.clip(plane.normal[2], -1, 1)))
            if len(points) == 3:
                return matrix, iface_("Floor of 3 points, turned by {:.1f} degrees.").format(tilt)
            words = iface_("Floor of {} points, turned by {:.1f} degrees, {:.3g} off on average.")
            return matrix, words.format(len(points), tilt, plane.error)

        done = self.move(context, picked_points, matrix_of)
        if done == {"FINISHED"}:
            find_root(context)[orient.HAS_FLOOR] = True
        return done


class THREER_OT_set_origin(_OrientOperator, bpy.types.Operator):
    """Put the world's origin on the selected point, or in the middle of several"""

    bl_idname = "threer.set_origin"
    bl_label = "Set Origin"

    def execute(self, context: bpy.types.Context) -> set[str]:
        def matrix_of(picks: Picks, root: bpy.types.Object) -> tuple[np.ndarray, str]:
            points = picks.need_at_least(1, "The origin")
            words = iface_("The origin is the middle of {} points.").format(len(points))
            if len(points) == 1:
                words = iface_("The origin is the selected point.")
            return orient.shift_origin(points), words

        return self.move(context, picked_points, matrix_of)


class THREER_OT_set_axis(_OrientOperator, bpy.types.Operator):
    """Turn about the vertical so that an axis runs from the first of two selected points to the second"""

    bl_idname = "threer.set_axis"
    bl_label = "Set Axis"

    axis: bpy.props.EnumProperty(name="Axis", items=(("X", "X", "Red axis"), ("Y", "Y", "Green axis")))
    flip: bpy.props.BoolProperty(name="Flip", description="The other way round")

    def execute(self, context: bpy.types.Context) -> set[str]:
        def matrix_of(picks: Picks, root: bpy.types.Object) -> tuple[np.ndarray, str]:
            start, end = picks.need(2, "An axis")[:: -1 if self.flip else 1]
            words = iface_("The {} axis runs along the two points.").format(self.axis)
            return orient.turn_to_axis(start, end, self.axis), words

        return self.move(context, picked_points, matrix_of)


class _SizeOperator(_OrientOperator):
    """A dialog that offers what is measured now."""

    length: bpy.props.FloatProperty(
        name="Length", description="What it is in truth", default=1.0, min=1e-6, unit="LENGTH", precision=4
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self.length = self.measured(context, find_root(context))[0]
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return context.window_manager.invoke_props_dialog(self, width=220)

    def execute(self, context: bpy.types.Context) -> set[str]:
        def matrix_of(picks: Picks, root: bpy.types.Object) -> tuple[np.ndarray, str]:
            now, _ = self.measured(context, root)
            words = iface_("Scaled by {:.4g}.").format(self.length / max(now, 1e-9))
            return orient.scale_to(now, self.length), words

        return self.move(context, lambda context, root: self.measured(context, root)[1], matrix_of)


class THREER_OT_set_distance(_SizeOperator, bpy.types.Operator):
    """Scale the reconstruction so that two selected points are that far apart"""

    bl_idname = "threer.set_distance"
    bl_label = "Set Distance"

    def measured(self, context: bpy.types.Context, root: bpy.types.Object) -> tuple[float, Picks]:
        """The distance now. Raises EngineError."""
        picks = picked_points(context, root)
        start, end = picks.need(2, "A distance")
        return float(np.linalg.norm(end - start)), picks


class THREER_OT_set_height(_SizeOperator, bpy.types.Operator):
    """Scale the reconstruction so that the selected object, or what lies between the selected points, is that high"""

    bl_idname = "threer.set_height"
    bl_label = "Set Height"

    def measured(self, context: bpy.types.Context, root: bpy.types.Object) -> tuple[float, Picks]:
        """The height now, along the vertical. Raises EngineError."""
        picks = picked_corners(context, root)
        points = picks.need_at_least(2, "A height")
        return float(np.ptp(points[:, 2])), picks


class THREER_OT_reset_orientation(_OrientOperator, bpy.types.Operator):
    """Stand the reconstruction as the import guessed, from the cameras and the largest level plane"""

    bl_idname = "threer.reset_orientation"
    bl_label = "Reset"

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            leave_edit_mode(context)
            orient.reset(context.scene, find_root(context))
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


classes = (
    THREER_OT_set_floor,
    THREER_OT_set_origin,
    THREER_OT_set_axis,
    THREER_OT_set_distance,
    THREER_OT_set_height,
    THREER_OT_reset_orientation,
)
