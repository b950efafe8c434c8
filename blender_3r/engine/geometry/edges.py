"""Where a depth map jumps or a surface bends: pixels between two surfaces, whose points float in the air.

Source: specs/pi3.md section 5. Maps have any leading axes: (..., H, W).
"""

from __future__ import annotations

import numpy as np

_BAND = 1 << 16  # pixels of a band
_REACH = 3  # rows away that the strength of a pixel depends on: two of the bends, one more within a bend


def depth_normal_edges(
    points: np.ndarray, usable: np.ndarray, ratio: float = 0.03, angle_deg: float = 5.0
) -> np.ndarray:
    """Pixels of pointmaps (..., H, W, 3) in their camera's frame where the depth jumps and the surface bends.

    usable: (..., H, W) bool. ratio: of a jump to the depth. Returns (..., H, W) bool.
    """
    normals, has_normal = surface_normals(points, usable)
    return depth_edges(points[..., 2], usable, ratio) & normal_edges(normals, has_normal, angle_deg)


def depth_edges(depth: np.ndarray, usable: np.ndarray, ratio: float = 0.03) -> np.ndarray:
    """Pixels around which, within 3 x 3, the depth of usable pixels differs by more than ratio times their own depth.

    The pixel itself need not be usable.
    """
    near = -_neighbourhood(np.where(usable, -depth, -np.inf), -np.inf).max(axis=0)
    far = _neighbourhood(np.where(usable, depth, -np.inf), -np.inf).max(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (far - near) / depth > ratio


def floating_strength(depth: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """How much a pixel looks as if it floated between two surfaces: (..., H, W) float32, about the share by which the
    depth jumps there; near 0 on surfaces, however flat they are seen.

    The smaller of two measures of inverse depth, which runs linearly over a plane: how much it changes within 3 x 3,
    and the largest bend (second difference) within 5 x 5. Pixels that are not usable take no part and get 0.
    """
    strength, rows = np.empty(depth.shape, np.float32), depth.shape[-2]
    step = max(1, _BAND // depth.shape[-1])
    for start in range(0, rows, step):  # a band stays in the processor's cache
        stop, above = min(start + step, rows), min(start, _REACH)
        band = slice(start - above, stop + _REACH)
        found = _floating_strength(depth[..., band, :], usable[..., band, :])
        strength[..., start:stop, :] = found[..., above : above + stop - start, :]
    return strength


def _floating_strength(depth: np.ndarray, usable: np.ndarray) -> np.ndarray:
    inverse = np.full(depth.shape, np.nan, np.float32)  # what is not a number takes no part in fmax and fmin
    np.divide(1.0, depth, out=inverse, where=usable)
    jump = _spread(inverse, np.fmax)
    jump -= _spread(inverse, np.fmin)
    bend = np.zeros(depth.shape, np.float32)
    for axis in (-2, -1):
        values, found = (np.moveaxis(array, axis, -1) for array in (inverse, bend))
        second = values[..., :-2] + values[..., 2:]
        second -= 2 * values[..., 1:-1]
        np.fmax(found[..., 1:-1], np.abs(second, out=second), out=found[..., 1:-1])
    bend = _spread(_spread(bend, np.maximum), np.maximum)
    return np.multiply(np.minimum(jump, bend), depth, out=np.zeros(depth.shape, np.float32), where=usable)


def _spread(maps: np.ndarray, pick: np.ufunc) -> np.ndarray:
    """np.maximum, np.minimum, np.fmax or np.fmin of every pixel's 3 x 3 neighbours."""
    for axis in (-2, -1):
        before, result = np.moveaxis(maps, axis, -1), maps.copy()
        after = np.moveaxis(result, axis, -1)
        pick(after[..., 1:], before[..., :-1], out=after[..., 1:])
        pick(after[..., :-1], before[..., 1:], out=after[..., :-1])
        maps = result
    return maps


def surface_normals(points: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (..., H, W, 3), 0 where there is none, and where there is one (..., H, W).

    The mean of the four faces between a pixel and each two of its upper, left, lower and right neighbours, as far as
    all three are usable.
    """
    points = np.where(usable[..., None], points, 0.0)
    padded = np.pad(points, [(0, 0)] * (points.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    known = np.pad(usable, [(0, 0)] * (usable.ndim - 2) + [(1, 1), (1, 1)])
    rows, columns = usable.shape[-2:]
    around = []
    for down, right in ((-1, 0), (0, -1), (1, 0), (0, 1)):
        window = (slice(1 + down, 1 + down + rows), slice(1 + right, 1 + right + columns))
        around.append((padded[(..., *window, slice(None))] - points, known[(..., *window)] & usable))
    total, found = np.zeros_like(points), np.zeros_like(usable)
    for (first, first_known), (second, second_known) in zip(around, around[1:] + around[:1], strict=True):
        both = first_known & second_known
        total += _unit(np.cross(first, second)) * both[..., None]
        found |= both
    return _unit(total) * found[..., None], found


def normal_edges(normals: np.ndarray, usable: np.ndarray, angle_deg: float = 5.0) -> np.ndarray:
    """Usable pixels within one pixel of which a normal differs from one of its own neighbours' by more than that.

    Pixels beside one without a normal are among them.
    """
    own = np.moveaxis(normals, -1, 0)
    around = _neighbourhood(own)
    cosine = np.clip((around * own).sum(axis=1), -1.0, 1.0)
    angles = np.where(_neighbourhood(usable), np.arccos(cosine), 0.0).max(axis=0)
    return usable & (_neighbourhood(angles, -np.inf).max(axis=0) > np.radians(angle_deg))


def _neighbourhood(maps: np.ndarray, beyond: float | None = None) -> np.ndarray:
    """(9, ..., H, W): every pixel's 3 x 3 neighbours; beyond the border that value, or the border's own."""
    width = [(0, 0)] * (maps.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(maps, width, mode="edge") if beyond is None else np.pad(maps, width, constant_values=beyond)
    rows, columns = maps.shape[-2:]
    return np.stack([padded[..., i : i + rows, j : j + columns] for i in range(3) for j in range(3)])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
