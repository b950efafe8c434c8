"""What a solve yields: views with intrinsics and poses, and what is believed of them.

Read by both sides (Blender has only numpy): standard library and numpy, nothing else.

Conventions: OpenCV cameras (x right, y down, z forward); `world_from_camera` 4x4 float64; pixel (0, 0) is the top
left *corner* of the image, so the first pixel's centre is (0.5, 0.5); intrinsics in pixels of the original frame.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONVENTION = (
    "c2w: OpenCV camera-to-world 4x4 (x right, y down, z forward); pixel coordinates with the top-left image corner "
    "at (0,0), first pixel centre at (0.5,0.5); dist: OpenCV radial-tangential k1 k2 p1 p2"
)


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera with OpenCV's radial-tangential distortion, in pixels of a width x height image."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """The 3x3 calibration matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def distortion(self) -> np.ndarray:
        """(k1, k2, p1, p2), the order OpenCV takes."""
        return np.array([self.k1, self.k2, self.p1, self.p2])

    @property
    def is_distorted(self) -> bool:
        return bool(np.any(self.distortion != 0.0))

    def scaled_to(self, width: int, height: int) -> Intrinsics:
        """The same lens for the image resized to width x height."""
        sx, sy = width / self.width, height / self.height
        return dataclasses.replace(
            self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) to pixels (..., 2). Points with z <= 0 give nan."""
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        x, y = points[..., 0] / z, points[..., 1] / z
        x, y = self._distort(x, y)
        return np.stack([x * self.fx + self.cx, y * self.fy + self.cy], axis=-1)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) to camera-frame rays (..., 3) with z = 1, distortion removed by fixed-point iteration."""
        xd = (pixels[..., 0] - self.cx) / self.fx
        yd = (pixels[..., 1] - self.cy) / self.fy
        x, y = xd, yd
        if self.is_distorted:
            for _ in range(20):
                tx, ty = self._distort(x, y)
                x, y = x + (xd - tx), y + (yd - ty)
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def _distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.is_distorted:
            return x, y
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * self.k2)
        return (
            x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x),
            y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y,
        )


@dataclass
class View:
    """One frame or photo.

    file: "frame_0012" for movies, else the image's path relative to the source folder. frame: the movie's frame
    counted from 0, or the number in a sequence's file name; None for photos. world_from_camera: None if not solved.
    note: why it is not solved, as a sentence; empty when it is. interpolated: its pose was not solved but lies between
    those of its neighbours.
    """

    file: str
    frame: int | None
    intrinsics: Intrinsics
    world_from_camera: np.ndarray | None = None
    error_px: float | None = None
    note: str = ""
    interpolated: bool = False

    @property
    def is_solved(self) -> bool:
        return self.world_from_camera is not None


@dataclass(frozen=True)
class Check:
    """One reason to believe a result, or not to: a measured value against its limit, told as a sentence."""

    name: str
    passed: bool
    text: str
    value: float | None = None
    limit: float | None = None


@dataclass
class Reconstruction:
    """All views of a job, in the order of the source.

    kind: "video" (one camera over time) or "photos" (separate cameras; a rig of movies at one frame too).
    motion: "free", or "tripod" (rotation only: positions are all zero and no depth exists).
    lens: "shared" (one focal), "zoom" (one focal per frame) or "groups" (one focal per camera).
    """

    views: list[View]
    kind: str = "video"
    method: str = ""
    motion: str = "free"
    lens: str = "shared"
    metric: bool = False
    focal_is_certain: bool = True
    reproj_error_px: float | None = None
    fps: float | None = None
    source: str = ""
    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def solved(self) -> list[int]:
        """Indices of the solved views."""
        return [i for i, view in enumerate(self.views) if view.is_solved]

    def to_json(self) -> dict[str, Any]:
        """The form of cameras.json."""
        return {
            "convention": CONVENTION,
            "kind": self.kind,
            "method": self.method,
            "motion": self.motion,
            "lens": self.lens,
            "metric": self.metric,
            "focal_is_certain": self.focal_is_certain,
            "fps": self.fps,
            "source": self.source,
            "reproj_error_px": self.reproj_error_px,
            "checks": [dataclasses.asdict(check) for check in self.checks],
            "warnings": list(self.warnings),
            "images": [_view_to_json(view) for view in self.views],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Reconstruction:
        """The inverse of to_json; unknown keys are ignored. Raises ValueError when the form is wrong."""
        try:
            plain = {
                name: data[name]
                for name in (
                    "kind",
                    "method",
                    "motion",
                    "lens",
                    "metric",
                    "focal_is_certain",
                    "fps",
                    "source",
                    "reproj_error_px",
                )
                if name in data
            }
            checks = [
                Check(**{f.name: c[f.name] for f in dataclasses.fields(Check) if f.name in c})
                for c in data.get("checks", [])
            ]
            views = [_view_from_json(item) for item in data["images"]]
            return cls(views=views, checks=checks, warnings=list(data.get("warnings", [])), **plain)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"not a cameras.json: {error!r}") from error


def _view_to_json(view: View) -> dict[str, Any]:
    lens = view.intrinsics
    pose = view.world_from_camera
    return {
        "file": view.file,
        "frame": view.frame,
        "width": lens.width,
        "height": lens.height,
        "fx": lens.fx,
        "fy": lens.fy,
        "cx": lens.cx,
        "cy": lens.cy,
        "dist": {"k1": lens.k1, "k2": lens.k2, "p1": lens.p1, "p2": lens.p2},
        "c2w": None if pose is None else np.asarray(pose, dtype=float).tolist(),
        "error_px": view.error_px,
        "note": view.note,
        "interpolated": view.interpolated,
    }


def _view_from_json(item: dict[str, Any]) -> View:
    dist = item.get("dist") or {}
    intrinsics = Intrinsics(
        width=int(item["width"]),
        height=int(item["height"]),
        **{name: float(item[name]) for name in ("fx", "fy", "cx", "cy")},
        **{name: float(dist.get(name) or 0.0) for name in ("k1", "k2", "p1", "p2")},
    )
    pose = item.get("c2w")
    if pose is not None:
        pose = np.array(pose, dtype=np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise ValueError(f"{item.get('file')}: c2w is not a finite 4x4 matrix")
    return View(
        file=item["file"],
        frame=item.get("frame"),
        intrinsics=intrinsics,
        world_from_camera=pose,
        error_px=item.get("error_px"),
        note=item.get("note", ""),
        interpolated=bool(item.get("interpolated", False)),
    )


def depth_to_points(
    view: View,
    depth: np.ndarray,
    confidence: np.ndarray | None = None,
    min_confidence: float = 0.0,
    stride: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """World points of a depth map of this view.

    depth: (h, w) planar z in scene units on the view's own (distorted) pixel grid, possibly smaller than the original
    frame; 0 = unknown. stride: take every n-th pixel in both directions.
    Returns (points (n, 3) float32 in world axes, pixel index (n,) int64 into the flattened map).
    Raises ValueError for an unsolved view.
    """
    if view.world_from_camera is None:
        raise ValueError(f"{view.file} has no pose, so its depth has no place in the world")
    height, width = depth.shape
    keep = np.zeros(depth.shape, dtype=bool)
    keep[stride // 2 :: stride, stride // 2 :: stride] = True
    keep &= depth > 0
    if confidence is not None:
        keep &= confidence >= min_confidence
    index = np.flatnonzero(keep)
    rows, columns = np.divmod(index, width)
    pixels = np.stack([columns + 0.5, rows + 0.5], axis=-1)
    rays = view.intrinsics.scaled_to(width, height).rays(pixels)
    rotation, centre = view.world_from_camera[:3, :3], view.world_from_camera[:3, 3]
    points = (rays * depth.reshape(-1)[index, None]) @ rotation.T + centre
    return points.astype(np.float32), index
