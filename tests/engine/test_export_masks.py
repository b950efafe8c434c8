"""Masks of what moves: at the footage's size, without holes, for every frame; and given back to the engine."""

from __future__ import annotations

import json

import ball_scene
import cv2
import numpy as np
import pytest
from export_jobs import files_in, make_job

from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import export_job
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.masks import Masks
from blender_3r.engine.media.of_job import footage_of

VIEWS = 5
EMPTY = 3  # the view in which nothing moves


@pytest.fixture
def job(tmp_path):
    """Frames of which the ball moves in all but one; the ball has no depth in a spot of its middle."""
    job = ball_scene.make_filmed_job(tmp_path, VIEWS)
    for index in range(VIEWS):
        arrays = {name: np.array(values) for name, values in job.read_view(index).items()}
        moving = arrays["color"][..., 0] == ball_scene.BALL_COLOR[0]
        row, column = (int(np.median(places)) for places in np.nonzero(moving))
        spot = (slice(row - 2, row + 3), slice(column - 2, column + 3))
        arrays["depth"][spot], moving[spot] = 0, False
        job.write_view(index, arrays)
        if index != EMPTY:
            job.add_to_view(index, {"moving": moving})
    return job


def balls(job: JobFolder) -> list[np.ndarray]:
    """(h, w) bool per view: where the ball is in the frames themselves."""
    with footage_of(job) as frames:
        return [frames.read(index)[..., 0].astype(int) > frames.read(index)[..., 2] for index in range(VIEWS)]


def image(path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_a_mask_lies_on_what_moves_in_its_frame(job, tmp_path):
    out = export_job(job.path, "masks", tmp_path / "out")
    names = [f"masks/frame_{index:04d}.png" for index in range(VIEWS)]
    assert files_in(out) == ["export.json", "masks.json", *names]
    for index, ball in enumerate(balls(job)):
        mask = image(out / names[index])
        assert (mask.dtype, mask.shape) == (np.uint8, ball.shape)
        assert set(np.unique(mask)) <= {0, 255}
        if index == EMPTY:
            assert not mask.any()
            continue
        wrong = (mask > 0) != ball  # a map's pixel is 8 / 3 of the frame's
        near = cv2.dilate(ball.astype(np.uint8), np.ones((7, 7))) != cv2.erode(ball.astype(np.uint8), np.ones((7, 7)))
        assert not wrong[~near].any()
        stepped = cv2.resize(job.read_extra(index, "moving").astype(np.uint8), ball.shape[::-1], interpolation=0) > 0
        assert wrong.sum() < ((stepped != ball) & near).sum(), "it is smoother than the map"
    assert json.loads((out / "masks.json").read_text()) == {"white": "moves by itself", "between": {}}


def test_no_frame_is_missing(tmp_path):
    job = make_job(tmp_path / "job", 5, unsolved=(2, 4), kind="video", fps=24.0)
    for index in range(5):
        moving = np.zeros((24, 32), bool)
        moving[:, : 4 * index] = True
        job.add_to_view(index, {"moving": moving})
    out = export_job(job.path, "masks", tmp_path / "out")
    widths = [int((image(out / "masks" / f"frame_{index:04d}.png")[24] > 0).sum()) for index in range(5)]
    assert widths == [0, 8, 16, 24, 24], "its outline is between those of its neighbours"
    said = {"frame_0002": ["frame_0001", "frame_0003"], "frame_0004": ["frame_0003"]}
    assert json.loads((out / "masks.json").read_text())["between"] == said


def test_the_engine_takes_them_as_masks(job, tmp_path):
    """White is what is left alone, and names are those of the frames."""
    out = export_job(job.path, "masks", tmp_path / "out")
    with footage_of(job) as frames:
        masks = Masks(str(out / "masks"), frames)
        assert masks.warnings == []
        for index, ball in enumerate(balls(job)):
            left_alone = ~masks.allowed(index, ball.shape)
            assert np.mean(left_alone != (ball if index != EMPTY else False)) < 0.01


def test_nothing_is_known_to_move(tmp_path):
    for name, options in (("photos", {}), ("film", {"kind": "video"}), ("sparse", {"kind": "video", "dense": False})):
        job = make_job(tmp_path / name, **options)
        with pytest.raises(EngineError, match="Nothing is known to move") as caught:
            export_job(job.path, "masks", tmp_path / "out")
        assert caught.value.kind == "input"
    assert not (tmp_path / "out").exists()
