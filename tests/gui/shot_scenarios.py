"""Orient and Scale and Set Up Shot in a real window: points picked in Edit Mode, the dialog, the cube on the plate."""

from __future__ import annotations

import bpy
import numpy as np
from report_scenarios import demo_job
from scenarios import opened


def shot(gui):
    """The demo shot: a floor from vertices, undone and done again; Set Up Shot by its dialog; through the camera."""
    yield from demo_job(gui)
    for panel in ("THREER_PT_report_open", "THREER_PT_export_open"):
        bpy.utils.unregister_class(getattr(bpy.types, panel))
    opened(gui, "orient", "THREER_PT_orient")
    opened(gui, "shot", "THREER_PT_shot")
    root = next(item for item in bpy.context.scene.objects if item.get("threer_role") == "root")
    name, before = root.name, np.array(root.matrix_world)
    points = next(item for item in bpy.context.scene.objects if item.get("threer_role") == "points")
    cloud = points.name
    bpy.context.view_layer.objects.active = points
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="DESELECT")
        bpy.ops.object.mode_set(mode="OBJECT")
        pick_floor(points)
        bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="Picked")
    gui.area.tag_redraw()
    yield from gui.pause(1.0)
    yield from gui.shot("orient-panel")
    yield from gui.click("threer.set_floor")
    yield from gui.wait(lambda: bpy.context.mode == "OBJECT", "the floor")
    after = np.array(bpy.data.objects[name].matrix_world)
    assert not np.allclose(before, after, atol=1e-6)
    yield from gui.press("Z", ctrl=True)
    yield from gui.wait(lambda: np.allclose(np.array(bpy.data.objects[name].matrix_world), before), "the undo")
    yield from gui.press("Z", ctrl=True, shift=True)
    yield from gui.wait(lambda: np.allclose(np.array(bpy.data.objects[name].matrix_world), after), "the redo")
    if bpy.context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    bpy.utils.unregister_class(bpy.types.THREER_PT_points)  # so that the button is in sight
    gui.area.tag_redraw()
    yield from gui.pause(0.5)
    yield from gui.click("threer.setup_shot")
    yield from gui.pause(1.0)
    yield from gui.shot("shot-dialog", whole=True)
    yield from gui.press("RET")
    yield from gui.wait(lambda: "courtyard Test Cube" in bpy.data.objects, "the cube")
    space = gui.area.spaces.active
    space.shading.type = "MATERIAL"
    bpy.data.objects[cloud].hide_set(True)
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        if space.region_3d.view_perspective != "CAMERA":
            bpy.ops.view3d.view_camera()
    yield from gui.pause(4.0)
    yield from gui.shot("shot-window", whole=True)


def pick_floor(points: bpy.types.Object) -> None:
    """Select what lies near z = 0."""
    mesh = points.data
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", flat)
    matrix = np.array(points.matrix_world)
    heights = flat.reshape(-1, 3) @ matrix[2, :3] + matrix[2, 3]
    mesh.vertices.foreach_set("select", np.abs(heights) < 0.05)
    mesh.update()
