"""Models in the panels and preferences: every state and sentence, with an engine that moves no bytes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import extension
import pytest
from test_panel import MOVIE, Layout, drawn

from blender_3r.client import questions
from blender_3r.client.environment import Status
from blender_3r.client.library import library
from blender_3r.client.model_facts import Download
from blender_3r.client.session import session
from blender_3r.operators import model_choice, reconstruct
from blender_3r.panels import models as page
from blender_3r.panels.method import THREER_PT_machine
from blender_3r.scene import fast_display
from blender_3r.widgets import licence

MAST3R = "mast3r-512"
PATIENCE_S = 15


@pytest.fixture(autouse=True)
def threer(empty_file, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_MODELS", str(tmp_path / "models.json"))
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.delenv("BLENDER_3R_COMMERCIAL_ONLY", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(questions, "IDLE_S", 60.0)
    extension.switch_on()
    bpy.context.preferences.system.use_online_access = True
    yield bpy.context.scene.threer
    extension.switch_off()


@pytest.fixture
def zoo(tmp_path):
    """Start the fake engine in a mode and have its list."""

    def start(mode="zoo", seconds=0.3, list_=True):
        extension.use_fake_engine(tmp_path, mode, seconds)
        if list_:
            library.catalogue.refresh()
            until(lambda: library.catalogue.status == "known")
        return library.catalogue

    return start


def until(is_so, patience_s=PATIENCE_S):
    """Turn the timer by hand until it is so."""
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, library.catalogue.__dict__
        library.tick()
        time.sleep(0.01)


def here(*ids, **begun):
    """What the fake engine takes as downloaded and begun."""
    Path(library_file()).write_text(json.dumps({"here": list(ids), "begun": begun, "own": []}))


def library_file():
    import os

    return os.environ["FAKE_MODELS"]


def shown():
    """The models page as the preferences draw it."""
    layout = Layout()
    page.draw_models(layout)
    return " ".join(layout.lines)


# -- the list


def test_without_an_engine_there_is_nothing_to_list():
    session.engine = Status("missing", "The engine is not installed yet.")
    library.catalogue.configure(None)
    assert shown() == "The engine knows the models. Install it first."
    assert not page.THREER_PT_models.poll(bpy.context)
    assert not bpy.ops.threer.refresh_models.poll()


def test_drawing_asks_for_the_list_and_waits_for_nothing(zoo):
    catalogue = zoo(list_=False)
    assert "Asking the engine for its models" in shown()
    assert catalogue.engine_pid is None, "drawing itself must not start anything"
    until(lambda: catalogue.status == "known")
    listed = shown()
    for words in ("MASt3R 512, metric", "DUSt3R 512, DPT head", "MonST3R 512", "Pairwise"):
        assert words in listed
    assert "CroCo" not in listed, "no method of the engine uses it"
    assert "Folder: /home/artist/.cache/huggingface/hub, 312.0 GB free" in listed
    assert "[threer.download_model: 2.8 GB]" in listed


def test_details_of_a_model(zoo):
    zoo()
    bpy.ops.threer.show_model(model=MAST3R)
    listed = shown()
    for words in (
        "true scale in metres",
        "Commercial use: not allowed",
        "Licence: CC BY-NC-SA 4.0",
        "about 2.8 GB, 3.3 GB of memory, images of 512 pixels",
        "huggingface.co/naver/MASt3R",
        "[wm.url_open: Licence] [wm.url_open: Publication]",
    ):
        assert words in listed
    assert "threer.remove_model" not in listed
    bpy.ops.threer.show_model(model=MAST3R)
    assert "Licence:" not in shown()


def test_odd_answers_do_no_harm(zoo):
    catalogue = zoo("zoo-odd")
    assert catalogue.models["odd"].memory_bytes == 0
    assert catalogue.problems == []
    assert catalogue.free_bytes is None
    catalogue.download(MAST3R)
    until(lambda: not catalogue.downloads and not catalogue.is_waiting)
    assert catalogue.models[MAST3R].downloaded
    assert shown()


def test_an_engine_of_another_version_is_refused(zoo):
    catalogue = zoo("release", list_=False)
    catalogue.refresh()
    until(lambda: catalogue.status == "failed")
    listed = shown()
    assert "The engine does not fit this extension" in listed
    assert "[threer.refresh_models: Refresh]" in listed


def test_an_engine_that_cannot_be_started(tmp_path):
    catalogue = library.catalogue
    catalogue.configure([str(tmp_path / "gone")])
    catalogue.refresh()
    library.tick()
    assert catalogue.status == "failed"
    assert "The engine cannot be started" in shown()


# -- checkpoints of one's own


def test_add_a_checkpoint_and_forget_it(zoo, tmp_path, threer):
    zoo()
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    bpy.ops.threer.add_checkpoint(filepath=str(path), title="Mine", license="MIT", commercial_use=True)
    assert "mine.safetensors is in the list. The file stays where it is." in shown()
    threer.method = "pairwise"
    assert "mine" in [model.id for model in model_choice.choices(threer)]
    bpy.ops.threer.show_model(model="mine")
    assert "Commercial use: allowed" in shown()
    layout = Layout()
    licence.draw_removal(layout, library.catalogue.models["mine"])
    assert "The file itself stays where it is." in " ".join(layout.lines)
    bpy.ops.threer.remove_model(model="mine")
    assert "mine" not in library.catalogue.models
    assert path.read_bytes() == b"weights"


def test_what_is_no_checkpoint_is_said(zoo, tmp_path):
    zoo()
    with pytest.raises(RuntimeError, match="There is no file"):
        bpy.ops.threer.add_checkpoint(filepath=str(tmp_path / "gone.pth"))
    stranger = tmp_path / "stranger.pth"
    stranger.write_bytes(b"x")
    with pytest.raises(RuntimeError, match="fits none of the networks"):
        bpy.ops.threer.add_checkpoint(filepath=str(stranger))
    assert "stranger.pth fits none of the networks" in shown()


# -- the rule on commercial use


def test_only_models_for_commercial_use(zoo, threer):
    preferences = extension.preferences()
    zoo("zoo-commercial")
    preferences.commercial_only = True
    assert "--commercial-only" in reconstruct.preferred.serve_command()
    library.catalogue.refresh()
    until(lambda: library.catalogue.status == "known")
    listed = shown()
    assert "MASt3R" not in listed
    assert "models that allow no commercial use are left out." in listed
    threer.method = "pairwise"
    assert "Only models that allow commercial use may be used here" in drawn()
    assert "Only models that allow commercial use" in model_choice.obstacle(threer)
    with pytest.raises(RuntimeError, match="Only models that allow commercial use"):
        bpy.ops.threer.download_model(model=MAST3R, accept=True)
    threer.method = "classic"
    assert model_choice.obstacle(threer) == ""


@pytest.mark.parametrize(("device", "expected"), [("SOFTWARE", True), ("NVIDIA", False)])
def test_the_engine_steps_aside_where_the_processor_draws(monkeypatch, device, expected):
    monkeypatch.setattr(fast_display.gpu, "platform", SimpleNamespace(device_type_get=lambda: device))
    assert ("--step-aside" in reconstruct.preferred.serve_command()) == expected


def test_the_models_folder_goes_to_the_engine(zoo, tmp_path):
    zoo(list_=False)
    assert "--models" not in reconstruct.preferred.serve_command()
    extension.preferences().models_folder = str(tmp_path / "weights")
    assert reconstruct.preferred.serve_command()[-2:] == ["--models", str(tmp_path / "weights")]


# -- method and model


def test_classic_needs_none_of_this(zoo, threer):
    catalogue = zoo(list_=False)
    threer.method = "classic"
    threer.path = str(MOVIE)
    shown_ = drawn()
    assert "THREER_MT_model" not in shown_
    assert "memory" not in shown_
    assert not THREER_PT_machine.poll(bpy.context)
    library.tick()
    assert catalogue.engine_pid is None
    request = reconstruct.request_of(threer)
    assert request["method"] == "classic"
    assert not {"model", "device", "precision"} & set(request["settings"])


def test_pairwise_without_pytorch_offers_the_full_engine(zoo, threer):
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    zoo("zoo-plain")
    assert "This method needs the Full engine, which has PyTorch. [threer.install_full: Install Full Engine]" in drawn()
    assert "[threer.install_full: Install Full Engine]" in shown()
    assert not bpy.ops.threer.reconstruct.poll()
    session.engine = Status("ready", "Classic engine.", Path("/x"), profile="classic")
    library.catalogue.status = "unknown"
    assert model_choice.needs_full_engine(), "told by the installation, before the engine is asked"


def test_pairwise_without_weights_offers_the_download(zoo, threer):
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    zoo()
    told = drawn()
    assert "{THREER_MT_model: MASt3R 512, metric}" in told
    assert "Its weights are not on this machine (2.8 GB). [threer.download_model: Download...]" in told
    assert not bpy.ops.threer.reconstruct.poll()
    assert model_choice.obstacle(threer).startswith("The weights of MASt3R 512, metric are not on this machine")
    library.catalogue.downloads[MAST3R] = Download(MAST3R, "running", "Downloading model.safetensors", 10**9, 2 * 10**9)
    assert "50 %   1 000 of 2 000 MB" in drawn()


def test_the_model_can_be_chosen(zoo, threer):
    here("monst3r-512-dpt")
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    zoo()
    bpy.ops.threer.choose_model(model="monst3r-512-dpt")
    told = drawn()
    assert "{THREER_MT_model: MonST3R 512}" in told
    assert "CC BY-NC-SA 4.0: no commercial use" in told
    assert model_choice.obstacle(threer) == ""
    assert bpy.ops.threer.reconstruct.poll()
    threer.model = "cut3r-512-dpt"  # of another method
    assert model_choice.model_id(threer) == MAST3R
    threer.model = "from another machine"
    assert "There is no model from another machine on this machine's list" in drawn()
    assert not bpy.ops.threer.reconstruct.poll()


def test_device_precision_and_memory_go_into_the_request(zoo, threer):
    zoo(list_=False)
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    settings = reconstruct.request_of(threer)["settings"]
    assert {name: settings[name] for name in ("model", "device", "precision")} == {
        "model": MAST3R,
        "device": "auto",
        "precision": "auto",
    }
    assert "memory_gb" not in settings
    threer.device, threer.card, threer.precision = "cuda", 1, "bfloat16"
    threer.use_memory_limit, threer.memory_gb, threer.allow_smaller = True, 6.0, True
    settings = reconstruct.request_of(threer)["settings"]
    assert settings["device"] == "cuda:1"
    assert (settings["precision"], settings["memory_gb"], settings["allow_smaller"]) == ("bfloat16", 6.0, True)
    assert drawn(THREER_PT_machine) == ("<device> <card> <precision> <use_memory_limit> <memory_gb> <allow_smaller>")


# -- what a job needs


def test_a_job_is_estimated_before_it_starts(zoo, threer):
    here(MAST3R)
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    zoo()
    assert "Estimating what it needs..." in drawn()
    until(lambda: library.catalogue.estimate is not None)
    assert "40 images, 390 predicted pairs on auto: about 4.2 GB of memory and 66 MB on disk." in drawn()
    threer.device = "cpu"
    assert "Estimating" in drawn()
    until(lambda: library.is_estimate_current)
    assert "predicted pairs on cpu" in drawn()
    threer.use_range, threer.last = True, 10
    drawn()
    until(lambda: library.is_estimate_current)
    assert "10 images" in drawn()
    assert not library._is_estimate_due, "nothing has changed since"


def test_what_will_not_fit_is_said_with_the_number_that_does(zoo, threer):
    here(MAST3R)
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    zoo("zoo-tight")
    drawn()
    until(lambda: library.is_estimate_current)
    assert "40 images with the scene graph complete (870 pairs) need about 19.2 GB" in drawn()
    assert "With this graph 19 images fit." in drawn()
    assert bpy.ops.threer.reconstruct.poll(), "an estimate is no verdict"


def test_an_estimate_that_is_lost_is_asked_for_again(zoo, threer):
    """Another engine with the same models; and one that had to leave before it answered."""
    here(MAST3R)
    threer.path = str(MOVIE)
    threer.method = "pairwise"
    catalogue = zoo()
    drawn()
    until(lambda: library.is_estimate_current and catalogue.estimate is not None)
    zoo("zoo-tight")
    assert "Estimating what it needs..." in drawn()
    until(lambda: library.is_estimate_current and catalogue.estimate is not None)
    assert "With this graph 19 images fit." in drawn()
    threer.quality = "fine"
    drawn()
    until(lambda: catalogue.is_estimating)
    catalogue.make_room()
    assert "Estimating what it needs..." in drawn()
    until(lambda: library.is_estimate_current and catalogue.estimate is not None)
