"""The panels in German, in a real window: what the extension's words look like, and that Blender finds them."""

from __future__ import annotations

import bpy
from scenarios import fake_engine, follow, opened, over, prepare, start


def german(gui):
    """A job, its points, and the preferences, with Blender switched to German."""
    yield from prepare(gui)
    speak_german(bpy.context.preferences.view)
    words = bpy.app.translations
    assert words.pgettext_iface("Reconstruct", words.contexts.operator_default) == "Rekonstruieren"
    assert words.pgettext_tip("How much time is spent") == "Wie viel Zeit aufgewendet wird"
    fake_engine(gui, "work")
    yield from gui.pause(0.5)
    for name in ("lens", "result"):
        opened(gui, "options", f"THREER_PT_{name}")
    yield from gui.pause(0.5)
    yield from gui.shot("german-ready")
    for name in ("lens", "result"):
        bpy.utils.unregister_class(getattr(bpy.types, f"THREER_PT_{name}_open"))
    yield from start(gui, "work", 8.0)
    yield from follow(gui, "german-running")
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the points")
    yield from gui.pause(1.0)
    yield from gui.shot("german-done")
    yield from start(gui, "crash")
    yield from over(gui, "failed")
    yield from gui.shot("german-crashed")
    yield from gui.click("threer.dismiss")
    bpy.utils.unregister_class(bpy.types.THREER_PT_main)  # so that the panels begin at the top of the sidebar
    for module, name in (("surfaces", "surfaces"), ("orient", "orient"), ("shot", "shot"), ("report", "report")):
        opened(gui, module, f"THREER_PT_{name}")
    bpy.context.view_layer.objects.active = bpy.data.objects["courtyard Points"]
    gui.area.tag_redraw()
    yield from gui.pause(1.0)
    yield from gui.shot("german-points")
    for name in ("", "_moving", "_filter", "_crop", "_views"):
        bpy.utils.unregister_class(getattr(bpy.types, f"THREER_PT_point{name or 's'}"))
    gui.area.tag_redraw()
    yield from gui.pause(1.0)
    yield from gui.shot("german-scene")


def speak_german(view):
    """Switch Blender's language, as Preferences ▸ Interface does."""
    try:
        view.language = "de_DE"
    except TypeError:  # its name from Blender 4.5 on
        view.language = "de"
    view.use_translate_interface = view.use_translate_tooltips = True
