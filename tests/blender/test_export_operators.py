"""Export and Load Depth from a script, without an engine: what Blender itself writes, paths, refusals, images."""

from __future__ import annotations

from pathlib import Path

import bpy
import jobs
import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import compat
from blender_3r.scene.depth_images import load_depth
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.jobdata import read_job

pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def job(tmp_path):
    folder = jobs.make_job(tmp_path / "my shot", Reconstruction(jobs.walk(5), fps=24.0))
    jobs.add_plane_view(folder, 1)
    import_job(bpy.context.scene, folder.path, ImportOptions(plate=False))
    return folder


def test_nothing_to_export():
    assert not bpy.ops.threer.export.poll()
    assert not bpy.ops.threer.load_depth.poll()


def test_blenders_own_formats(job, tmp_path):
    assert bpy.ops.threer.export(filepath=str(tmp_path / "a"), format="usd") == {"FINISHED"}
    assert (tmp_path / "a.usdc").is_file()
    assert bpy.ops.threer.export(filepath=str(tmp_path / "b.usda"), format="usd") == {"FINISHED"}
    assert (tmp_path / "b.usda").read_text().startswith("#usda")
    assert bpy.ops.threer.export(filepath=str(tmp_path / "c.v2.usdc"), format="alembic") == {"FINISHED"}
    assert (tmp_path / "c.v2.abc").is_file()


def test_without_an_engine(job, tmp_path):
    with pytest.raises(RuntimeError, match="engine"):
        bpy.ops.threer.export(filepath=str(tmp_path / "a"), format="jsx")
    assert not (tmp_path / "a.jsx").exists()


def write_exr(path: Path, values: np.ndarray) -> None:
    """A float image as the engine writes them: one channel, here as three equal ones."""
    height, width = values.shape
    image = bpy.data.images.new("made", width, height, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = values[::-1, :, None]
    image.pixels.foreach_set(pixels.ravel())
    image.file_format, image.filepath_raw = "OPEN_EXR", str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save()
    bpy.data.images.remove(image)


def pixels_of(image) -> np.ndarray:
    """(h, w) from the upper row down."""
    width, height = image.size
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, -1)[::-1, :, 0]


@pytest.fixture
def passes(job, tmp_path):
    """Depth 10.5, 11.5 ... of the frames 0 to 3."""
    for number in range(4):
        for kind, value in (("depth", 10.5 + number), ("confidence", 0.25)):
            write_exr(tmp_path / "out" / kind / f"frame_{number:04d}.exr", np.full((36, 64), value, np.float32))
    return tmp_path / "out"


def test_depth_becomes_a_sequence_in_time_with_the_scene(job, passes, tmp_path):
    data = read_job(job.path, 0)
    result = load_depth(data, passes)
    depth, confidence = result.images
    assert (depth.name, depth.source, depth.colorspace_settings.name) == ("missing Depth", "SEQUENCE", "Non-Color")
    assert confidence.name == "missing Confidence"
    assert result.warnings == ["4 of 5 frames have depth; the others stay empty."]
    assert bpy.data.images.get("made") is None
    for frame in (1, 3):  # scene frame 1 shows the movie's frame 0
        assert shown(depth, frame, tmp_path) == pytest.approx(9.5 + frame, abs=1e-3)
        assert shown(confidence, frame, tmp_path) == pytest.approx(0.25)
    again = load_depth(data, passes)
    assert again.images == result.images, "in place"


def shown(image, frame, folder) -> float:
    """What a compositor's image node, set by the image's facts, yields at a frame of the scene."""
    scene = bpy.context.scene
    tree, output = compat.compositor(scene)
    node = tree.nodes.new("CompositorNodeImage")
    node.image = image
    for name in ("frame_start", "frame_duration", "frame_offset"):
        setattr(node, name, image[name])
    tree.links.new(node.outputs["Image"], output)
    scene.render.resolution_x, scene.render.resolution_y, scene.render.filepath = 64, 36, str(folder / "render.exr")
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    result = bpy.data.images.load(scene.render.filepath)
    value = float(np.median(pixels_of(result)))
    bpy.data.images.remove(result)
    return value


def test_photos_get_single_images(tmp_path):
    folder = jobs.make_job(tmp_path / "job", Reconstruction(jobs.photos(["a.jpg", "b.jpg"]), kind="photos"))
    ramp = np.linspace(0, 7, 36 * 64, dtype=np.float32).reshape(36, 64)
    for name in "ab":
        for kind in ("depth", "confidence"):
            write_exr(tmp_path / "out" / kind / f"{name}.exr", ramp)
    result = load_depth(read_job(folder.path, 0), tmp_path / "out")
    assert [image.name for image in result.images] == ["a Depth", "b Depth", "a Confidence", "b Confidence"]
    np.testing.assert_allclose(pixels_of(result.images[1]), ramp, atol=2e-3)
    with pytest.raises(EngineError, match="no images"):
        load_depth(read_job(folder.path, 0), tmp_path / "nothing")
