"""The default alignment: the published one on a grid of the pixels, and where it ends too early."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import Cancelled
from blender_3r.engine.methods.pairwise.alignment import AlignSettings, align_pairs, sampled
from blender_3r.engine.methods.pairwise.alignment.sampled import grid_step, take_grid
from tests.models.support.pair_scene import make_scene
from tests.models.support.pose_errors import pose_errors

STEPS = AlignSettings(iterations=80)
REFERENCE = replace(STEPS, algorithm="reference")


@pytest.fixture(scope="module")
def truth():
    return make_scene(6, (48, 64), noise=0.02, relief=3.0)


@pytest.fixture(scope="module")
def published(truth):
    return align_pairs(truth.predictions, REFERENCE)


def test_all_pixels_give_the_published_result(truth, published):
    found = align_pairs(truth.predictions, STEPS)
    assert found.loss < 1.001 * published.loss
    path_percent, degrees = pose_errors(found.world_from_camera, published.world_from_camera)
    assert path_percent < 0.01
    assert degrees < 0.01
    assert np.allclose(found.focals, published.focals, rtol=1e-4)


def test_every_other_pixel_leads_near_it(truth, published, monkeypatch):
    monkeypatch.setattr(sampled, "PIXELS", 48 * 64 // 4)
    assert grid_step(truth.predictions) == 2
    found = align_pairs(truth.predictions, STEPS)
    assert found.loss < 1.01 * published.loss
    path_percent, degrees = pose_errors(found.world_from_camera, published.world_from_camera)
    assert path_percent < 1.0
    assert degrees < 0.5  # 768 pixels of noise do not say more
    assert found.depth[0].shape == (48, 64)
    depth, known = found.depth[3], published.depth[3]
    assert np.median(np.abs(depth / known - 1)) < 0.02


def test_known_focals_and_principal_points_survive_the_grid(truth, monkeypatch):
    monkeypatch.setattr(sampled, "PIXELS", 48 * 64 // 9)
    focals = np.full(6, truth.focal)
    found = align_pairs(truth.predictions, replace(STEPS, known_focals=focals))
    assert np.allclose(found.focals, focals, rtol=1e-5)
    assert np.allclose(found.principal_points, (32, 24))


def test_the_grid_sees_the_same_rays(truth):
    settings = AlignSettings(known_focals=np.full(6, 60.0))
    sample, on_grid = take_grid(truth.predictions, settings, 3)
    assert sample.sizes[0] == (16, 21)
    whole = (3 * 5 + 1 - 32) / 60.0  # pixel 5 of the grid is pixel 16 of the image
    assert (5 - on_grid.known_principal_points[0, 0]) / on_grid.known_focals[0] == pytest.approx(whole)
    assert torch.equal(sample.points_i[0][2, 5], truth.predictions.points_i[0][7, 16])


def test_many_pairs_take_fewer_pixels(truth, monkeypatch):
    monkeypatch.setattr(sampled, "MOST_OBSERVATIONS", 2 * len(truth.predictions.edges) * 300)
    assert grid_step(truth.predictions) == 4  # 192 pixels; every third would be 352


def test_cancel_between_steps(truth):
    calls = []

    def stop():
        calls.append(1)
        if len(calls) > 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        align_pairs(truth.predictions, STEPS, check_cancelled=stop)


def test_steps_that_end_far_from_the_minimum_are_finished():
    """A shallow relief: the published optimisation is still 1 % of the path off when it ends."""
    shallow = make_scene(8, (72, 96), seed=0)
    settings = AlignSettings(iterations=60)
    found, lowest = (
        align_pairs(shallow.predictions, replace(settings, algorithm=name)) for name in ("sampled", "fast")
    )
    assert pose_errors(found.world_from_camera, shallow.world_from_camera)[0] < 1.0
    assert pose_errors(found.world_from_camera, lowest.world_from_camera)[0] < 0.2
    published = align_pairs(shallow.predictions, replace(settings, algorithm="reference"))
    assert pose_errors(published.world_from_camera, shallow.world_from_camera)[0] > 1.0
