"""A mask of what stands in front hides the render: rendered, pixel by pixel, over plates as filmed and undistorted."""

from __future__ import annotations

from pathlib import Path

import bpy
import extension
import numpy as np
import pytest
import shots
from test_compositor import rendered, set_up

from blender_3r.engine.errors import EngineError
from blender_3r.scene import tags
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.shot import ShotOptions, set_up_shot
from blender_3r.scene.shot_masks import job_mask, write_gray

LEFT = shots.WIDTH // 2


def give_mask(job, path: Path, **settings) -> None:
    """As if the job had been asked for with that mask."""
    request = job.read_json("request")
    job.write_json("request", {**request, "settings": {"mask": str(path), **settings}})


def write_masks(folder: Path, columns: slice, numbers=(101, 102, 103)) -> Path:
    """White in columns, at half the size of the footage."""
    folder.mkdir()
    mask = np.zeros((shots.HEIGHT // 2, shots.WIDTH // 2), np.uint8)
    mask[:, columns] = 255
    for number in numbers:
        write_gray(folder / f"roto_{number}.png", mask)
    return folder


def changed(tmp_path, plate: np.ndarray, frame: int = 102) -> np.ndarray:
    """(h, w) bool: where the picture is not the plate."""
    return np.abs(rendered(tmp_path, frame) - plate).max(axis=-1) > 1.5 / 255


def add_board() -> None:
    """A black board over the whole picture, in front of the camera."""
    mesh = bpy.data.meshes.new("Board")
    mesh.from_pydata([(-9, -9, -2), (9, -9, -2), (9, 9, -2), (-9, 9, -2)], [], [(0, 1, 2, 3)])
    board = bpy.data.objects.new("Board", mesh)
    board.parent = bpy.context.scene.camera
    bpy.context.scene.collection.objects.link(board)


def test_the_job_s_mask_hides_the_render(tmp_path):
    job = shots.make_shot(tmp_path)
    give_mask(job, write_masks(tmp_path / "mask", slice(0, LEFT // 2)))
    set_up(job, foreground="MASK")
    there = changed(tmp_path, shots.texture(102))
    assert not there[:, : LEFT - 2].any()
    assert there[:, LEFT + 2 :].sum() > 30


def test_a_mask_may_be_turned_round_and_counted_from_elsewhere(tmp_path):
    job = shots.make_shot(tmp_path)
    give_mask(job, write_masks(tmp_path / "mask", slice(0, LEFT // 2), numbers=(1, 2, 3)), mask_invert=True)
    set_up(job, foreground="MASK")
    there = changed(tmp_path, shots.texture(103), frame=103)
    assert there[:, : LEFT - 2].sum() > 30
    assert not there[:, LEFT + 2 :].any()


def test_a_mask_of_blender_s_hides_it_where_it_is_at_that_frame(tmp_path):
    """A square that is switched off by its layer's alpha from frame 103 on."""
    mask = bpy.data.masks.new("Roto")
    layer = mask.layers.new(name="Left half")
    square = layer.splines.new()
    square.points.add(4 - len(square.points))
    square.use_cyclic = True
    for point, corner in zip(square.points, [(-1, -1), (0.5, -1), (0.5, 2), (-1, 2)], strict=True):
        point.handle_type = "FREE"
        point.co = point.handle_left = point.handle_right = corner
    for frame, alpha in ((102, 1.0), (103, 0.0)):
        layer.alpha = alpha
        layer.keyframe_insert("alpha", frame=frame)
    set_up(shots.make_shot(tmp_path), foreground="MASK", mask="Roto")
    there = changed(tmp_path, shots.texture(102))
    assert not there[:, : LEFT - 1].any()
    assert there[:, LEFT + 1 :].sum() > 30
    assert changed(tmp_path, shots.texture(103), frame=103)[:, : LEFT - 1].any()


def test_what_the_job_knows_to_move_hides_it(tmp_path):
    """Only the first frame knows; the others take it from there."""
    job = shots.make_shot(tmp_path)
    moving = np.zeros((27, 48), bool)
    moving[:, 24:] = True
    maps = {"depth": np.ones((27, 48), np.float32), "confidence": np.ones((27, 48), np.float16)}
    job.write_view(0, maps | {"color": np.zeros((27, 48, 3), np.uint8)})
    job.add_to_view(0, {"moving": moving})
    set_up(job, foreground="MOVING", test_object=False, catcher="NONE")
    add_board()
    there = changed(tmp_path, shots.texture(103), frame=103)
    assert there[:, : LEFT - 2].sum() > 30
    assert not there[:, LEFT + 2 :].any()


@pytest.mark.parametrize("lens", ["PLATE", "RENDER"])
def test_a_mask_lies_on_the_plate_that_is_shown(tmp_path, lens):
    """ST-maps that shift by 10 pixels: the mask is drawn over the footage as filmed, so it shifts with an undistorted
    plate and stays over a filmed one."""
    job = shots.make_shot(tmp_path, k1=-0.1)
    shots.write_plates(job, shift=10.0)
    give_mask(job, write_masks(tmp_path / "mask", slice(0, LEFT // 2)))
    set_up(job, foreground="MASK", lens=lens)
    edge = LEFT - 10 if lens == "PLATE" else LEFT
    there = changed(tmp_path, shots.texture(602 if lens == "PLATE" else 102))
    assert not there[:, : edge - 2].any()
    assert there[:, edge + 2 :].sum() > 30
    if lens == "PLATE":
        assert there[:, edge + 2 : LEFT].any()


def test_what_is_not_there_is_said(tmp_path):
    job = shots.make_shot(tmp_path)
    scene, layer = bpy.context.scene, bpy.context.view_layer
    import_job(scene, job.path, ImportOptions())
    for options, words in (
        ({"foreground": "MASK"}, "made without a mask"),
        ({"foreground": "MASK", "mask": "Nobody"}, "There is no mask Nobody"),
        ({"foreground": "MOVING"}, "does not know what moves"),
        ({"foreground": "DEPTH"}, "No depth is loaded"),
    ):
        result = set_up_shot(scene, layer, read_job(job.path, 0), ShotOptions(**options))
        assert any(words in sentence for sentence in result.warnings), (options, result.warnings)
    give_mask(job, tmp_path / "gone")
    with pytest.raises(EngineError, match="is not there any more"):
        job_mask(scene, read_job(job.path, 0))
    give_mask(job, write_masks(tmp_path / "other", slice(0, 4), numbers=(7, 8)))
    with pytest.raises(EngineError, match="belongs to a frame"):
        job_mask(scene, read_job(job.path, 0))


def test_a_movie_of_masks_counts_as_the_footage_does(tmp_path):
    job = shots.make_shot(tmp_path)
    movie = extension.ROOT / "demo" / "courtyard.mp4"
    give_mask(job, movie)
    scene = bpy.context.scene
    import_job(scene, job.path, ImportOptions())
    data = read_job(job.path, 0)
    for _ in range(2):  # the second time it is the same clip
        front = job_mask(scene, data)
        assert front.footage.block.frame_start == 0  # of a sequence whose frames have numbers of their own
    assert len(tags.find_all(bpy.data.movieclips, data.folder, "mask")) == 1


def test_gray_files_are_what_blender_reads(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    write_gray(tmp_path / "gray.png", values)
    read = shots.read_pixels(tmp_path / "gray.png")[..., 0]
    np.testing.assert_array_equal(np.round(read * 255).astype(np.uint8), values)
