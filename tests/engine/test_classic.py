"""The classic method as the service runs it: events, what is kept, what is refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.methods import classic, footage
from blender_3r.engine.methods.base import CamerasSolved, Context, Progress, ViewReady, run_reporting
from blender_3r.engine.source import source_from_path

ROOT = Path(__file__).parents[2]
SHOT = ROOT / "demo" / "courtyard.mp4"


def context(folder, **more):
    return Context(JobFolder.create(folder), threads=2, **more)


def frames_of(step=3, **more):
    return open_source(source_from_path(SHOT, step=step, **more))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """One run over every third frame, with depth at the lowest quality, written to its folder as the service does."""
    surroundings = context(tmp_path_factory.mktemp("job"))
    frames = frames_of()
    seen = []
    for event in classic.run(frames, {"quality": "draft"}, surroundings):
        if isinstance(event, CamerasSolved):
            surroundings.job.write_cameras(event.reconstruction)
            surroundings.job.write_sparse(event.sparse)
        elif isinstance(event, ViewReady):
            surroundings.job.write_view(event.index, event.arrays)
        seen.append(event)
    frames.close()
    return surroundings, seen


def test_cameras_come_before_depth_and_progress_never_falls(events):
    _, seen = events
    kinds = [type(event) for event in seen]
    assert kinds.count(CamerasSolved) == 1
    assert kinds.index(CamerasSolved) < kinds.index(ViewReady)
    fractions = [event.fraction for event in seen if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < fractions[-1] <= 1.0


def test_every_frame_has_a_camera_close_to_the_truth(events):
    result = next(event for event in events[1] if isinstance(event, CamerasSolved)).reconstruction
    truth = json.loads((ROOT / "demo" / "reference.json").read_text(encoding="utf-8"))["images"]
    by_frame = {image["frame"]: image for image in truth}
    assert len(result.solved) == len(result.views) == 14
    assert result.views[0].intrinsics.fx == pytest.approx(by_frame[0]["fx"], rel=0.02)
    for view in result.views[1:]:
        first, true_first = result.views[0].world_from_camera, np.array(by_frame[0]["c2w"])
        turn = first[:3, :3].T @ view.world_from_camera[:3, :3]
        true_turn = true_first[:3, :3].T @ np.array(by_frame[view.frame]["c2w"])[:3, :3]
        assert np.degrees(np.arccos(np.clip((np.trace(turn.T @ true_turn) - 1) / 2, -1, 1))) < 0.3


def test_sparse_points_carry_the_colours_of_the_footage(events):
    solved = next(event for event in events[1] if isinstance(event, CamerasSolved))
    view = solved.reconstruction.views[0]
    movie = cv2.VideoCapture(str(SHOT))
    image = cv2.GaussianBlur(cv2.cvtColor(movie.read()[1], cv2.COLOR_BGR2RGB), (0, 0), 2).astype(float)
    rotation, centre = view.world_from_camera[:3, :3], view.world_from_camera[:3, 3]
    pixels = view.intrinsics.project((solved.sparse["points"] - centre) @ rotation)
    inside = np.isfinite(pixels).all(1) & (pixels > 4).all(1) & (pixels < (636, 356)).all(1)
    column, row = pixels[inside].astype(int).T
    assert inside.sum() > 100
    assert np.median(np.abs(image[row, column] - solved.sparse["color"][inside])) < 25


def test_what_is_there_is_not_computed_again(events, monkeypatch):
    surroundings, seen = events
    views = [event.index for event in seen if isinstance(event, ViewReady)]
    assert len(views) > 3
    removed = surroundings.job.path / "views" / f"{views[0]:06d}"
    kept = removed.rename(surroundings.job.path / "kept")
    monkeypatch.setattr(footage, "track_video", lambda *a, **k: pytest.fail("tracked again"))
    frames = frames_of()
    again = list(classic.run(frames, {"quality": "draft"}, surroundings))
    frames.close()
    assert not any(isinstance(event, CamerasSolved) for event in again)
    assert [event.index for event in again if isinstance(event, ViewReady)] == [views[0]]
    kept.rename(removed)


def test_a_single_image_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8))
    frames = open_source(source_from_path(tmp_path / "one.png"))
    with pytest.raises(EngineError) as caught:
        list(classic.run(frames, {}, context(tmp_path / "job")))
    assert caught.value.kind == "input"


def test_plain_footage_is_refused_in_a_sentence(tmp_path):
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"plain_{i:03d}.png"), np.full((200, 300, 3), 128, np.uint8))
    frames = open_source(source_from_path(tmp_path, kind="sequence"))
    with pytest.raises(EngineError, match="No points") as caught:
        list(classic.run(frames, {"dense": False}, context(tmp_path / "job")))
    assert caught.value.kind == "unsolved"


def test_a_still_camera_gives_no_points(tmp_path):
    image = cv2.VideoCapture(str(SHOT)).read()[1]
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"still_{i:03d}.png"), image)
    frames = open_source(source_from_path(tmp_path, kind="sequence"))
    seen = list(classic.run(frames, {}, context(tmp_path / "job")))
    solved = next(event for event in seen if isinstance(event, CamerasSolved))
    assert solved.reconstruction.motion == "tripod"
    assert solved.sparse is None
    assert not any(isinstance(event, ViewReady) for event in seen)
    assert any("no points" in warning for warning in solved.reconstruction.warnings)


def test_cancel_ends_a_run(tmp_path):
    frames = frames_of()
    with pytest.raises(Cancelled):
        list(classic.run(frames, {"dense": False}, context(tmp_path / "job", is_cancelled=lambda: True)))
    frames.close()


@pytest.mark.parametrize("content", ["", "{}", '{"images": [{"file": "frame_0000"}]}', '{"images": 3}'])
def test_unusable_intrinsics_are_named(tmp_path, content):
    path = tmp_path / "lens.json"
    path.write_text(content)
    frames = frames_of()
    with pytest.raises(EngineError, match=r"lens\.json") as caught:
        classic.start_lenses(frames, classic.Settings(intrinsics=str(path)))
    frames.close()
    assert caught.value.kind == "usage"


def test_given_intrinsics_are_scaled_to_the_footage(tmp_path):
    data = json.loads((ROOT / "demo" / "reference.json").read_text(encoding="utf-8"))
    for image in data["images"]:
        for name in ("width", "height", "fx", "fy", "cx", "cy"):
            image[name] *= 2
    (tmp_path / "lens.json").write_text(json.dumps(data))
    frames = frames_of()
    lenses = classic.start_lenses(frames, classic.Settings(intrinsics=str(tmp_path / "lens.json")))
    frames.close()
    assert lenses.focal_known
    assert lenses.distortion_known
    assert lenses.start[0].width == 640
    assert lenses.start[0].fx == pytest.approx(data["images"][0]["fx"] / 2)


def test_reports_of_a_thread_come_in_order_and_its_error_too():
    def work(report):
        for i in range(3):
            report(Progress("x", i, 3, i / 3))
        raise ValueError("at the end")

    events = run_reporting(work)
    assert [next(events).done for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="at the end"):
        next(events)
