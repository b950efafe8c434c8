"""A ball above a floor, seen by cameras around it: exact depth maps, for tests of surfaces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.engine.source import Source

CENTRE, RADIUS = np.array([0.0, -1.0, 4.0]), 0.8
FLOOR = 0.013  # y, which points down; not where a row of voxels lies
LENS = Intrinsics(320, 240, 200.0, 200.0, 165.0, 118.0, k1=-0.03)
SIZE = (90, 120)  # rows and columns of the depth maps: less than the frames'
BALL_COLOR, FLOOR_COLOR = (220, 60, 30), (40, 120, 200)


def poses(count: int) -> list[np.ndarray]:
    """On an arc around the ball, looking at it from above."""
    found = []
    for angle in np.linspace(-1.2, 1.2, count) if count > 1 else [0.0]:
        eye = CENTRE + np.array([np.sin(angle) * 4, -1.2, -np.cos(angle) * 4])
        ahead = (CENTRE - eye) / np.linalg.norm(CENTRE - eye)
        right = np.cross([0.0, 1.0, 0.0], ahead)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
        pose[:3, 3] = eye
        found.append(pose)
    return found


def _hit(view: View, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(planar depth, 0 above the horizon and farther than 7; whether the ball is hit; where), per pixel."""
    lens = view.intrinsics.scaled_to(width, height)
    rows, columns = np.mgrid[:height, :width] + 0.5
    rays = lens.rays(np.stack([columns, rows], axis=-1)) @ view.world_from_camera[:3, :3].T
    eye = view.world_from_camera[:3, 3]
    floor = np.where(rays[..., 1] > 0, (FLOOR - eye[1]) / np.where(rays[..., 1] > 0, rays[..., 1], 1), 0)
    a, b = (rays**2).sum(-1), rays @ (eye - CENTRE)
    root = b * b - a * (((eye - CENTRE) ** 2).sum() - RADIUS**2)
    ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, 0)
    on_ball = (ball > 0) & ((floor <= 0) | (ball < floor))
    depth = np.where(on_ball, ball, np.where(floor < 7, floor, 0)).astype(np.float32)
    return depth, on_ball, eye + np.where(on_ball, ball, floor)[..., None] * rays


def maps(view: View) -> dict[str, np.ndarray]:
    """What a view sees, in plain colours."""
    depth, on_ball, _ = _hit(view, *SIZE)
    color = np.where(on_ball[..., None], np.uint8(BALL_COLOR), np.uint8(FLOOR_COLOR)).astype(np.uint8)
    return {"depth": depth, "confidence": np.ones(SIZE, np.float32), "color": color}


def picture(view: View) -> np.ndarray:
    """(h, w, 3) uint8: the frame of a view, with a pattern that is fixed to ball (red) and floor (blue)."""
    _, on_ball, where = _hit(view, view.intrinsics.height, view.intrinsics.width)
    waves = np.sin(where[..., 0] * 3) * np.sin(where[..., 1] * 3 + where[..., 2] * 2)
    ball, floor = np.array([210, 60, 30]), np.array([40, 100, 200])
    return np.rint(np.where(on_ball[..., None], ball, floor) + 30 * waves[..., None]).astype(np.uint8)


def cameras(count: int, **values: object) -> Reconstruction:
    """values: fields of Reconstruction."""
    views = [View(f"frame_{i:04d}", i, LENS, pose) for i, pose in enumerate(poses(count))]
    return Reconstruction(views, method="made up", **values)


def make_job(folder: Path, count: int = 7, dense: bool = True, **values: object) -> JobFolder:
    """A job folder with the scene seen by count cameras."""
    job, result = JobFolder.create(folder), cameras(count, **values)
    job.write_cameras(result)
    for index, view in enumerate(result.views if dense else ()):
        job.write_view(index, maps(view))
    return job


def make_filmed_job(folder: Path, count: int = 7) -> JobFolder:
    """make_job with photos of the scene in folder/photos."""
    job = make_job(folder / "job", count)
    result = job.read_cameras()
    (folder / "photos").mkdir()
    files = [folder / "photos" / f"{view.file}.png" for view in result.views]
    for view, file in zip(result.views, files, strict=True):
        cv2.imwrite(str(file), cv2.cvtColor(picture(view), cv2.COLOR_RGB2BGR))
        view.file = file.name
    job.write_cameras(result)
    job.write_json("request", {"source": Source("photos", tuple(map(str, files))).to_json()})
    return job


def distance(points: np.ndarray) -> np.ndarray:
    """From points (n, 3) to the nearest of ball and floor."""
    to_ball = np.abs(np.linalg.norm(points - CENTRE, axis=1) - RADIUS)
    return np.minimum(to_ball, np.abs(points[:, 1] - FLOOR))


def is_on_ball(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - CENTRE, axis=1) < 1.2 * RADIUS
