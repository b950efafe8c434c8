"""Panels and dialogs with their further choices: what shows up for each, and what is refused."""

from __future__ import annotations

from pathlib import Path

import bpy
from report_scenarios import file_browser
from scenarios import fake_engine, follow, opened, prepare, start

SHOTS = {  # picture of the dialog: what is chosen
    "shot-mask": {"foreground": "MASK"},
    "shot-no-compositor": {"compositor": False, "catcher": "NONE"},
    "shot-distorted": {"lens": "RENDER", "foreground": "DEPTH", "outputs": "//passes/", "replace": True},
}


def mask_choices(gui):
    """Every row that the panel Mask can have, of a movie and of photos; none is chosen, so nothing starts."""
    yield from prepare(gui)
    fake_engine(gui, "work")
    opened(gui, "mask", "THREER_PT_mask")
    settings = gui.settings
    yield from _state(gui, "mask-none")
    settings.mask_from = "FILES"
    yield from _state(gui, "mask-files")
    yield from _refused(gui, "mask-files-refused")
    settings.mask_path = "//mattes/actor_0001.png"
    settings.mask_invert = True
    yield from _state(gui, "mask-files-picked")
    settings.mask_from, settings.mask_invert = "ALPHA", False
    yield from _state(gui, "mask-alpha")
    settings.mask_from = "MASK"
    yield from _state(gui, "mask-drawn-none")
    yield from _refused(gui, "mask-drawn-refused")
    settings.mask = bpy.data.masks.new("Actor")
    yield from _state(gui, "mask-drawn")
    photos = gui.out / "photos"
    photos.mkdir(exist_ok=True)
    image = bpy.data.images.new("photo", 64, 48)
    for number in range(3):
        image.filepath_raw, image.file_format = str(photos / f"corner{number}.png"), "PNG"
        image.save()
    settings.path = str(photos)
    yield from gui.wait(lambda: settings.info_kind == "photos", "the photos")
    yield from _state(gui, "mask-photos")


def shot_choices(gui):
    """Set Up Shot with each of its choices, and Render Shot's file dialog; what cannot be done is told."""
    yield from prepare(gui)
    yield from start(gui, "work", 2.0)
    yield from follow(gui, "shot-job")
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the points")
    yield from gui.click("threer.dismiss")
    for item in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[item])
    bpy.data.masks.new("Actor")
    bpy.utils.unregister_class(bpy.types.THREER_PT_main)
    opened(gui, "shot", "THREER_PT_shot")
    yield from _state(gui, "shot-panel")
    for name, choices in SHOTS.items():
        with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
            bpy.ops.threer.setup_shot("INVOKE_DEFAULT", **choices)
        yield from gui.pause(0.7)
        yield from gui.shot(name, whole=True)
        yield from gui.press("ESC")
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.threer.setup_shot("INVOKE_DEFAULT", foreground="MOVING", test_object=False)
    yield from gui.pause(0.7)
    yield from gui.press("RET")
    yield from gui.wait(lambda: "courtyard Floor" in bpy.data.objects, "the shot")
    yield from gui.shot("shot-warned", whole=True)
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.threer.setup_shot("EXEC_DEFAULT", foreground="MASK", mask="Actor")
    assert "courtyard Test Cube" in bpy.data.objects
    yield from gui.pause(1.0)
    yield from gui.shot("shot-done", whole=True)
    offered = gui.out / "render"
    assert not offered.exists()
    yield from gui.click("threer.render_shot")
    browser = yield from file_browser(gui)
    yield from gui.pause(1.0)
    yield from gui.shot("render-dialog", whole=True)
    params = browser.spaces.active.params
    assert Path(bpy.path.abspath(params.directory.decode())) == offered
    window = next(one for one in bpy.context.window_manager.windows if browser in one.screen.areas[:])
    with bpy.context.temp_override(window=window, area=browser):
        bpy.ops.file.cancel()
    yield from gui.wait(lambda: not offered.exists(), "the end of the dialog, which leaves no folder")


def _state(gui, name):
    gui.area.tag_redraw()
    yield from gui.pause(0.5)
    yield from gui.shot(name)


def _refused(gui, name):
    """Reconstruct tells what is missing; no job begins."""
    yield from gui.click("threer.reconstruct")
    yield from gui.pause(0.5)
    yield from gui.shot(name, whole=True)
    assert not gui.session.is_taken
    yield from gui.press("ESC")
