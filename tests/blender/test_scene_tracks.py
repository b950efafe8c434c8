"""Tracks of a solve in the movie clip, marker by marker, and their points in the scene."""

from __future__ import annotations

import bpy
import extension
import jobs
import numpy as np
import pytest
from mathutils import Vector

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.source import Source
from blender_3r.scene import tags
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.tracks import add_tracks

MOVIE = extension.ROOT / "demo" / "courtyard.mp4"
WIDTH, HEIGHT = 640, 360

# track: (frames seen, frames of them that took part)
TRACKS = {0: (range(5), range(5)), 1: (range(2, 5), (2, 4)), 2: (range(4), ()), 3: (range(1, 5), range(1, 5))}


def write_tracks(job, points, tracks=TRACKS) -> dict[tuple[int, int], np.ndarray]:
    """tracks.npz; returns where each track that took part was in each frame."""
    rng = np.random.default_rng(2)
    frame, track, xy, kept = [], [], [], []
    for number, (seen, used) in tracks.items():
        for index in seen:
            frame.append(index)
            track.append(number)
            xy.append(rng.uniform((0, 0), (WIDTH, HEIGHT)))
            kept.append(index in used)
    job.write_npz(
        "tracks",
        frame=np.int32(frame),
        track=np.int32(track),
        xy=np.float32(xy),
        error_px=np.full(len(frame), 0.3, np.float32),
        kept=np.array(kept),
        points=np.float32(points),
    )
    return {(t, f): np.float32(place) for t, f, place, used in zip(track, frame, xy, kept, strict=True) if used}


POINTS = [[0.0, 0.0, 3.0], [1.0, 0.5, 4.0], [0.0, 1.0, 5.0], [np.nan] * 3]


@pytest.fixture
def job(tmp_path, empty_file):
    lens = jobs.lens(WIDTH, HEIGHT, 600.0)
    folder = jobs.make_job(
        tmp_path / "job", Reconstruction(jobs.walk(5, lens), fps=24.0), Source("movie", (str(MOVIE),))
    )
    import_job(empty_file, folder.path, ImportOptions(0))
    return folder


def test_markers_lie_where_the_tracks_were_seen(job, empty_file):
    seen = write_tracks(job, POINTS)
    result = add_tracks(empty_file, job.path)
    assert result.clip.name == "courtyard Plate"
    assert [track.name for track in result.tracks] == ["3R 00000", "3R 00003", "3R 00001"], "longest first"
    found = {}
    for track in result.tracks:
        for marker in track.markers:
            if not marker.mute:
                found[int(track.name[3:]), marker.frame - 1] = marker.co  # a movie's first frame is the clip's 1
    assert found.keys() == seen.keys()
    for key, co in found.items():
        np.testing.assert_allclose([co[0] * WIDTH, (1 - co[1]) * HEIGHT], seen[key], atol=1e-3)
    muted = sorted(marker.frame - 1 for marker in result.tracks[2].markers if marker.mute)
    assert muted == [1, 3, 5], "before it begins, where it paused, after its end"


def test_points_are_empties_named_like_their_tracks(job, empty_file):
    write_tracks(job, POINTS)
    result = add_tracks(empty_file, job.path)
    assert [item.name for item in result.empties] == ["3R 00000", "3R 00001"]  # 3 has no point
    root = tags.objects_of(empty_file, str(job.path.resolve()))["root", ""]
    bpy.context.view_layer.update()
    for item, point in zip(result.empties, (POINTS[0], POINTS[1]), strict=True):
        assert item.parent == root
        np.testing.assert_allclose(item.matrix_world.translation, root.matrix_world @ Vector(point), atol=1e-6)
    assert [item.users_collection[0].name for item in result.empties] == ["courtyard Tracks"] * 2


def test_again_is_in_place(job, empty_file):
    write_tracks(job, POINTS)
    first = add_tracks(empty_file, job.path)
    objects = len(bpy.data.objects)
    fewer = add_tracks(empty_file, job.path, count=1)
    tracks = first.clip.tracking.tracks
    assert len(tracks) == 3
    assert {track.name: track.hide for track in tracks} == {"3R 00000": False, "3R 00003": True, "3R 00001": True}
    assert [item.name for item in fewer.empties] == ["3R 00000"]
    assert len(bpy.data.objects) == objects - 1
    write_tracks(job, POINTS, {**TRACKS, 0: (range(2), range(2))})
    add_tracks(empty_file, job.path)
    assert [marker.frame for marker in tracks["3R 00000"].markers] == [0, 1, 2, 3]


def test_a_sequence_counts_from_its_first_file(tmp_path, empty_file):
    folder = tmp_path / "plate"
    folder.mkdir()
    paths = []
    for number in range(11, 16):
        image = bpy.data.images.new("made", WIDTH, HEIGHT)
        image.filepath_raw, image.file_format = str(folder / f"p_{number:04d}.png"), "PNG"
        image.save()
        paths.append(image.filepath_raw)
        bpy.data.images.remove(image)
    views = jobs.walk(5, jobs.lens(WIDTH, HEIGHT, 600.0))
    for view in views:
        view.frame += 11
        view.file = f"p_{view.frame:04d}.png"
    job = jobs.make_job(
        tmp_path / "job", Reconstruction(views, fps=24.0), Source("sequence", tuple(paths), tuple(range(11, 16)))
    )
    import_job(empty_file, job.path, ImportOptions(0))
    write_tracks(job, POINTS)
    result = add_tracks(empty_file, job.path, empties=False)
    assert result.clip.frame_start == 11
    assert [marker.frame for marker in result.tracks[0].markers if not marker.mute] == [1, 2, 3, 4, 5]
    assert result.empties == []


def test_few_tracks_are_spread_over_the_picture(job, empty_file):
    """Four tracks to the left, long; one to the right, short: the right one is among the first two."""
    frames = [(track, frame) for track in range(5) for frame in range(5 if track < 4 else 2)]
    job.write_npz(
        "tracks",
        frame=np.int32([frame for _, frame in frames]),
        track=np.int32([track for track, _ in frames]),
        xy=np.float32([(20 + track if track < 4 else 600, 30 + frame) for track, frame in frames]),
        error_px=np.full(len(frames), 0.3, np.float32),
        kept=np.ones(len(frames), bool),
        points=np.zeros((5, 3), np.float32),
    )
    assert [track.name for track in add_tracks(empty_file, job.path, count=2).tracks] == ["3R 00000", "3R 00004"]


def test_what_has_no_tracks(job, tmp_path, empty_file):
    with pytest.raises(EngineError, match="no tracks"):
        add_tracks(empty_file, job.path)
    photos = jobs.make_job(tmp_path / "photos", Reconstruction(jobs.photos(["a.jpg"]), kind="photos"))
    with pytest.raises(EngineError, match="no movie clip"):
        add_tracks(empty_file, photos.path)
    write_tracks(job, POINTS)
    bpy.data.movieclips.remove(bpy.data.movieclips[0])
    with pytest.raises(EngineError, match="not in this file"):
        add_tracks(empty_file, job.path)


def test_the_button(job, empty_file):
    write_tracks(job, POINTS)
    extension.switch_on()
    try:
        assert bpy.ops.threer.add_tracks(count=2) == {"FINISHED"}
        assert len(bpy.data.movieclips[0].tracking.tracks) == 2
    finally:
        extension.switch_off()
