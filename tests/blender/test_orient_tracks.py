"""Floor, origin, axis and size from tracks that are selected in the Movie Clip Editor."""

from __future__ import annotations

import bpy
import extension
import jobs
import numpy as np
import pytest
from mathutils import Matrix

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.source import Source
from blender_3r.scene.job import ImportOptions, import_job

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"
LENS = jobs.lens(640, 360, 600.0, k1=-0.05)
FLOOR = np.array([[-1.0, 1.2, 4.0], [1.0, 1.1, 5.0], [0.5, 1.25, 3.5], [0.0, 1.15, 6.0]])  # engine's world, y down

pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def clip(tmp_path):
    """The plate of an imported shot whose root stands askew, with tracks of FLOOR and their markers."""
    folder = jobs.make_job(
        tmp_path / "job", Reconstruction(jobs.walk(8, LENS), fps=24.0), Source("movie", (str(MOVIE),))
    )
    root = import_job(bpy.context.scene, folder.path, ImportOptions(0)).root
    root.matrix_basis = Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.5, 4, (1, 2, 0.5)) @ Matrix.Scale(0.2, 4)
    bpy.context.view_layer.update()
    plate = next(iter(bpy.data.movieclips))
    add_tracks(plate, folder, FLOOR)
    return plate


def add_tracks(clip, folder, points) -> None:
    views = folder.read_cameras().views
    for number, point in enumerate(points):
        track = clip.tracking.tracks.new(name=f"corner {number}", frame=1)
        for view in views:
            local = (point - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
            x, y = LENS.project(local[None])[0]
            track.markers.insert_frame(view.frame + 1, co=(x / LENS.width, 1 - y / LENS.height)).mute = False


@pytest.fixture
def editor(clip):
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    before = area.type
    area.type = "CLIP_EDITOR"
    area.spaces.active.clip = clip
    yield lambda: bpy.context.temp_override(window=window, area=area, region=area.regions[-1])
    area.type = before


def select(clip, *numbers: int) -> None:
    """Those tracks and no others; the last one active."""
    for track in clip.tracking.tracks:
        track.select = False
    for number in numbers:
        clip.tracking.tracks[f"corner {number}"].select = True
        clip.tracking.tracks.active = clip.tracking.tracks[f"corner {number}"]


def world(points) -> np.ndarray:
    bpy.context.view_layer.update()
    root = next(item for item in bpy.context.scene.objects if item.get("threer_role") == "root")
    matrix = np.array(root.matrix_world)
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]


def test_floor_origin_axis_and_distance(clip, editor):
    with editor():
        select(clip, 0, 1, 2)
        assert bpy.ops.threer.set_floor() == {"FINISHED"}
        np.testing.assert_allclose(world(FLOOR[:3])[:, 2], 0, atol=1e-3)
        select(clip, 2)
        assert bpy.ops.threer.set_origin() == {"FINISHED"}
        np.testing.assert_allclose(world(FLOOR[2:3])[0], 0, atol=1e-3)
        select(clip, 1, 0)
        assert bpy.ops.threer.set_axis(axis="Y") == {"FINISHED"}
        way = np.diff(world(FLOOR[[1, 0]]), axis=0)[0]
        assert way[1] > 0
        assert abs(way[0]) < 1e-2 * way[1]
        assert bpy.ops.threer.set_distance(length=3.0) == {"FINISHED"}
    assert np.linalg.norm(np.diff(world(FLOOR[:2]), axis=0)) == pytest.approx(3.0, rel=1e-3)
    np.testing.assert_allclose(world(FLOOR[:3])[:, 2], 0, atol=1e-2)


def test_another_clip_of_the_same_footage_will_do(clip, editor):
    other = bpy.data.movieclips.load(str(MOVIE))
    other.frame_start = 50  # markers do not care where a clip stands in the scene
    for track in list(clip.tracking.tracks):
        copy = other.tracking.tracks.new(name=track.name, frame=1)
        for marker in track.markers:
            copy.markers.insert_frame(marker.frame, co=marker.co)
    with editor():
        bpy.context.space_data.clip = other
        select(other, 0, 1, 2)
        assert bpy.ops.threer.set_floor() == {"FINISHED"}
    np.testing.assert_allclose(world(FLOOR[:3])[:, 2], 0, atol=1e-3)


def test_what_has_no_place_is_said(clip, editor, tmp_path):
    clip.tracking.tracks.new(name="once", frame=2)
    with editor():
        select(clip)
        with pytest.raises(RuntimeError, match="The floor takes at least three points, but none is selected"):
            bpy.ops.threer.set_floor()
        clip.tracking.tracks["once"].select = True
        with pytest.raises(RuntimeError, match="The track once has no place"):
            bpy.ops.threer.set_origin()
        image = tmp_path / "other.png"
        picture = bpy.data.images.new("other", 8, 8)
        picture.filepath_raw, picture.file_format = str(image), "PNG"
        picture.save()
        stranger = bpy.data.movieclips.load(str(image))
        stranger.tracking.tracks.new(name="x", frame=1).select = True
        bpy.context.space_data.clip = stranger
        with pytest.raises(RuntimeError, match="is not the footage of"):
            bpy.ops.threer.set_origin()
