"""Inside Blender: a shot with points for each frame, evaluated without a window or played in one. See playback.py.

python playback_scene.py evaluate WAY JOB OUT                    in a Blender module
blender --python playback_scene.py -- play WAY JOB OUT           in a Blender with a window
blender --python playback_scene.py -- play-plain WAY JOB OUT     without anti-aliasing
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from blender_3r.scene import compat
from blender_3r.scene.cloud import Cloud
from blender_3r.scene.dynamic import moving_modifier
from blender_3r.scene.fast_display import remove_fast_display
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.point_nodes import add_point_display, point_modifier
from blender_3r.scene.points import write_points
from blender_3r.viewport import fast_points

LAPS = 2  # without a window; the first one fills caches and is not counted
WARM = 5  # frames of a playback that are not counted
ALL = 10**9
PLAYED = """top_left_3d_editor 3d_editors animation_editors clip_editors image_editors node_editors
  properties_editors sequence_editors spreadsheet_editors""".split()
FASTEST = 240  # frames a second that are asked for, so that nothing waits


def build(way: str, job: Path) -> None:
    """The scene of one way: moving (ours), nodes (ours, without Fast Display), vertices (ours, not made into points),
    keys (an object for each frame), still (the first frame's), empty.
    """
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    is_ours = way in ("moving", "nodes", "vertices")
    moving = "frames" if is_ours else "none"
    budget = ALL if is_ours else 0
    result = import_job(scene, job, ImportOptions(point_budget=budget, plate=False, moving=moving))
    if way in ("still", "keys"):
        cloud = read_job(job, ALL).cloud
        for index in range(1 if way == "still" else scene.frame_end):
            item = _points(f"{index}", _of_view(cloud, index), result.root)
            if way == "keys":
                _show_at(item, scene.frame_start + index)
    if way in ("nodes", "vertices"):
        points = next(item for item in scene.objects if moving_modifier(item) is not None)
        remove_fast_display(points)
        if way == "vertices":
            points.modifiers.remove(point_modifier(points))


def _of_view(cloud: Cloud, view: int) -> Cloud:
    chosen = cloud.views == view
    arrays = {field.name: getattr(cloud, field.name) for field in dataclasses.fields(cloud)}
    return Cloud(**{name: a[chosen] if isinstance(a, np.ndarray) else a for name, a in arrays.items()})


def _points(name: str, cloud: Cloud, root: bpy.types.Object) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    write_points(mesh, cloud)
    item = bpy.data.objects.new(name, mesh)
    item.parent = root
    bpy.context.scene.collection.objects.link(item)
    add_point_display(item)
    return item


def _show_at(item: bpy.types.Object, frame: int) -> None:
    """Keys that hide it in the viewport at all other frames, as they would in renders."""
    for path in ("hide_viewport", "hide_render"):
        curve = compat.fcurves_of(item, item.name).new(path)
        curve.keyframe_points.add(3)
        curve.keyframe_points.foreach_set("co", [frame - 1, 1, frame, 0, frame + 1, 1])
        for key in curve.keyframe_points:
            key.interpolation = "CONSTANT"
        curve.update()


def evaluate() -> dict[str, Any]:
    """Milliseconds a frame of the second lap, without drawing; and how many points the last frame shows."""
    scene = bpy.context.scene
    for _ in range(LAPS):
        wall, cpu = time.perf_counter(), time.process_time()
        for frame in range(scene.frame_start, scene.frame_end + 1):
            scene.frame_set(frame)
            depsgraph = bpy.context.evaluated_depsgraph_get()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = scene.frame_end - scene.frame_start + 1
    shown = (instance.object for instance in depsgraph.object_instances)
    return {
        "version": bpy.app.version_string,
        "wall_ms": 1000 * wall / count,
        "cpu_ms": 1000 * cpu / count,
        "points": sum(len(item.data.points) for item in shown if item.type == "POINTCLOUD"),
        "objects": len(scene.objects),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class Playback:
    """Plays the scene in its window, in Solid, each frame; then hands its figures to done."""

    def __init__(self, done: Callable[[dict[str, Any]], None], is_plain: bool) -> None:
        self._done = done
        self._times: list[tuple[float, float, float]] = []
        scene = bpy.context.scene
        scene.sync_mode = "NONE"  # no frame is left out
        scene.render.fps, scene.render.fps_base = FASTEST, 1.0
        scene.frame_set(scene.frame_start)
        self._count = scene.frame_end - scene.frame_start + 1
        self._window = bpy.context.window_manager.windows[0]
        areas = self._window.screen.areas
        self._area = max((area for area in areas if area.type == "VIEW_3D"), key=lambda area: area.width * area.height)
        self._region = next(region for region in self._area.regions if region.type == "WINDOW")
        space = self._area.spaces.active
        space.shading.type = "SOLID"
        if is_plain:
            bpy.context.preferences.system.viewport_aa = "OFF"
        screen = self._window.screen  # only the 3D view is drawn at each frame
        for name in PLAYED:
            setattr(screen, f"use_play_{name}", name == "3d_editors")
        bpy.app.timers.register(self._start, first_interval=2.0)

    def _start(self) -> None:
        with bpy.context.temp_override(window=self._window, area=self._area, region=self._region):
            bpy.ops.view3d.view_camera()
            bpy.app.handlers.frame_change_post.append(self._note)
            bpy.ops.screen.animation_play()

    def _note(self, scene: bpy.types.Scene, *_: object) -> None:
        if fast_points.fast_points.failure:
            os._exit(1)  # it has said why
        self._times.append((time.perf_counter(), time.thread_time(), time.process_time()))
        if len(self._times) == self._count:
            bpy.app.handlers.frame_change_post.clear()
            wall, main, cpu = (
                1000 * (after - before) / (self._count - WARM - 1)
                for before, after in zip(self._times[WARM], self._times[-1], strict=True)
            )
            size = f"{self._region.width}x{self._region.height}"
            facts = {"version": bpy.app.version_string, "size": size}
            self._done({**facts, "fps": 1000 / wall, "wall_ms": wall, "main_ms": main, "cpu_ms": cpu})


def main(mode: str, way: str, job: str, out: str) -> None:
    def done(facts: dict[str, Any]) -> None:
        Path(out).write_text(json.dumps(facts), encoding="utf-8")
        os._exit(0)  # Blender 4.2's module crashes and 4.5's hangs when Python leaves

    def play() -> None:
        try:
            build(way, Path(job))
            Playback(done, is_plain=mode == "play-plain")
        except Exception:  # Blender prints what a timer raises and goes on, and the benchmark would wait for its limit
            traceback.print_exc()
            os._exit(1)

    if mode == "evaluate":
        build(way, Path(job))
        done(evaluate())
    else:
        bpy.context.preferences.view.show_splash = False
        fast_points.register()
        bpy.app.timers.register(play, first_interval=0.5)


if __name__ == "__main__":
    main(*(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]))
