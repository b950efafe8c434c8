"""Blender's masks as images for the engine, against what the compositor's Mask node draws of them."""

from __future__ import annotations

import bpy
import extension
import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.operators import masks
from blender_3r.operators.footage import source_of
from blender_3r.scene import compat
from blender_3r.scene.mask_images import write_mask

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"
SIZE = (320, 180)
FRAMES = {2: 3, 130: 131}  # beyond frame 100, too, where a new mask ends


@pytest.fixture
def threer():
    extension.switch_on()
    settings = bpy.context.scene.threer
    settings.path = str(MOVIE)
    yield settings
    extension.switch_off()


def curved_mask() -> bpy.types.Mask:
    """A feathered blob of free handles that fades from frame 1 to 200, and a layer that is turned round."""
    mask = bpy.data.masks.new("People")
    blob = add_spline(mask.layers.new(name="Blob"), [(0.2, 0.4), (0.45, 0.35), (0.5, 0.6), (0.25, 0.7)], bend=0.08)
    for point in blob.points:
        point.weight = 0.05
    other = mask.layers.new(name="Frame")
    add_spline(other, [(0.02, 0.25), (0.98, 0.25), (0.98, 0.75), (0.02, 0.75)], bend=0.0)
    other.invert, other.blend = True, "MERGE_ADD"
    fading = mask.layers["Blob"]
    for frame, alpha in ((1, 1.0), (200, 0.0)):
        fading.alpha = alpha
        fading.keyframe_insert("alpha", frame=frame)
    return mask


def add_spline(layer: bpy.types.MaskLayer, corners: list[tuple[float, float]], bend: float) -> bpy.types.MaskSpline:
    spline = layer.splines.new()
    spline.points.add(len(corners) - len(spline.points))
    spline.use_cyclic = True
    for point, (x, y) in zip(spline.points, corners, strict=True):
        point.handle_type = "FREE"
        point.co = (x, y)
        point.handle_left, point.handle_right = (x - bend, y + bend), (x + bend, y - bend)
    return spline


def tracked_mask() -> bpy.types.Mask:
    """A square that hangs on a track, which runs to the right."""
    clip = bpy.data.movieclips.load(str(MOVIE))
    track = clip.tracking.tracks.new(name="Run", frame=1)
    for frame in range(1, 40):
        track.markers.insert_frame(frame, co=(0.2 + 0.01 * frame, 0.5))
    mask = bpy.data.masks.new("Tracked")
    square = add_spline(mask.layers.new(name="Square"), [(0.1, 0.4), (0.3, 0.4), (0.3, 0.6), (0.1, 0.6)], bend=0.0)
    for point in square.points:
        parent = point.parent
        parent.id_type, parent.id, parent.type = "MOVIECLIP", clip, "POINT_TRACK"
        parent.parent, parent.sub_parent = clip.tracking.objects[0].name, "Run"
    return mask


def read(path: str) -> np.ndarray:
    """(h, w) as stored in the file, rows from the bottom."""
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[..., 0]


def by_compositor(mask: bpy.types.Mask, frame: int, path: str) -> np.ndarray:
    """What the Mask node makes of it, in linear values."""
    scene = bpy.context.scene
    tree, result = compat.compositor(scene)
    node = tree.nodes.new("CompositorNodeMask")
    node.mask = mask
    tree.links.new(node.outputs[0], result)
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "OPEN_EXR", "BW"
    scene.camera = scene.camera or bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.filepath = path
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    return read(path)


@pytest.mark.parametrize("make", [curved_mask, tracked_mask])
def test_masks_are_drawn_as_blender_draws_them(make, tmp_path):
    mask = make()
    before = {scene.name for scene in bpy.data.scenes}, {block.name for block in bpy.data.masks}
    folder = write_mask(mask, SIZE, FRAMES, tmp_path / "mask")
    assert sorted(path.name for path in folder.iterdir()) == ["mask_0002.png", "mask_0130.png"]
    shares = []
    for number, frame in FRAMES.items():
        drawn = read(str(folder / f"mask_{number:04d}.png"))
        wanted = by_compositor(mask, frame, str(tmp_path / "wanted.exr"))
        assert drawn.shape == wanted.shape == SIZE[::-1]
        ours, theirs = drawn >= 0.5, wanted >= 0.5
        shares.append(ours.mean())
        assert theirs.any()
        assert not theirs.all()
        assert np.count_nonzero(ours & theirs) > 0.99 * np.count_nonzero(ours | theirs)
        assert np.abs(drawn - wanted).mean() < 0.005  # feathers and half transparent layers, too
    assert abs(shares[0] - shares[1]) > 0.01 or make is tracked_mask
    assert (mask.frame_start, mask.frame_end) == (1, 100)
    assert before == ({scene.name for scene in bpy.data.scenes}, {block.name for block in bpy.data.masks})


def test_a_mask_on_a_track_goes_along(tmp_path):
    folder = write_mask(tracked_mask(), SIZE, {0: 1, 30: 31}, tmp_path)
    middles = [np.nonzero(read(str(folder / f"mask_{n:04d}.png")) >= 0.5)[1].mean() for n in (0, 30)]
    assert abs(middles[1] - middles[0] - 0.3 * SIZE[0]) < 2


def test_what_stays_the_same_is_not_written_again(tmp_path):
    mask = curved_mask()
    files = sorted(write_mask(mask, SIZE, {0: 1, 5: 6}, tmp_path).iterdir())
    (tmp_path / "mask_0009.png").write_bytes(b"of another range")
    stamps = [file.stat().st_mtime_ns for file in files]
    write_mask(mask, SIZE, {0: 1, 5: 6}, tmp_path)
    assert [file.stat().st_mtime_ns for file in files] == stamps
    assert sorted(tmp_path.iterdir()) == files
    mask.layers["Blob"].splines[0].points[0].co = (0.1, 0.3)
    write_mask(mask, SIZE, {0: 1, 5: 6}, tmp_path)
    assert [file.stat().st_mtime_ns for file in files] != stamps


def test_an_empty_mask_and_a_folder_that_cannot_be_written_are_told(tmp_path):
    empty = bpy.data.masks.new("Empty")
    with pytest.raises(EngineError, match="has no shapes"):
        write_mask(empty, SIZE, {0: 1}, tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="cannot be drawn") as failure:
        write_mask(curved_mask(), SIZE, {0: 1}, tmp_path / "file")
    assert failure.value.kind == "machine"
    assert "3R Mask" not in bpy.data.scenes


def test_the_panel_s_choice_becomes_a_setting(threer, tmp_path):
    threer.mask_from = "MASK"
    with pytest.raises(EngineError, match="No mask is chosen"):
        masks.mask_settings(threer)
    threer.mask, threer.mask_invert = curved_mask(), True
    threer.use_range, threer.first, threer.last, threer.step = True, 5, 15, 5
    assert masks.mask_settings(threer) == {}  # not drawn yet
    found = masks.draw_mask(threer, source_of(threer), tmp_path)
    assert found == {"mask": str(tmp_path / "mask"), "mask_invert": True}
    assert [path.name for path in sorted((tmp_path / "mask").iterdir())] == [f"mask_{n:04d}.png" for n in (4, 9, 14)]


def test_a_shifted_clip_shifts_its_mask(threer):
    source = source_of(threer)
    assert masks.scene_frame(threer, source, 4) == 5
    clip = bpy.data.movieclips.load(str(MOVIE))
    clip.frame_start, clip.frame_offset = 101, 2
    assert masks.scene_frame(threer, source, 4) == 103
