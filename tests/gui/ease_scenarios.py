"""Ways to footage and between photos, in a real window: a drop, the Movie Clip Editor, Page Down."""

from __future__ import annotations

import subprocess

import bpy
from method_scenarios import key, write_pictures
from scenarios import MOVIE, PYTHON, ROOT, STALL_S, arrive, fake_engine, over, prepare


def drop(gui, *files):
    """Drag files onto the 3D View from a program of its own, as from a file manager."""
    x, y = gui.area.x + 300, gui.window.height - gui.area.y - 200
    command = ["python3", str(ROOT / "tests" / "gui" / "xdnd.py"), str(x), str(y), *map(str, files)]
    source = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield from gui.wait(lambda: source.poll() is not None, "the end of the drag")
    assert source.returncode == 0, source.stderr.read()


def dropped(gui):
    """A movie dropped onto the 3D View: Blender's menu of what can be done with it, our dialog, the job."""
    yield from arrive(gui)
    fake_engine(gui, "work", 1.0)
    gui.settings.method = "classic"
    yield from drop(gui, gui.out / MOVIE.name)
    yield from gui.pause(0.8)
    subprocess.run(["import", "-window", "root", str(gui.out / "drop-menu.png")], check=True)
    yield from key(gui, "R")  # the underlined letter of Reconstruct Footage
    yield from gui.settled()
    subprocess.run(["import", "-window", "root", str(gui.out / "drop-window.png")], check=True)
    assert gui.settings.info_kind == "movie", "the drop did not reach the extension"
    assert gui.session.job is None, "it began without a word"
    yield from key(gui, "RET")
    yield from gui.wait(lambda: gui.session.job is not None, "the job's start")
    gui.facts["engines"] = [gui.session.job.engine_pid]
    yield from over(gui, "done")
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the points")
    pictures = [gui.out / f"IMG_{number}.png" for number in range(3)]
    write_pictures(pictures)
    yield from drop(gui, *pictures)
    yield from gui.pause(0.8)
    yield from key(gui, "R")
    yield from gui.wait(lambda: gui.settings.info_kind, "the pictures")
    assert gui.settings.info_count == len(pictures), gui.settings.info_text


def clip_editor(gui):
    """The open clip, reconstructed by the button of its own editor; progress, cancel, result."""
    yield from prepare(gui)
    clip = bpy.data.movieclips.load(str(gui.out / MOVIE.name))
    gui.area.type = "CLIP_EDITOR"
    gui.space_type = "CLIP_EDITOR"
    gui.area.spaces.active.clip = clip
    yield from gui.pause(0.5)
    yield from gui.open_tab()
    fake_engine(gui, "work", 20.0)
    gui.area.tag_redraw()
    yield from gui.shot("clip-ready")
    since = len(gui.gaps)
    yield from gui.click("threer.reconstruct_clip")
    yield from gui.wait(lambda: gui.session.is_running, "the job's start")
    gui.facts["engines"] = [gui.session.job.engine_pid]
    yield from gui.wait(lambda: gui.session.job.state.fraction > 0.1, "progress")
    yield from gui.shot("clip-running")
    yield from gui.click("threer.cancel")
    yield from over(gui, "cancelled")
    fake_engine(gui, "work", 1.0)
    yield from gui.click("threer.reconstruct_clip")
    yield from gui.wait(lambda: gui.session.is_running, "the job's start")
    gui.facts["engines"].append(gui.session.job.engine_pid)
    yield from over(gui, "done")
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the points")
    yield from gui.shot("clip-window", whole=True)
    gui.facts["longest_cpu_s"] = max(gap.cpu_s for gap in gui.gaps[since + 25 :])
    assert gui.facts["longest_cpu_s"] < STALL_S


def photos(gui):
    """Photos of the demo shot, solved by the real engine: Page Down, Page Up, and the slideshow camera."""
    yield from gui.install()
    folder, job = gui.out / "corner", gui.out / "job"
    folder.mkdir(exist_ok=True)
    script = (
        "import cv2, sys; c = cv2.VideoCapture(sys.argv[1]); f = [c.read()[1] for _ in range(40)][::5];"
        "[cv2.imwrite(f'{sys.argv[2]}/IMG_{i + 1}.jpg', p) for i, p in enumerate(f)]"
    )
    subprocess.run([str(PYTHON), "-c", script, str(MOVIE), str(folder)], check=True)
    command = [PYTHON, ROOT / "blender_3r" / "engine", "reconstruct", folder, "--out", job, "--method", "classic"]
    subprocess.run([*map(str, command), "--quality", "draft"], check=True, capture_output=True)
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    bpy.ops.threer.import_job(directory=str(job), slideshow=True, point_budget=60_000)
    bpy.ops.wm.save_as_mainfile(filepath=str(gui.out / "scene.blend"))
    gui.settings.path = f"//{folder.name}"
    gui.preferences.engine_python = str(PYTHON)
    slideshow = bpy.context.scene.camera
    assert slideshow.name == "corner Slideshow"
    seen = []
    for name in ("PAGE_DOWN", "PAGE_DOWN", "PAGE_DOWN", "PAGE_UP"):
        yield from gui.press(name)
        yield from gui.pause(0.5)
        seen.append(bpy.context.scene.camera.name)
    assert seen == ["IMG_1", "IMG_2", "IMG_3", "IMG_2"], seen
    assert gui.area.spaces.active.region_3d.view_perspective == "CAMERA"
    yield from gui.in_material_preview("photos-window")
    yield from gui.click("threer.step_camera")
    yield from gui.pause(0.5)
    assert bpy.context.scene.camera.name in ("IMG_1", "IMG_3")
    bpy.context.scene.camera = slideshow
    for frame in (2, 6):
        bpy.context.scene.frame_set(frame)
        yield from gui.pause(1.0)
        yield from gui.shot(f"slideshow-{frame}-window", whole=True)
