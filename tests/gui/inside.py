"""Runs inside a real Blender: plays one scenario of `scenarios.py`, a step per tick of a timer, and leaves.

    blender ... --python inside.py -- SCENARIO OUT_FOLDER ZIP

Buttons are found as a user finds them: the mouse moves over the panel, and Blender says what lies under it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import bpy
import numpy as np

TICK_S = 0.02
LOOK_PX = 14  # a button is 20 high
MODULE = "bl_ext.user_default.blender_3r"
Steps = Iterator[None]


class Gap(NamedTuple):
    """Time between two ticks, in which Blender and the extension did something else. cpu_s: of the main thread."""

    when: float
    wall_s: float
    cpu_s: float


class Gui:
    """What a scenario does with the window. Methods that take time are generators: `yield from gui.click(...)`."""

    def __init__(self, out: Path, archive: str) -> None:
        self.out = out
        self.archive = archive
        self.gaps: list[Gap] = []
        self.facts: dict[str, object] = {}
        self.space_type = "VIEW_3D"  # of the area that is worked in
        self.places: dict[str, tuple[int, int]] = {}  # where a button was found, from the sidebar's left and top

    # -- the window

    module = MODULE

    @property
    def window(self) -> bpy.types.Window:
        return bpy.context.window_manager.windows[0]

    @property
    def area(self) -> bpy.types.Area:
        return max((a for a in self.window.screen.areas if a.type == self.space_type), key=lambda a: a.width * a.height)

    @property
    def sidebar(self) -> bpy.types.Region:
        return next(region for region in self.area.regions if region.type == "UI")

    @property
    def session(self) -> object:
        return sys.modules[f"{MODULE}.client.session"].session

    @property
    def settings(self) -> object:
        return bpy.context.scene.threer

    @property
    def preferences(self) -> object:
        return bpy.context.preferences.addons[MODULE].preferences

    @property
    def view(self) -> bpy.types.Region:
        return next(region for region in self.area.regions if region.type == "WINDOW")

    def install(self) -> Steps:
        """Install the zip as a user does, and open its tab."""
        bpy.ops.extensions.package_install_files(
            filepath=self.archive, repo="user_default", enable_on_install=True, overwrite=True
        )
        yield
        yield from self.open_tab()

    def open_tab(self) -> Steps:
        """The 3R tab of the sidebar; Blender knows its tabs only once it was drawn."""
        self.area.spaces.active.show_region_ui = True
        yield from self.pause(0.3)
        with bpy.context.temp_override(window=self.window, area=self.area):
            bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
        self.sidebar.active_panel_category = "3R"
        self.area.tag_redraw()
        yield from self.pause(0.3)

    def mouse(self, kind: str, value: str, x: int, y: int) -> Steps:
        self.window.event_simulate(type=kind, value=value, x=x, y=y)
        yield
        yield

    def find(self, wanted: str) -> Iterator[tuple[int, int] | None]:
        """Where the button of an operator ("threer.cancel") or of a property ("quality") is; None if nowhere. Each look
        draws the sidebar, so it begins where the button was last.
        """
        region = self.sidebar
        columns = (region.width // 2, region.width - 45, region.width * 3 // 4, region.width // 4)
        places = [(column, top) for column in columns for top in range(12, region.height - 10, LOOK_PX)]
        if wanted in self.places:
            places.insert(0, self.places[wanted])
        for column, from_top in places:
            x, y = region.x + column, region.y + region.height - from_top
            yield from self.mouse("MOUSEMOVE", "NOTHING", x, y)
            if wanted in self._under_mouse():
                self.places[wanted] = (column, from_top)
                return x, y
        return None

    def _under_mouse(self) -> str:
        with bpy.context.temp_override(window=self.window, area=self.area, region=self.sidebar):
            manager = bpy.context.window_manager
            manager.clipboard = ""
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
            elif bpy.ops.ui.copy_data_path_button.poll():
                bpy.ops.ui.copy_data_path_button()
            return manager.clipboard

    def click(self, wanted: str) -> Steps:
        place = yield from self.find(wanted)
        assert place is not None, f"no button {wanted} in the panel"
        yield from self.mouse("LEFTMOUSE", "PRESS", *place)
        yield from self.mouse("LEFTMOUSE", "RELEASE", *place)
        yield from self.pause(0.1)

    def confirm_button(self) -> tuple[int, int, int, int] | None:
        """Left, right, bottom, top of a dialog's confirming button, the largest area of its colour; None if nowhere."""
        picture = self.screen()
        color = np.round(np.array(bpy.context.preferences.themes[0].user_interface.wcol_regular.inner_sel[:3]) * 255)
        hits = np.abs(picture - color).max(axis=2) <= 2
        rows = np.flatnonzero(hits.sum(axis=1) > 150)
        if not len(rows):
            return None
        columns = np.flatnonzero(hits[rows].sum(axis=0) > len(rows) // 2)
        return int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])

    def press_at(self, x: int, y: int) -> Steps:
        yield from self.mouse("MOUSEMOVE", "NOTHING", x, y)
        yield from self.mouse("LEFTMOUSE", "PRESS", x, y)
        yield from self.mouse("LEFTMOUSE", "RELEASE", x, y)
        yield from self.pause(0.2)

    def leave_panel(self) -> Steps:
        """The mouse into the 3D view, so that nothing is highlighted and no tool tip shows."""
        yield from self.mouse("MOUSEMOVE", "NOTHING", self.area.x + 300, self.area.y + 200)
        yield from self.pause(0.3)

    def settled(self) -> Steps:
        """Panels slide to new places, a step at each redraw; on a busy machine those are far between."""
        for _ in range(4):
            self.sidebar.tag_redraw()
            yield from self.pause(0.1)

    def press(self, key: str, **modifiers: bool) -> Steps:
        x, y = self.area.x + 300, self.area.y + 200
        yield from self.mouse("MOUSEMOVE", "NOTHING", x, y)
        for value in ("PRESS", "RELEASE"):
            self.window.event_simulate(type=key, value=value, x=x, y=y, **modifiers)
            yield
            yield

    # -- time

    def pause(self, seconds: float) -> Steps:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> Steps:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"waited in vain: {what}"
            yield

    def watch_extension(self) -> list[Gap]:
        """From now on, what each turn of the extension's own timer takes."""
        turns: list[Gap] = []
        kind = type(self.session)
        tick = kind.tick

        def timed(session: object) -> float | None:
            wall, cpu = time.monotonic(), time.thread_time()
            try:
                return tick(session)
            finally:
                turns.append(Gap(time.monotonic(), time.monotonic() - wall, time.thread_time() - cpu))

        kind.tick = timed
        return turns

    def view_redraw(self, times: int = 10) -> Iterator[Gap]:
        """How long the window is away, at most, when nothing but the 3D view is redrawn."""
        since = time.monotonic()
        for _ in range(times):
            self.area.tag_redraw()
            yield
        yield
        gaps = [gap for gap in self.gaps if gap.when > since]
        return Gap(since, max(gap.wall_s for gap in gaps), max(gap.cpu_s for gap in gaps))

    # -- what is seen

    def screen(self) -> np.ndarray:
        """(height, width, 3) int codes of the window's pixels, from below as Blender counts."""
        command = ["import", "-window", "root", "-depth", "8", "rgb:-"]
        data = subprocess.run(command, check=True, capture_output=True).stdout
        return np.frombuffer(data, np.uint8).reshape(self.window.height, self.window.width, 3)[::-1].astype(int)

    def shot(self, name: str, whole: bool = False) -> Steps:
        """A picture of the sidebar (or of the whole window) as NAME.png; taken from the screen, not from Blender."""
        yield from self.leave_panel()
        yield from self.settled()
        region, height = self.sidebar, self.window.height
        crop = f"{region.width}x{region.height}+{region.x}+{height - region.y - region.height}"
        arguments = [] if whole else ["-crop", crop, "+repage"]
        subprocess.run(["import", "-window", "root", *arguments, str(self.out / f"{name}.png")], check=True)
        yield

    def in_material_preview(self, name: str) -> Steps:
        """A picture of the window in Material Preview, and back: without a graphics card every redraw takes a second in
        it, 16 of them unless told otherwise, and a search for a button redraws for every place the mouse looks at.
        """
        shading = self.area.spaces.active.shading
        bpy.context.scene.eevee.taa_samples = 4
        shading.type = "MATERIAL"
        yield from self.pause(4.0)
        yield from self.shot(name, whole=True)
        shading.type = "SOLID"
        yield from self.pause(0.5)

    def shot_of(self, area: bpy.types.Area, name: str) -> Steps:
        """A picture of one area as NAME.png."""
        top = self.window.height - area.y - area.height
        crop = f"{area.width}x{area.height}+{area.x}+{top}"
        target = str(self.out / f"{name}.png")
        subprocess.run(["import", "-window", "root", "-crop", crop, "+repage", target], check=True)
        yield


class Player:
    """Feeds a scenario from a timer; ends Blender with status 0 when it came to its end, else 3."""

    def __init__(self, gui: Gui, steps: Steps) -> None:
        self.gui, self.steps = gui, steps
        self.left_at: tuple[float, float] | None = None

    def tick(self) -> float:
        now, cpu = time.monotonic(), time.thread_time()
        if self.left_at is not None:
            self.gui.gaps.append(Gap(now, now - self.left_at[0], cpu - self.left_at[1]))
        status = None
        try:
            next(self.steps)
        except StopIteration:
            status = 0
        except BaseException:
            traceback.print_exc()
            subprocess.run(["import", "-window", "root", str(self.gui.out / "failed.png")], check=False)
            status = 3
        if status is not None:
            (self.gui.out / "facts.json").write_text(json.dumps(self.gui.facts))
            sys.stdout.flush()
            sys.stderr.flush()
            if status:
                os._exit(status)
            bpy.ops.wm.quit_blender()
        self.left_at = time.monotonic(), time.thread_time()
        return TICK_S


def main() -> None:
    name, out, archive = sys.argv[sys.argv.index("--") + 1 :]
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent)]
    import choice_scenarios
    import ease_scenarios
    import engine_scenarios
    import growth_scenarios
    import install_scenarios
    import language_scenarios
    import method_scenarios
    import model_scenarios
    import moving_scenarios
    import point_scenarios
    import render_scenarios
    import report_scenarios
    import scenarios
    import shot_scenarios
    import surface_scenarios

    bpy.context.preferences.view.show_splash = False  # it would swallow the first click
    bpy.context.preferences.system.viewport_aa = "OFF"  # each change would redraw the view eight times
    gui = Gui(Path(out), archive)
    places = (
        scenarios,
        choice_scenarios,
        ease_scenarios,
        engine_scenarios,
        growth_scenarios,
        install_scenarios,
        language_scenarios,
        method_scenarios,
        model_scenarios,
        moving_scenarios,
        point_scenarios,
        surface_scenarios,
        report_scenarios,
        render_scenarios,
        shot_scenarios,
    )
    played = (getattr(module, name, None) for module in places)
    scenario = next(found for found in played if found is not None)
    player = Player(gui, scenario(gui))
    bpy.app.timers.register(player.tick, first_interval=0.5, persistent=True)


main()
