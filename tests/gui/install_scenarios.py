"""The zip installed as a user does it, by mouse and keys alone: Preferences, Get Extensions, Install from Disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bpy

ROW = 12  # pixels, less than a button is high


def install_zip(gui):
    """From Blender as it starts to the open tab. Only the Preferences' window is closed by a call: there is no window
    manager here that would put a frame with a cross around it.
    """
    archive = Path(gui.archive)
    yield from preferences(gui)
    yield from get_extensions(gui)
    files = yield from install_from_disk(gui)
    yield from write(gui, files, "UI", "params.directory", f"{archive.parent}/")
    yield from write(gui, files, "EXECUTE", "params.filename", archive.name)
    picture(gui, "install-from-disk")
    button = region(files, "EXECUTE")
    yield from press(gui, window_of("FILE_BROWSER"), button.x + button.width - 70, button.y + button.height // 2)
    yield from gui.wait(lambda: gui.module in bpy.context.preferences.addons, "the extension")
    yield from gui.pause(1.0)
    picture(gui, "installed-from-disk")
    with bpy.context.temp_override(window=window_of("PREFERENCES")):
        bpy.ops.wm.window_close()
    yield from gui.press("N")
    yield from gui.pause(1.0)
    yield from press_tab(gui)
    yield from gui.shot("first-sight")


def preferences(gui):
    """Edit ▸ Preferences; its window opens around the mouse."""
    yield from press(gui, gui.window, 83, gui.window.height - 14)
    x, y = gui.window.width // 2, gui.window.height // 2
    gui.window.event_simulate(type="P", value="PRESS", x=x, y=y)  # the underlined letter
    yield from gui.wait(lambda: window_of("PREFERENCES") is not None, "the Preferences")
    yield from gui.pause(0.5)


def get_extensions(gui):
    """Down the list of sections."""
    window = window_of("PREFERENCES")
    sections = region(window.screen.areas[0], "NAVIGATION_BAR")
    for y in range(sections.y + sections.height - ROW, sections.y, -ROW):
        if bpy.context.preferences.active_section == "EXTENSIONS":
            break
        yield from press(gui, window, sections.x + sections.width // 2, y)
    assert bpy.context.preferences.active_section == "EXTENSIONS"
    yield from gui.pause(0.5)


def install_from_disk(gui):
    """The arrow at the top right, and the entry of its menu; returns the file browser's area."""
    window = window_of("PREFERENCES")
    page = region(window.screen.areas[0], "WINDOW")
    x, y = page.x + page.width - 25, page.y + page.height - 25
    yield from press(gui, window, x, y)
    picture(gui, "extensions-menu")
    window.event_simulate(type="F", value="PRESS", x=x, y=y - 30)  # the underlined letter
    yield from gui.wait(lambda: window_of("FILE_BROWSER") is not None, "the file browser")
    files = next(area for area in window_of("FILE_BROWSER").screen.areas if area.type == "FILE_BROWSER")
    yield from gui.wait(lambda: files.spaces.active.params is not None, "the browser's folder")
    yield from gui.pause(0.5)
    return files


def write(gui, area, kind, field, words):
    """Press a text field and type."""
    window, at = window_of(area.type), region(area, kind)
    y = at.y + at.height // 2
    for x in range(at.x + 20, at.x + at.width, 40):
        window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
        yield from gui.pause(0.05)
        if field_under_mouse(window, area, at) == field:
            break
    else:
        raise AssertionError(f"no field {field}")
    yield from press(gui, window, x + 20, y)
    for letter in words:
        window.event_simulate(type="A", value="PRESS", unicode=letter, x=x + 20, y=y)
        yield
    for value in ("PRESS", "RELEASE"):
        window.event_simulate(type="RET", value=value, x=x + 20, y=y)
        yield
    yield from gui.pause(0.5)


def field_under_mouse(window, area, at):
    """The data path of what lies under it, for Blender tells."""
    manager = bpy.context.window_manager
    with bpy.context.temp_override(window=window, area=area, region=at):
        manager.clipboard = ""
        if bpy.ops.ui.copy_data_path_button.poll():
            bpy.ops.ui.copy_data_path_button()
        return manager.clipboard


def press_tab(gui):
    """Down the names at the sidebar's right edge."""
    sidebar = gui.sidebar
    for y in range(sidebar.y + sidebar.height - ROW, sidebar.y, -2 * ROW):
        if sidebar.active_panel_category == "3R":
            break
        yield from press(gui, gui.window, sidebar.x + sidebar.width - 10, y)
    assert sidebar.active_panel_category == "3R", sidebar.active_panel_category
    yield from gui.pause(0.5)


def press(gui, window, x, y):
    for kind, value in (("MOUSEMOVE", "NOTHING"), ("LEFTMOUSE", "PRESS"), ("LEFTMOUSE", "RELEASE")):
        window.event_simulate(type=kind, value=value, x=x, y=y)
        yield
        yield
    yield from gui.pause(0.4)


def region(area, kind):
    return next(one for one in area.regions if one.type == kind)


def window_of(kind):
    """The first window with an editor of that kind; None if there is none."""
    windows = bpy.context.window_manager.windows
    return next((one for one in windows if any(area.type == kind for area in one.screen.areas)), None)


def picture(gui, name):
    subprocess.run(["import", "-window", "root", str(gui.out / f"{name}.png")], check=True)
