"""Photos whose cameras are known: a start, or held."""

from __future__ import annotations

import json

import numpy as np
import pytest
from room_shot import film
from test_refine import disturbed
from walk import FOCAL, path_error, walk

from blender_3r.engine.errors import EngineError
from blender_3r.engine.geometry.cameras import Cameras
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.methods.results import read_cameras
from blender_3r.engine.reconstruction import Reconstruction, View
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.solve.mapping import MatchDatabase, MatchGraph
from blender_3r.engine.solve.photos import PhotoSettings, solve_photos
from blender_3r.engine.solve.posed import join_matches
from blender_3r.engine.source import source_from_path

COUNT = 9


class Photos:
    """Some frames of a made walk, matched pair by pair."""

    def __init__(self):
        self.walk = walk(frames=COUNT, count=500)
        self.truth = self.walk.cameras
        seen = self.walk.observations
        tracks = [seen.track[seen.frame == k] for k in range(COUNT)]
        matches = {}
        for a in range(COUNT):
            for b in range(a + 1, COUNT):
                _, ia, ib = np.intersect1d(tracks[a], tracks[b], return_indices=True)
                matches[a, b] = np.stack([ia, ib], axis=1).astype(np.uint32)
        self.graph = MatchGraph({k: seen.xy[seen.frame == k] for k in range(COUNT)}, matches)

    def solve(self, given, focal=None, **more):
        return solve_photos(self.graph, self.walk.lenses(focal), PhotoSettings(threads=1), given, **more)


@pytest.fixture(scope="module")
def photos():
    return Photos()


@pytest.fixture
def no_mapping(monkeypatch):
    for mapper in ("map_incrementally", "map_globally"):
        monkeypatch.setattr(MatchDatabase, mapper, lambda *a, **m: pytest.fail("mapped from scratch"))


@pytest.mark.parametrize("focal", [None, FOCAL])
def test_known_cameras_are_a_start(photos, focal, no_mapping):
    given = disturbed(photos.truth)
    given.world_from_camera[3] = np.nan
    solution = photos.solve(given, focal)
    assert solution.cameras.solved.all()
    assert path_error(solution.cameras, photos.truth) < 0.004
    assert solution.cameras.focal == pytest.approx(FOCAL, rel=0.02 if focal is None else 1e-9)
    away = np.linalg.norm(solution.cameras.centers - given.centers, axis=1)
    assert np.nanmax(away) < 0.15 * np.linalg.norm(np.ptp(disturbed(photos.truth).centers, axis=0))
    assert not solution.warnings


def test_held_cameras_stay_and_others_are_placed_by_them(photos, no_mapping):
    given = photos.truth.copy()
    given.world_from_camera[4] = np.nan
    solution = photos.solve(given, FOCAL, holds=True)
    known = np.arange(COUNT) != 4
    assert np.array_equal(solution.cameras.world_from_camera[known], given.world_from_camera[known])
    assert solution.cameras.world_from_camera[4] == pytest.approx(photos.truth.world_from_camera[4], abs=0.01)
    assert solution.kept.mean() > 0.9
    assert solution.mean_error_px < 0.5


def test_cameras_of_other_photos_are_refused(photos):
    given = photos.truth.copy()
    rng = np.random.default_rng(0)
    given.world_from_camera[:, :3, 3] = rng.normal(size=(COUNT, 3))
    given.world_from_camera[:, :3, :3] = rotation_from_vector(rng.normal(size=(COUNT, 3)))
    solution = photos.solve(given, FOCAL)
    assert solution.warnings == ["The given cameras do not fit the photos; they were solved without them."]
    assert path_error(solution.cameras, photos.truth) < 0.004
    behind = given.copy()
    behind.world_from_camera = photos.truth.world_from_camera @ np.diag([1.0, -1.0, -1.0, 1.0])
    with pytest.raises(EngineError, match="do not fit the cameras given"):
        photos.solve(behind, FOCAL, holds=True)


def test_matches_are_chained_to_tracks():
    """Two points in three photos, and a wrong match that joins both of them."""
    keypoints = {k: np.array([[k, 0.0], [k, 1.0], [k, 2.0]]) for k in range(3)}
    straight = np.array([[0, 0], [1, 1]], np.uint32)
    tracks = join_matches(MatchGraph(keypoints, {}), {(0, 1): straight, (1, 2): straight})
    assert tracks.frame.tolist() == [0, 0, 1, 1, 2, 2]
    assert tracks.track.tolist() == [0, 1] * 3
    assert tracks.xy[:, 1].tolist() == [0, 1] * 3
    wrong = {(0, 1): straight, (1, 2): straight[:1], (0, 2): np.array([[1, 0]], np.uint32)}
    assert join_matches(MatchGraph(keypoints, {}), wrong).frame.tolist() == []
    assert len(join_matches(MatchGraph({}, {}), {})) == 0


def write_cameras(folder, cameras, names):
    """A job folder with cameras of images of these names."""
    job = JobFolder.create(folder)
    views = [
        View(name, None, cameras.intrinsics(k, 480, 270), cameras.world_from_camera[k]) for k, name in enumerate(names)
    ]
    job.write_cameras(Reconstruction(views, kind="photos"))
    return job.path


def test_photos_from_files_are_found_by_name_and_held(tmp_path):
    shot = film(6)
    shot.write(tmp_path / "photos", "photo {}.png")
    given = write_cameras(tmp_path / "given", shot.cameras, [f"jpegs/photo {k}.jpg" for k in range(5)])
    source = source_from_path(tmp_path / "photos", kind="photos")
    settings = {"poses": str(given), "hold_poses": True, "dense": False, "quality": "draft", "threads": 1}
    run_job(make_request("classic", source, settings), tmp_path / "job", lambda type_, **fields: None)
    found = Cameras.from_views(JobFolder(tmp_path / "job").read_cameras().views)
    assert np.array_equal(found.world_from_camera[:5], shot.cameras.world_from_camera[:5])
    assert found.world_from_camera[5] == pytest.approx(shot.cameras.world_from_camera[5], abs=0.02)
    assert found.focal == pytest.approx(shot.cameras.focal)


def test_a_name_that_two_images_have_is_told_by_its_folder(tmp_path):
    shot = film(3)
    for k, folder in enumerate(("left", "right")):
        shot.images = [shot.images[k]]
        shot.write(tmp_path / "photos" / folder, "a.png")
        shot = film(3)
    cameras = write_cameras(tmp_path / "given", shot.cameras, ["left/a.png", "right/a.png", "a.png"])
    frames = open_source(source_from_path([str(p) for p in sorted((tmp_path / "photos").rglob("*.png"))]))
    names = [info.file for info in frames.infos]
    found = read_cameras(cameras, frames)
    frames.close()
    known = {image["file"]: image["c2w"] for image in json.loads((cameras / "cameras.json").read_text())["images"]}
    assert len(set(names)) == 2
    for name, pose in zip(names, found.world_from_camera, strict=True):
        assert pose == pytest.approx(np.array(known[name]))
