"""Which picture shows which face of a mesh best: few views, in large connected patches."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from .mesh import Mesh, face_normals
from .views import FLATTEST, ViewMap
from .zbuffer import nearest_depth

NO_VIEW = -1
_DOUBTFUL = 0.3  # what a sight counts where the depth map does not know that the face is there
_BORDER, _AT_BORDER = 0.03, 0.5  # share of the frame's size that is its edge, and what a sight counts there
_LEAST_GAIN = 0.002  # of the surface's area, for another view to take part
_LIKE_NEIGHBOURS = 0.3  # of the best sight's worth, for each neighbour with the same view
_ROUNDS = 12


def best_views(mesh: Mesh, views: Iterable[ViewMap], count: int, tolerance: float, depth: float) -> np.ndarray:
    """(m,) int32: the number of the view, counted along views, that each face is seen best by; NO_VIEW: by none.

    count: how many views there are. tolerance, depth: how far before or behind what a view sees a face may lie at the
    typical depth.
    """
    worth = np.zeros((count, len(mesh.faces)), np.float16)
    for number, view in enumerate(views):
        worth[number] = np.minimum(sight_of(mesh, view, tolerance, depth), 60000)
    best = worth.max(axis=0).astype(np.float32)
    for row in worth:
        row[:] = row / np.maximum(best, 1e-6)
    weight = np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1)
    return _agree_with_neighbours(_few(worth, weight), worth, neighbours_of(mesh))


def sight_of(mesh: Mesh, view: ViewMap, tolerance: float, depth: float) -> np.ndarray:
    """(m,) float32: pixels of the original frame that a face covers, less where it is doubtful; 0: it is not seen."""
    places, z = view.places(mesh.vertices)
    near = nearest_depth(places, z, mesh.faces, view.height, view.width)
    pixel, _ = view.locate(mesh.vertices)
    inside = pixel >= 0
    pixel = np.where(inside, pixel, 0)
    reach = tolerance * np.maximum(1, z / depth)
    barrier = view.barrier[pixel]
    is_covered = (z > near.reshape(-1)[pixel] + reach) | ((barrier > 0) & (z > barrier + reach))
    is_covered |= _beside_something(near, tolerance, depth).reshape(-1)[pixel]
    is_known = np.abs(view.depth[pixel] - z) < reach
    seen = (inside & ~is_covered)[mesh.faces].all(axis=1)
    worth = np.zeros(len(mesh.faces), np.float32)
    faces = mesh.faces[seen]
    corners = places[faces]
    edge, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]) / 2 * view.scale**2
    area *= np.where(is_known[faces].all(axis=1), 1, _DOUBTFUL)
    size = np.array([view.width, view.height])
    margin = (np.minimum(corners, size - corners) / size).min(axis=(1, 2))
    area *= np.where(margin < _BORDER, _AT_BORDER, 1)
    sight = view.centre - mesh.vertices[faces[:, 0]]
    normal = face_normals(mesh.vertices, faces)
    length = np.linalg.norm(sight, axis=1) * np.linalg.norm(normal, axis=1)
    worth[seen] = np.where(np.einsum("ij,ij->i", sight, normal) > FLATTEST * length, area, 0)
    return worth


def _beside_something(near: np.ndarray, tolerance: float, depth: float) -> np.ndarray:
    """(h, w) bool: what lies behind others within some pixels. No outline is true to the pixel, so the frame may well
    show there what stands before.

    Nearness (1 / depth) is linear on a plane, however slanted: its bend tells where something begins.
    """
    nearness = np.where(np.isfinite(near), 1 / near, 0).astype(np.float32)
    limit = tolerance * np.maximum(1 / depth, nearness) * nearness
    is_behind = np.zeros(near.shape, bool)
    for reach in (1, 2):
        around = np.pad(nearness, reach, mode="edge")
        height, width = near.shape
        for row, column in ((0, 1), (1, 0), (1, 1), (1, -1)):
            one, other = (
                around[reach + sign * row * reach :, reach + sign * column * reach :][:height, :width]
                for sign in (1, -1)
            )
            bend = np.where(one > 0, one, nearness) + np.where(other > 0, other, nearness) - 2 * nearness
            is_behind |= (bend > limit) & (nearness > 0)
    return cv2.dilate(is_behind.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def neighbours_of(mesh: Mesh) -> np.ndarray:
    """(m, 3) int32: the faces at the three edges, -1 where there is none; where several meet, one of them."""
    faces = mesh.faces.astype(np.int64)
    count = len(faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = edges.min(axis=1) * len(mesh.vertices) + edges.max(axis=1)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    found = np.full(3 * count, -1, np.int32)
    one, other = order[same], order[same + 1]
    found[one], found[other] = other % count, one % count
    return found.reshape(3, count).T


def _few(worth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Labels from as few views as show nearly all nearly as well as can be: the one that adds most, again and again."""
    label = np.full(worth.shape[1], NO_VIEW, np.int32)
    so_far = np.zeros(worth.shape[1], np.float32)
    left = set(range(len(worth)))
    while left:
        gains = {number: float(np.maximum(worth[number] - so_far, 0) @ weight) for number in left}
        best = max(gains, key=gains.__getitem__)
        if gains[best] < _LEAST_GAIN * weight.sum():
            break
        left.remove(best)
        better = worth[best] > so_far
        label[better], so_far[better] = best, worth[best][better]
    lost = np.flatnonzero(label == NO_VIEW)
    any_view = worth[:, lost].argmax(axis=0)
    label[lost] = np.where(worth[any_view, lost] > 0, any_view, NO_VIEW)
    return label


def _agree_with_neighbours(label: np.ndarray, worth: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Labels in larger patches: a face takes a neighbour's view where it is nearly as good."""
    label, faces = label.copy(), np.arange(len(label))
    rng = np.random.default_rng(0)
    for _ in range(_ROUNDS):
        # Only some at a time: two neighbours that took over from each other at once would do so forever.
        turn = faces[rng.random(len(faces)) < 0.6]
        around = np.where(neighbours[turn] >= 0, label[neighbours[turn]], NO_VIEW)
        choice, most = label[turn].copy(), np.full(len(turn), -1.0)
        for candidate in (label[turn], *around.T):
            value = worth[candidate, turn].astype(np.float32)
            value = np.where((candidate >= 0) & (value > 0), value, -1)
            value = value + _LIKE_NEIGHBOURS * (around == candidate[:, None]).sum(axis=1) * (value > 0)
            choice, most = np.where(value > most, candidate, choice), np.maximum(value, most)
        if (choice == label[turn]).all():
            break
        label[turn] = choice
    return label
