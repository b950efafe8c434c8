"""What moves by itself: found in the depth of a made shot, told by tracks and masks, kept in the job folder."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from conftest import write_images
from moving_shot import SIZE, film

from blender_3r.engine import methods
from blender_3r.engine.errors import EngineError
from blender_3r.engine.geometry.motion import (
    REACH,
    DepthMap,
    choose_witnesses,
    gather,
    settle,
)
from blender_3r.engine.geometry.placed_tracks import PlacedTracks
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path

FRAMES = 24


def found_in(depths, views, colors=None, tracks=None):
    """What settle gives for each frame after a go forward and one backward."""
    colors, tracks = colors or [None] * len(views), tracks or [None] * len(views)
    maps = [DepthMap.of(*one) for one in zip(views, depths, colors, tracks, strict=True)]
    order = range(len(maps))
    said = [
        gather(one, *([maps[i] for i in side] for side in choose_witnesses(order, i))) for i, one in enumerate(maps)
    ]
    found = []
    for i, one in enumerate(maps):
        found.append(settle(one, said[i], [(maps[i - 1], found[i - 1])] if i else []))
    for i in reversed(order):
        beside = [(maps[j], found[j]) for j in (i - 1, i + 1) if 0 <= j < len(maps)]
        found[i] = settle(maps[i], said[i], beside)
    return found


def score(found, true):
    """(precision, recall) over all frames."""
    both = sum(np.count_nonzero(f & t) for f, t in zip(found, true, strict=True))
    return both / max(1, sum(f.sum() for f in found)), both / sum(t.sum() for t in true)


@pytest.fixture(scope="module")
def shot():
    return film(FRAMES)


@pytest.mark.parametrize(("noise", "smooth", "least"), [(0.01, 0.0, 0.9), (0.02, 0.0, 0.9), (0.0, 0.01, 0.87)])
def test_most_of_what_moves_is_found_and_little_else(shot, noise, smooth, least):
    depths = [shot.predicted(i, noise, smooth) for i in range(FRAMES)]
    precision, recall = score(found_in(depths, shot.views), shot.moving)
    assert precision > 0.93
    assert recall > least


@pytest.mark.parametrize(("noise", "smooth"), [(0.0, 0.0), (0.02, 0.0), (0.0, 0.02), (0.01, 0.01)])
def test_in_a_shot_that_stands_nothing_moves(noise, smooth):
    shot = film(12, still=True)
    found = found_in([shot.predicted(i, noise, smooth) for i in range(12)], shot.views)
    assert max(float(one.mean()) for one in found) < 0.001


def test_maps_of_another_scale_do_not_move(shot):
    depths = [shot.predicted(i) * (1.0 + 0.06 * (i % 3)) for i in range(FRAMES)]
    precision, recall = score(found_in(depths, shot.views), shot.moving)
    assert precision > 0.9
    assert recall > 0.6


def measured(shot):
    """Depth as it is measured between frames: what moves has that of what stands behind it."""
    still = film(FRAMES, without=True)
    return [np.where(moving, behind, depth) for moving, behind, depth in zip(shot.moving, still.depth, shot.depth)]


def papered(shot, shade=0.0):
    """The colours of a shot, gray if shade is 1, with a pattern that sticks to things and a shadow that wanders."""
    colors = []
    for index, color in enumerate(shot.color):
        gray = color.mean(axis=-1, keepdims=True)
        light = np.ones((*gray.shape[:2], 1))
        light[10:50, 20 + 4 * index : 60 + 4 * index] = 0.6
        colors.append(np.rint((shade * gray + (1 - shade) * color) * light).astype(np.uint8))
    return colors


@pytest.mark.parametrize(("shade", "least"), [(0.0, 0.8), (1.0, 0.6)])
def test_what_has_the_depth_of_what_it_hides_is_told_by_its_looks(shot, shade, least):
    depths = measured(shot)
    assert not any(one.any() for one in found_in(depths, shot.views)), "depth alone says nothing"
    precision, recall = score(found_in(depths, shot.views, papered(shot, shade)), shot.moving)
    assert precision > 0.55, "the floor that the boxes hide in most frames is no better known"
    assert recall > least


@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_a_shadow_that_wanders_does_not_move(shade):
    shot = film(12, still=True)
    found = found_in([shot.predicted(i) for i in range(12)], shot.views, papered(shot, shade))
    assert max(float(one.mean()) for one in found) < 0.001


def test_tracks_are_not_believed_against_depth_and_looks(shot):
    """Tracks that slipped: in a region that all frames show at its place, and with the same looks, nothing moves."""
    still = film(12, still=True)
    rows, columns = np.mgrid[4:140:6, 4:190:6]
    xy = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    inside = (np.abs(xy - (100, 60)) < 20).all(axis=1)
    tracks = [PlacedTracks(xy, inside, ~inside)] * 12
    depths = [still.predicted(i) for i in range(12)]
    assert tracks[0].region(SIZE[::-1]).any()
    found = found_in(depths, still.views, still.color, tracks)
    assert max(float(one.mean()) for one in found) < 0.002
    nobody = [
        np.where(tracks[0].region(SIZE[::-1]), depth * (1.3 + 0.1 * (i % 5)), depth) for i, depth in enumerate(depths)
    ]
    assert found_in(nobody, still.views, still.color, tracks)[6][50:70, 90:110].mean() > 0.8, "nothing confirms it"


def test_what_stands_by_its_tracks_is_not_told_by_looks_alone(shot):
    rows, columns = np.mgrid[4:140:6, 4:190:6]
    xy = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    some = np.ones(len(xy), bool)
    tracks = [PlacedTracks(xy, ~some, some)] * FRAMES
    assert not any(one.any() for one in found_in(measured(shot), shot.views, papered(shot), tracks))


def test_unknown_depth_never_moves(shot):
    depths = [shot.predicted(i) for i in range(FRAMES)]
    for depth in depths:
        depth[100:] = 0
        depth[:5] = np.nan
    found = found_in(depths, shot.views)
    assert not any(one[100:].any() or one[:5].any() for one in found)
    assert any(one.any() for one in found)


def test_a_single_map_is_never_believed(shot):
    """One frame whose depth is wrong in one place, in a shot that stands, makes nothing of the others move."""
    still = film(8, still=True)
    depths = [still.predicted(i) for i in range(8)]
    depths[4][40:80, 100:140] *= 2.0  # it sees through what all others see
    found = found_in(depths, still.views)
    assert not any(one.any() for i, one in enumerate(found) if i != 4)


def test_the_last_and_the_only_frame_have_fewer_witnesses():
    order = list(range(10, 110))
    assert choose_witnesses(order, 0) == ([], [11, 12, 14, 18, 26, 42])
    assert choose_witnesses(order, 50) == ([59, 58, 56, 52, 44, 28], [61, 62, 64, 68, 76, 92])
    assert max(choose_witnesses(order, 99)[0]) == 108
    assert choose_witnesses([3], 0) == ([], [])
    assert REACH == 32
    shot = film(1)
    one = DepthMap.of(shot.views[0], shot.depth[0])
    assert not settle(one, gather(one, [], [])).any()


def test_tracks_tell_a_region_and_single_ones_do_not():
    rows, columns = np.mgrid[4:140:8, 4:190:8]
    xy = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    inside = (np.abs(xy - (60, 70)) < 25).all(axis=1)
    region = PlacedTracks(xy, inside, ~inside).region(SIZE[::-1])
    true = np.zeros(SIZE[::-1], bool)
    true[46:95, 36:85] = True
    assert np.count_nonzero(region & true) > 0.75 * true.sum()
    assert np.count_nonzero(region & ~true) < 0.2 * true.sum()
    alone = np.zeros(len(xy), bool)
    alone[::23] = True
    assert not PlacedTracks(xy, alone, ~alone).region(SIZE[::-1]).any()
    assert not PlacedTracks(xy[:0], alone[:0], alone[:0]).region(SIZE[::-1]).any()


# -- in a job


@pytest.fixture
def reconstruct(tmp_path, monkeypatch):
    """The job folder after a run of the method "moving_shot" over 16 frames."""
    monkeypatch.setitem(methods.METHODS, "moving_shot", "moving_shot")

    def run(kind="sequence", how=None, **settings):
        monkeypatch.setenv("MOVING_SHOT", json.dumps(how or {}))
        write_images(tmp_path / "shot", [f"shot.{i:04d}.png" for i in range(16)])
        request = make_request("moving_shot", source_from_path(tmp_path / "shot", kind=kind), settings)
        run_job(request, tmp_path / "job", lambda *_, **__: None)
        return JobFolder.open(tmp_path / "job")

    return run


def test_a_job_of_footage_keeps_what_moves(reconstruct):
    job = reconstruct()
    found = [np.array(job.read_extra(i, "moving")) for i in range(16)]
    assert found[0].dtype == bool
    precision, recall = score(found, film(16).moving)
    assert precision > 0.9
    assert recall > 0.7
    log = (job.path / "log.txt").read_text()
    assert "something moves in 16 of 16 views with depth" in log


def test_photos_and_jobs_that_do_not_ask_keep_nothing(reconstruct):
    for wish in ({"moving": "off"}, {"kind": "photos"}):
        job = reconstruct(**wish)
        assert not any(job.has_extra(i, "moving") for i in range(16))
        assert job.has_extra(0, "support")


def test_masks_may_tell_it(reconstruct, tmp_path):
    (tmp_path / "masks").mkdir()
    mask = np.zeros((120, 160), np.uint8)
    mask[30:60, 40:80] = 255
    for number in range(8):
        (tmp_path / "masks" / f"mask.{number:04d}.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    job = reconstruct(moving=str(tmp_path / "masks"))
    found = np.array(job.read_extra(3, "moving"))
    assert found.shape == SIZE[::-1]
    assert found[40:68, 52:92].all()
    assert found.mean() == pytest.approx((30 * 40) / (120 * 160), rel=0.02)
    assert not np.array(job.read_extra(12, "moving")).any(), "a frame without a mask"
    assert "8 of 16 frames have no mask" in (job.path / "log.txt").read_text()


def test_masks_that_are_not_there_are_refused(reconstruct, tmp_path):
    with pytest.raises(EngineError, match="There is no mask"):
        reconstruct(moving=str(tmp_path / "nowhere"))


def test_only_a_stretch_of_a_long_shot_is_in_memory(reconstruct, monkeypatch):
    from blender_3r.engine.service import moving

    job = reconstruct()
    whole = [np.array(job.read_extra(i, "moving")) for i in range(16)]
    monkeypatch.setattr(moving, "_KEPT_BYTES", 1)
    most = []
    original = moving.MovingParts._map

    def counted(self, index):
        found = original(self, index)
        most.append(len(self._maps))
        return found

    monkeypatch.setattr(moving.MovingParts, "_map", counted)
    job = reconstruct(how={"noise": 0.0101})
    assert max(most) == 4
    assert score([np.array(job.read_extra(i, "moving")) for i in range(16)], whole)[1] > 0.9
