"""The models of this Blender: one catalogue, and the timer that pumps it while there is anything to hear.

Drawing may say what it would like to know (`wish_list`, `wish_estimate`); asking is the timer's business.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from typing import Any

import bpy

from .environment import data_folder
from .models import Catalogue
from .session import session
from .window import redraw

TICK_S = 0.1
SETTLE_S = 0.4  # settings must stay as they are for so long before a job is estimated
REDRAW_S = 1.0


class Library:
    """catalogue: what is known of models. expanded: the model whose details the list shows, "" for none.

    read: models whose licence was opened in a browser in this session.
    """

    def __init__(self) -> None:
        self.catalogue = Catalogue(data_folder() / "models.log")
        self.expanded = ""
        self.read: set[str] = set()
        self._wants_list = False
        self._estimate_key: Any = None
        self._is_estimate_due = False
        self._estimate_since = 0.0
        self._drawn_at = 0.0

    def wish_list(self) -> None:
        """Have the list of models asked for, if it is not known. Called while drawing."""
        if self.catalogue.status == "unknown" and self.catalogue.is_usable and not self._wants_list:
            self._wants_list = True
            self.wake()

    def wish_estimate(self, key: Any, scene: bpy.types.Scene) -> None:
        """Have a job of the scene estimated when its settings (key) are others than the last time, or the answer was
        lost. Called while drawing; the timer asks once the settings have settled.
        """
        key = self._key(key, scene)
        if key != self._estimate_key or self._is_estimate_lost:
            self._estimate_key, self._is_estimate_due = key, True
            self._estimate_since = time.monotonic()
            self.wake()

    def estimate_of(self, key: Any, scene: bpy.types.Scene) -> dict[str, Any] | None:
        """What a job of the scene with these settings needs, as far as the engine has said so."""
        if self._estimate_key != self._key(key, scene) or not self.is_estimate_current:
            return None
        return self.catalogue.estimate

    @property
    def is_estimate_current(self) -> bool:
        """What the catalogue has estimated is of the settings that were wished for last."""
        return not (self._is_estimate_due or self.catalogue.is_estimating)

    @property
    def _is_estimate_lost(self) -> bool:
        """The engine was another one meanwhile, or had to leave for a job before it answered."""
        catalogue = self.catalogue
        has_answer = catalogue.estimate is not None or catalogue.estimate_failure is not None
        return self.is_estimate_current and not has_answer and not session.is_running

    def wake(self) -> None:
        """Let the timer run."""
        if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_S, persistent=True)

    def tick(self) -> float | None:
        """One turn; returns the seconds until the next, or None when there is nothing left to do."""
        if session.is_installing and self.catalogue.is_busy:
            self.catalogue.rest()  # the engine's files are about to change
        if self._wants_list:
            self._wants_list = False
            self.catalogue.refresh()
        self._ask_for_estimate()
        changed = self.catalogue.pump()
        now = time.monotonic()
        has_downloads = any(one.is_active for one in self.catalogue.downloads.values())
        if changed or (has_downloads and now - self._drawn_at > REDRAW_S):
            self._drawn_at = now
            redraw()
        return TICK_S if self.catalogue.is_busy or self._is_estimate_due or self._wants_list else None

    def wait(self, is_done: Callable[[], bool], patience_s: float = 24 * 3600.0) -> bool:
        """Pump until is_done, for scripts and `blender -b`, where no timer runs; False when patience ended."""
        until = time.monotonic() + patience_s
        while not is_done():
            if time.monotonic() > until:
                return False
            self.catalogue.pump()
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """End what runs."""
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)
        self.catalogue.close()
        self.__init__()

    def _key(self, key: Any, scene: bpy.types.Scene) -> tuple[Any, ...]:
        """All that an estimate depends on: the scene's settings, the models that are here, the engine's packages."""
        here = [model.id for model in self.catalogue.models.values() if model.downloaded]
        return scene.session_uid, len(self.catalogue.models), here, self.catalogue.missing, *key

    def _ask_for_estimate(self) -> None:
        if self._is_estimate_due and time.monotonic() - self._estimate_since >= SETTLE_S:
            self._is_estimate_due = False
            uid = self._estimate_key[0] if self._estimate_key else None
            scene = next((scene for scene in bpy.data.scenes if scene.session_uid == uid), None)
            if scene is not None and _ask_for_estimate:
                _ask_for_estimate[0](scene)


library = Library()
_ask_for_estimate: list[Callable[[bpy.types.Scene], None]] = []  # what asks for it: operators/reconstruct.py


def _tick() -> float | None:
    return library.tick()


def _at_exit() -> None:
    library.catalogue.close()


def register(ask_for_estimate: Callable[[bpy.types.Scene], None]) -> None:
    """ask_for_estimate: hands the catalogue the job that a scene's settings mean."""
    _ask_for_estimate[:] = [ask_for_estimate]
    atexit.register(_at_exit)


def unregister() -> None:
    library.close()
    atexit.unregister(_at_exit)
