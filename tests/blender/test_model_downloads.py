"""Downloads of models: the licence before them, progress, pause, resume, cancel, faults; with an engine that moves no
bytes.
"""
# ruff: noqa: F811 - a fixture of another file is an argument here

from __future__ import annotations

import time
from types import SimpleNamespace

import bpy
import extension
import pytest
from test_client_process import is_alive, wait_gone
from test_models_page import MAST3R, here, shown, threer, until, zoo  # noqa: F401 (fixtures)
from test_panel import Layout

from blender_3r.client import licences, questions
from blender_3r.client import models as models_module
from blender_3r.client.library import library
from blender_3r.client.model_facts import Download, Model
from blender_3r.client.session import session
from blender_3r.panels import models as page
from blender_3r.widgets import licence


def dialog(model, page=1):
    """The licence's dialog as it is drawn on a page."""
    layout, catalogue = Layout(), library.catalogue
    operator = SimpleNamespace(bl_rna=bpy.ops.threer.download_model.get_rna_type(), page=page)
    licence.draw_licence(layout, operator, catalogue.models[model], catalogue.hub, catalogue.free_bytes)
    return " ".join(layout.lines)


def test_the_licence_is_shown_before_anything_is_downloaded(zoo):
    zoo()
    told = dialog(MAST3R)
    for words in (
        "MASt3R 512, metric",
        "Commercial use: not allowed",
        "Licence: CC BY-NC-SA 4.0",
        "not commercial, if you name the authors",
        "CHECKPOINTS_NOTICE",
        'Creative Commons Corporation ("Creative Commons") is not a law firm',
        "Full text, page 1 of 19 <page>",
        "[threer.read_licence: Publisher's Notice]",
        "<accept>",
        "About 2.8 GB into /home/artist/.cache/huggingface/hub. 312.0 GB are free there.",
    ):
        assert words in told
    with pytest.raises(RuntimeError, match="was not accepted, so nothing is downloaded"):
        bpy.ops.threer.download_model(model=MAST3R)
    assert not library.catalogue.downloads
    with pytest.raises(RuntimeError, match="There is no model 'nerf'"):
        bpy.ops.threer.download_model(model="nerf", accept=True)


def test_the_licences_text_is_there_to_its_last_word(zoo):
    zoo()
    told = " ".join(dialog(MAST3R, page) for page in range(1, 20))
    text = (licences.FOLDER / "cc-by-nc-sa-4.0.txt").read_text(encoding="utf-8")
    assert "Section 3 -- License Conditions." in text
    assert all(" ".join(line.split()) in " ".join(told.split()) for line in text.splitlines())
    assert dialog(MAST3R, 99) == dialog(MAST3R, 19)


def test_texts_are_word_for_word_as_published():
    """Sizes of the plain texts that Creative Commons publishes, without empty lines around them."""
    sizes = {"cc-by-nc-sa-4.0.txt": 20844, "cc-by-nc-4.0.txt": 19341}
    for file in licences.FILES.values():
        data = (licences.FOLDER / file).read_bytes()
        assert len(data) == sizes[file]
        assert data.endswith(b"Creative Commons may be contacted at creativecommons.org.\n")
        assert "licenses is dedicated to the public domain under the CC0" in " ".join(data.decode().split())


def test_a_licence_that_is_elsewhere_has_to_be_opened_first(zoo, monkeypatch):
    """The box can be ticked only then; a script that says accept takes it on itself."""
    catalogue = zoo()
    other = next(one.id for one in catalogue.models.values() if one.license == "VGGT License")
    drawn_rows = []
    monkeypatch.setattr(Layout, "__setattr__", lambda layout, name, value: drawn_rows.append((name, value)))
    told = dialog(other)
    assert "It has to be opened before it can be accepted." in told
    assert "Full text" not in told
    assert ("enabled", False) in drawn_rows
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    bpy.ops.threer.read_licence(model=other)
    assert opened == [catalogue.models[other].license_url]
    drawn_rows.clear()
    assert "It has to be opened" not in dialog(other)
    assert ("enabled", True) in drawn_rows


def test_download_to_the_end(zoo):
    zoo()
    assert bpy.ops.threer.download_model(model=MAST3R, accept=True) == {"FINISHED"}
    until(lambda: library.catalogue.models[MAST3R].downloaded)
    assert "MASt3R 512, metric is here. Its hash is right. [threer.dismiss_models: ]" in shown()
    bpy.ops.threer.dismiss_models()
    bpy.ops.threer.show_model(model=MAST3R)
    listed = shown()
    assert "is here." not in listed
    assert "[threer.remove_model: Remove]" in listed
    assert "2.8 GB, 3.3 GB of memory" in listed


def test_progress_pause_and_resume(zoo):
    catalogue = zoo(seconds=20.0)
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].fraction > 0.02)
    listed = shown()
    done = catalogue.downloads[MAST3R].done / 1e6
    assert f"{done:,.0f} of 2 755 MB".replace(",", " ") in listed
    assert "Downloading model.safetensors, about 20 s left" in listed
    assert "[threer.pause_download: ] [threer.cancel_download: ]" in listed
    catalogue.pause(MAST3R)
    assert "Stopping" in shown()
    until(lambda: catalogue.downloads[MAST3R].status == "paused" and not catalogue.is_waiting)
    listed = shown()
    assert "Paused. What has come is kept." in listed
    assert "[threer.resume_download: ] [threer.cancel_download: ]" in listed
    before = catalogue.models[MAST3R].begun_bytes
    assert before > 0
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].done > before)
    assert catalogue.downloads[MAST3R].status == "running"


def test_cancel_removes_what_has_come(zoo):
    catalogue = zoo(seconds=20.0)
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].fraction > 0.02)
    catalogue.drop(MAST3R)
    assert "Removing what has come" in shown()
    until(lambda: not catalogue.downloads and not catalogue.is_waiting)
    assert catalogue.models[MAST3R].begun_bytes == 0
    assert "[threer.download_model: 2.8 GB]" in shown()


def test_a_download_of_an_earlier_session_is_offered(zoo):
    here(**{MAST3R: 1_000_000_000})
    zoo()
    listed = shown()
    assert "(0.36 36 %   1 000 of 2 755 MB)" in listed
    assert "[threer.resume_download: ] [threer.cancel_download: ]" in listed
    assert "About 1.8 GB of 2.8 GB still to come" in dialog(MAST3R)
    with pytest.raises(RuntimeError, match="was not accepted"):  # by whoever began it, perhaps, but not here
        bpy.ops.threer.resume_download(model=MAST3R)
    bpy.ops.threer.cancel_download(model=MAST3R)
    until(lambda: library.catalogue.models[MAST3R].begun_bytes == 0)


def test_one_download_after_the_other(zoo):
    catalogue = zoo(seconds=1.0)
    catalogue.download(MAST3R)
    catalogue.download("monst3r-512-dpt")
    assert "Waits for the other download" in shown()
    until(lambda: not catalogue.downloads and not catalogue.is_waiting)
    assert catalogue.models["monst3r-512-dpt"].downloaded


def test_a_download_that_fails_says_why_and_can_go_on(zoo):
    zoo("zoo-fail")
    with pytest.raises(RuntimeError, match="the line broke"):
        bpy.ops.threer.download_model(model=MAST3R, accept=True)
    listed = shown()
    assert "cannot be downloaded from huggingface.co: the line broke. Check the network" in listed
    assert "[threer.resume_download: ]" in listed


def test_an_engine_that_dies_in_mid_download(zoo):
    catalogue = zoo("zoo-die")
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].status == "failed")
    assert "The engine ended (exit code 5) before it had answered." in shown()
    zoo("zoo")  # the next one goes on where it stopped
    assert catalogue.models[MAST3R].begun_bytes > 0


def test_a_deaf_engine_is_ended_and_nothing_is_lost(zoo, monkeypatch):
    monkeypatch.setattr(models_module, "CANCEL_GRACE_S", 0.3)
    catalogue = zoo("zoo-deaf", seconds=60.0)
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].done > 0)
    pid = catalogue.engine_pid
    catalogue.pause(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].status == "paused")
    wait_gone(pid)
    until(lambda: catalogue.status == "known" and not catalogue.is_waiting)


def test_offline_and_full_disks_are_said(zoo):
    catalogue = zoo()
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.threer.download_model(model=MAST3R, accept=True)
    bpy.context.preferences.system.use_online_access = True
    catalogue.free_bytes = 1_000_000_000
    with pytest.raises(RuntimeError, match=r"takes 2.8 GB and 1.0 GB are free"):
        bpy.ops.threer.download_model(model=MAST3R, accept=True)


def test_remove(zoo):
    here(MAST3R)
    zoo()
    layout = Layout()
    licence.draw_removal(layout, library.catalogue.models[MAST3R])
    assert "The files of MASt3R 512, metric (2.8 GB) are deleted" in " ".join(layout.lines)
    bpy.ops.threer.remove_model(model=MAST3R)
    assert "MASt3R 512, metric was removed. 2.8 GB are free again." in shown()
    assert not library.catalogue.models[MAST3R].downloaded


# -- the process


def test_the_engine_leaves_when_nothing_is_asked(zoo, monkeypatch):
    monkeypatch.setattr(questions, "IDLE_S", 0.2)
    catalogue = zoo()
    pid = catalogue.engine_pid
    until(lambda: not catalogue.is_busy)
    wait_gone(pid)
    assert library.tick() is None
    assert shown(), "what it told stays"


def test_switching_off_ends_engine_and_download(zoo):
    catalogue = zoo(seconds=60.0)
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].done > 0)
    pid = catalogue.engine_pid
    assert is_alive(pid)
    extension.switch_off()
    wait_gone(pid)
    extension.switch_on()
    assert library.catalogue.downloads == {}


def test_an_installation_pauses_downloads(zoo, monkeypatch):
    catalogue = zoo(seconds=60.0)
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].done > 0)
    pid = catalogue.engine_pid
    session.installer = SimpleNamespace(state=SimpleNamespace(status="running"), close=lambda: None)
    library.tick()
    session.installer = None
    assert catalogue.downloads[MAST3R].status == "paused"
    wait_gone(pid)


def test_nothing_here_blocks_the_main_thread(zoo):
    catalogue = zoo(seconds=60.0)
    catalogue.download(MAST3R)
    until(lambda: catalogue.downloads[MAST3R].done > 0)
    spent = []
    for act in (lambda: catalogue.pause(MAST3R), lambda: catalogue.download(MAST3R), lambda: catalogue.drop(MAST3R)):
        before = time.thread_time()
        act()
        library.tick()
        shown()
        spent.append(time.thread_time() - before)
    assert max(spent) < 0.2


def test_words_of_a_bar():
    assert page.bar_text(Download("x")) == "0 %"
    assert page.bar_text(Download("x", done=1_184_000_000, total=2_755_000_000)) == "43 %   1 184 of 2 755 MB"
    assert licence.download_size(Model("x", "X")) == "a download of unknown size"
    assert Model.from_message({"id": "x"}) is None
