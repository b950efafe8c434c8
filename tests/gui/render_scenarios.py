"""Render Shot by a real Blender: from the panel, while the window lives, and from the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bpy
import numpy as np
from report_scenarios import demo_job
from scenarios import opened

FRAMES = (10, 11)
LIMIT_S = 240.0  # software rendering of a few small frames on a busy machine


def render(gui):
    """The demo shot set up: rendered by the button's operator, cancelled, refused by folders, and by blender -b."""
    yield from demo_job(gui, keeps_main=True)
    for panel in ("THREER_PT_report_open", "THREER_PT_export_open"):
        bpy.utils.unregister_class(getattr(bpy.types, panel))
    opened(gui, "shot", "THREER_PT_shot")
    bpy.ops.threer.setup_shot()
    scene = bpy.context.scene
    for item in scene.objects:
        item.hide_render = item.get("threer_role") == "points"
    scene.frame_start, scene.frame_end = FRAMES
    scene.render.resolution_percentage = 50
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    out = gui.out / "render"
    yield from _rendered(gui, out)
    yield from _cancelled(gui, gui.out / "cancelled")
    yield from _refused(gui)
    _from_the_command_line(gui.out)


def _rendered(gui, out: Path):
    """EXR files and a movie; the window's timers run meanwhile and the panel shows how far it is."""
    before = len(gui.gaps)
    assert bpy.ops.threer.render_shot(directory=str(out)) == {"FINISHED"}
    job = gui.session.job
    told: list[dict] = []
    take = job._take
    job._take = lambda message: (told.append(message), take(message))
    yield from gui.wait(lambda: any(message["type"] == "progress" for message in told), "the start", LIMIT_S)
    gui.area.tag_redraw()
    yield from gui.pause(0.3)
    yield from gui.shot("render-running")
    yield from _over(gui)
    assert job.state.status == "done", job.state.failure
    shares = {message["stage"]: message["fraction"] for message in told if message["type"] == "progress"}
    assert 0 < shares["Rendering frame 1 of 2"] < shares["Rendering frame 2 of 2"] < shares["Writing movie"] < 1
    files = sorted(path.name for path in out.iterdir())
    frames = [f"Scene_{frame:04d}.exr" for frame in range(FRAMES[0], FRAMES[1] + 1)]
    assert files == ["Scene.mp4", *frames, "log.txt"], files
    away = max(gap.wall_s for gap in gui.gaps[before:])
    gui.facts["longest_gap_s"] = away
    picture = _pixels(out / frames[1])
    height, width = picture.shape[:2]
    assert (width, height) == (320, 180)
    movie = bpy.data.movieclips.load(str(out / "Scene.mp4"))
    assert (tuple(movie.size), movie.frame_duration) == ((320, 180), len(frames))
    bpy.data.movieclips.remove(movie)
    cube = bpy.data.objects["courtyard Test Cube"]
    cube.hide_render = True
    with_cube = picture[..., :3].copy()
    yield from _again(gui, out.with_name("without"), FRAMES[0] + 1)
    without = _pixels(out.with_name("without") / frames[1])[..., :3]
    changed = np.abs(with_cube - without).max(axis=2) > 0.02
    assert 0.01 < changed.mean() < 0.5, changed.mean()  # the cube and its shadow, and nothing else
    cube.hide_render = False


def _again(gui, out: Path, frame: int):
    scene = bpy.context.scene
    scene.frame_start = scene.frame_end = frame
    bpy.ops.threer.render_shot(directory=str(out), movie=False)
    yield from _over(gui)
    assert gui.session.job.state.status == "done", gui.session.job.state.failure
    scene.frame_start, scene.frame_end = FRAMES


def _cancelled(gui, out: Path):
    bpy.ops.threer.render_shot(directory=str(out))
    yield from gui.wait(lambda: list(out.glob("*.exr")), "the first file", LIMIT_S)
    bpy.ops.threer.cancel()
    yield from _over(gui)
    assert gui.session.job.state.status == "cancelled"
    assert not (out / "Scene.mp4").exists()


def _refused(gui):
    """A folder that cannot be made is told at once, a full disk with its frame; the panel says both."""
    (gui.out / "file").write_text("in the way")
    said = ""
    try:
        bpy.ops.threer.render_shot(directory=str(gui.out / "file" / "render"))
    except RuntimeError as error:
        said = str(error)
    assert "Nothing can be written to" in said, said
    full = gui.out / "full"
    full.mkdir()
    (full / f"Scene_{FRAMES[0] + 1:04d}.exr").symlink_to("/dev/full")
    bpy.ops.threer.render_shot(directory=str(full), movie=False)
    yield from _over(gui)
    failure = gui.session.job.state.failure
    assert failure is not None
    assert f"Frame {FRAMES[0] + 1} cannot be rendered" in failure.message, failure
    assert "Free disk space" in failure.hint
    gui.area.tag_redraw()
    yield from gui.pause(0.5)
    yield from gui.shot("render-failed")


def _from_the_command_line(out: Path):
    """As docs/shot.md has it: Blender's own -a, and the operator without a window."""
    bpy.ops.wm.save_userpref()  # so that the other Blender knows the extension
    file = out / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    plain = [bpy.app.binary_path, "-b", str(file), "-o", str(out / "plain" / "shot_####"), "-F", "OPEN_EXR"]
    _run([*plain, "-s", str(FRAMES[0]), "-e", str(FRAMES[0]), "-a"])
    assert (out / "plain" / f"shot_{FRAMES[0]:04d}.exr").stat().st_size > 10_000
    words = f"import bpy; bpy.ops.threer.render_shot(directory={str(out / 'operator')!r})"
    _run([bpy.app.binary_path, "-b", str(file), "--python-exit-code", "5", "--python-expr", words])
    assert (out / "operator" / "Scene.mp4").stat().st_size > 1000
    theirs, ours = (
        _pixels(out / name) for name in (f"plain/shot_{FRAMES[0]:04d}.exr", f"render/Scene_{FRAMES[0]:04d}.exr")
    )
    assert np.abs(theirs - ours)[..., :3].mean() < 0.01


def _over(gui):
    yield from gui.wait(lambda: gui.session.job.state.is_over and not gui.session.is_running, "the end", LIMIT_S)


def _pixels(path: Path) -> np.ndarray:
    """(h, w, 4) in the file's own values."""
    image = bpy.data.images.load(str(path))
    width, height = image.size
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    bpy.data.images.remove(image)
    return flat.reshape(height, width, 4)[::-1]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
