"""Two pictures: pose, points and refusals, on made-up matches and on a stereo pair of known geometry."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.geometry.cameras import Cameras
from blender_3r.engine.geometry.rotations import rotation_angle, rotation_from_vector
from blender_3r.engine.reconstruction import Intrinsics
from blender_3r.engine.solve.mapping import LensModel
from blender_3r.engine.solve.pair import solve_pair

SIZE = (1000, 700)
FOCAL = 900.0
DATA = Path(os.environ.get("BLENDER_3R_DATA") or Path(__file__).parents[3] / "shared" / "data")


def matches(shift, turn=(0.02, -0.1, 0.03), count=400, wrong=0.2, noise=0.3, seed=0):
    """(pose of the second camera (4, 4), points, xy_a, xy_b): the last `wrong` of the matches are by chance."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, :3] = rotation_from_vector(np.array(turn))
    poses[1, :3, 3] = shift
    points = rng.uniform((-2, -1.5, 5), (2, 1.5, 10), (count, 3))
    cameras = Cameras.simple(poses, FOCAL, SIZE)
    a, b = (cameras.project(np.full(count, i), points) + rng.normal(size=(count, 2)) * noise for i in (0, 1))
    chance = int(wrong * count)
    b[count - chance :] = rng.uniform((0, 0), SIZE, (chance, 2))
    return poses[1], points, a, b


def lenses(focal=FOCAL, known=True):
    lens = Intrinsics(*SIZE, focal, focal, SIZE[0] / 2, SIZE[1] / 2)
    return LensModel([lens, lens], np.zeros(2, dtype=int), known, known)


def pose_error_deg(found, truth):
    """(rotation, direction of translation) errors between two relative poses."""
    turn = np.degrees(rotation_angle(found[:3, :3].T @ truth[:3, :3]))
    a, b = (pose[:3, 3] / np.linalg.norm(pose[:3, 3]) for pose in (found, truth))
    return turn, np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


def test_pose_points_and_outliers_with_a_known_focal():
    truth, points, a, b = matches((1.0, 0.1, 0.2), noise=0.1)
    solution = solve_pair(a, b, lenses())
    assert solution.cameras.solved.all()
    turn, direction = pose_error_deg(solution.cameras.world_from_camera[1], truth)
    assert turn < 0.1
    assert direction < 0.5
    assert np.linalg.norm(solution.cameras.centers[1] - solution.cameras.centers[0]) == pytest.approx(1.0)
    kept = solution.kept[:400]
    assert kept[:320].mean() > 0.97
    assert kept[320:].mean() < 0.1
    scale = np.linalg.norm(truth[:3, 3])
    good = np.flatnonzero(kept[:320])
    assert np.median(np.abs(scale * solution.points[good, 2] / points[good, 2] - 1)) < 0.01
    assert solution.focal_is_certain
    assert not solution.warnings


def test_an_unknown_focal_is_found_where_the_pair_tells_it():
    truth, _, a, b = matches((1.5, 0.1, 1.5), turn=(0.02, -0.25, 0.03), count=1200, noise=0.1)
    solution = solve_pair(a, b, lenses(1.2 * SIZE[0], known=False))
    assert solution.cameras.focal == pytest.approx([FOCAL, FOCAL], rel=0.05)
    assert pose_error_deg(solution.cameras.world_from_camera[1], truth)[0] < 1.0
    assert not solution.focal_is_certain
    assert "focal" in solution.warnings[0]


def test_a_sideways_pair_does_not_tell_the_focal_and_keeps_the_guess():
    _, _, a, b = matches((1.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0))
    solution = solve_pair(a, b, lenses(1.2 * SIZE[0], known=False))
    assert solution.cameras.focal == pytest.approx([1.2 * SIZE[0]] * 2)
    assert not solution.focal_is_certain


@pytest.mark.parametrize("known", [True, False])
def test_pictures_from_one_place_are_refused(known):
    _, _, a, b = matches((0.0, 0.0, 0.0), turn=(0.05, -0.2, 0.02))
    with pytest.raises(EngineError, match="same place") as failure:
        solve_pair(a, b, lenses(known=known))
    assert failure.value.kind == "unsolved"


@pytest.mark.parametrize("count", [0, 10, 120])
def test_pictures_of_different_places_are_refused(count):
    rng = np.random.default_rng(1)
    a, b = (rng.uniform((0, 0), SIZE, (count, 2)) for _ in range(2))
    with pytest.raises(EngineError, match="in common") as failure:
        solve_pair(a, b, lenses(known=False))
    assert failure.value.kind == "unsolved"
    assert failure.value.hint


@pytest.mark.skipif(
    not (DATA / "motorcycle_stereo").is_dir(), reason=f"no test pictures in {DATA} (set BLENDER_3R_DATA)"
)
def test_stereo_pair_with_its_own_intrinsics():
    views = json.loads((DATA / "motorcycle_stereo" / "reference.json").read_text())["images"]
    sift, described, start = cv2.SIFT_create(2000), [], []
    for view in views:
        image = cv2.imread(str(DATA / "motorcycle_stereo" / view["file"]), cv2.IMREAD_GRAYSCALE)
        described.append(sift.detectAndCompute(image, None))
        start.append(Intrinsics(*(view[name] for name in ("width", "height", "fx", "fy", "cx", "cy"))))
    (keys_a, first), (keys_b, second) = described
    pairs = [m for m, other in cv2.BFMatcher().knnMatch(first, second, 2) if m.distance < 0.8 * other.distance]
    a = np.array([keys_a[m.queryIdx].pt for m in pairs]) + 0.5
    b = np.array([keys_b[m.trainIdx].pt for m in pairs]) + 0.5
    solution = solve_pair(a, b, LensModel(start, np.arange(2), True, True))
    poses = [np.array(view["c2w"]) for view in views]
    turn, direction = pose_error_deg(solution.cameras.world_from_camera[1], np.linalg.inv(poses[0]) @ poses[1])
    assert turn < 0.1
    assert direction < 0.5
