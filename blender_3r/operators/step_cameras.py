"""Step through the cameras of photos: the next or previous one becomes the scene's, and the view looks through it."""

from __future__ import annotations

import re

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..scene import tags
from ..scene.plate import look_through
from ..scene.surfaces import job_of

_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


def photo_cameras(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The cameras of the photos that the user means, in the order of the photos' names; [] if there are none.

    Those of the camera the view looks through, else of the active object, else of any reconstruction in the scene.
    """
    jobs: dict[str, list[bpy.types.Object]] = {}
    for item in context.scene.objects:
        if item.type == "CAMERA" and item.get(tags.ROLE) == "camera" and item.get(tags.VIEW):
            jobs.setdefault(item[tags.JOB], []).append(item)
    camera = context.scene.camera if _looks_through(context) else None
    meant = (camera.get(tags.JOB) if camera is not None else None, job_of(context), *jobs)
    cameras = next((jobs[job] for job in meant if job in jobs), [])
    return sorted(cameras, key=lambda item: _by_number(item[tags.VIEW]))


def place_of(context: bpy.types.Context, cameras: list[bpy.types.Object]) -> int | None:
    """Which of cameras is the scene's, None if none is."""
    return cameras.index(context.scene.camera) if context.scene.camera in cameras else None


def _by_number(name: str) -> list[tuple[int, str]]:
    """ "img_2" before "img_10"."""
    return [(int(part), "") if part.isdigit() else (0, part.lower()) for part in re.split(r"(\d+)", name)]


def _looks_through(context: bpy.types.Context) -> bool:
    region = getattr(context, "region_data", None)
    return isinstance(region, bpy.types.RegionView3D) and region.view_perspective == "CAMERA"


class THREER_OT_step_camera(bpy.types.Operator):
    """Look through the camera of the next or previous photo; the render takes the photo's size"""

    bl_idname = "threer.step_camera"
    bl_label = "Next Photo"
    bl_options = {"REGISTER", "UNDO_GROUPED"}
    bl_undo_group = "3R Step Camera"

    step: bpy.props.IntProperty(name="Step", description="How many photos to go on; negative goes back", default=1)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        if properties.step > 0:
            return iface_("Look through the camera of the next photo; the render takes the photo's size")
        return iface_("Look through the camera of the previous photo; the render takes the photo's size")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not photo_cameras(context):
            cls.poll_message_set("There are no cameras of photos in this scene")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        cameras = photo_cameras(context)
        place = place_of(context, cameras)
        if place is None:  # the first step shows what was chosen, not what comes after it
            chosen = context.active_object
            place = cameras.index(chosen) if chosen in cameras else 0 if self.step > 0 else len(cameras) - 1
        else:
            place = (place + self.step) % len(cameras)
        camera = cameras[place]
        look_through(context.scene, camera)
        space = context.space_data
        if isinstance(space, bpy.types.SpaceView3D):
            if space.use_local_camera:
                space.camera = camera
            space.region_3d.view_perspective = "CAMERA"
        self.report({"INFO"}, iface_("{} ({} of {})").format(camera.name, place + 1, len(cameras)))
        return {"FINISHED"}


def register_keys() -> None:
    """Page Down and Page Up in the 3D View; where there are no photos Blender passes them on."""
    configuration = bpy.context.window_manager.keyconfigs.addon
    if configuration is None:  # no window
        return
    keymap = configuration.keymaps.new("3D View", space_type="VIEW_3D")
    for key, step in (("PAGE_DOWN", 1), ("PAGE_UP", -1)):
        item = keymap.keymap_items.new("threer.step_camera", key, "PRESS", repeat=True)
        item.properties.step = step
        _keys.append((keymap, item))


def unregister_keys() -> None:
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()


classes = (THREER_OT_step_camera,)
