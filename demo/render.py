"""Render the demo shot and write its true cameras.

    .venv/blender/bin/python demo/render.py [--frames A B] [--samples N] [--stills FOLDER]

Writes courtyard.mp4 (H.264) and reference.json (true cameras and scene points) beside this file. Stills are kept in
FOLDER (out/demo_stills by default) and not rendered again while they are there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import bpy
import numpy as np
import scene as courtyard
from mathutils import Matrix, Vector

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 24, 40
LENS, SENSOR = 26.0, 36.0
NOISE = 1.2  # sensor noise, 8-bit levels


def camera_at(frame: float) -> Matrix:
    """The true camera (Blender axes) at a frame counted from 0: a sideways step, hand-held."""
    t = frame / (FRAMES - 1)
    ease = t + 0.06 * np.sin(2 * np.pi * t)
    place = Vector((-1.15 + 2.0 * ease, -2.75 + 0.35 * t, 1.58 + 0.08 * np.sin(2.4 * np.pi * t)))
    place += Vector((0.012 * np.sin(0.9 * frame), 0.01 * np.sin(0.7 * frame + 1), 0.014 * np.sin(1.1 * frame + 2)))
    target = Vector((0.1 + 0.45 * t, 1.4, 0.85))
    turn = (target - place).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    shake = [0.005 * np.sin(0.83 * frame + n) + 0.003 * np.sin(1.57 * frame + 2 * n) for n in range(3)]
    for axis, angle in zip("XYZ", shake):
        turn = turn @ Matrix.Rotation(angle, 4, axis)
    return Matrix.Translation(place) @ turn


def set_up(samples: int) -> None:
    """An empty file with the courtyard, the animated camera and the render settings."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    courtyard.build()
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_width = LENS, SENSOR
    camera = bpy.data.objects.new("Camera", data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame in range(-1, FRAMES + 1):
        camera.matrix_world = camera_at(frame)
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
    scene.frame_start, scene.frame_end = 0, FRAMES - 1
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.fps = WIDTH, HEIGHT, FPS
    render.use_motion_blur, render.motion_blur_shutter = True, 0.2
    render.image_settings.file_format = "PNG"
    scene.cycles.samples = samples
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 4
    scene.cycles.motion_blur_position = "CENTER"
    render.use_persistent_data = True
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"


def render_stills(folder: Path, first: int, last: int) -> None:
    """frame_XXXX.png in folder, for the frames that are not there."""
    scene = bpy.context.scene
    for frame in range(first, last + 1):
        path = folder / f"frame_{frame:04d}.png"
        if path.exists():
            continue
        scene.frame_set(frame)
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)


def scene_points() -> list[list[float]]:
    """About two hundred true surface points, seen from the first, middle and last camera."""
    scene = bpy.context.scene
    points = []
    for frame in (0, FRAMES // 2, FRAMES - 1):
        scene.frame_set(frame)
        view = scene.camera.matrix_world
        graph = bpy.context.evaluated_depsgraph_get()
        focal = LENS / SENSOR * WIDTH
        for v in np.linspace(20, HEIGHT - 20, 7):
            for u in np.linspace(20, WIDTH - 20, 10):
                ray = view.to_3x3() @ Vector(((u - WIDTH / 2) / focal, (HEIGHT / 2 - v) / focal, -1))
                hit, place, *_ = scene.ray_cast(graph, view.translation, ray.normalized())
                if hit:
                    points.append([round(c, 5) for c in place])
    return points


def write_reference(path: Path) -> None:
    """The true cameras, one per frame, and surface points of the scene."""
    focal = LENS / SENSOR * WIDTH
    to_opencv = Matrix.Diagonal((1, -1, -1, 1))
    images = [
        {
            "file": f"frame_{frame:04d}",
            "frame": frame,
            "width": WIDTH,
            "height": HEIGHT,
            "fx": focal,
            "fy": focal,
            "cx": WIDTH / 2,
            "cy": HEIGHT / 2,
            "dist": {"k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0},
            "c2w": [list(row) for row in camera_at(frame) @ to_opencv],
        }
        for frame in range(FRAMES)
    ]
    about = {
        "scene": "courtyard",
        "kind": "video, synthetic",
        "metric": True,
        "convention": "c2w: OpenCV camera-to-world 4x4 (x right, y down, z forward), metres, world Z up; pixel "
        "coordinates with the top-left image corner at (0,0), first pixel centre at (0.5,0.5)",
        "fps": FPS,
        "points": scene_points(),
    }
    path.write_text(json.dumps({**about, "images": images}) + "\n")


def read_image(path: Path) -> np.ndarray:
    """(h, w, 3) float 0..255, rows from the top."""
    image = bpy.data.images.load(str(path))
    pixels = np.empty(WIDTH * HEIGHT * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(HEIGHT, WIDTH, 4)[::-1, :, :3] * 255


def write_noisy(source: Path, target: Path, seed: int) -> None:
    """Add sensor noise to a still."""
    pixels = read_image(source)
    pixels += np.random.default_rng(seed).normal(0, NOISE, pixels.shape)
    rgba = np.ones((HEIGHT, WIDTH, 4), np.float32)
    rgba[..., :3] = np.clip(pixels[::-1] / 255, 0, 1)
    image = bpy.data.images.new("noisy", WIDTH, HEIGHT)
    image.pixels.foreach_set(rgba.ravel())
    image.file_format, image.filepath_raw = "PNG", str(target)
    image.save()
    bpy.data.images.remove(image)


def encode(folder: Path, movie: Path) -> None:
    """The stills, with sensor noise, as an H.264 movie."""
    noisy = folder / "noisy"
    noisy.mkdir(exist_ok=True)
    for frame in range(FRAMES):
        write_noisy(folder / f"frame_{frame:04d}.png", noisy / f"frame_{frame:04d}.png", frame)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    editor = scene.sequence_editor_create()
    names = [f"frame_{frame:04d}.png" for frame in range(FRAMES)]
    strip = editor.sequences.new_image("plate", str(noisy / names[0]), 1, 1)
    for name in names[1:]:
        strip.elements.append(name)
    render = scene.render
    render.resolution_x, render.resolution_y, render.fps = WIDTH, HEIGHT, FPS
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.view_settings.view_transform = "Standard"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.ffmpeg.constant_rate_factor, render.ffmpeg.ffmpeg_preset = "HIGH", "BEST"
    render.ffmpeg.gopsize = 20
    render.use_file_extension = False
    render.filepath = str(movie)
    bpy.ops.render.render(animation=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", nargs=2, type=int, default=(0, FRAMES - 1), metavar=("A", "B"))
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--stills", type=Path, default=HERE.parent / "out" / "demo_stills")
    options = parser.parse_args()
    options.stills.mkdir(parents=True, exist_ok=True)
    set_up(options.samples)
    write_reference(HERE / "reference.json")
    render_stills(options.stills, *options.frames)
    if all((options.stills / f"frame_{frame:04d}.png").exists() for frame in range(FRAMES)):
        encode(options.stills, HERE / "courtyard.mp4")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Blender's own clean-up at exit is not needed and may take long
