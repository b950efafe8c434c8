"""Whether published steps that ended before the minimum are left there: a result has to hold 1 % of the path and 0.5
degrees.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.pairwise_scenes import NOISES, relief
from benchmarks.room import predict
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.methods.pairwise.alignment import AlignSettings, align_pairs
from blender_3r.engine.methods.pairwise.alignment.fast import minimise
from blender_3r.engine.methods.pairwise.alignment.finish import finished, shares_of_held
from tests.models.support.pair_scene import complete_edges, make_scene
from tests.models.support.pose_errors import pose_errors

SETTINGS = AlignSettings()


@cache
def seen(noise, seed=0):
    """(scene, minimum of its loss)."""
    scene = make_scene(6, (48, 64), noise=noise, seed=seed, relief=3.0)
    return scene, minimise(scene.predictions, SETTINGS, None)[0].variables


def shifted(poses, share):
    """Poses (n, 4, 4) with the camera in the middle moved by this share of the path."""
    moved = poses.copy()
    moved[3, 1, 3] += share * np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    return moved


def test_shares_are_of_one_per_cent_and_half_a_degree():
    poses = seen(0.0)[0].world_from_camera
    assert shares_of_held(poses, poses).max() < 1e-4
    place, turn = shares_of_held(shifted(poses, 0.01), poses)
    assert 0.7 < place.max() < 1.0  # the similarity takes some of it
    assert turn.max() < 1e-4
    turned = poses.copy()
    turned[2, :3, :3] = turned[2, :3, :3] @ rotation_from_vector(np.radians([0.0, 0.5, 0.0]))
    place, turn = shares_of_held(turned, poses)
    assert turn.max() == pytest.approx(5 / 6, rel=0.01)
    assert turn.argmax() == 2
    assert place.max() < 1e-4


@pytest.mark.parametrize(("share", "stays"), [(0.005, True), (0.02, False)])
def test_what_is_no_farther_from_the_minimum_than_a_result_may_be_stands(share, stays):
    scene, best = seen(0.01)
    found = replace(best, positions=shifted(best.world_from_camera, share)[:, :3, 3])
    assert (shares_of_held(found.world_from_camera, best.world_from_camera).max() < 1.0) == stays
    after = finished(scene.predictions, SETTINGS, found)
    target = found if stays else best
    assert shares_of_held(after.world_from_camera, target.world_from_camera).max() < 0.05


def test_wrong_places_that_stop_the_published_steps_do_not_stop_the_default():
    room = relief((48, 64), 0, 3.0)
    predictions = predict(room, complete_edges(8), NOISES["outliers"])
    published, default = (align_pairs(predictions, AlignSettings(algorithm=name)) for name in ("reference", "sampled"))
    errors = [pose_errors(scene.world_from_camera, room.poses) for scene in (published, default)]
    assert errors[0][0] > 1.0
    assert errors[1][0] < 1.0
    assert errors[1][1] < 0.5
    assert default.loss < published.loss
