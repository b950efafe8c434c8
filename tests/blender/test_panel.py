"""What the panels draw in every state, read from a layout that writes down instead of drawing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import bpy
import extension
import pytest

from blender_3r import panels
from blender_3r.client.doctor import Finding, Report
from blender_3r.client.environment import Status
from blender_3r.client.installer import InstallState
from blender_3r.client.job import Failure, JobState
from blender_3r.client.session import Home, session
from blender_3r.panels import photos, points
from blender_3r.panels.engine import THREER_PT_engine
from blender_3r.panels.main import THREER_PT_main
from blender_3r.panels.options import THREER_PT_frames
from blender_3r.widgets import text

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"
TESTED_ELSEWHERE = (*points.classes, *photos.classes)
PANELS = [
    cls
    for cls in panels.classes
    if issubclass(cls, bpy.types.Panel) and cls.bl_space_type == "VIEW_3D" and cls not in TESTED_ELSEWHERE
]


class Layout:
    """Stands in for UILayout: texts and operators as lines, whatever the nesting."""

    def __init__(self, lines=None):
        object.__setattr__(self, "lines", [] if lines is None else lines)

    def __setattr__(self, name, value):
        assert name in bpy.types.UILayout.bl_rna.properties, f"UILayout has no {name}"

    def _same(self, **_):
        return Layout(self.lines)

    row = column = box = split = _same

    def separator(self, factor=1.0):
        pass

    def label(self, text="", icon="NONE"):
        assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items, icon
        self.lines.append(text)

    def prop(self, data, name, text=None, expand=False, placeholder=""):
        assert name in data.bl_rna.properties, name
        self.lines.append(f"<{name}>")

    def operator(self, name, text=None, icon="NONE", emboss=True, depress=False):
        module, _, function = name.partition(".")
        label = getattr(getattr(bpy.ops, module), function).get_rna_type().name
        self.lines.append(f"[{name}: {label if text is None else text}]")
        return SimpleNamespace()

    def menu(self, name, text=None, icon="NONE"):
        assert hasattr(bpy.types, name), name
        self.lines.append(f"{{{name}: {text}}}")

    def template_ID(self, data, name, open=""):
        self.lines.append(f"<{name}>")

    def progress(self, factor, text):
        assert 0 <= factor <= 1
        self.lines.append(f"({factor:.2f} {text})")


def drawn(panel=THREER_PT_main) -> str:
    """All that the panel shows, sentences unwrapped."""
    layout = Layout()
    panel.draw(SimpleNamespace(layout=layout, column=lambda context: layout), bpy.context)
    return " ".join(layout.lines)


class StandInJob:
    """A job in a state of choice."""

    title, again = "Reconstruction", "threer.reconstruct"

    def __init__(self, folder, **values):
        self.state = JobState(**values)
        self.folder = folder
        self.log = folder / "log.txt"
        self.elapsed_s, self.silent_s, self.time_left_s = 12.0, 0.0, None
        self.engine_pid = 0

    def close(self):
        pass


@pytest.fixture(autouse=True)
def threer(empty_file):
    extension.switch_on()
    session.engine = Status("ready", "Installed somewhere.")
    yield bpy.context.scene.threer
    extension.switch_off()


@pytest.fixture
def job(tmp_path):
    def make(**values):
        session.job = StandInJob(tmp_path, **values)
        session.home = Home("", bpy.context.scene.name, bpy.context.scene.session_uid)
        return session.job

    return make


def test_every_panel_is_in_the_tab():
    for cls in PANELS:
        assert cls.bl_category == "3R"
        assert cls is THREER_PT_main or "DEFAULT_CLOSED" in cls.bl_options


def test_nothing_is_installed():
    session.engine = Status("missing", "The engine is not installed yet.")
    shown = drawn()
    assert "The engine is not installed yet." in shown
    assert "[threer.install_engine: Install Engine]" in shown
    assert not THREER_PT_engine.poll(bpy.context)
    assert "Update Engine" not in shown
    session.engine = Status("outdated", "Too old.")
    assert "[threer.install_engine: Update Engine]" in drawn()
    session.engine = Status("wrong", "There is no such Python.")
    assert "[preferences.addon_show: Open Preferences]" in drawn()


def test_installing(monkeypatch):
    session.engine = Status("missing", "The engine is not installed yet.")
    session.installer = SimpleNamespace(
        title="Installing the engine",
        log="/x/install.log",
        state=InstallState("running", "Downloading pycolmap (21.0 MB)", 0.4),
        close=lambda: None,
    )
    assert "Downloading pycolmap (21.0 MB) (0.40 40 %) [threer.cancel_install: ]" in drawn()
    session.installer.state = replace(session.installer.state, done_bytes=43_000_000, total_bytes=124_400_000)
    assert "(0.40 40 %   43 of 124 MB)" in drawn()
    session.installer.state = InstallState("failed", failure=Failure("The disk is full.", "Free some space."))
    shown = drawn()
    assert "The disk is full. Free some space. Log: /x/install.log [threer.open_log: Open Log]" in shown
    assert "[threer.install_engine: Install Engine]" in shown
    session.installer.state = InstallState("cancelled")
    assert "Installing the engine: cancelled" in drawn()


def test_no_footage_then_footage(threer):
    assert "<path> [threer.pick_footage: ]" in drawn()
    assert not THREER_PT_frames.poll(bpy.context)
    threer.path = str(MOVIE)
    assert "40 frames, 640 × 360, 24 fps" in drawn()
    assert THREER_PT_frames.poll(bpy.context)
    threer.use_range = True
    threer.last = 30
    assert "Uses 30 of 40" in drawn()
    threer.path = "/nowhere/shot.mp4"
    assert "/nowhere/shot.mp4 does not exist." in drawn()


@pytest.mark.parametrize("source", ["FILES", "CLIP", "IMAGE", "RIG"])
def test_every_source_can_be_drawn(threer, source):
    threer.source = source
    assert "[threer.reconstruct: Reconstruct]" in drawn()


def test_every_sub_panel_can_be_drawn(threer):
    threer.path = str(MOVIE)
    for known in ("NO", "MM", "PX"):
        threer.focal_known = known
        for cls in PANELS:
            assert drawn(cls)
    threer.info_kind = "rig"
    assert drawn(THREER_PT_frames) == "<rig_frame>"


def test_running(job):
    running = job(status="running", stage="Tracking points", fraction=0.25)
    shown = drawn()
    assert "(0.25 Tracking points  25 %) 12 s so far [threer.cancel: Cancel]" in shown
    assert "[threer.reconstruct" not in shown
    running.time_left_s = 130.0
    assert "about 2 min left" in drawn()
    running.state.solved, running.state.total = 58, 60
    assert "58 of 60 cameras found" in drawn()
    running.silent_s = 185.0
    assert "No news from the engine for 3 min 5 s." in drawn()


def test_done(job):
    done = job(status="done", fraction=1.0)
    done.state.summary = {
        "solved": 58,
        "total": 60,
        "reproj_error_px": 0.4231,
        "seconds": 75.2,
        "points": 1_234_567,
        "warnings": ["Frames 3 and 4 have no camera."],
        "checks": [
            {"name": "focal", "passed": False, "text": "The focal length is uncertain."},
            {"name": "rotations", "passed": True, "text": "Rotations agree."},
        ],
    }
    session.notes = ["The picture is not there."]
    shown = drawn()
    assert "58 of 60 frames solved" in shown
    assert "Mean error 0.42 px 1.2 million points Took 1 min 15 s" in shown
    assert "Frames 3 and 4 have no camera. The focal length is uncertain. The picture is not there." in shown
    assert "Rotations agree" not in shown
    assert "interpolated" not in shown
    assert "[threer.dismiss: ]" in shown
    done.state.summary["interpolated"] = 40
    assert "40 frames interpolated Mean error 0.42 px" in drawn()
    session.is_waiting = True
    assert "back in Object Mode" in drawn()


def test_done_in_another_file(job):
    job(status="done")
    session.home.file, session.home.is_open = "/x/shot 3.blend", False
    shown = drawn()
    assert "The job was started in shot 3.blend" in shown
    assert "[threer.import_last: Import Here]" in shown


def test_failed(job):
    failed = job(status="failed")
    failed.state.failure = Failure("There is no parallax.", "Move sideways.", "unsolved", ("one", "two"))
    shown = drawn()
    assert "There is no parallax. Move sideways. Log: two" in shown
    assert "[threer.reconstruct: Retry] [threer.open_log: Open Log]" in shown
    assert "Import What There Is" not in shown
    failed.state.solved = 3
    assert "[threer.import_last: Import What There Is]" in drawn()


def test_failed_before_there_was_a_job():
    session.failure = Failure("The job folder cannot be made.", "Save elsewhere.")
    shown = drawn()
    assert "The job folder cannot be made. Save elsewhere." in shown
    assert "open_log" not in shown


def test_cancelled(job):
    job(status="cancelled")
    assert "Cancelled [threer.dismiss: ] What was computed is kept." in drawn()


def test_the_preferences_can_be_drawn():
    assert {"<job_folder>", "<engine_folder>", "<engine_python>", "<profile>"} <= set(drawn_preferences())


def drawn_preferences(profile="classic") -> list[str]:
    layout = Layout()
    kind = type(extension.preferences())
    kind.draw(SimpleNamespace(layout=layout, bl_rna=kind.bl_rna, profile=profile), bpy.context)
    return layout.lines


def test_the_preferences_say_where_the_engine_is_and_how_large():
    session.engine = Status("ready", "The Classic engine is installed.", profile="classic", bytes=450_000_000)
    extension.preferences().engine_folder = "/x"
    session.engine = Status("ready", "The Classic engine is installed.", profile="classic", bytes=450_000_000)
    shown = " ".join(drawn_preferences())
    assert "The Classic engine is installed. Place: /x, 450 MB" in shown
    for button in ("install_engine_wheels", "check_engine", "repair_engine", "remove_engine", "open_engine_folder"):
        assert f"[threer.{button}: " in shown
    assert "PyTorch" not in shown
    assert "PyTorch" in " ".join(drawn_preferences("full"))


def test_what_check_found_is_listed():
    findings = (
        Finding("Packages", "bad", "The package numpy is damaged: it is not there."),
        Finding("Package index", "warning", "It does not answer.", "Needed for repairs only."),
    )
    report = Report(findings, 1)
    state = InstallState("done", fraction=1.0, text=report.text)
    session.installer = SimpleNamespace(title="", log="", state=state, report=report, close=lambda: None)
    shown = " ".join(drawn_preferences())
    assert "1 thing is wrong with the engine. Press Repair." in shown
    assert "Packages: The package numpy is damaged: it is not there." in shown
    assert "Package index: It does not answer. Needed for repairs only." in shown


def test_a_repair_that_did_not_end():
    session.engine = Status("broken", "A repair of the engine did not come to its end.")
    assert "[threer.repair_engine: Repair Engine]" in drawn()


def test_tooltips_and_names():
    """Every button and setting explains itself, and no tool tip ends in a dot (Blender adds it)."""
    for name in dir(bpy.ops.threer):
        kind = getattr(bpy.ops.threer, name).get_rna_type()
        assert len(kind.description) > 15, name
        assert not kind.description.endswith("."), name
    for group in (bpy.context.scene.threer, extension.preferences()):
        for item in group.bl_rna.properties:
            if item.identifier in ("rna_type", "name", "files", "bl_idname"):
                continue
            if not item.identifier.startswith("info_"):
                assert item.description, item.identifier
                assert not item.description.endswith("."), item.identifier


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (8.2, "8 s"), (59.7, "1 min 0 s"), (125, "2 min 5 s"), (4210, "1 h 10 min")],
)
def test_durations(seconds, words):
    assert text.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "a few seconds left"), (13, "about 15 s left"), (70, "about 1 min left"), (5400, "about 1.5 h left")],
)
def test_time_left(seconds, words):
    assert text.time_left(seconds) == words


def test_counts():
    assert [text.count(n) for n in (870, 12_400, 1_234_567)] == ["870", "12 400", "1.2 million"]


def test_wrapping_keeps_every_word_within_the_width():
    sentence = "The footage shows one wall only, and so the focal length cannot be told from the distance."
    lines = text.wrap(sentence, 30, len)
    assert max(map(len, lines)) <= 30
    assert len(lines) == 4
    assert " ".join(lines) == sentence
    assert text.wrap(sentence, 1000, len) == [sentence]
    assert text.wrap("/a/path/without/any/blank", 10, len) == ["/a/path/without/any/blank"]
    assert text.wrap("", 100, len) == []
