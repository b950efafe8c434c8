"""Method Auto and the menu of models, in every state of the panel; the fake engine chooses as ours does."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import extension
import pytest
from test_models_page import MAST3R, here, threer, until, zoo  # noqa: F401 (fixtures)
from test_panel import MOVIE, Layout, StandInJob, drawn

from blender_3r.client.environment import Status
from blender_3r.client.library import SETTLE_S, library
from blender_3r.client.model_facts import Download
from blender_3r.client.pick import Pick
from blender_3r.client.session import Home, session
from blender_3r.operators import model_choice, reconstruct
from blender_3r.panels import model_menu
from blender_3r.panels.method import THREER_PT_machine

VGGT = "vggt-1b-commercial"
WHY = "Classic: 40 frames of footage, and it needs no weights."


@pytest.fixture
def photos(tmp_path):
    """photos(count) -> a folder of so many pictures."""

    def make(count):
        folder = tmp_path / f"{count} photos"
        folder.mkdir()
        image = bpy.data.images.new("picture", 160, 120)
        image.file_format = "PNG"
        for number in range(count):
            image.filepath_raw = str(folder / f"IMG_{number}.png")
            image.save()
        bpy.data.images.remove(image)
        return str(folder)

    return make


@pytest.fixture
def auto(zoo, threer, monkeypatch):  # noqa: F811
    """auto(path, mode) -> what the panel shows once the engine has chosen. The engine runs every method."""
    from blender_3r.client import library as module

    monkeypatch.setattr(module, "SETTLE_S", 0.0)

    def choose(path, mode="zoo"):
        zoo(mode)
        threer.path = path
        return shown()

    return choose


def shown():
    """The main panel once what it asked for is answered."""
    drawn()
    until(lambda: library.is_estimate_current)
    return drawn()


def menu():
    layout = Layout()
    model_menu.THREER_MT_model.draw(SimpleNamespace(layout=layout), bpy.context)
    return layout.lines


# -- Auto


def test_auto_is_what_a_scene_begins_with(threer):  # noqa: F811
    assert threer.method == "auto"
    numbers = {item.identifier: item.value for item in threer.bl_rna.properties["method"].enum_items}
    assert (numbers["classic"], numbers["pairwise"]) == (0, 1), "files saved by earlier versions hold these"


def test_drawing_does_not_wait_for_the_choice(zoo, threer):  # noqa: F811
    catalogue = zoo(list_=False)
    assert "Looking which method fits" not in drawn(), "nothing is picked"
    threer.path = str(MOVIE)
    assert "Looking which method fits..." in drawn()
    assert catalogue.engine_pid is None
    assert model_choice.pick(threer) is None
    assert bpy.ops.threer.reconstruct.poll(), "the engine will choose at the job's start"
    assert SETTLE_S > 0


def test_the_line_says_what_and_why(auto, threer):  # noqa: F811
    told = auto(str(MOVIE))
    assert f"<method> {WHY} <quality>" in told
    assert "memory" not in told, "what classic needs is no matter"
    assert not THREER_PT_machine.poll(bpy.context)
    assert bpy.ops.threer.reconstruct.poll()
    threer.use_range, threer.last = True, 3
    assert model_choice.pick(threer) is None, "the choice was for other settings"
    assert "Classic: 3 frames of footage" in shown()


def test_without_an_engine_there_is_no_line(threer):  # noqa: F811
    session.engine = Status("missing", "The engine is not installed yet.")
    threer.path = str(MOVIE)
    assert "Looking" not in drawn()


def test_a_network_is_chosen_for_few_photos(auto, threer, photos):  # noqa: F811
    here(MAST3R)
    told = auto(photos(3))
    assert "Pairwise with MASt3R 512, metric (no commercial use): 3 photos are too few to measure the lens by." in told
    assert "about 4.2 GB of memory" in told
    assert THREER_PT_machine.poll(bpy.context)
    threer.focal_known, threer.focal_px = "PX", 900.0
    assert "Classic: 3 photos whose lens is known" in shown()


def test_what_would_help_can_be_downloaded(auto, threer, photos):  # noqa: F811
    told = auto(photos(3))
    assert "no network for them is downloaded." in told
    assert "[threer.download_model: Download MASt3R 512, metric...]" in told
    assert bpy.ops.threer.reconstruct.poll(), "classic may try"
    library.catalogue.downloads[MAST3R] = Download(MAST3R, "running", "Downloading", 10**9, 2 * 10**9)
    assert "50 %   1 000 of 2 000 MB" in drawn()
    library.catalogue.downloads.clear()
    bpy.ops.threer.download_model(model=MAST3R, accept=True)
    until(lambda: library.catalogue.models[MAST3R].downloaded)
    assert "Pairwise with MASt3R 512, metric (no commercial use): 3 photos" in shown(), (
        "what came is looked at by itself"
    )


def test_one_image_says_what_it_takes(auto, threer, photos):  # noqa: F811
    told = auto(photos(1))
    assert "Only a network can tell the depth of one image, and none is downloaded." in told
    assert "[threer.download_model: Download MASt3R 512, metric...]" in told
    assert not bpy.ops.threer.reconstruct.poll()
    assert "Download MASt3R 512, metric (2.8 GB, no commercial use)" in model_choice.obstacle(threer)
    assert auto(threer.path, "zoo-plain").endswith("[threer.import_job: Import Reconstruction...]")
    told = drawn()
    assert "and this engine has no PyTorch. [threer.install_full: Install Full Engine]" in told


def test_the_rule_on_commercial_use_counts(auto, threer, photos):  # noqa: F811
    here(MAST3R)
    extension.preferences().commercial_only = True
    told = auto(photos(1), "zoo-commercial")
    if "vggt" in {model.method for model in model_choice.listed()} or library.catalogue.models[VGGT].runs:
        assert "[threer.download_model: Download VGGT 1B, for commercial use too...]" in told
    assert "Download MASt3R" not in told


def test_an_engine_that_does_not_answer_well(auto, threer, monkeypatch):  # noqa: F811
    auto(str(MOVIE))
    library.catalogue.estimate = {"choice": "classic"}
    assert model_choice.pick(threer) is None
    assert model_choice.method_in_use(threer) == ""
    assert bpy.ops.threer.reconstruct.poll()
    assert Pick.from_message({"method": 3}) is None
    assert Pick.from_message({"method": "classic", "why": None, "needs_engine": 1}) == Pick("classic")


def test_the_request_of_auto_leaves_the_choice_to_the_engine(threer):  # noqa: F811
    threer.path = str(MOVIE)
    threer.model = MAST3R
    request = reconstruct.request_of(threer)
    assert request["method"] == "auto"
    assert not {"model", "device", "precision", "every", "chunk_size"} & set(request["settings"])
    threer.device, threer.card, threer.precision = "cuda", 1, "float16"
    threer.use_memory_limit, threer.memory_gb = True, 6.0
    settings = reconstruct.request_of(threer)["settings"]
    assert (settings["device"], settings["precision"], settings["memory_gb"]) == ("cuda:1", "float16", 6.0)


def test_a_running_and_a_finished_job_tell_the_choice(threer, tmp_path, monkeypatch):  # noqa: F811
    session.engine = Status("ready", "Installed somewhere.")
    session.job = StandInJob(tmp_path, status="running", stage="Tracking points", fraction=0.2, pick=Pick("classic"))
    session.home = Home("", bpy.context.scene.name, bpy.context.scene.session_uid)
    session.job.state.pick = Pick("classic", why=WHY)
    assert f"[threer.cancel: Cancel] {WHY}" in drawn()
    monkeypatch.setattr(model_choice, "pick", lambda settings: Pick("classic", why=WHY))
    threer.path = str(MOVIE)
    assert drawn().count(WHY) == 1, "it stands under the menu already"
    monkeypatch.undo()
    threer.path = ""
    session.job.state.status = "done"
    session.job.state.summary = {"solved": 40, "total": 40, "choice": {"method": "classic", "why": WHY}}
    assert f"40 of 40 frames solved [threer.dismiss: ] {WHY}" in drawn()


def test_the_engine_tells_a_job_what_it_chose(tmp_path):
    from blender_3r.client.job import Job

    job = Job.__new__(Job)
    job.state = SimpleNamespace(pick=None)
    job._on_chosen({"type": "chosen", "method": "classic", "model": "", "why": WHY})
    assert job.state.pick == Pick("classic", why=WHY)


# -- models and options


def test_the_menu_tells_what_matters(zoo, threer):  # noqa: F811
    here("monst3r-512-dpt")
    threer.method = "pairwise"
    zoo()
    lines = menu()
    first, second = lines.index("On This Machine"), lines.index("To Download")
    assert first < lines.index("[threer.choose_model: MonST3R 512]") < second
    place = lines.index("[threer.choose_model: MASt3R 512, metric]")
    assert place > second
    assert lines[place + 1] == "Most photo sets and shots: precise matches, many images, true scale in metres"
    assert lines[place + 2] == "No commercial use, about 2.8 GB on disk, 3.3 GB of memory"
    assert not any("retrieval" in line for line in lines), "it works beside another model only"
    threer.model = "monst3r-512-dpt"
    assert "{THREER_MT_model: MonST3R 512}" in drawn()


def test_every_method_with_a_network_has_its_models(zoo, threer):  # noqa: F811
    zoo()
    for method in model_choice.DEFAULTS:
        threer.method = method
        names = {model.method for model in model_choice.choices(threer)}
        assert names <= {method}
        default = library.catalogue.models[model_choice.DEFAULTS[method]]
        assert default.method == method
        assert f"{{THREER_MT_model: {default.title}}}" in drawn()
        assert "[threer.download_model: Download...]" in drawn()
        if default.runs:
            assert any(default.title in line for line in menu())


def test_an_empty_menu_says_why(zoo, threer):  # noqa: F811
    threer.method = "pairwise"
    assert menu() == ["Asking the engine for its models..."]
    catalogue = zoo()
    catalogue.models = {}
    assert menu() == ["This engine has no model for the method"]


def test_the_default_follows_the_rule_on_commercial_use(zoo, threer):  # noqa: F811
    catalogue = zoo("zoo-commercial")
    threer.method = "multiview"
    if catalogue.models[VGGT].runs:
        assert model_choice.model_id(threer) == VGGT
        assert menu()[-1].endswith("models that allow no commercial use are left out")
    threer.method = "pairwise"
    assert model_choice.model_id(threer) == MAST3R, "there is no other; the panel says that it may not be used"


def test_the_scale_is_held_only_while_cameras_are_refined(zoo, threer):  # noqa: F811
    zoo()
    threer.path, threer.method, threer.hold_scale = str(MOVIE), "streaming", True
    assert reconstruct.request_of(threer)["settings"]["depth_prior"] == "model"
    threer.refine = False
    assert "depth_prior" not in reconstruct.request_of(threer)["settings"]
    assert "<hold_scale>" not in drawn()


def test_options_of_the_methods(zoo, threer, monkeypatch):  # noqa: F811
    zoo()
    threer.path = str(MOVIE)
    everything = {"every": 3, "chunk_size": 12, "refine": True}
    for name, value in everything.items():
        setattr(threer, name, value)

    def drawn_and_sent(method, model=""):
        threer.method, threer.model = method, model
        told = drawn() + (drawn(THREER_PT_machine) if THREER_PT_machine.poll(bpy.context) else "")
        settings = reconstruct.request_of(threer)["settings"]
        sent = {name: settings[name] for name in everything if name in settings}
        assert all(everything[name] == value for name, value in sent.items())
        return {name for name in everything if f"<{name}>" in told}, set(sent)

    assert drawn_and_sent("classic") == (set(), set())
    assert drawn_and_sent("pairwise") == ({"refine"}, {"refine"})
    assert drawn_and_sent("streaming") == ({"every", "refine"}, {"every", "refine"})
    assert drawn_and_sent("multiview") == ({"chunk_size", "refine"}, {"chunk_size", "refine"})
    assert drawn_and_sent("auto") == (set(), set(everything))
    picked = Pick("streaming", "wint3r-512", "Streaming with WinT3R 512: 2400 frames.")
    monkeypatch.setattr(model_choice, "pick", lambda settings: picked)
    assert "Streaming with WinT3R 512: 2400 frames. <every> <refine> <hold_scale>" in drawn()
    assert THREER_PT_machine.poll(bpy.context)
