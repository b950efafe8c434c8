"""Points that move in a real window: their panel, and the shot playing in 3D."""

from __future__ import annotations

import sys

import bpy
import numpy as np

SIZE = (90, 160)
FRAMES = 12
POINTS = 60_000  # drawn by the processor at each change


def moving(gui):
    """A ball that rolls along a wall, played, and left standing by the trail."""
    yield from gui.install()
    job = make_job(gui)
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    bpy.ops.threer.import_job(directory=str(job), point_budget=POINTS)
    ball = bpy.data.objects["roll Moving"]
    bpy.context.view_layer.objects.active = ball
    yield from gui.click("threer.toggle_fast_display")  # on where the processor draws; the nodes' points can be counted
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_camera()
    bpy.context.scene.frame_set(3)
    yield from gui.in_material_preview("moving-window")
    assert shown(ball) == 1
    dynamic = sys.modules[f"{gui.module}.scene.dynamic"]
    modifier = dynamic.moving_modifier(ball)
    sys.modules[f"{gui.module}.scene.compat"].set_modifier_input(modifier, dynamic.moving_input(modifier, "Trail"), 8)
    bpy.context.scene.frame_set(FRAMES)
    yield from gui.in_material_preview("moving-trail")
    assert shown(ball) == 9
    yield from play(gui)
    yield from gui.click("threer.toggle_fast_display")
    yield from play(gui)


def play(gui):
    """Each frame is shown once the animation runs."""
    gui.area.spaces.active.shading.type = "SOLID"
    seen = []
    bpy.app.handlers.frame_change_post.append(lambda scene, *_: seen.append(scene.frame_current))
    bpy.context.scene.sync_mode = "NONE"
    bpy.context.scene.frame_set(1)
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.screen.animation_play()
        yield from gui.wait(lambda: set(seen) == set(range(1, FRAMES + 1)), "all frames", 90.0)
        bpy.ops.screen.animation_cancel()


def shown(item) -> int:
    """How many views' points an object shows."""
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        if instance.object.type == "POINTCLOUD" and instance.object.original == item:
            return len({value.value for value in instance.object.data.attributes["view"].data})
    return 0


def make_job(gui):
    """A camera that stands a little to the side of a wall, along which a ball rolls."""
    jobfolder = sys.modules[f"{gui.module}.engine.jobfolder"]
    reconstruction = sys.modules[f"{gui.module}.engine.reconstruction"]
    source = sys.modules[f"{gui.module}.engine.source"].Source("movie", (str(gui.out / "roll.mp4"),))
    lens = reconstruction.Intrinsics(SIZE[1], SIZE[0], 140.0, 140.0, SIZE[1] / 2, SIZE[0] / 2)
    job = jobfolder.JobFolder.create(gui.out / "roll")
    rays = lens.rays(np.stack(np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5), axis=-1))
    views = []
    for index in range(FRAMES):
        pose = np.eye(4)
        pose[0, 3] = 0.02 * index
        views.append(reconstruction.View(f"frame_{index:04d}", index, lens, pose))
        maps, mask = picture(rays, pose[:3, 3], np.array([-1.1 + 0.2 * index, 0.3, 3.0]))
        job.write_view(index, maps)
        job.add_to_view(index, {"moving": mask})
    job.write_json("request", {"engine_version": "", "source": source.to_json(), "settings": {}})
    job.write_cameras(reconstruction.Reconstruction(views, fps=24.0))
    return job.path


def picture(rays, camera, centre):
    """What a camera that looks along z sees of a checked wall at z = 4 and a ball of radius 0.4."""
    to_ball = centre - camera
    a, b = (rays**2).sum(axis=-1), rays @ to_ball
    root = b**2 - a * (to_ball @ to_ball - 0.16)
    hit = root > 0
    near = (b - np.sqrt(np.where(hit, root, 0))) / a
    depth = np.where(hit, near, 4.0).astype(np.float32)
    points = camera + rays * depth[..., None]
    checks = (np.floor(2 * points[..., 0]) + np.floor(2 * points[..., 1])) % 2
    wall = np.where(checks[..., None] > 0, (196, 186, 160), (120, 132, 140))
    shade = np.clip(((points - centre) / 0.4) @ np.array([-0.4, -0.7, -0.6]), 0.15, 1)
    color = np.where(hit[..., None], shade[..., None] * (230, 120, 40), wall).astype(np.uint8)
    return {"depth": depth, "confidence": np.ones_like(depth), "color": color}, hit
