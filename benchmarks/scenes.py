"""The scenes, under which conditions they are solved, and what must be reached."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
OURS, SIFT_INC, KLT_GLOB, BLENDER = METHODS = ("ours", "sift_inc", "klt_glob", "blender")


class NoData(Exception):
    """The scenes are not there; the text says what to do."""


@dataclass(frozen=True)
class Bar:
    """What a measured value must be: at most (or at least) a limit, or exactly this."""

    value: str
    limit: float | bool | str
    at_least: bool = False

    def holds(self, measured: object) -> bool:
        """False for a value that could not be measured."""
        if isinstance(self.limit, bool | str):
            return measured == self.limit
        if not isinstance(measured, int | float):
            return False
        return measured >= self.limit if self.at_least else measured <= self.limit


@dataclass(frozen=True)
class Case:
    """A scene under one condition.

    table: the table of the report it stands in. others: what is run beside ours. known: "focal" or "intrinsics", given
    to every method, or "disturbed", the true cameras with errors as a start for ours. options: of the engine's command
    line. dense: ours also computes depth. timed: its times are compared, so runs are repeated.
    """

    id: str
    scene: str
    table: str
    others: tuple[str, ...] = ()
    known: str = ""
    options: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    dense: bool = False
    timed: bool = False

    @property
    def photos(self) -> bool:
        """Whether the pictures come in any order."""
        return self.table in ("photos", "pair", "refusal")


def at_most(**limits: float) -> tuple[Bar, ...]:
    return tuple(Bar(name, limit) for name, limit in limits.items())


ALL_SOLVED = Bar("solved", 1.0, at_least=True)
FIXED_LENS = (ALL_SOLVED, *at_most(ate_pct=0.05, focal_err_pct=1.0, slide_px=0.2), Bar("lens", "shared"))
SEQUENCE = ("--kind", "sequence")

CASES = (
    Case("syn_walk", "syn_walk", "video", (SIFT_INC, KLT_GLOB, BLENDER), bars=FIXED_LENS, timed=True),
    Case("syn_moving", "syn_moving", "video", (SIFT_INC, KLT_GLOB, BLENDER), bars=FIXED_LENS, timed=True),
    Case(
        "syn_zoom",
        "syn_zoom",
        "video",
        (SIFT_INC, KLT_GLOB, BLENDER),
        bars=(ALL_SOLVED, *at_most(ate_pct=0.25, focal_err_pct=1.0, slide_px=0.25), Bar("lens", "zoom")),
        timed=True,
    ),
    Case(
        "lady_running",
        "lady_running",
        "video",
        (SIFT_INC, KLT_GLOB, BLENDER),
        bars=(ALL_SOLVED, *at_most(reproj_error_px=1.1)),
    ),
    Case(
        "kitti07_drive, focal given",
        "kitti07_drive",
        "video",
        (SIFT_INC, KLT_GLOB),
        known="focal",
        options=SEQUENCE,
        bars=(ALL_SOLVED, *at_most(ate_pct=1.5, rpe_rot_deg=0.04)),
    ),
    Case(
        "kitti07_drive, focal unknown",
        "kitti07_drive",
        "video",
        (SIFT_INC, KLT_GLOB),
        options=SEQUENCE,
        bars=(Bar("focal_is_certain", False), Bar("warns_of_focal", True)),
    ),
    Case(
        "pano_rotation",
        "pano_rotation",
        "tripod",
        (SIFT_INC, KLT_GLOB),
        bars=(Bar("motion", "tripod"), Bar("says_tripod", True), *at_most(depth_maps=0, points=0)),
        dense=True,
    ),
    Case(
        "fountain_p11",
        "fountain_p11",
        "photos",
        (SIFT_INC,),
        bars=(ALL_SOLVED, *at_most(ate_pct=0.05, focal_err_pct=0.1)),
    ),
    Case(
        "fountain_p11, focal given",
        "fountain_p11",
        "photos",
        known="focal",
        bars=(ALL_SOLVED, *at_most(ate_pct=0.03)),
    ),
    Case(
        "fountain_p11, camera given",
        "fountain_p11",
        "photos",
        (SIFT_INC,),
        known="intrinsics",
        bars=(ALL_SOLVED, *at_most(ate_pct=0.03)),
    ),
    Case(
        "fox",
        "fox",
        "photos",
        (SIFT_INC,),
        bars=(ALL_SOLVED, *at_most(ate_pct=0.05, rpe_rot_deg=0.3, rot_abs_deg=0.3)),
    ),
    Case("fr3_office", "fr3_office", "photos", (SIFT_INC,)),
    Case(
        "motorcycle_stereo, cameras given",
        "motorcycle_stereo",
        "pair",
        (SIFT_INC,),
        known="intrinsics",
        bars=(ALL_SOLVED, Bar("right_of_all", 0.8, at_least=True)),
        dense=True,
    ),
    Case("motorcycle_stereo, nothing given", "motorcycle_stereo", "pair", (SIFT_INC,), dense=True),
    Case(
        "no_overlap",
        "no_overlap",
        "refusal",
        (SIFT_INC,),
        bars=(
            Bar("refused", True),
            *at_most(wall_s=10),
            Bar("says_why", True),
        ),
        dense=True,
    ),
    Case(
        "syn_moving, dense",
        "syn_moving",
        "dense",
        bars=(
            Bar("right_of_all", 0.65, at_least=True),
            Bar("right_of_filled", 0.80, at_least=True),
            Bar("s_per_view", 1.5),
        ),
        dense=True,
    ),
    Case(
        "syn_walk, dense",
        "syn_walk",
        "dense",
        bars=(
            Bar("right_of_all", 0.65, at_least=True),
            Bar("right_of_filled", 0.85, at_least=True),
            Bar("s_per_view", 6.0),
        ),
        dense=True,
    ),
)

# Of the cases that are timed: at most 1.0 of the time of one, at least 2.5 times as fast as the other.
TIME_BARS = ((KLT_GLOB, Bar("ours / klt_glob", 1.0)), (SIFT_INC, Bar("sift_inc / ours", 2.5, at_least=True)))


def data_folder() -> Path:
    """The folder of the scenes and of eval_poses.py: BLENDER_3R_DATA, else beside the repository. Raises NoData."""
    folder = Path(os.environ.get("BLENDER_3R_DATA") or DEFAULT_DATA)
    if not (folder / "eval_poses.py").is_file():
        raise NoData(
            "The benchmark's scenes are not here (no eval_poses.py in the data folder). "
            "Set BLENDER_3R_DATA to the folder that holds them."
        )
    return folder


def footage(folder: Path) -> Path:
    """The movie of a scene's folder, or its folder of pictures. Raises NoData."""
    for path in sorted(folder.glob("*.mp4")):
        return path
    if (folder / "images").is_dir():
        return folder / "images"
    raise NoData(f"The scene {folder.name} is not complete: there is no movie and no folder of images.")


def disturbed(truth: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    """The true cameras as a network might give them: in every frame off by 2 % of the path's extent, by one degree and
    by 5 % of the focal, without distortion.
    """
    rng = np.random.default_rng(seed)
    poses = np.array([image["c2w"] for image in truth["images"]])
    extent = float(np.linalg.norm(np.ptp(poses[:, :3, 3], axis=0)))
    images = []
    for image, pose in zip(truth["images"], poses):
        pose[:3, 3] += 0.02 * extent * rng.normal(size=3) / np.sqrt(3)
        x, y, z = np.radians(1.0) * _unit(rng.normal(size=3))
        angle = np.radians(1.0)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
        pose[:3, :3] @= np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        focal = 1 + 0.05 * rng.normal()
        lens = {"fx": image["fx"] * focal, "fy": image["fy"] * focal, "dist": None}
        images.append({**image, **lens, "c2w": pose.tolist()})
    return {**truth, "images": images}


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def reference(folder: Path) -> dict[str, Any]:
    """The true cameras, in the form of cameras.json."""
    return json.loads((folder / "reference.json").read_text(encoding="utf-8"))
