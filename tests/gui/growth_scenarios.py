"""Points that grow in the view while a job runs, and large results: the window is never away for long."""

from __future__ import annotations

import bpy
import numpy as np
from scenarios import PYTHON, STALL_S, follow, prepare, start

PICTURED = 300_000  # points of the pictures: Material Preview takes seconds for each redraw of a million
TURN_S = 0.05  # of the extension's timer, whatever it brings into the scene


def real_job(gui):
    """The demo shot with the real engine; its points grow in sight while it runs."""
    yield from prepare(gui)
    gui.preferences.engine_python = str(PYTHON)
    turns = gui.watch_extension()
    yield from gui.click("threer.reconstruct")
    yield from gui.wait(lambda: gui.session.is_running, "the job's start")
    gui.facts["engines"] = [gui.session.job.engine_pid]
    grown, counts = [], []
    gaps = yield from follow(gui, "real-running", lambda: note_growth(gui, grown, counts))
    assert len(grown) > 1, f"the points came only at the end: {grown}"
    assert grown == sorted(grown)
    assert share_in_sight(gui) > 0.9
    gui.facts |= {"growth_steps": len(grown), "points_growing": max(counts)}
    over = len(gui.gaps)
    yield from gui.wait(lambda: not gui.session.is_taken, "the result")
    yield from gui.pause(2.0)
    summary = gui.session.job.state.summary
    assert summary["solved"] == summary["total"] == 40, summary
    gui.facts["points_result"] = points_shown()
    assert points_shown() > 2 * max(counts), "the result has no more points than grew"
    yield from _note_stalls(gui, gaps, gui.gaps[over:], turns)
    bpy.ops.threer.import_job(directory=str(gui.session.job.folder), point_budget=PICTURED)
    gui.session.notes.clear()  # they tell of the million
    yield from gui.shot("real-done")
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    space = gui.area.spaces.active
    space.overlay.show_relationship_lines = False
    look_at_all(gui)
    space.region_3d.view_distance *= 0.65
    yield from gui.in_material_preview("real-window")
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_camera()
    bpy.context.scene.frame_set(20)
    yield from gui.in_material_preview("camera-window")


def _note_stalls(gui, growing, result, turns):
    """Of the main thread's own time, as scenarios.note_stalls: the processor draws here, and it is the engine's too."""
    redraw = yield from gui.view_redraw(3)
    named = {"growing": growing, "result": result, "redraw": [redraw], "extension": turns}
    for name, gaps in named.items():
        gui.facts[f"{name}_longest_s"] = max(gap.wall_s for gap in gaps)
        gui.facts[f"{name}_longest_cpu_s"] = max(gap.cpu_s for gap in gaps)
    assert gui.facts["growing_longest_cpu_s"] < STALL_S
    assert gui.facts["extension_longest_cpu_s"] < STALL_S
    assert gui.facts["result_longest_cpu_s"] < STALL_S


def growing(gui):
    """Points that grow while the artist works and undoes; then a million and three of them, which come in slices."""
    yield from prepare(gui)
    turns = gui.watch_extension()
    yield from start(gui, "stream", 80.0, large=2)
    yield from gui.wait(points_shown, "the first points")
    look_at_all(gui)
    gui.area.spaces.active.shading.type = "MATERIAL"
    yield from gui.shot("early", whole=True)
    gui.area.spaces.active.shading.type = "SOLID"  # drawn by this machine's processor, the other takes seconds
    bpy.data.objects["Cube"].location.z = 1.0
    with bpy.context.temp_override(window=gui.window):
        bpy.ops.ed.undo_push(message="Move")
    yield from more_views(gui)
    yield from gui.press("Z", ctrl=True)
    yield from gui.wait(lambda: bpy.data.objects["Cube"].location.z == 0.0, "undo")
    assert points_shown(), "undo of something else took the points"
    yield from more_views(gui)
    gui.area.spaces.active.shading.type = "MATERIAL"
    yield from gui.shot("growing", whole=True)
    gui.area.spaces.active.shading.type = "SOLID"
    yield from gui.wait(lambda: not gui.session.is_taken, "the result", 240)
    assert points_shown() == 19 * 128 * 72
    gui.facts["turn_growing_cpu_s"] = max(turn.cpu_s for turn in turns)
    for name, large in (("1m", 12), ("3m", 21)):
        turns.clear()
        gui.settings.points = 4_000_000
        yield from start(gui, "work", 1.0, large)
        yield from gui.wait(lambda: not gui.session.is_taken, "the large result", 240)
        gui.facts[f"points_{name}"] = points_shown()
        gui.facts[f"turn_{name}_cpu_s"] = max(turn.cpu_s for turn in turns)
        assert points_shown() > 3 * 64 * 36 * large**2  # those of the first job lie there, too
    gui.facts["view_redraw_s"] = (yield from gui.view_redraw()).wall_s
    assert gui.facts["turn_growing_cpu_s"] < TURN_S
    assert gui.facts["turn_1m_cpu_s"] < TURN_S
    assert gui.facts["turn_3m_cpu_s"] < STALL_S  # Blender's own undo step, which comes at once and cannot be cut


def note_growth(gui, grown, counts):
    """Append of how many views there are points, and how many, where it is more and the job still runs. The view shows
    all of the first ones.
    """
    count = views_shown()
    if not count or not gui.session.is_running or count == (grown[-1] if grown else 0):
        return
    if not grown:
        look_at_all(gui)
    grown.append(count)
    counts.append(points_shown())


def look_at_all(gui):
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_all()


def share_in_sight(gui):
    """Of the points, how many the 3D view shows."""
    item = bpy.data.objects["courtyard Points"]
    place = np.empty((points_shown(), 3), np.float32)
    item.data.attributes["position"].data.foreach_get("vector", place.reshape(-1))
    matrix = np.array(gui.area.spaces.active.region_3d.perspective_matrix @ item.matrix_world)
    seen = place @ matrix[:, :3].T + matrix[:, 3]
    return np.mean((np.abs(seen[:, :2]) < seen[:, 3:]).all(axis=1))


def more_views(gui):
    """The next time that the running job's points grow."""
    before = views_shown()
    yield from gui.wait(lambda: views_shown() > before, "points of more views")
    assert gui.session.is_running, "they came with the final result"


def points_shown():
    points = bpy.data.objects.get("courtyard Points")
    return len(points.data.vertices) if points else 0


def views_shown():
    """Of how many views there are points."""
    count = points_shown()
    if not count:
        return 0
    views = np.empty(count, np.int32)
    bpy.data.objects["courtyard Points"].data.attributes["view"].data.foreach_get("value", views)
    return int(np.count_nonzero(np.bincount(views + 1)))
