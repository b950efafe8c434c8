"""The focal length that explains a pointmap seen by its own camera."""

from __future__ import annotations

import numpy as np

ROUNDS = 10
MODES = ("weiszfeld", "median")
# Horizontal field of view whose focal length is the unit of the limits.
UNIT_VIEW_DEG = 60.0


def estimate_focal(
    points: np.ndarray,
    principal_point: tuple[float, float] | np.ndarray | None = None,
    mode: str = "weiszfeld",
    limits: tuple[float, float] = (0.0, np.inf),
    usable: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> float:
    """Focal length in pixels of a pointmap (H, W, 3) in its camera's frame.

    principal_point: (x, y) in pixels, the first pixel's centre at 0; (W / 2, H / 2) when None. mode: "weiszfeld"
    (robust mean) or "median". limits: smallest and largest result, in units of max(H, W) / (2 tan 30 degrees).
    All pixels weigh the same, those behind the camera too. usable: (H, W) bool, which pixels count; None = all.
    rounds: of the robust mean. nan when no point tells. Raises ValueError for another mode.
    Source: DUSt3R (arXiv 2312.14132) section 3.3; specs/dust3r.md section 5.3.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}")
    height, width = points.shape[:2]
    center = (width / 2, height / 2) if principal_point is None else principal_point
    rows, columns = np.indices((height, width), dtype=np.float64)
    pixels = np.stack([columns - center[0], rows - center[1]], axis=-1).reshape(-1, 2)
    flat = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if usable is not None:
        flat, pixels = flat[usable.reshape(-1)], pixels[usable.reshape(-1)]
    focal = _weiszfeld(flat, pixels, rounds) if mode == "weiszfeld" else _median(flat, pixels)
    unit = max(height, width) / (2 * np.tan(np.radians(UNIT_VIEW_DEG) / 2))
    return float(np.clip(focal, limits[0] * unit, limits[1] * unit))


def intrinsics_from_rays(rays: np.ndarray, centred: bool = True) -> np.ndarray:
    """Pinhole matrices (..., 3, 3) float64, in pixels with the first one's centre at 0, of pictures of rays or of
    points in the camera's frame (..., H, W, 3), by least squares.

    centred: the principal point is the middle, ((W - 1) / 2, (H - 1) / 2); else it is fitted too.
    Source: specs/pi3x.md section 5.2.
    """
    rays = np.asarray(rays, dtype=np.float64)
    height, width = rays.shape[-3:-1]
    matrix = np.zeros((*rays.shape[:-3], 3, 3))
    matrix[..., 2, 2] = 1.0
    rows, columns = np.indices((height, width), dtype=np.float64)
    for axis, pixels in ((0, columns), (1, rows)):
        slopes = rays[..., axis] / (np.abs(rays[..., 2]) + 1e-10)
        middle = (pixels.shape[1 - axis] - 1) / 2
        offset = 0.0 if centred else slopes.mean(axis=(-1, -2))
        moved = slopes - np.reshape(offset, (*np.shape(offset), 1, 1))
        focal = (moved * (pixels - middle)).sum(axis=(-1, -2)) / (moved**2).sum(axis=(-1, -2))
        matrix[..., axis, axis] = focal
        matrix[..., axis, 2] = middle - focal * offset
    return matrix


def _weiszfeld(points: np.ndarray, pixels: np.ndarray, rounds: int) -> float:
    """Least sum of distances |pixel - f ray|, by some rounds of reweighted least squares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rays = points[:, :2] / points[:, 2:]
    rays[~np.isfinite(rays)] = 0.0
    across, along = np.sum(rays * pixels, axis=1), np.sum(rays * rays, axis=1)
    if not along.any():  # nothing but holes
        return float("nan")
    focal = across.mean() / along.mean()
    for _ in range(rounds):
        distance = np.linalg.norm(pixels - focal * rays, axis=1)
        weight = 1.0 / np.maximum(distance, 1e-8)
        focal = np.mean(weight * across) / np.mean(weight * along)
    return float(focal)


def _median(points: np.ndarray, pixels: np.ndarray) -> float:
    """The lower median of every pixel's two votes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        votes = (pixels * points[:, 2:] / points[:, :2]).ravel()
    votes = np.sort(votes[~np.isnan(votes)])
    return float(votes[(len(votes) - 1) // 2]) if len(votes) else float("nan")
