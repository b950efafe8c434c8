"""Footage that is near: dropped onto the 3D View, behind a camera, open in the Movie Clip Editor. And presets."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import extension
import pytest
from test_operators import images  # noqa: F401
from test_panel import Layout

from blender_3r.client.session import session
from blender_3r.operators import footage, presets
from blender_3r.operators.drop import THREER_FH_footage
from blender_3r.panels.clip import THREER_PT_clip
from blender_3r.panels.main import THREER_PT_main
from blender_3r.panels.presets import THREER_PT_presets
from blender_3r.scene.shown import shown_footage

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"


@pytest.fixture(autouse=True)
def threer(empty_file, tmp_path, monkeypatch):
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path / "scripts"))
    extension.switch_on()
    yield bpy.context.scene.threer
    extension.switch_off()


@pytest.fixture
def editor():
    """A Movie Clip Editor; as a context: `with editor(): ...`."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    before = area.type
    area.type = "CLIP_EDITOR"
    yield lambda: bpy.context.temp_override(window=window, area=area, region=area.regions[-1])
    area.type = before


def drop(folder, *names, **options):
    return bpy.ops.threer.drop_footage(directory=str(folder), files=[{"name": name} for name in names], **options)


# -- dropped


def test_dropped_movie_is_picked(threer):
    assert drop(MOVIE.parent, MOVIE.name) == {"FINISHED"}
    assert (threer.source, threer.info_kind, threer.info_count) == ("FILES", "movie", 40)
    assert session.job is None, "nothing begins without a word"


def test_dropped_images_are_picked(threer, images):  # noqa: F811
    folder = images([f"IMG_{n}.jpg" for n in range(5)])
    drop(folder, "IMG_1.jpg", "IMG_3.jpg", "IMG_4.jpg")
    assert (threer.info_kind, threer.info_count) == ("photos", 3)
    shot = images([f"shot_{n:04d}.png" for n in range(30)], folder=folder / "shot")
    drop(shot, "shot_0004.png")
    assert (threer.info_kind, threer.info_count) == ("sequence", 30)


def test_dropped_movies_are_the_cameras_of_one_take(threer, tmp_path):
    for name in ("left.mp4", "right.MP4"):
        (tmp_path / name).write_bytes(MOVIE.read_bytes())
    drop(tmp_path, "left.mp4", "right.MP4")
    assert (threer.source, threer.info_text) == ("RIG", "2 cameras, 640 × 360, 24 fps")


def test_dropped_footage_that_is_no_use_is_told(threer, tmp_path):
    (tmp_path / "noise.mp4").write_text("this is a letter")
    drop(tmp_path, "noise.mp4")
    assert "noise.mp4 cannot be read" in threer.info_error
    with pytest.raises(RuntimeError, match="Nothing was dropped"):
        drop(tmp_path)
    extension.use_fake_engine(tmp_path, "work")
    with pytest.raises(RuntimeError, match=r"noise\.mp4 cannot be read"):
        drop(tmp_path, "noise.mp4", start=True)
    assert session.job is None


def test_confirmed_drop_reconstructs(threer, tmp_path):
    extension.use_fake_engine(tmp_path, "work", 0.1)
    assert drop(MOVIE.parent, MOVIE.name, start=True) == {"FINISHED"}
    assert session.job.state.status == "done"
    assert bpy.data.objects["courtyard Points"].data.vertices


def test_blender_offers_the_drop_in_the_3d_view_only(threer):
    suffixes = THREER_FH_footage.bl_file_extensions.split(";")
    assert {".mp4", ".mov", ".jpg", ".png", ".exr"} <= set(suffixes)
    assert all(suffix.startswith(".") for suffix in suffixes)
    operator = bpy.ops.threer.drop_footage.get_rna_type()
    assert THREER_FH_footage.bl_import_operator == "threer.drop_footage"
    assert {"directory", "files"} <= set(operator.properties.keys())  # else Blender leaves the handler out
    for kind, is_offered in (("VIEW_3D", True), ("IMAGE_EDITOR", False)):
        assert THREER_FH_footage.poll_drop(SimpleNamespace(area=SimpleNamespace(type=kind))) is is_offered


# -- behind a camera, on an empty


def camera_with(block):
    camera = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    bpy.context.scene.collection.objects.link(camera)
    background = camera.data.background_images.new()
    if isinstance(block, bpy.types.MovieClip):
        background.source, background.clip = "MOVIE_CLIP", block
    else:
        background.image = block
    return camera


def test_footage_behind_the_camera_can_be_picked(threer, images):  # noqa: F811
    assert not bpy.ops.threer.pick_shown.poll()
    bpy.context.scene.camera = camera_with(bpy.data.movieclips.load(str(MOVIE)))
    assert bpy.ops.threer.pick_shown() == {"FINISHED"}
    assert (threer.source, threer.clip.name, threer.info_count) == ("CLIP", MOVIE.name, 40)
    folder = images([f"shot_{n:04d}.png" for n in range(30)])
    image = bpy.data.images.load(str(folder / "shot_0000.png"))
    image.source = "SEQUENCE"
    bpy.context.view_layer.objects.active = camera_with(image)  # the selected one counts before the scene's
    bpy.ops.threer.pick_shown()
    assert (threer.source, threer.info_kind, threer.info_count) == ("IMAGE", "sequence", 30)


def test_picture_of_an_empty_can_be_picked(threer, images):  # noqa: F811
    folder = images(["door.png"])
    empty = bpy.data.objects.new("reference", None)
    empty.empty_display_type = "IMAGE"
    empty.data = bpy.data.images.load(str(folder / "door.png"))
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.view_layer.objects.active = empty
    bpy.ops.threer.pick_shown()
    assert (threer.info_kind, threer.info_count) == ("photos", 1)


def test_hidden_backgrounds_and_our_own_plates_are_not_offered(threer, tmp_path):
    camera = bpy.context.scene.camera = camera_with(bpy.data.movieclips.load(str(MOVIE)))
    assert shown_footage(bpy.context) is not None
    camera.data.background_images[0].show_background_image = False
    assert shown_footage(bpy.context) is None
    bpy.data.objects.remove(camera)
    extension.use_fake_engine(tmp_path, "work", 0.1)
    drop(MOVIE.parent, MOVIE.name, start=True)
    assert bpy.context.scene.camera.data.background_images[0].clip is not None
    assert shown_footage(bpy.context) is None


def test_panel_offers_what_is_shown_while_nothing_is_picked(threer):
    def drawn():
        layout = Layout()
        THREER_PT_main.draw(SimpleNamespace(layout=layout), bpy.context)
        return " ".join(layout.lines)

    bpy.context.scene.camera = camera_with(bpy.data.movieclips.load(str(MOVIE)))
    assert "[threer.pick_shown: Use courtyard.mp4]" in drawn()
    threer.path = str(MOVIE)
    assert "threer.pick_shown" not in drawn()


# -- the Movie Clip Editor


def drawn_clip_panel():
    layout = Layout()
    THREER_PT_clip.draw(SimpleNamespace(layout=layout), bpy.context)
    return " ".join(layout.lines)


def test_open_clip_is_reconstructed_from_its_editor(threer, tmp_path, editor):
    extension.use_fake_engine(tmp_path, "work", 0.1)
    assert not bpy.ops.threer.reconstruct_clip.poll()
    with editor():
        assert not THREER_PT_clip.poll(bpy.context)
        assert not bpy.ops.threer.reconstruct_clip.poll()
        bpy.context.space_data.clip = bpy.data.movieclips.load(str(MOVIE))
        assert THREER_PT_clip.poll(bpy.context)
        assert "[threer.reconstruct_clip: Reconstruct This Clip]" in drawn_clip_panel()
        assert bpy.ops.threer.reconstruct_clip() == {"FINISHED"}
        shown = drawn_clip_panel()
    assert "19 of 20 frames solved" in shown
    assert "40 frames, 640 × 360, 24 fps" in shown
    assert (threer.source, threer.clip.name) == ("CLIP", MOVIE.name)
    assert bpy.data.objects["courtyard Points"].data.vertices


def test_clip_editor_tells_why_it_cannot(threer, tmp_path, editor):
    extension.preferences().engine_folder = str(tmp_path / "none")
    with editor():
        bpy.context.space_data.clip = bpy.data.movieclips.load(str(MOVIE))
        assert "Install Engine" in drawn_clip_panel()
        with pytest.raises(RuntimeError, match="Install the engine first"):
            bpy.ops.threer.reconstruct_clip()


# -- presets


@pytest.fixture
def own_label(monkeypatch):
    """Blender writes the name of the preset chosen over the menu's own."""
    monkeypatch.setattr(THREER_PT_presets, "bl_label", THREER_PT_presets.bl_label)


@pytest.mark.usefixtures("own_label")
def test_preset_brings_back_what_it_saved(threer, tmp_path):
    threer.method, threer.quality, threer.memory_gb, threer.path = "streaming", "fine", 3.5, str(MOVIE)
    assert bpy.ops.threer.add_preset(name="My Streams") == {"FINISHED"}
    (saved,) = (tmp_path / "scripts" / "presets" / presets.SUBFOLDER).iterdir()
    assert "path" not in saved.read_text().replace("presets", "")
    threer.method, threer.quality, threer.memory_gb = "classic", "draft", 8.0
    bpy.ops.script.execute_preset(filepath=str(saved), menu_idname="THREER_PT_presets")
    assert (threer.method, threer.quality, threer.memory_gb) == ("streaming", "fine", 3.5)
    bpy.ops.threer.add_preset(name="My Streams", remove_name=True)
    assert not saved.exists()


def test_presets_hold_settings_that_exist_and_nothing_of_a_shot(threer):
    known = set(threer.bl_rna.properties.keys())
    assert set(presets.NAMES) <= known
    of_a_shot = {"path", "files", "clip", "image", "first", "last", "focal_mm", "focal_px"}
    assert not set(presets.NAMES) & of_a_shot
    left = known - set(presets.NAMES) - of_a_shot
    assert not left & {"method", "quality", "device", "dense"}


@pytest.mark.usefixtures("own_label")
def test_presets_that_come_along_are_found_and_work(threer):
    folders = [folder for folder in bpy.utils.preset_paths(presets.SUBFOLDER) if folder.startswith(presets.HERE)]
    (folder,) = folders
    names = sorted(path.name for path in presets.Path(folder).glob("*.py"))
    assert names == ["Camera_Only.py", "Fine_Points.py", "Quick_Look.py"]
    for name in names:
        bpy.ops.script.execute_preset(filepath=f"{folder}/{name}", menu_idname="THREER_PT_presets")
        assert bpy.types.THREER_PT_presets.bl_label == name[:-3].replace("_", " ")
    assert (threer.quality, threer.points) == ("draft", 200_000)
    bpy.ops.script.execute_preset(filepath=f"{folder}/Camera_Only.py", menu_idname="THREER_PT_presets")
    assert (threer.method, threer.dense) == ("classic", False)
    assert footage.has_pick(threer) is False
