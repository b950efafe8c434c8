"""The demo inside Blender: install, reconstruct, import, put a cube on the floor, save, render both pictures.

    .venv/blender/bin/python -m scripts.demo_in_blender PACKAGE ENGINE_PYTHON FOOTAGE OUT [--quality draft]

Writes OUT/demo.blend, OUT/demo/overlay.png, OUT/demo/outside.png and OUT/demo/facts.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from . import demo_scene, extension

SAMPLES = 32


def cloud(scene: bpy.types.Scene) -> tuple[bpy.types.Object | None, np.ndarray]:
    """The imported points: their object and their places (n, 3) in the world."""
    for item in scene.objects:
        if item.get("threer_role") == "points":
            local = np.empty(len(item.data.vertices) * 3, np.float32)
            item.data.attributes["position"].data.foreach_get("vector", local)
            matrix = np.array(item.matrix_world)
            return item, local.reshape(-1, 3).astype(float) @ matrix[:3, :3].T + matrix[:3, 3]
    return None, np.empty((0, 3))


def camera_poses(scene: bpy.types.Scene) -> list[Matrix]:
    """World matrices of the animated camera at every frame, or of all cameras of a photo set."""
    cameras = [item for item in scene.objects if item.get("threer_role") == "camera"]
    if len(cameras) > 1:
        return [camera.matrix_world.normalized() for camera in cameras]
    poses = []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        poses.append(scene.camera.matrix_world.normalized())  # the root may scale it
    return poses


def go_to_middle(scene: bpy.types.Scene, job: dict) -> int:
    """Show the middle solved view; returns its index in cameras.json."""
    solved = [index for index, image in enumerate(job["images"]) if image["c2w"] is not None]
    index = solved[len(solved) // 2]
    if job["kind"] == "video":
        frame = job["images"][index]["frame"]
        scene.frame_set(frame + (0 if Path(job["images"][index]["file"]).suffix else 1))
    else:
        name = job["images"][index]["file"]
        scene.camera = next(item for item in scene.objects if item.get("threer_view") == name)
    return index


def set_up_render(scene: bpy.types.Scene) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = False  # it would smear the points
    scene.cycles.max_bounces = 3
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"
    if scene.world is None:
        scene.world = bpy.data.worlds.new("World")
        scene.world.use_nodes = True
    background = scene.world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.52, 0.62, 0.8, 1)
    background.inputs["Strength"].default_value = 0.45


def render(scene: bpy.types.Scene, path: Path, visible: set[str], transparent: bool) -> None:
    """Render with only the named objects shown, and put the visibility back."""
    hidden = {item.name: item.hide_render for item in scene.objects}
    for item in scene.objects:
        item.hide_render = item.name not in visible
    scene.render.film_transparent = transparent
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    for name, was in hidden.items():
        scene.objects[name].hide_render = was


def render_overlay(scene: bpy.types.Scene, path: Path) -> None:
    """The cube and its shadow through the solved camera, at the plate's size (large plates: at 540 lines)."""
    size = scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage
    scene.render.resolution_percentage = min(100, max(1, round(100 * 540 / size[1])))
    render(scene, path, {"Test cube", "Shadow floor", "Demo sun"}, transparent=True)
    scene.render.resolution_percentage = size[2]


def render_outside(scene: bpy.types.Scene, path: Path, camera: bpy.types.Object, shown: set[str]) -> None:
    """The cloud and the camera's way from outside; the scene's own camera and size are put back."""
    own = scene.camera, scene.render.resolution_x, scene.render.resolution_y
    aspects = scene.render.pixel_aspect_x, scene.render.pixel_aspect_y
    scene.camera, scene.render.resolution_x, scene.render.resolution_y = camera, 720, 540
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    light = scene.world.node_tree.nodes["Background"].inputs["Strength"]
    before, light.default_value = light.default_value, 0.02
    render(scene, path, shown, transparent=False)
    light.default_value = before
    scene.camera, scene.render.resolution_x, scene.render.resolution_y = own
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspects


def add_cube(scene: bpy.types.Scene, points: np.ndarray) -> str:
    """Put the test cube on the floor, or in front of the camera where there is none. Returns a sentence."""
    floor = demo_scene.fit_floor(points)
    spot = demo_scene.choose_place(scene, points, floor) if floor else None
    if spot:
        demo_scene.add_cube(scene, *spot, floor)
        return "The cube stands on the floor."
    view = np.array(scene.camera.matrix_world.normalized())
    place = view[:3, 3] - 5 * view[:3, 2] - 0.8 * view[:3, 1]
    level = demo_scene.Floor(place, np.array([0.0, 0.0, 1.0]), 0.01)
    demo_scene.add_cube(scene, place, 0.8, level, catches_shadow=False)
    return "No floor was found, so the cube hangs in front of the camera."


def present(scene: bpy.types.Scene, out: Path) -> None:
    """Cube, camera path and outside view in the imported scene; demo.blend and the two renders."""
    scratch = out / "demo"
    folder = extension.job_folder_of(scene)
    job = json.loads((folder / "cameras.json").read_text(encoding="utf-8"))
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    bpy.context.view_layer.update()  # world matrices of what was just imported
    points_object, points = cloud(scene)
    poses = camera_poses(scene)
    index = go_to_middle(scene, job)
    set_up_render(scene)
    sentence = add_cube(scene, points)
    aspect = scene.render.resolution_x / scene.render.resolution_y
    reach = 0.09 * demo_scene.distance_to(points, poses)
    way = demo_scene.add_camera_path(scene, poses, reach, aspect, job["kind"] == "video")
    rims = demo_scene.camera_rims(poses, reach, aspect)
    outside = demo_scene.add_outside_view(scene, points, poses, rims, 720 / 540)
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "demo.blend"))
    render_overlay(scene, scratch / "overlay.png")
    shown = {item.name for item in way} | ({points_object.name} if points_object else set())
    render_outside(scene, scratch / "outside.png", outside, shown)
    facts = {"job": str(folder), "view": index, "text": state["summary"]["text"], "cube": sentence}
    (scratch / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def make(options: argparse.Namespace) -> None:
    """The whole demo. Raises RuntimeError with the extension's sentence when the footage cannot be reconstructed."""
    out = options.out.resolve()
    extension.install(options.package, options.engine_python, out / "demo" / "jobs")
    extension.reconstruct(options.footage, quality=options.quality)
    present(bpy.context.scene, out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("engine_python", type=Path)
    parser.add_argument("footage", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", default="draft")
    try:
        make(parser.parse_args())
    except RuntimeError as error:
        print(f"3R failed: {extension.sentence_of(error)}")
        return 1
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if extension.MODULE in bpy.context.preferences.addons:
        extension.leave(status)
    os._exit(status)
