"""Which way is up in an engine's world: from how the cameras are held, and from the floor and walls in the points.

NumPy only. People hold cameras level, so the cameras tell the roll well; the pitch only where they look to several
sides. The points tell both where a floor is seen, and the pitch where a wall is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_TILT_DEG = 20.0  # between the cameras' guess of up and a floor's normal; between a wall and the vertical
LARGEST_PITCH_DEG = 40.0  # the same about the cameras' own x axis, where they hardly tell
_HELD_DEG = 3.0  # how level a camera is held
_TRIALS = 10_000  # planes through three points: one in a thousand lies on a floor that holds a tenth of them
_TRIED = 1500  # of those that stand as they should, how many are compared with all points
_AT_ONCE = 100
_WALLS = 3  # that are sought
_SHARE = 0.05  # of the points, that a floor or a wall has at least
_FEWEST = 30
_DENSER = 1.5  # times the points just above it has a floor: any slice of clutter has some
_AHEAD = 0.02  # weight of cameras looking straight ahead, beside 1 of being held level,
_TURNED_DEG = 10.0  # as long as they look to the sides by no more than this


@dataclass(frozen=True)
class Held:
    """What the cameras say. up (3,) unit. across (3,) unit, square to it: their mean x axis. pitch_deg: how far up may
    lean about across."""

    up: np.ndarray
    across: np.ndarray
    pitch_deg: float

    def leans(self, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(roll, pitch) in degrees by which normals (n, 3) lean from up."""
        ahead = np.cross(self.up, self.across)
        roll = np.degrees(np.arcsin(np.clip(normals @ self.across, -1, 1)))
        return roll, np.degrees(np.arctan2(normals @ ahead, normals @ self.up))


def held(poses: np.ndarray) -> Held:
    """What camera-to-world poses (n, 4, 4) say of up.

    Up is square to every camera's x axis. That settles the pitch as far as the cameras look to several sides; where
    they do not, it counts that cameras look straight ahead.
    """
    across, ahead, upward = poses[:, :3, 0], poses[:, :3, 2], -poses[:, :3, 1].sum(axis=0)
    level = across.T @ across / len(across)
    along = np.linalg.eigh(level)[1][:, 2]
    sideways = np.cross(along, upward)
    sideways /= max(float(np.linalg.norm(sideways)), 1e-12)
    turned = max(float(sideways @ level @ sideways), 1e-9)  # mean square of the sines by which they look to the sides
    weight = _AHEAD * min(1.0, np.sin(np.radians(_TURNED_DEG)) ** 2 / turned)
    up = np.linalg.eigh(level + weight * ahead.T @ ahead / len(ahead))[1][:, 0]
    up = up if up @ upward >= 0 else -up
    along = along - (along @ up) * up
    doubt = _HELD_DEG / np.sqrt(turned)  # a roll of that size, seen from so many sides
    return Held(up, along / np.linalg.norm(along), float(np.clip(doubt, LARGEST_TILT_DEG, LARGEST_PITCH_DEG)))


def near(up: np.ndarray) -> Held:
    """As if the cameras had said that up (3,) unit is nearly so, in all directions."""
    across = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    return Held(up, across / np.linalg.norm(across), LARGEST_TILT_DEG)


def find_up(points: np.ndarray, poses: np.ndarray, tolerance: float) -> tuple[np.ndarray, float | None]:
    """(up (3,) unit, height of the floor along it or None if there is none) from points (n, 3) and poses (n, 4, 4).

    tolerance: distance at which a point still belongs to a plane.
    """
    cameras = held(poses)
    floor = find_floor(points, poses[:, :3, 3], cameras, tolerance)
    if floor is not None:
        return floor
    walls = _find_walls(points, cameras, tolerance)
    return _square_to(walls, poses) if walls else cameras.up, None


def find_floor(
    points: np.ndarray, centres: np.ndarray, cameras: Held, tolerance: float
) -> tuple[np.ndarray, float] | None:
    """The largest plane below the cameras that has next to nothing under it: (unit normal (3,), height along it).

    points (n, 3), camera centres (m, 3). None where no plane leans as little as cameras allows.
    """
    low = points[points @ cameras.up < np.median(centres @ cameras.up)]
    if len(low) < _FEWEST:
        return None
    normals, heights = _facing(*_trios(low), cameras.up)
    roll, pitch = cameras.leans(normals)
    level = np.flatnonzero((np.abs(roll) < LARGEST_TILT_DEG) & (np.abs(pitch) < cameras.pitch_deg))[:_TRIED]
    normals, heights, pitch = normals[level], heights[level], pitch[level]
    above = np.mean(normals @ centres.T > heights[:, None] + 3 * tolerance, axis=1) > 0.5
    normals, heights, pitch = normals[above], heights[above], pitch[above]
    if len(normals) == 0:
        return None
    on = _between(normals, heights, points, -tolerance, tolerance)
    under = _between(normals, heights, points, -np.inf, -3 * tolerance)
    beside = _between(normals, heights, points, tolerance, 3 * tolerance)  # as thick a layer, above
    on = np.where((under < _SHARE * len(points)) & (on > _DENSER * beside), on, 0)
    best = int(np.argmax(on * (1 - 0.5 * (pitch / LARGEST_PITCH_DEG) ** 2)))
    if on[best] < max(_FEWEST, _SHARE * len(points)):
        return None
    normal, height = normals[best], heights[best]
    for _ in range(3):  # what belongs to the better plane may be other points
        members = points[np.abs(points @ normal - height) < tolerance]
        normal, height = _refined(members, normal)
    return normal, height


def _find_walls(points: np.ndarray, cameras: Held, tolerance: float) -> list[tuple[np.ndarray, float]]:
    """(unit normal (3,), share of the points) of large planes that stand nearly upright."""
    walls, left, total = [], points, len(points)
    while len(walls) < _WALLS and len(left) >= _FEWEST:
        normals, heights = _trios(left)
        standing = np.flatnonzero(np.abs(normals @ cameras.up) < np.sin(np.radians(LARGEST_TILT_DEG)))[:_TRIED]
        normals, heights = normals[standing], heights[standing]
        if len(normals) == 0:
            break
        on = _between(normals, heights, left, -tolerance, tolerance)
        best = int(np.argmax(on))
        if on[best] < max(_FEWEST, 3 * _SHARE * total):
            break
        members = np.abs(left @ normals[best] - heights[best]) < tolerance
        walls.append((_refined(left[members], normals[best])[0], on[best] / total))
        left = left[~members]
    return walls


def _between(normals: np.ndarray, heights: np.ndarray, points: np.ndarray, low: float, high: float) -> np.ndarray:
    """(n,) how many of points (k, 3) lie between two distances above each plane; a few planes at a time are looked at,
    for all at once would take a hundred megabytes."""
    counts = np.empty(len(normals), np.int64)
    for start in range(0, len(normals), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        distance = normals[some] @ points.T - heights[some, None]
        counts[some] = ((distance > low) & (distance < high)).sum(axis=1)
    return counts


def _square_to(walls: list[tuple[np.ndarray, float]], poses: np.ndarray) -> np.ndarray:
    """Up (3,): square to the cameras' x axes as far as they agree, and to the walls."""
    across = poses[:, :3, 0]
    form = across.T @ across / len(across)
    for normal, share in walls:
        form = form + share * np.outer(normal, normal)
    up = np.linalg.eigh(form)[1][:, 0]
    return up if up @ -poses[:, :3, 1].sum(axis=0) >= 0 else -up


def _trios(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planes through three random points each: (unit normals (n, 3), heights along them (n,))."""
    trios = points[np.random.default_rng(0).integers(0, len(points), (_TRIALS, 3))]
    normals = np.cross(trios[:, 1] - trios[:, 0], trios[:, 2] - trios[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals[lengths > 0] / lengths[lengths > 0, None]
    return normals, np.einsum("ij,ij->i", normals, trios[lengths > 0, 0])


def _facing(normals: np.ndarray, heights: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = np.where(normals @ up < 0, -1.0, 1.0)
    return normals * side[:, None], heights * side


def _refined(members: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, float]:
    """The plane of members (n, 3), by least squares in which those that lie off count less and less (Cauchy)."""
    height = float(np.median(members @ normal))
    for _ in range(10):
        off = members @ normal - height
        weight = 1 / (1 + (off / max(1.4826 * float(np.median(np.abs(off))), 1e-12)) ** 2)
        middle = weight @ members / weight.sum()
        spread = (weight[:, None] * (members - middle)).T @ (members - middle)
        fitted = np.linalg.eigh(spread)[1][:, 0]
        normal = fitted if fitted @ normal > 0 else -fitted
        height = float(middle @ normal)
    return normal, height
